package route

import (
	"fmt"
	"testing"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

func inquiryTo(id, to string) *inquiry {
	st := stanza.New(stanza.IQ, stanza.Get, jid.MustParse("capulet.example"), jid.MustParse(to))
	st.ID = id
	return &inquiry{st: st}
}

// An answer is taken from who was asked, by who has asked, under its id, once.
func TestInquiryTake(t *testing.T) {
	var l inquiries
	if !l.add(inquiryTo("1", "push.example"), time.Hour) {
		t.Fatal("not taken")
	}
	for _, tt := range []struct {
		id, by, to string
		want       bool
	}{
		{"2", "capulet.example", "push.example", false},
		{"1", "montague.example", "push.example", false},
		{"1", "capulet.example", "other.example", false},
		{"1", "capulet.example", "push.example/x", false},
		{"1", "capulet.example", "push.example", true},
		{"1", "capulet.example", "push.example", false},
	} {
		q := l.find(tt.id, jid.MustParse(tt.by), jid.MustParse(tt.to))
		if got := q != nil && l.take(q); got != tt.want {
			t.Errorf("an answer to %s from %s with id %s: %v, want %v", tt.by, tt.to, tt.id, got, tt.want)
		}
	}
	if len(l.by)+len(l.to) > 0 {
		t.Errorf("%d questions and %d domains are left, want none", len(l.by), len(l.to))
	}
}

// What is waited for is bounded, for each domain and in all.
func TestInquiryBounds(t *testing.T) {
	var l inquiries
	defer func() {
		for _, q := range l.by {
			q.timer.Stop()
		}
	}()
	n := 0
	for d := 0; n < mostAsks; d++ {
		domain := fmt.Sprintf("d%d.example", d)
		for i := range mostAsksDomain {
			if !l.add(inquiryTo(fmt.Sprintf("%d-%d", d, i), domain), time.Hour) {
				t.Fatalf("question %d of %s was not taken", i, domain)
			}
			n++
		}
		if l.add(inquiryTo("more", domain+"/x"), time.Hour) {
			t.Fatalf("%s is asked more than %d questions", domain, mostAsksDomain)
		}
	}
	if l.add(inquiryTo("more", "another.example"), time.Hour) {
		t.Errorf("more than %d questions", mostAsks)
	}
	if !l.take(l.by["0-0"]) || !l.add(inquiryTo("more", "another.example"), time.Hour) {
		t.Error("an answer does not make room")
	}
}
