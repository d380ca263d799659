package xmpptest

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

var update = flag.Bool("update", false, "rewrite what scenarios expect from what is received")

// cast are those of the examples, by the host that they live at.
var cast = map[string][]string{
	"montague.example": {"romeo", "benvolio", "mercutio", "montague", "abraham", "balthasar"},
	"capulet.example":  {"juliet", "nurse", "tybalt", "capulet", "sampson", "gregory", "peter"},
	"shakespeare.lit":  {"crone1", "hag66", "wiccarocks", "hecate", "macbeth", "hamlet", "ophelia", "bard", "francisco", "bernardo"},
}

// Run runs the scenarios of all files that a pattern names, each file as a
// subtest that is parallel to the others, each block with a server of its own, in
// a bubble of its own. With the flag -update, what is expected is rewritten from
// what was received.
//
// A line is a statement; lines that begin with white space go on with the one
// above. An empty line and a comment behind it begin a block; other comments say
// something about the line below.
//
//	# XEP-0280 §7: the garden gets a copy of what Juliet sent to home
//	romeo/home, romeo/garden, juliet/balcony are online
//	juliet/balcony > <message to='romeo@montague.example/home' type='chat'><body>hark</body></message>
//	romeo/home < <message from='juliet@capulet.example/balcony' type='chat' ...><body>hark</body>...</message>
//	romeo/garden < <message from='romeo@montague.example' ...><received xmlns='urn:xmpp:carbons:2'>...</received></message>
//	nobody else receives anything
//
// Who acts is a name of the examples (romeo, juliet, nurse, crone1 ...) or a whole
// address, with or without a resource. A name is one client: romeo/home and
// romeo/garden are two. The statements:
//
//	A, B are online              they log in and send presence; what anybody gets of that is forgotten
//	A, B are subscribed to each other    their accounts are; what anybody gets of that is forgotten
//	A connects                   it logs in and sends nothing
//	A opens a stream             a connection and a header, not logged in; the server's header and features are received
//	A opens a stream to H over TLS   to another host than A's own; by direct TLS
//	A opens a socket [over TLS]  a connection only
//	A starts TLS                 the handshake, behind <proceed/>
//	A authenticates              PLAIN and the header behind it; the features are received
//	A restarts the stream        a header, behind TLS or <success/>
//	A > <xml/>                   A sends; several elements are sent at once; {base64 \0romeo\0secret} is encoded
//	                             and {sha1 text} to the hexadecimal hash
//	A > raw: text                the same for what is not well-formed, with \n \0 \xNN \uNNNN \\
//	A < <xml/>                   the next element that A receives
//	A <* <xml/>                  one of those that A has received
//	A receives nothing           nothing has come that was not expected above
//	nobody else receives anything    the same for all
//	after 5m: statement          when that time has passed; after 5m by itself waits
//	A enables stream management  XEP-0198, with the answer
//	A stops reading, A reads again
//	A disconnects                it closes the stream; A vanishes: only the connection
//	A's stream is closed [with <policy-violation/>]
//	A's connection is cut        the connection has ended, the stream was not closed
//	the server restarts          with the same data; everybody has to connect again
//
// Elements are compared as trees. "..." between tags is any content or any
// number of elements, among attributes any further attributes, as a value any
// value. {name} captures a value at first sight, in attributes and texts, and
// stands for it afterwards, also in what is sent.
//
// Before the first statement of a block, or in a paragraph of their own at the
// head of the file, for all blocks:
//
//	config: registration.mode = "open"
//	accounts: nurse, mercutio@capulet.example
//	admins: bard
//	components: plays.shakespeare.lit, echo.montague.example
//	components: irc.montague.example { connections = 2, subdomains = true }
//	elsewhere: capulet.example
//
// An external component acts by the name of its domain, or for a second connection
// with something behind a slash. It connects, or is online, by the handshake of
// XEP-0114; its secret is Password.
//
// The last of these lines has a host live at a second server, which the first finds and reaches over
// a Network; "the other server restarts" is about that one.
//
// Accounts that act are made on demand, with Password; others are named so. An
// address given there is that of its name.
func Run(t *testing.T, glob string, opts ...Option) {
	t.Helper()
	files, err := filepath.Glob(glob)
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatalf("no scenario is called %s", glob)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".xmpp"), func(t *testing.T) {
			t.Parallel()
			runFile(t, file, opts)
		})
	}
}

func runFile(t *testing.T, file string, opts []Option) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	s, err := parseScenario(string(text))
	if err != nil {
		t.Fatalf("%s:%v", file, err)
	}
	var o options
	for _, opt := range opts {
		opt(&o)
	}
	var edits edits
	for _, b := range s.blocks {
		t.Run(b.title, func(t *testing.T) {
			opts := opts
			if o.database != nil {
				opts = append(slices.Clone(opts), Storage(o.database(t)))
			}
			synctest.Test(t, func(t *testing.T) {
				r := &run{t: t, file: file, lines: s.lines, clients: make(map[string]*Client), vars: make(vars)}
				if err := r.block(b, opts); err != nil {
					t.Error(err)
				}
				edits = append(edits, r.edits...)
			})
		})
	}
	if len(edits) == 0 {
		return
	}
	if err := os.WriteFile(file, []byte(edits.apply(s.lines)), 0o644); err != nil {
		t.Fatal(err)
	}
	t.Logf("%s is rewritten", file)
}

// run is one run of a block.
type run struct {
	t          *testing.T
	file       string
	lines      []string
	server     *Server
	accounts   map[string]jid.JID // by name
	components map[string]bool
	clients    map[string]*Client
	order      []string // of the clients
	vars       vars
	sent       *step // the last that was sent
	edits      edits
}

func (r *run) block(b block, opts []Option) error {
	if len(b.config) > 0 {
		opts = append(slices.Clone(opts), Config(strings.Join(b.config, "\n")))
	}
	if err := r.introduce(b); err != nil {
		return r.fail(b.line, err)
	}
	if len(b.components) > 0 {
		opts = append(slices.Clone(opts), Components(b.components...))
	}
	if len(b.elsewhere) > 0 {
		opts = append(slices.Clone(opts), Elsewhere(b.elsewhere...))
	}
	r.server = New(r.t, opts...)
	for _, name := range b.accounts {
		r.server.Account(r.accounts[local(name)])
	}
	for _, name := range b.admins {
		r.server.Admin(r.accounts[local(name)])
	}
	for i := range b.steps {
		st := &b.steps[i]
		if st.after > 0 {
			r.server.Pass(st.after)
		}
		r.server.Settle()
		if err := r.step(st); err != nil {
			return r.fail(st.line, err)
		}
	}
	return nil
}

func (r *run) fail(line int, err error) error { return fmt.Errorf("%s:%d: %w", r.file, line, err) }

// introduce finds out where everybody lives.
func (r *run) introduce(b block) error {
	r.accounts = make(map[string]jid.JID)
	for host, names := range cast {
		for _, name := range names {
			j, err := jid.New(name, host, "")
			if err != nil {
				return err
			}
			r.accounts[name] = j
		}
	}
	r.components = make(map[string]bool)
	for _, text := range b.components {
		domain, _, err := component(text)
		if err != nil {
			return err
		}
		r.components[domain] = true
	}
	for _, name := range b.accounts {
		if !strings.Contains(name, "@") {
			if r.accounts[name].IsZero() {
				return fmt.Errorf("%s is in none of the examples: give the address", name)
			}
			continue
		}
		j, err := jid.Parse(name)
		if err != nil {
			return err
		}
		r.accounts[local(name)] = j.Bare()
	}
	return nil
}

// local is the name in an address.
func local(name string) string {
	name, _, _ = strings.Cut(name, "/")
	name, _, _ = strings.Cut(name, "@")
	return name
}

// address is that of a client's account, with its resource.
func (r *run) address(actor string) (jid.JID, error) {
	bare, resource, _ := strings.Cut(actor, "/")
	if strings.Contains(bare, "@") {
		return jid.Parse(actor)
	}
	j := r.accounts[bare]
	if j.IsZero() {
		return j, fmt.Errorf("%s is in none of the examples: give the address, there or in the line accounts", actor)
	}
	if resource == "" {
		return j, nil
	}
	return j.WithResource(resource)
}

// client is one that has a stream.
func (r *run) client(actor string) (*Client, error) {
	c := r.clients[actor]
	if c == nil {
		return nil, fmt.Errorf("%s has no stream; in this block there are %s", actor, strings.Join(r.order, ", "))
	}
	return c, nil
}

// add gives an actor a client in the place of the one it may have had.
func (r *run) add(actor string, c *Client) {
	if r.clients[actor] == nil {
		r.order = append(r.order, actor)
	}
	r.clients[actor] = c
}

func (r *run) step(st *step) error {
	switch st.verb {
	case pass:
		return nil
	case online:
		return r.online(st.actors)
	case befriends:
		return r.befriend(st.actors)
	case nobodyReceives:
		return r.nothing(st, r.order)
	case serverRestarts:
		r.restart(r.server)
		return nil
	case otherRestarts:
		if r.server.other == nil {
			return errors.New("there is no other server")
		}
		r.restart(r.server.other)
		return nil
	}
	for _, actor := range st.actors {
		if err := r.act(st, actor); err != nil {
			return err
		}
	}
	return nil
}

// restart restarts a server; its clients are gone.
func (r *run) restart(s *Server) {
	s.Restart()
	for name, c := range r.clients {
		if c.server == s {
			delete(r.clients, name)
			r.order = slices.DeleteFunc(r.order, func(n string) bool { return n == name })
		}
	}
}

// act is what one client does in a step.
func (r *run) act(st *step, actor string) error {
	switch st.verb {
	case connects:
		return r.connect(actor)
	case opensStream, opensSocket:
		return r.open(st, actor)
	}
	c, err := r.client(actor)
	if err != nil {
		return err
	}
	switch st.verb {
	case startsTLS:
		return c.StartTLS()
	case authenticates:
		j, err := r.address(actor)
		if err != nil {
			return err
		}
		r.server.Account(j)
		c.Received()
		return c.Authenticate(j.Local())
	case restartsStream:
		return c.Header()
	case sends:
		return r.send(st, c)
	case receives, receivesAmong:
		return r.receive(st, c)
	case receivesNothing:
		return r.nothing(st, []string{actor})
	case enablesManagement:
		return r.manage(c)
	case stopsReading:
		c.Pause()
	case readsAgain:
		c.Resume()
	case disconnects:
		c.over = true
		c.Close()
	case vanishes:
		c.over = true
		c.Cut()
	case streamClosed, connectionCut:
		return r.closed(st, c)
	}
	return nil
}

func (r *run) connect(actor string) error {
	if domain := r.component(actor); domain != "" {
		c, err := r.server.ConnectComponent(actor, domain)
		if err != nil {
			return err
		}
		r.add(actor, c)
		return nil
	}
	j, err := r.address(actor)
	if err != nil {
		return err
	}
	c, err := r.server.Connect(j)
	if err != nil {
		return err
	}
	c.Name = actor
	r.add(actor, c)
	return nil
}

func (r *run) online(actors []string) error {
	for _, actor := range actors {
		if err := r.connect(actor); err != nil {
			return err
		}
		if err := r.clients[actor].available(); err != nil {
			return err
		}
		r.server.Settle()
	}
	r.server.Drain()
	return nil
}

func (r *run) open(st *step, actor string) error {
	host := st.host
	if domain := r.component(actor); domain != "" {
		if host == "" {
			host = domain
		}
		c := r.server.ComponentSocket(actor, host)
		r.add(actor, c)
		if st.verb == opensSocket {
			return nil
		}
		return c.Header()
	}
	if host == "" {
		j, err := r.address(actor)
		if err != nil {
			return err
		}
		host = j.Domain()
	}
	open := r.server.Open
	if st.verb == opensSocket {
		open = r.server.Socket
	}
	c, err := open(actor, host, st.overTLS)
	if err != nil {
		return err
	}
	r.add(actor, c)
	return nil
}

func (r *run) send(st *step, c *Client) error {
	text := st.text
	if st.host != "raw" {
		var err error
		if text, err = r.vars.fill(text); err != nil {
			return err
		}
		text = hashAll(text)
	}
	r.sent = st
	return c.Send(text)
}

// manage enables XEP-0198 and takes the answer.
func (r *run) manage(c *Client) error {
	if err := c.Send("<enable xmlns='" + ns.Acks + "'/>"); err != nil {
		return err
	}
	el, ok := c.Next()
	if want := (xmltree.Name{Space: ns.Acks, Local: "enabled"}); !ok || !el.Is(want) {
		return fmt.Errorf("%s\n  got:  %s\n  want: <enabled/>", c.Name, raw(el))
	}
	return nil
}
