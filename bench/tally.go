package bench

import (
	"sync"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/carbons"
	"kith/xmpp/xmltree"
)

var nameShow = xmltree.Name{Space: nameStatus.Space, Local: "show"}

// tally compares what was sent in a day with what the phone has seen of it.
type tally struct {
	stamps stamps
	owner  jid.JID

	mu       sync.Mutex       // guards what follows
	mail     map[uint32]*mail // what must come, by its number
	requests map[jid.JID]*mail
	last     map[string]uint32 // the number seen last, by sender and recipient
	said     map[string]string // what a contact's device has said of itself last
	shown    map[string]string // and what the phone has seen of that
	got      [3]int            // messages, presences, requests and answers
	other    int               // elements that are no stanzas
	soon     histogram         // how late what must not wait was
	rest     histogram
	twice    int // had come before
	disorder int // came behind what was sent later
	outdated int // devices of which the phone shows something else, when it is put away
}

// mail is something that must come.
type mail struct {
	sent time.Time
	soon bool
	seen bool
}

func newTally(s stamps, owner jid.JID, contacts int) *tally {
	return &tally{
		stamps: s, owner: owner, mail: make(map[uint32]*mail), requests: make(map[jid.JID]*mail),
		last: make(map[string]uint32), said: make(map[string]string, contacts), shown: make(map[string]string, contacts),
	}
}

// sends notes what is being sent.
func (t *tally) sends(n uint32, d deed, at time.Time) {
	if !d.must() {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mail[n] = &mail{sent: at, soon: d.soon()}
}

// begged notes who asks to be a contact: a server need not keep the id of that.
func (t *tally) begged(n uint32, from jid.JID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests[from] = t.mail[n]
}

// says notes what a contact's device says of itself: its show, or gone.
func (t *tally) says(from jid.JID, what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.said[from.String()] = what
}

const gone = "gone"

// sees counts what has come to the phone at a time.
func (t *tally) sees(el xmltree.Element, at time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch stanza.KindOf(el) {
	case stanza.Message:
		t.got[0]++
		inner := el
		for c := range el.Children() {
			if carbons.IsCopy(c) {
				inner = carbons.Forwarded(c)
			}
		}
		t.numbered(inner, at)
	case stanza.Presence:
		t.got[1]++
		t.presence(el, at)
	case stanza.IQ:
		t.got[2]++
		t.numbered(el, at)
	default:
		t.other++
	}
}

// numbered looks at something that tells its number in its id.
func (t *tally) numbered(el xmltree.Element, at time.Time) {
	n, ok := t.stamps.number(el.Attr("id"))
	if !ok || el.Attr("type") == stanza.Result || el.Attr("type") == stanza.TypeError {
		return
	}
	from, err1 := jid.Parse(el.Attr("from"))
	to, err2 := jid.Parse(el.Attr("to"))
	if err1 != nil || err2 != nil {
		return // it is missed in the end
	}
	way := from.Bare().String() + " " + to.Bare().String()
	switch {
	case n < t.last[way]:
		t.disorder++
	default:
		t.last[way] = n
	}
	if m := t.mail[n]; m != nil {
		t.arrived(m, at)
	}
}

func (t *tally) arrived(m *mail, at time.Time) {
	switch {
	case m.seen:
		t.twice++
	case m.soon:
		t.soon.add(at.Sub(m.sent))
	default:
		t.rest.add(at.Sub(m.sent))
	}
	m.seen = true
}

func (t *tally) presence(el xmltree.Element, at time.Time) {
	from, err := jid.Parse(el.Attr("from"))
	if err != nil {
		return
	}
	switch el.Attr("type") {
	case stanza.Subscribe:
		if m := t.requests[from.Bare()]; m != nil {
			t.arrived(m, at)
		}
	case stanza.Unavailable:
		t.shown[from.String()] = gone
	case "":
		t.shown[from.String()] = el.Child(nameShow).Text()
	}
}

// compare counts the devices of which the phone shows something else than they
// have said.
func (t *tally) compare() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for from, what := range t.said {
		if shown, ok := t.shown[from]; !ok && what != gone || ok && shown != what {
			t.outdated++
		}
	}
}

func (t *tally) figures(f *Figures) {
	t.mu.Lock()
	defer t.mu.Unlock()
	f.add("messages", "messages that came", float64(t.got[0]))
	f.add("presences", "presences that came", float64(t.got[1]))
	f.add("requests", "requests and answers that came", float64(t.got[2]))
	f.add("other_elements", "other elements that came", float64(t.other))
	f.add("urgent", "urgent stanzas sent", float64(t.sent(true)))
	f.add("urgent_late_p50_ms", "  seen after, p50, ms", millis(t.soon.quantile(0.5)))
	f.add("urgent_late_max_ms", "  seen after, max, ms", millis(t.soon.max()))
	f.add("deferrable", "stanzas that may wait, sent", float64(t.sent(false)))
	f.add("deferrable_late_p50_ms", "  seen after, p50, ms", millis(t.rest.quantile(0.5)))
	f.add("deferrable_late_max_ms", "  seen after, max, ms", millis(t.rest.max()))
	missing := 0
	for _, m := range t.mail {
		if !m.seen {
			missing++
		}
	}
	f.add("missing", "of both, did not come", float64(missing))
	f.add("twice", "of both, came twice", float64(t.twice))
	f.add("out_of_order", "came behind what was sent later", float64(t.disorder))
	f.add("outdated", "presences outdated when the phone was put away", float64(t.outdated))
}

func (t *tally) sent(soon bool) (n int) {
	for _, m := range t.mail {
		if m.soon == soon {
			n++
		}
	}
	return n
}
