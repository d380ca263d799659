package ldap_test

import (
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// directory is as much of a directory as log-ins need. What it has been asked is
// what the tests are about; how a real one answers is tested in interop.
type directory struct {
	t *testing.T
	l net.Listener

	mu        sync.Mutex // guards what follows
	passwords map[string]string
	entries   map[string][]string // DN by filter
	groups    map[string][]string // DNs of members, by DN
	asked     []string            // filters, and what was bound as
	codes     map[string]uint16   // answered in place of what is asked: "bind", "search"
	silent    bool
	conns     []net.Conn
	accepted  int
}

func listen(t *testing.T) *directory {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	d := &directory{t: t, l: l, passwords: map[string]string{}, entries: map[string][]string{}, groups: map[string][]string{}, codes: map[string]uint16{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.set(func() { d.conns, d.accepted = append(d.conns, c), d.accepted+1 })
			wg.Go(func() { d.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		d.hangUp()
		wg.Wait()
	})
	return d
}

func (d *directory) set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

// hangUp closes what is open.
func (d *directory) hangUp() {
	d.set(func() {
		for _, c := range d.conns {
			c.Close()
		}
		d.conns = nil
	})
}

func (d *directory) took() (asked []string) {
	d.set(func() { asked, d.asked = d.asked, nil })
	return asked
}

func (d *directory) serve(c net.Conn) {
	defer c.Close()
	for {
		p, err := ber.ReadPacket(c)
		if err != nil || len(p.Children) < 2 {
			return
		}
		id, op := p.Children[0].Value.(int64), p.Children[1]
		d.mu.Lock()
		silent := d.silent
		var out [][]byte
		switch op.Tag {
		case ldap.ApplicationBindRequest:
			out = append(out, response(id, ldap.ApplicationBindResponse, d.bind(op)))
		case ldap.ApplicationSearchRequest:
			dns, code := d.search(op)
			for _, dn := range dns {
				out = append(out, entry(id, dn))
			}
			out = append(out, response(id, ldap.ApplicationSearchResultDone, code))
		case ldap.ApplicationExtendedRequest: // STARTTLS, which it has not
			d.asked = append(d.asked, "starttls")
			out = append(out, response(id, ldap.ApplicationExtendedResponse, ldap.LDAPResultProtocolError))
		default:
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		for _, b := range out {
			if !silent {
				c.Write(b)
			}
		}
	}
}

func (d *directory) bind(op *ber.Packet) uint16 {
	dn, _ := op.Children[1].Value.(string)
	password := op.Children[2].Data.String()
	d.asked = append(d.asked, "bind "+dn)
	switch want, ok := d.passwords[dn]; {
	case d.codes["bind"] != 0:
		return d.codes["bind"]
	case password == "": // RFC 4513 §5.1.2: as directories do it that nobody has told otherwise
		return ldap.LDAPResultSuccess
	case !ok || want != password:
		return ldap.LDAPResultInvalidCredentials
	}
	return ldap.LDAPResultSuccess
}

func (d *directory) search(op *ber.Packet) ([]string, uint16) {
	base := op.Children[0].Value.(string)
	filter, err := ldap.DecompileFilter(op.Children[6])
	if err != nil {
		d.t.Errorf("a filter that cannot be read: %v", err)
	}
	d.asked = append(d.asked, filter)
	if code := d.codes["search"]; code != 0 {
		return nil, code
	}
	if members, ok := d.groups[base]; ok {
		if slices.ContainsFunc(members, func(m string) bool { return strings.Contains(filter, "(member="+m+")") }) {
			return []string{base}, ldap.LDAPResultSuccess
		}
		return nil, ldap.LDAPResultSuccess
	}
	if base == "ou=people" {
		return d.entries[filter], ldap.LDAPResultSuccess
	}
	if _, ok := d.passwords[base]; ok {
		return []string{base}, ldap.LDAPResultSuccess
	}
	return nil, ldap.LDAPResultNoSuchObject
}

func envelope(id int64, op *ber.Packet) []byte {
	p := ber.NewSequence("message")
	p.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, "id"))
	p.AppendChild(op)
	return p.Bytes()
}

func response(id int64, tag ber.Tag, code uint16) []byte {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "response")
	op.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(code), "code"))
	op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", "DN"))
	op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "", "message"))
	return envelope(id, op)
}

func entry(id int64, dn string) []byte {
	op := ber.Encode(ber.ClassApplication, ber.TypeConstructed, ldap.ApplicationSearchResultEntry, nil, "entry")
	op.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, dn, "DN"))
	all := ber.NewSequence("attributes")
	a := ber.NewSequence("attribute")
	a.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "entryUUID", "type"))
	values := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "values")
	if !strings.HasPrefix(dn, "cn=bare") {
		values.AppendChild(ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, "id of "+dn, "value"))
	}
	a.AppendChild(values)
	all.AppendChild(a)
	op.AppendChild(all)
	return envelope(id, op)
}

// soon is how long tests wait for a directory that does not answer.
const soon = 300 * time.Millisecond
