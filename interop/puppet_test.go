//go:build interop

package interop_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// library is a client library that others wrote, with a puppet made of it.
type library struct {
	name string
	// known are the SASL mechanisms it can use over TLS 1.3, strongest first.
	known []string
	// outlives: its sessions always outlive a connection that is cut.
	outlives bool
	// command starts the puppet; it skips the test if the library is missing.
	command func(t *testing.T, s *server) *exec.Cmd
}

var slixmpp = library{
	name: "slixmpp",
	// Python's ssl has no tls-exporter, so no mechanism with channel binding.
	known: []string{"SCRAM-SHA-512", "SCRAM-SHA-256", "SCRAM-SHA-1", "PLAIN"},
	command: func(t *testing.T, _ *server) *exec.Cmd {
		venv := filepath.Join(cacheDir(t), "slixmpp")
		if !exists(t, filepath.Join(venv, "installed.txt")) {
			unavailable(t, "slixmpp is not installed")
		}
		return exec.Command(filepath.Join(venv, "bin", "python"), filepath.Join("slixmpp", "puppet.py"))
	},
}

// cacheDir is where install.sh puts what is installed for these tests alone.
func cacheDir(t *testing.T) string {
	t.Helper()
	if cache := os.Getenv("KITH_INTEROP_CACHE"); cache != "" {
		return cache
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	return filepath.Join(dir, "kith-interop")
}

var xmppjs = library{
	name:     "xmppjs",
	known:    []string{"SCRAM-SHA-1", "PLAIN"},
	outlives: true,
	command: func(t *testing.T, s *server) *exec.Cmd {
		node := program(t, "node")
		if !exists(t, filepath.Join("xmppjs", "node_modules", "installed.json")) {
			unavailable(t, "@xmpp/client is not installed")
		}
		cmd := exec.Command(node, filepath.Join("xmppjs", "puppet.mjs"))
		cmd.Env = append(os.Environ(), "NODE_EXTRA_CA_CERTS="+s.caFile)
		return cmd
	},
}

// order is what a puppet is told to do, on behalf of one of its clients:
//
//	open      connect, STARTTLS, register if asked to, log in, bind
//	presence  send presence
//	message   send one message
//	flood     send Count chat messages with bodies "TAG N", N from First on
//	iq        Ask the entity To: ping, info (XEP-0030), version, time; with slixmpp also to register Name with the password Body
//	          (XEP-0077), no Name to be forgotten; for its commands (XEP-0050), and run command Name with Body in its field
//	roster    get the roster; Versioned: since Ver (RFC 6121 §2.6)
//	contact   put To into the roster with Name and Groups; Type remove: take it out
//	block     To (XEP-0191); so do unblock and, for the list, blocklist
//	carbons   have the account's other messages copied (XEP-0280)
//	state     become what Type says, active or inactive (XEP-0352)
//	resumable tell whether the stream can be resumed (XEP-0198)
//	cut       drop the connection without a word; flood does so at its end if Cut
//	resume    connect again, and resume the stream if the server lets it; with the token it was given if Ask says so (xmppjs, XEP-0484)
//	history   Ask the archive (XEP-0313) for the messages with To, Count to a page, forwards or backwards; with slixmpp
//	          also for its ends, its fields; or set its prefs (XEP-0441), roster but never To
//	close     close the stream
//
// Every order is answered by an outcome with the same id; what a client
// receives is told as it comes, by an event.
type order struct {
	ID     int    `json:"id"`
	Client string `json:"client"`
	Do     string `json:"do"`
	Wait   int    `json:"wait"` // seconds that an answer may take

	JID      string `json:"jid,omitempty"`
	Password string `json:"password,omitempty"`
	Host     string `json:"host,omitempty"`
	Port     int    `json:"port,omitempty"`
	CA       string `json:"ca,omitempty"`
	Register bool   `json:"register,omitempty"`

	To       string `json:"to,omitempty"`
	Type     string `json:"type,omitempty"`
	Priority int    `json:"priority,omitempty"`
	Stanza   string `json:"stanza,omitempty"` // id of the stanza to send
	Body     string `json:"body,omitempty"`
	Tag      string `json:"tag,omitempty"`
	First    int    `json:"first,omitempty"`
	Count    int    `json:"count,omitempty"`
	Ask      string `json:"ask,omitempty"`

	Resume    bool     `json:"resume,omitempty"` // open: make the stream resumable
	Cut       bool     `json:"cut,omitempty"`
	Room      bool     `json:"room,omitempty"` // presence: To is an occupant of a room (XEP-0045), which is entered
	Show      string   `json:"show,omitempty"`
	Status    string   `json:"status,omitempty"`
	Name      string   `json:"name,omitempty"`
	Groups    []string `json:"groups,omitempty"`
	Versioned bool     `json:"versioned,omitempty"`
	Ver       string   `json:"ver,omitempty"`
}

// outcome is the answer to an order: its result, or what went wrong.
type outcome struct {
	OK    result   `json:"ok"`
	Error *refusal `json:"error"`
}

// result is the union of what orders give back.
type result struct {
	JID       string   `json:"jid"`
	Offered   []string `json:"offered"`   // SASL mechanisms
	Mechanism string   `json:"mechanism"` // the one used
	Profile   string   `json:"profile"`   // of SASL, its namespace (nbxmpp)
	TLS       string   `json:"tls"`

	Identities []string  `json:"identities"` // category/type
	Features   []string  `json:"features"`
	Name       string    `json:"name"`
	Version    string    `json:"version"`
	UTC        time.Time `json:"utc"`

	Resumable bool      `json:"resumable"` // the server said that the stream is
	Resumed   bool      `json:"resumed"`
	Versioned bool      `json:"versioned"` // the server announces it
	Unchanged bool      `json:"unchanged"` // since that version
	Ver       string    `json:"ver"`
	Items     []contact `json:"items"`
	JIDs      []string  `json:"jids"`
	Bodies    []string  `json:"bodies"`
}

// contact is an item of a roster.
type contact struct {
	JID          string   `json:"jid"`
	Name         string   `json:"name"`
	Subscription string   `json:"subscription"`
	Ask          string   `json:"ask"`
	Groups       []string `json:"groups"`
}

// refusal is an error condition of RFC 6120 as the library reports it.
type refusal struct {
	Condition string `json:"condition"`
	Type      string `json:"type"`
	Text      string `json:"text"`
}

func (r *refusal) Error() string { return strings.TrimSpace(r.Condition + " " + r.Text) }

// event is what a client of a puppet received.
type event struct {
	Event     string `json:"event"` // ready, message, carbon (Type: sent, received), presence, roster, block, unblock, disconnected
	Client    string `json:"client"`
	From      string `json:"from"`
	To        string `json:"to"`
	Type      string `json:"type"`
	ID        string `json:"id"`
	Body      string `json:"body"`
	Condition string `json:"condition"`
	Delayed   bool   `json:"delayed"`
	Priority  int    `json:"priority"`
	Show      string `json:"show"`
	Status    string `json:"status"`

	Ver  string   `json:"ver"`
	Item contact  `json:"item"`
	JIDs []string `json:"jids"`
}

// puppet is a process in which a library's clients run.
type puppet struct {
	library library
	s       *server
	proc    *process
	stdin   io.WriteCloser

	mu      sync.Mutex // guards what follows and writes to stdin
	lastID  int
	waiting map[int]chan outcome
	inboxes map[string]*inbox
}

// startPuppet starts a puppet for the server and waits until it takes orders.
func startPuppet(t *testing.T, l library, s *server) *puppet {
	t.Helper()
	cmd := l.command(t, s)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	// A pipe of our own: the command's would be closed when the process ends,
	// before its last lines are read.
	stdout, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	p := &puppet{
		library: l, s: s, stdin: stdin, waiting: make(map[int]chan outcome), inboxes: make(map[string]*inbox),
	}
	p.proc = spawn(t, cmd)
	w.Close()
	read := make(chan struct{})
	go func() {
		defer close(read)
		p.read(stdout)
	}()
	t.Cleanup(func() {
		stdin.Close()
		p.proc.stop()
		<-read
		stdout.Close()
	})
	p.inbox("").await(t, "a puppet of "+l.name+" to be ready", func(e event) bool { return e.Event == "ready" })
	return p
}

// read hands outcomes to those who wait for them and events to inboxes.
func (p *puppet) read(stdout io.Reader) {
	lines := bufio.NewScanner(stdout)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e event
		var out struct {
			ID int `json:"id"`
			outcome
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err == nil && e.Event != "" {
			p.inbox(e.Client).put(e)
			continue
		}
		if err := json.Unmarshal(lines.Bytes(), &out); err != nil {
			out.ID = 0 // whoever waits for an answer will miss it
			fmt.Fprintf(os.Stderr, "puppet of %s: %v: %s\n", p.library.name, err, lines.Bytes())
		}
		p.mu.Lock()
		waiting := p.waiting[out.ID]
		delete(p.waiting, out.ID)
		p.mu.Unlock()
		if waiting != nil {
			waiting <- out.outcome
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	for id, waiting := range p.waiting {
		delete(p.waiting, id)
		waiting <- outcome{Error: &refusal{Condition: "puppet-ended", Text: p.library.name}}
	}
}

// tell gives an order and waits for its outcome; an error is a *refusal if
// the library reported it.
func (p *puppet) tell(o order) (result, error) {
	answer := make(chan outcome, 1)
	p.mu.Lock()
	p.lastID++
	o.ID, o.Wait = p.lastID, int(patience.Seconds())
	p.waiting[o.ID] = answer
	line, err := json.Marshal(o)
	if err == nil {
		_, err = p.stdin.Write(append(line, '\n'))
	}
	p.mu.Unlock()
	if err != nil {
		return result{}, fmt.Errorf("tell puppet of %s: %w", p.library.name, err)
	}
	select {
	case out := <-answer:
		if out.Error != nil {
			return result{}, out.Error
		}
		return out.OK, nil
	case <-time.After(*patience + 10*time.Second): // the library is to speak first
		return result{}, fmt.Errorf("puppet of %s: no answer to %s", p.library.name, line)
	}
}

func (p *puppet) inbox(client string) *inbox {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.inboxes[client] == nil {
		p.inboxes[client] = &inbox{changed: make(chan struct{})}
	}
	return p.inboxes[client]
}

// hand is one client of a puppet.
type hand struct {
	puppet *puppet
	name   string // in the puppet
	jid    string // full
	opened result
}

func (h *hand) bare() string { return strings.Split(h.jid, "/")[0] }

func (h *hand) inbox() *inbox { return h.puppet.inbox(h.name) }

// open logs a client in under a name of its own.
func (p *puppet) open(user, resource, password string, register bool) (*hand, error) {
	return p.openAs(order{Register: register}, user, resource, password)
}

func (p *puppet) openAs(o order, user, resource, password string) (*hand, error) {
	h := &hand{puppet: p, name: user + "/" + resource}
	o.Client, o.Do, o.JID, o.Password = h.name, "open", p.s.jid(user)+"/"+resource, password
	o.Host, o.Port, o.CA = p.s.host, p.s.port, p.s.caFile
	ok, err := p.tell(o)
	h.jid, h.opened = ok.JID, ok
	return h, err
}

// mustOpen logs a client in with the password of its account.
func (p *puppet) mustOpen(t *testing.T, user, resource string, register bool) *hand {
	t.Helper()
	h, err := p.open(user, resource, passwordOf(user), register)
	if err != nil {
		t.Fatalf("%s: open %s/%s: %v", p.library.name, user, resource, err)
	}
	return h
}

// mustOpenResumable logs a client in whose stream can be resumed, if the server
// has that.
func (p *puppet) mustOpenResumable(t *testing.T, user, resource string, register bool) *hand {
	t.Helper()
	h, err := p.openAs(order{Register: register, Resume: true}, user, resource, passwordOf(user))
	if err != nil {
		t.Fatalf("%s: open %s/%s: %v", p.library.name, user, resource, err)
	}
	return h
}

// do gives an order in the client's name that must succeed.
func (h *hand) do(t *testing.T, o order) result {
	t.Helper()
	o.Client = h.name
	ok, err := h.puppet.tell(o)
	if err != nil {
		t.Fatalf("%s as %s: %s %s: %v", h.puppet.library.name, h.name, o.Do, o.To, err)
	}
	return ok
}

// condition gives an order that must fail, and returns the error's condition.
func (h *hand) condition(t *testing.T, o order) string {
	t.Helper()
	o.Client = h.name
	ok, err := h.puppet.tell(o)
	if err == nil {
		t.Fatalf("%s as %s: %s %s: got %+v, want an error", h.puppet.library.name, h.name, o.Do, o.To, ok)
	}
	return conditionOf(t, err)
}

func conditionOf(t *testing.T, err error) string {
	t.Helper()
	var r *refusal
	if !errors.As(err, &r) {
		t.Fatal(err)
	}
	return r.Condition
}

// inbox keeps what a client received, in order, until somebody takes it.
type inbox struct {
	mu      sync.Mutex // guards what follows
	events  []event
	changed chan struct{} // closed and replaced at each event
}

func (b *inbox) put(e event) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.events = append(b.events, e)
	close(b.changed)
	b.changed = make(chan struct{})
}

// take removes the first event that is wanted, and nothing else.
func (b *inbox) take(wanted func(event) bool) (event, bool, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i := slices.IndexFunc(b.events, wanted)
	if i < 0 {
		return event{}, false, b.changed
	}
	e := b.events[i]
	b.events = slices.Delete(b.events, i, i+1)
	return e, true, b.changed
}

// await waits for an event and removes it.
func (b *inbox) await(t *testing.T, what string, wanted func(event) bool) event {
	t.Helper()
	late := time.After(*patience)
	for {
		e, ok, changed := b.take(wanted)
		if ok {
			return e
		}
		select {
		case <-changed:
		case <-late:
			b.mu.Lock()
			defer b.mu.Unlock()
			t.Fatalf("waited %v for %s; received instead: %+v", *patience, what, b.events)
		}
	}
}

// drain removes and returns all that came so far.
func (b *inbox) drain() []event {
	b.mu.Lock()
	defer b.mu.Unlock()
	events := b.events
	b.events = nil
	return events
}
