package s2s

import (
	"errors"
	"io"
	"net"
	"strconv"
	"sync"
	"testing"
	"time"

	"kith/server/config"
	"kith/server/session"
	"kith/xmpp/ns"
	"kith/xmpp/stream"
)

// TestReceiptsGrow: XEP-0198 §4: an h is never less than the one before it, whoever
// writes it.
func TestReceiptsGrow(t *testing.T) {
	a, b := net.Pipe()
	ours, theirs := stream.NewTCP(a, stream.Options{Server: true}), stream.NewTCP(b, stream.Options{})
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := ours.Open(stream.Header{From: "montague.example", ID: "1", Version: "1.0", Content: ns.Server}); err != nil {
			t.Error(err)
		}
	})
	if _, err := theirs.ReadHeader(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	s, r := new(Server), new(receipts)
	r.begin(s, ours, &config.Limits{Credit: 1000, CreditBytes: 1 << 20})
	wg.Go(func() {
		var done sync.WaitGroup
		for range 20_000 {
			ticket := new(session.Ticket)
			r.in.Take(ticket, 1, time.Now())
			done.Go(ticket.Done)
			if err := r.asked(); err != nil {
				t.Error(err)
				break
			}
		}
		done.Wait()
		s.wg.Wait()
		ours.Close(nil)
	})
	for last := 0; ; {
		el, err := theirs.ReadElement()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				t.Errorf("read: %v", err)
			}
			break
		}
		h, err := strconv.Atoi(el.Attr("h"))
		if err != nil || h < last {
			t.Fatalf("%s after %d", el.Raw(), last)
		}
		last = h
	}
	theirs.Close(nil)
	wg.Wait()
	r.in.Stop()
}
