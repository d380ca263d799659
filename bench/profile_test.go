package bench

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/stream"
)

// TestRoundTrips: each is a wait behind something that was written, however much
// is written before and read then.
func TestRoundTrips(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	w := &wire{TCP: stream.NewTCP(ours, stream.Options{Limits: limits()})}
	go io.Copy(io.Discard, bufio.NewReader(theirs)) //nolint:errcheck // until the test ends
	send := func(s string) {
		go io.WriteString(theirs, s) //nolint:errcheck // what is missing fails the test
	}
	check := func(what string, err error, want int) {
		t.Helper()
		if err != nil || w.trips != want {
			t.Errorf("%s: %d round trips, %v, want %d", what, w.trips, err, want)
		}
	}
	send("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'><a/><b/><c/><d/>")
	check("header sent", w.Open(stream.Header{To: "localhost", Version: stream.Version}), 0)
	_, err := w.ReadHeader()
	check("header read", err, 1)
	_, err = w.ReadElement()
	check("what came with it", err, 1)
	check("one sent", stream.Write(w, bare{Local: "x"}), 1)
	check("another", stream.Write(w, bare{Local: "x"}), 1)
	_, err = w.ReadElement()
	check("read", err, 2)
	_, err = w.ReadElement()
	check("read on", err, 2)
}

func TestSinceParts(t *testing.T) {
	a := reading{server: usage{cpu: 5 * time.Second}, parts: []time.Duration{time.Second, 4 * time.Second}}
	b := reading{server: usage{cpu: 9 * time.Second}, parts: []time.Duration{2 * time.Second, 7 * time.Second}}
	for range 2 { // the readings stay as they are
		if got := b.since(a); got.server.cpu != 4*time.Second || fmt.Sprint(got.parts) != "[1s 3s]" {
			t.Errorf("since = %v of %v, want 4s of [1s 3s]", got.server.cpu, got.parts)
		}
	}
	u := usage{1, 2, 3, 4, 5, 6}
	u.add(usage{10, 20, 30, 40, 50, 60})
	if want := (usage{11, 22, 33, 44, 55, 66}); u != want {
		t.Errorf("add = %+v, want %+v", u, want)
	}
}

// TestRefused: what a server that has not what is measured makes of it.
func TestRefused(t *testing.T) {
	in, out := &negotiate.State{User: jid.MustParse("juliet@capulet.example")}, new(negotiate.State)
	gone := &negotiate.State{Gained: negotiate.Gained{NotResume: &negotiate.Failed{Condition: "item-not-found"}}}
	again := new(session)
	other := errors.New("other")
	tests := []struct {
		want features
		st   *negotiate.State
		err  error
		is   error
	}{
		{features{}, out, other, other},
		{features{}, out, negotiate.ErrNotOffered, negotiate.ErrNotOffered},
		{features{profile: profileClassic}, out, negotiate.ErrNotOffered, negotiate.ErrNotOffered},
		{features{profile: profileSASL2}, out, negotiate.ErrNotOffered, errNoSASL2},
		{features{profile: profileFast}, out, negotiate.ErrNotOffered, errNoSASL2},
		{features{profile: profileFast}, out, other, other},
		{features{again: again}, in, negotiate.ErrNotOffered, errNoResumption},
		{features{again: again, profile: profileFast}, in, negotiate.ErrNotOffered, errNoResumption},
		{features{again: again, profile: profileFast}, gone, negotiate.ErrNotOffered, errNotResumed},
		{features{}, nil, other, other},
	}
	for _, tt := range tests {
		if err := tt.want.refused(tt.st, tt.err); !errors.Is(err, tt.is) {
			t.Errorf("refused(%+v) = %v, want %v", tt.want, err, tt.is)
		}
	}
}

func TestAgent(t *testing.T) {
	a, b := agent(1), agent(2)
	if a.ID == b.ID || len(a.ID) != len("00000000-0000-4000-8000-000000000000") || strings.ToLower(a.ID) != a.ID || a != agent(1) {
		t.Errorf("agents %+v and %+v", a, b)
	}
}
