package bench

import (
	"slices"
	"testing"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// TestTrace: a day is the same for a seed, another for another, and what the
// manual says of it.
func TestTrace(t *testing.T) {
	events := trace(1, 200)
	if !slices.Equal(events, trace(1, 200)) {
		t.Fatal("two days of one seed differ")
	}
	if slices.Equal(events, trace(2, 200)) {
		t.Fatal("the days of two seeds are the same")
	}
	var counts [deeds]int
	up, last := false, time.Duration(0)
	for i, e := range events {
		counts[e.deed]++
		if e.at < last || e.at >= wholeDay {
			t.Fatalf("event %d is at %s, behind one at %s", i, e.at, last)
		}
		last = e.at
		if e.deed == looks || e.deed == pockets {
			if up == (e.deed == looks) {
				t.Fatalf("event %d: %s twice", i, e.deed)
			}
			up = e.deed == looks
		}
	}
	if up {
		t.Error("the phone is in use at the end of the day")
	}
	for d, n := range counts {
		t.Logf("%s: %d", deed(d), n)
		if n == 0 {
			t.Errorf("no %s in a day", deed(d))
		}
	}
}

// TestRadio: what wakes a modem up, how long it is awake, and TLS records
// however they are cut.
func TestRadio(t *testing.T) {
	record := func(n int) []byte { return append([]byte{23, 3, 3, byte(n >> 8), byte(n)}, make([]byte, n)...) }
	begin := time.Unix(1000, 0)
	r := &radio{tail: 10 * time.Second}
	at := func(s int) time.Time { return begin.Add(time.Duration(s) * time.Second) }
	r.heard(at(0), []byte("<proceed/>"))
	r.heard(at(5), record(300)[:3]) // in the tail of the first
	r.heard(at(9), record(300)[3:])
	r.use(true)
	r.heard(at(19), slices.Concat(record(1), record(0), record(2))) // just asleep
	r.use(false)
	r.said(at(40))
	r.heard(at(41), record(7)) // an answer
	r.said(at(50))
	r.heard(at(100), record(7))
	want := airtime{
		wakes: 3, pocketed: 2, own: 1, reads: 6, records: 6,
		bytes: 10 + 305 + 6 + 5 + 7 + 12 + 12, pocketedBytes: 10 + 305 + 12 + 12,
		awake: (10 + 5 + 4 + 10 + 10 + 1 + 9 + 10) * time.Second, dozing: (10 + 5 + 4 + 10 + 1 + 9 + 10) * time.Second,
	}
	if got := r.read(); got != want {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

// TestTally: what came late, twice, behind what was sent later, or not at all.
func TestTally(t *testing.T) {
	s := newStamps()
	owner, romeo := jid.MustParse("juliet@capulet.example"), jid.MustParse("romeo@montague.example/orchard")
	y := newTally(s, owner, 1)
	begin := time.Unix(1000, 0)
	after := func(n int) time.Time { return begin.Add(time.Duration(n) * time.Millisecond) }
	for n := range uint32(5) {
		y.sends(n, writes, begin)
	}
	y.sends(5, receives, begin)
	y.sends(6, types, begin)
	y.sends(7, begs, begin)
	y.begged(7, romeo.Bare())
	y.says(romeo, "away")
	see := func(text string, at time.Time) {
		el, err := xmltree.ParseIn(ns.Client, []byte(text), limits())
		if err != nil {
			t.Fatal(err)
		}
		y.sees(el, at)
	}
	id := func(n uint32) string { return s.write(begin, n) }
	see("<message from='romeo@montague.example/orchard' to='juliet@capulet.example' id='"+id(0)+"'/>", after(1))
	see("<message from='romeo@montague.example/orchard' to='juliet@capulet.example' id='"+id(2)+"'/>", after(2))
	see("<message from='romeo@montague.example/orchard' to='juliet@capulet.example' id='"+id(1)+"'/>", after(3)) // out of order
	see("<message from='juliet@capulet.example' to='juliet@capulet.example/phone'><received xmlns='urn:xmpp:carbons:2'><forwarded xmlns='urn:xmpp:forward:0'>"+
		"<message xmlns='jabber:client' from='romeo@montague.example/orchard' to='juliet@capulet.example/laptop' id='"+id(2)+"'/></forwarded></received></message>", after(4)) // again
	see("<iq type='get' from='nurse@capulet.example/house' to='juliet@capulet.example/phone' id='"+id(3)+"'/>", after(9))
	see("<iq type='result' from='capulet.example' to='juliet@capulet.example/phone' id='"+id(4)+"'/>", after(9)) // an answer: 4 is missing
	see("<message from='romeo@montague.example/orchard' to='juliet@capulet.example' id='"+id(5)+"'/>", after(900))
	see("<presence type='subscribe' from='romeo@montague.example' to='juliet@capulet.example'/>", after(5))
	see("<presence from='romeo@montague.example/orchard' to='juliet@capulet.example'/>", after(5))
	see("<r xmlns='urn:xmpp:sm:3'/>", after(5))
	y.compare() // away is not shown
	see("<presence from='romeo@montague.example/orchard' to='juliet@capulet.example'><show>away</show></presence>", after(5))
	y.compare()
	var f Figures
	y.figures(&f)
	for key, want := range map[string]float64{
		"messages": 5, "presences": 3, "requests": 2, "other_elements": 1, "urgent": 6, "deferrable": 1,
		"urgent_late_max_ms": 9, "deferrable_late_max_ms": 900, "missing": 1, "twice": 1, "out_of_order": 1, "outdated": 1,
	} {
		if got, _ := f.Get(key); got != want {
			t.Errorf("%s = %v, want %v", key, got, want)
		}
	}
}

// TestLeastWakes: what docs/performance.md says of a server that lets everything wait
// while nobody looks but what is urgent: it cannot wake the phone less often.
func TestLeastWakes(t *testing.T) {
	const tail = 11 * time.Second
	r := radio{tail: tail}
	midnight := time.Now()
	r.last = midnight.Add(-tail)
	for _, e := range trace(1, 200) {
		at := midnight.Add(e.at)
		switch {
		case e.deed == looks || e.deed == pockets:
			r.said(at)
			r.inUse = e.deed == looks
		case e.deed == pings || e.deed == answers:
			r.said(at)
		case r.inUse || e.deed.soon():
			r.heard(at, nil)
		}
	}
	if c := r.counts; c.pocketed != 75 || c.wakes != 174 {
		t.Errorf("woken %d times while nobody looks, %d in all; the documentation says 75 and 174", c.pocketed, c.wakes)
	}
}
