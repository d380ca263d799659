//go:build interop

package interop_test

import (
	"crypto/tls"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"
)

const nsSID = "urn:xmpp:sid:0"

// How often a recipient acknowledges what it has received (XEP-0198), and how
// often it finds out that this is on disk, in messages.
const (
	recipientAcks   = 16
	recipientSettle = 64
)

// crashRecipient is one of those who receive, with stream management.
type crashRecipient struct {
	user    string
	c       *stream
	pause   chan struct{} // closed: it reads no further
	resumes bool          // it may resume its stream
	id      string        // by which it does

	h       int                 // stanzas received on this stream
	count   int                 // messages received on this stream
	got     []string            // message ids, in order, of all streams
	names   map[string][]string // the ids of XEP-0359 that each came with
	settled int                 // the first of got whose acknowledgement is on disk
	owed    []string            // ids of what the store has for it
	archive []archived          // what its archive has
}

// open logs in and becomes available, with stream management.
func (r *crashRecipient) open(t *testing.T, s *server, within time.Duration) {
	t.Helper()
	r.c = login(t, s, r.user, "here", false)
	r.begin(t, within)
}

// begin becomes available on a stream that is bound.
func (r *crashRecipient) begin(t *testing.T, within time.Duration) {
	t.Helper()
	r.c.conn.SetDeadline(time.Now().Add(within))
	enable := el(nsSM, "enable")
	if r.resumes {
		enable = el(nsSM, "enable", "resume", "true")
	}
	answer, err := r.c.ask(enable)
	if err != nil || !answer.is(nsSM, "enabled") || r.resumes && answer.attr("id") == "" {
		t.Fatalf("enable stream management: %v %v", answer, err)
	}
	r.id = answer.attr("id")
	r.h, r.count = 0, 0
	if r.names == nil {
		r.names = make(map[string][]string)
	}
	if err := r.c.write(el(nsClient, "presence")); err != nil {
		t.Fatal(err)
	}
}

// cut takes its connection away, without a word.
func (r *crashRecipient) cut() { r.c.conn.(*tls.Conn).NetConn().Close() }

// resume goes on with the stream that was lost. A server that was killed knows
// nothing of it (XEP-0198 §5), and it begins anew.
func (r *crashRecipient) resume(t *testing.T, s *server, gentle bool) {
	t.Helper()
	c, err := dial(s, 0)
	if err == nil {
		t.Cleanup(func() { c.conn.Close() })
		r.c, err = c, c.plain(r.user, passwordOf(r.user))
	}
	var answer element
	if err == nil {
		answer, err = c.ask(el(nsSM, "resume", "previd", r.id, "h", strconv.Itoa(r.h)))
	}
	switch {
	case err == nil && gentle && answer.is(nsSM, "resumed"):
		c.conn.SetDeadline(time.Now().Add(*patience))
		return
	case err == nil && !gentle && answer.is(nsSM, "failed"):
		_, err = c.bind("here")
	case err == nil:
		err = errors.New("the answer is " + answer.String())
	}
	if err != nil {
		t.Fatalf("resume the stream of %s: %v", r.user, err)
	}
	r.begin(t, *patience)
}

// read reads the next element that is no question of the server's.
func (r *crashRecipient) read() (element, error) {
	for {
		e, err := r.c.read()
		switch {
		case err != nil:
			return e, err
		case e.is(nsSM, "r"):
			if err := r.c.write(r.ack()); err != nil {
				return e, err
			}
			continue
		case e.XMLName.Space == nsClient:
			r.h++
		}
		return e, nil
	}
}

// receive notes messages until the one with the id last, the pause, or the end of
// the stream.
func (r *crashRecipient) receive(last string) error {
	for {
		select {
		case <-r.pause:
			return nil
		default:
		}
		e, err := r.read()
		if err != nil {
			return err
		}
		if e.XMLName.Space != nsClient {
			continue
		}
		if n, ok := strings.CutPrefix(e.attr("id"), "settle "); ok && e.is(nsClient, "iq") {
			// What our stanza found done when it was answered is done for good: the
			// acknowledgement stood before it, and went the same way.
			if r.settled, err = strconv.Atoi(n); err != nil {
				return err
			}
		}
		if !e.is(nsClient, "message") {
			continue
		}
		id := e.attr("id")
		if id == last {
			return r.c.write(r.ack())
		}
		if e.attr("type") == "error" {
			return errors.New("received " + e.String())
		}
		r.got = append(r.got, id)
		r.names[id] = append(r.names[id], e.child(nsSID, "stanza-id").attr("id"))
		r.count++
		if err := r.acknowledge(); err != nil {
			return err
		}
	}
}

func (r *crashRecipient) ack() element { return el(nsSM, "a", "h", strconv.Itoa(r.h)) }

// acknowledge does so from time to time.
func (r *crashRecipient) acknowledge() error {
	switch {
	case r.count%recipientSettle == 0:
		return r.c.write(r.ack(), el(nsClient, "iq", "type", "get", "id", "settle "+strconv.Itoa(len(r.got))).
			with(el("urn:xmpp:ping", "ping")))
	case r.count%recipientAcks == 0:
		return r.c.write(r.ack())
	}
	return nil
}

// lastOf is the id of the last message that a recipient gets.
func lastOf(r *crashRecipient) string { return "last of " + r.user }

// sendLast sends each of them its last message.
func (w *crashWorld) sendLast(t *testing.T, recipients []*crashRecipient) {
	t.Helper()
	sender := login(t, w.server, "sender0", "last", false)
	defer sender.conn.Close()
	// Answered when the messages are stored, behind all that the recipients are owed.
	answer, err := sender.ask(el(nsSM, "enable"))
	for _, r := range recipients {
		if err == nil {
			err = sender.write(el(nsClient, "message", "to", w.jid(r.user), "type", "chat", "id", lastOf(r)).
				with(el(nsClient, "body").text(lastOf(r))))
		}
	}
	done := strconv.Itoa(len(recipients))
	// A disk may need longer than the server lets the first request wait.
	for end := time.Now().Add(*patience); err == nil && answer.attr("h") != done && time.Now().Before(end); {
		answer, err = sender.ask(el(nsSM, "r"))
	}
	if err != nil || answer.attr("h") != done {
		t.Fatalf("send the last messages: %v %v", answer, err)
	}
}

// collect logs in after a crash and takes what comes: what it is owed and has not
// received, perhaps what it has not acknowledged, nothing else. Then it reads its
// archive.
func (r *crashRecipient) collect(t *testing.T, s *server, run *flow, stored map[string][]string) {
	t.Helper()
	before, settled := r.got, r.settled
	r.got, r.pause = nil, nil
	if r.resumes {
		r.resume(t, s, run.gentle)
	} else {
		r.open(t, s, *patience)
	}
	if err := r.receive(lastOf(r)); err != nil {
		t.Errorf("%s received %d of the messages that it is owed, then: %v", r.user, len(r.got), err)
	}
	was := make(map[string]int) // when it was received before the crash, from 1
	for i, id := range before {
		was[id] = i + 1
	}
	late := make(map[string]int)
	for _, id := range r.got {
		if late[id]++; late[id] > 1 {
			t.Errorf("%s received %s %d times after the crash", r.user, id, late[id])
		}
		if n := was[id]; n > 0 {
			run.again++
			switch {
			case r.resumes && run.gentle:
				t.Errorf("%s received %s again, although it has resumed its stream behind it", r.user, id)
			case n <= settled:
				t.Errorf("%s received %s again, although its acknowledgement was settled (%d of %d)", r.user, id, n, settled)
			}
		}
	}
	inOrder(t, r.user+" received before", before)
	inOrder(t, r.user+" received after", r.got)
	run.late += len(r.got)
	if r.resumes {
		run.waited += len(r.got)
	}
	missing := 0
	for _, id := range r.owed {
		if late[id] == 0 && was[id] == 0 {
			missing++
		}
	}
	if missing > 0 {
		t.Errorf("%s never received %d of its %d messages in the store", r.user, missing, len(r.owed))
	}
	for id, names := range r.names {
		for _, name := range names {
			if len(stored[id]) != 1 || name != stored[id][0] {
				t.Errorf("%s received %s as %q, it is stored as %v", r.user, id, name, stored[id])
			}
		}
	}
	r.archive = readArchive(t, r.c, r.read, "")
}
