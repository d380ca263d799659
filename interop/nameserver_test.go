//go:build interop

package interop_test

import (
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/dns/dnsmessage"
)

// place is where a domain listens for other servers; port 0: not so.
type place struct {
	ip               netip.Addr
	starttls, direct int
}

// nameserver is a name service on loopback that knows the test's domains, and no
// other.
type nameserver struct {
	addr netip.AddrPort

	mu     sync.Mutex // guards places
	places map[string]place
}

// startNameserver starts one at an address. Port 53 is where programs look that
// cannot be told another.
func startNameserver(t *testing.T, ip netip.Addr) *nameserver {
	t.Helper()
	n := &nameserver{addr: netip.AddrPortFrom(ip, 53), places: make(map[string]place)}
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(n.addr))
	if err != nil {
		unavailable(t, "no name server on port 53: "+err.Error())
	}
	var wg sync.WaitGroup
	wg.Go(func() { n.serve(conn) })
	t.Cleanup(func() {
		conn.Close()
		wg.Wait()
	})
	return n
}

func (n *nameserver) set(domain string, p place) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.places[domain] = p
}

// place is where a domain listens.
func (n *nameserver) place(domain string) place {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.places[domain]
}

func (n *nameserver) serve(conn *net.UDPConn) {
	buf := make([]byte, 4096)
	for {
		size, from, err := conn.ReadFromUDPAddrPort(buf)
		if err != nil {
			return
		}
		if answer, err := n.answer(buf[:size]); err == nil {
			_, _ = conn.WriteToUDPAddrPort(answer, from) // who asked has gone
		}
	}
}

func (n *nameserver) answer(query []byte) ([]byte, error) {
	var m dnsmessage.Message
	if err := m.Unpack(query); err != nil || len(m.Questions) != 1 {
		return nil, os.ErrInvalid
	}
	q := m.Questions[0]
	r := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: m.ID, Response: true, RecursionDesired: m.RecursionDesired, RecursionAvailable: true},
		Questions: m.Questions,
	}
	known, body := n.find(strings.ToLower(q.Name.String()), q.Type)
	if !known {
		r.RCode = dnsmessage.RCodeNameError
	}
	if body != nil {
		r.Answers = []dnsmessage.Resource{{Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1}, Body: body}}
	}
	return r.Pack()
}

// find looks a name up; the hosts are called like their domains, with "host." in front.
func (n *nameserver) find(name string, typ dnsmessage.Type) (known bool, body dnsmessage.ResourceBody) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for domain, p := range n.places {
		srv := func(port int) (bool, dnsmessage.ResourceBody) {
			if port == 0 {
				return false, nil
			}
			if typ != dnsmessage.TypeSRV {
				return true, nil
			}
			return true, &dnsmessage.SRVResource{Priority: 1, Port: uint16(port), Target: dnsmessage.MustNewName("host." + domain + ".")}
		}
		switch name {
		case "_xmpp-server._tcp." + domain + ".":
			return srv(p.starttls)
		case "_xmpps-server._tcp." + domain + ".":
			return srv(p.direct)
		case "host." + domain + ".":
			if typ == dnsmessage.TypeA {
				return true, &dnsmessage.AResource{A: p.ip.As4()}
			}
			return true, nil
		}
	}
	return false, nil
}

// asking has a command ask a name server in the place of the system's.
func asking(t *testing.T, n *nameserver, cmd *exec.Cmd) *exec.Cmd {
	t.Helper()
	file := filepath.Join(t.TempDir(), "resolv.conf")
	writeFile(t, file, "nameserver "+n.addr.Addr().String()+"\n")
	script := `mount --bind "$0" /etc/resolv.conf && exec "$@"`
	out := exec.Command(program(t, "unshare"), append([]string{"--mount", "sh", "-c", script, file}, cmd.Args...)...)
	out.Env, out.Dir = cmd.Env, cmd.Dir
	return out
}
