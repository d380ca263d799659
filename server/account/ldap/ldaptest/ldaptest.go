// Package ldaptest is as much of a directory (LDAP) as log-ins need, for tests. What
// it has been asked is what those are about; how a real one answers is tested in
// interop.
package ldaptest

import (
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	ber "github.com/go-asn1-ber/asn1-ber"
	"github.com/go-ldap/ldap/v3"
)

// Directory listens on all addresses of the machine. Its fields are changed in Set,
// once it is used.
type Directory struct {
	t *testing.T
	l net.Listener

	mu        sync.Mutex          // guards what follows
	Passwords map[string]string   // by DN
	Entries   map[string][]string // below ou=people: DNs, by the filter that finds them
	Groups    map[string][]string // DNs of members, by DN
	Codes     map[string]uint16   // answered in place of what is asked: "bind", "search", "password"
	Silent    bool                // it reads, and answers nothing
	asked     []string
	conns     []net.Conn
	accepted  int
}

// Listen returns a directory that is closed when the test ends.
func Listen(t *testing.T) *Directory {
	t.Helper()
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	d := &Directory{t: t, l: l, Passwords: map[string]string{}, Entries: map[string][]string{}, Groups: map[string][]string{}, Codes: map[string]uint16{}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.Set(func() { d.conns, d.accepted = append(d.conns, c), d.accepted+1 })
			wg.Go(func() { d.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		d.HangUp()
		wg.Wait()
	})
	return d
}

// Set changes the directory.
func (d *Directory) Set(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

// HangUp closes the connections that are open.
func (d *Directory) HangUp() {
	d.Set(func() {
		for _, c := range d.conns {
			c.Close()
		}
		d.conns = nil
	})
}

// Port is where it listens.
func (d *Directory) Port() string { return strconv.Itoa(d.l.Addr().(*net.TCPAddr).Port) }

// Accepted returns how many connections there have been.
func (d *Directory) Accepted() (n int) {
	d.Set(func() { n = d.accepted })
	return n
}

// Took returns what it was asked since the last time: filters, "bind " with a DN,
// "starttls", "password " with a DN.
func (d *Directory) Took() (asked []string) {
	d.Set(func() { asked, d.asked = d.asked, nil })
	return asked
}

func (d *Directory) serve(c net.Conn) {
	defer c.Close()
	for {
		p, err := ber.ReadPacket(c)
		if err != nil || len(p.Children) < 2 {
			return
		}
		id, op := p.Children[0].Value.(int64), p.Children[1]
		d.mu.Lock()
		silent := d.Silent
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
		case ldap.ApplicationExtendedRequest:
			out = append(out, response(id, ldap.ApplicationExtendedResponse, d.extended(op)))
		default:
			d.mu.Unlock()
			return
		}
		d.mu.Unlock()
		for _, b := range out {
			if !silent {
				c.Write(b) //nolint:errcheck // who has hung up does not want it
			}
		}
	}
}

// extended changes a password (RFC 3062 §2); STARTTLS it has not.
func (d *Directory) extended(op *ber.Packet) uint16 {
	if op.Children[0].Data.String() != "1.3.6.1.4.1.4203.1.11.1" {
		d.asked = append(d.asked, "starttls")
		return ldap.LDAPResultProtocolError
	}
	request, err := ber.DecodePacketErr(op.Children[1].Data.Bytes())
	if err != nil || len(request.Children) != 2 {
		d.t.Errorf("a request for another password that cannot be read: %v", err)
		return ldap.LDAPResultProtocolError
	}
	dn, password := request.Children[0].Data.String(), request.Children[1].Data.String()
	d.asked = append(d.asked, "password "+dn)
	if code := d.Codes["password"]; code != 0 {
		return code
	}
	d.Passwords[dn] = password
	return ldap.LDAPResultSuccess
}

func (d *Directory) bind(op *ber.Packet) uint16 {
	dn, _ := op.Children[1].Value.(string)
	password := op.Children[2].Data.String()
	d.asked = append(d.asked, "bind "+dn)
	switch want, ok := d.Passwords[dn]; {
	case d.Codes["bind"] != 0:
		return d.Codes["bind"]
	case password == "": // RFC 4513 §5.1.2: as directories do it that nobody has told otherwise
		return ldap.LDAPResultSuccess
	case !ok || want != password:
		return ldap.LDAPResultInvalidCredentials
	}
	return ldap.LDAPResultSuccess
}

func (d *Directory) search(op *ber.Packet) ([]string, uint16) {
	base := op.Children[0].Value.(string)
	filter, err := ldap.DecompileFilter(op.Children[6])
	if err != nil {
		d.t.Errorf("a filter that cannot be read: %v", err)
	}
	d.asked = append(d.asked, filter)
	if code := d.Codes["search"]; code != 0 {
		return nil, code
	}
	if members, ok := d.Groups[base]; ok {
		if slices.ContainsFunc(members, func(m string) bool { return strings.Contains(filter, "(member="+m+")") }) {
			return []string{base}, ldap.LDAPResultSuccess
		}
		return nil, ldap.LDAPResultSuccess
	}
	if base == "ou=people" {
		return d.Entries[filter], ldap.LDAPResultSuccess
	}
	if _, ok := d.Passwords[base]; ok {
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
