package xmpptest

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/pelletier/go-toml/v2"

	"kith/xmpp/ns"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// Components configures external components, whose secret is Password. Each is
// a domain, with more keys of its table [[component]] as a table of TOML behind it:
//
//	echo.montague.example { connections = 2 }
func Components(tables ...string) Option {
	return func(o *options) { o.components = append(o.components, tables...) }
}

// component is one of the head of a scenario.
func component(text string) (domain string, keys map[string]any, err error) {
	domain, table, _ := strings.Cut(strings.TrimSpace(text), " ")
	keys = map[string]any{}
	if table = strings.TrimSpace(table); table != "" {
		var doc struct{ X map[string]any }
		if err := toml.Unmarshal([]byte("x = "+table), &doc); err != nil {
			return "", nil, fmt.Errorf("component %s: %w in %s", domain, err, table)
		}
		keys = doc.X
	}
	keys["host"] = domain
	return domain, keys, nil
}

// components understands the line of that name: several domains, or one with a
// table.
func components(text string) []string {
	if strings.Contains(text, "{") {
		return []string{strings.TrimSpace(text)}
	}
	var out []string
	for _, name := range strings.Split(text, ",") {
		out = append(out, strings.TrimSpace(name))
	}
	return out
}

// configureComponents writes the tables of the components, and their secret.
func (s *Server) configureComponents(c map[string]any) error {
	if len(s.opts.components) == 0 {
		return nil
	}
	file := filepath.Join(s.dir, "component.secret")
	if err := os.WriteFile(file, []byte(s.secret+"\n"), 0o600); err != nil {
		return err
	}
	var tables []map[string]any
	for _, text := range s.opts.components {
		_, keys, err := component(text)
		if err != nil {
			return err
		}
		keys["secret_file"] = file
		tables = append(tables, keys)
	}
	c["component"] = tables
	return nil
}

// DialComponent opens a connection to the server's port for components; while the
// server is stopped it is one that ends at once. It may be called from any
// goroutine.
func (s *Server) DialComponent() *Conn {
	return s.dialComponent(net.IPv4(127, 0, 0, 1), net.IPv4(127, 0, 0, 1), 5347, false)
}

// DialComponentTLS opens a connection from another machine to the port where
// components speak TLS at once. It is like DialComponent.
func (s *Server) DialComponentTLS() *Conn {
	return s.dialComponent(net.IPv4(192, 0, 2, 60), net.IPv4(192, 0, 2, 254), 5348, true)
}

func (s *Server) dialComponent(from, to net.IP, toPort int, direct bool) *Conn {
	s.mu.Lock()
	s.port++
	port, srv := s.port, s.server
	s.mu.Unlock()
	ours, theirs := Pipe(s.opts.buffer, &net.TCPAddr{IP: from, Port: port}, &net.TCPAddr{IP: to, Port: toPort})
	if srv == nil {
		theirs.Close()
		return ours
	}
	srv.ServeComponent(theirs, direct)
	return ours
}

// ComponentSocket opens a connection for the stream of a component, and sends
// nothing on it.
func (s *Server) ComponentSocket(name, domain string) *Client {
	c := s.client(name)
	c.host, c.content = domain, ns.Accept
	c.conn = s.DialComponent()
	c.tcp = stream.NewTCP(c.conn, stream.Options{})
	c.read(true)
	return c
}

// ConnectComponent connects as a component. What has waited for it is received.
func (s *Server) ConnectComponent(name, domain string) (*Client, error) {
	c := s.ComponentSocket(name, domain)
	if err := c.Header(); err != nil {
		return nil, err
	}
	h, ok := c.Next()
	if !ok || stream.IsError(h) {
		return nil, fmt.Errorf("no answer to the header of component %s: %w", domain, c.Err())
	}
	if err := c.Send("<handshake>" + hash(h.Attr("id")+Password) + "</handshake>"); err != nil {
		return nil, err
	}
	switch el, ok := c.Next(); {
	case !ok:
		return nil, fmt.Errorf("no answer to the handshake of component %s: %w", domain, c.Err())
	case !el.Is(xmltree.Name{Space: ns.Client, Local: "handshake"}):
		return nil, errors.New("the handshake was answered by " + raw(el))
	}
	return c, nil
}

// MustConnectComponent is ConnectComponent; it fails the test.
func (s *Server) MustConnectComponent(domain string) *Client {
	s.t.Helper()
	c, err := s.ConnectComponent(domain, domain)
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

func hash(text string) string {
	sum := sha1.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

var reHash = regexp.MustCompile(`\{sha1 ([^}]*)\}`)

// hashAll puts the hexadecimal hash in the place of {sha1 text}.
func hashAll(text string) string {
	return reHash.ReplaceAllStringFunc(text, func(m string) string { return hash(reHash.FindStringSubmatch(m)[1]) })
}

// component returns the domain of an actor that is a component, "" if it is none.
func (r *run) component(actor string) string {
	domain, _, _ := strings.Cut(actor, "/")
	if r.components[domain] {
		return domain
	}
	return ""
}

// SetComponents puts others in the place of the components, in the configuration
// that the next Reload reads.
func (s *Server) SetComponents(tables ...string) { s.opts.components = tables }

// ChangeSecret gives the components of the next Reload another secret.
func (s *Server) ChangeSecret(secret string) { s.secret = secret }
