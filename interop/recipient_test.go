//go:build interop

package interop_test

import (
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
	user  string
	c     *stream
	pause chan struct{} // closed: it reads no further

	h       int                 // stanzas received on this stream
	count   int                 // messages received on this stream
	got     []string            // message ids, in order, of all streams
	names   map[string][]string // the ids of XEP-0359 that each came with
	settled int                 // the first of got whose acknowledgement is on disk
	owed    []string            // ids of what the store has for it
}

// open logs in and becomes available, with stream management.
func (r *crashRecipient) open(t *testing.T, s *server, within time.Duration) {
	t.Helper()
	r.c = login(t, s, r.user, "here", false)
	r.c.conn.SetDeadline(time.Now().Add(within))
	answer, err := r.c.ask(el(nsSM, "enable"))
	if err != nil || !answer.is(nsSM, "enabled") {
		t.Fatalf("enable stream management: %v %v", answer, err)
	}
	r.h, r.count = 0, 0
	if r.names == nil {
		r.names = make(map[string][]string)
	}
	if err := r.c.write(el(nsClient, "presence")); err != nil {
		t.Fatal(err)
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
		e, err := r.c.read()
		if err != nil {
			return err
		}
		if e.is(nsSM, "r") {
			if err := r.c.write(r.ack()); err != nil {
				return err
			}
			continue
		}
		if e.XMLName.Space != nsClient {
			continue
		}
		r.h++
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

// collect logs in after a crash and takes what comes: what it is owed and has not
// received, perhaps what it has not acknowledged, nothing else.
func (r *crashRecipient) collect(t *testing.T, s *server, run *flow, stored map[string][]string) {
	t.Helper()
	before, settled := r.got, r.settled
	r.got, r.pause = nil, nil
	last := "last of " + r.user
	sender := login(t, s, "sender0", "last", false)
	defer sender.conn.Close()
	// Answered when the message is stored, behind all that the recipient is owed.
	answer, err := sender.ask(el(nsSM, "enable"))
	if err == nil && answer.is(nsSM, "enabled") {
		err = sender.write(el(nsClient, "message", "to", s.jid(r.user), "type", "chat", "id", last).
			with(el(nsClient, "body").text(last)))
	}
	// A disk may need longer than the server lets the first request wait.
	for end := time.Now().Add(*patience); err == nil && answer.attr("h") != "1" && time.Now().Before(end); {
		answer, err = sender.ask(el(nsSM, "r"))
	}
	if err != nil || answer.attr("h") != "1" {
		t.Fatalf("send the last message: %v %v", answer, err)
	}
	r.open(t, s, *patience)
	defer r.c.conn.Close()
	if err := r.receive(last); err != nil {
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
			if n <= settled {
				t.Errorf("%s received %s again, although its acknowledgement was settled (%d of %d)", r.user, id, n, settled)
			}
		}
	}
	run.late += len(r.got)
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
}
