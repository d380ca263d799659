package bench

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xep/caps"
	"kith/xmpp/xmltree"
)

// pocket is the phone, and all who have to do with it.
type pocket struct {
	b        Phone
	r        *run
	m        meter
	stamps   stamps
	radio    *radio
	owner    jid.JID
	laptop   *session
	phone    handset
	contacts [][2]*session // with the strangers behind them
	seen     *tally
	wrote    map[int]string // the id of what the owner has written to a contact last
	read     map[int]string // and of what the contact has written
}

// handset is the phone's session, and what it has seen today.
type handset struct {
	*session
	seen atomic.Pointer[tally]
}

// heed is called for all that comes.
func (h *handset) heed(el xmltree.Element) {
	if t := h.seen.Load(); t != nil {
		t.sees(el, time.Now())
	}
}

// live has everybody do what the trace says, at its time.
func (p *pocket) live(ctx context.Context, events []event, progress string) error {
	p.wrote, p.read = make(map[int]string), make(map[int]string)
	p.m.lag.Store(0)
	begun := time.Now()
	for i := range events {
		e := &events[i]
		due := begun.Add(p.b.scale(e.at))
		if early := time.Until(due); early > 0 {
			if err := p.r.wait(ctx, early, progress); err != nil {
				return err
			}
		}
		p.m.late(time.Since(due))
		if err := p.do(e, uint32(i+1)); err != nil {
			return fmt.Errorf("%s at %s: %w", e.deed, e.at, err)
		}
	}
	rest := time.Until(begun.Add(p.b.Day))
	return p.r.wait(ctx, max(rest, 0), progress)
}

// look takes the phone up, or puts it away (XEP-0352 §4.2).
func (p *pocket) look(on bool) error {
	if !on && p.seen != nil {
		p.seen.compare()
	}
	p.radio.use(on)
	if !p.phone.csi {
		return nil
	}
	local := "inactive"
	if on {
		local = "active"
	}
	return p.phone.send(bare{Space: ns.CSI, Local: local})
}

// do does one thing, the n-th of the day.
func (p *pocket) do(e *event, n uint32) error {
	now := time.Now()
	id := p.stamps.write(now, n)
	p.seen.sends(n, e.deed, now)
	switch e.deed {
	case looks, pockets:
		return p.look(e.deed == looks)
	case pings:
		return p.say(p.phone.session, stanza.IQ, stanza.Get, id, p.owner.Host(), bare(namePing))
	case ownTypes, ownReads, ownWrites, answers:
		return p.own(e, id)
	}
	s := p.contacts[e.who][e.device]
	switch e.deed {
	case comes:
		p.seen.says(s.state.JID, e.word)
		var more []xmltree.Appender
		if e.word != "" {
			more = append(more, words{nameShow, e.word})
		}
		more = append(more, client(e.who))
		return s.send(stanza.New(stanza.Presence, "", jid.JID{}, jid.JID{}, more...))
	case goes:
		p.seen.says(s.state.JID, gone)
		return s.send(stanza.New(stanza.Presence, stanza.Unavailable, jid.JID{}, jid.JID{}))
	case begs:
		s = p.contacts[p.b.Contacts+e.who][0]
		p.seen.begged(n, s.account)
		return p.say(s, stanza.Presence, stanza.Subscribe, id, p.owner)
	case asks:
		return p.say(s, stanza.IQ, stanza.Get, id, p.phone.state.JID, bare{Space: ns.Version, Local: "query"})
	case plays:
		return p.say(s, stanza.Message, stanza.Headline, id, p.owner, published{e.word, n})
	}
	if e.deed == writes {
		p.read[e.who] = id
	}
	return p.say(s, stanza.Message, stanza.Chat, id, p.to(e.to), p.content(e)...)
}

// own does what the owner does on one of the devices.
func (p *pocket) own(e *event, id string) error {
	s := p.laptop
	if e.deed == answers {
		s = p.phone.session
	}
	content := p.content(e)
	if e.deed == ownWrites || e.deed == answers {
		p.wrote[e.who] = id
	}
	return p.say(s, stanza.Message, stanza.Chat, id, p.contacts[e.who][0].account, content...)
}

func (p *pocket) to(t target) jid.JID {
	switch t {
	case toLaptop:
		return p.laptop.state.JID
	case toPhone:
		return p.phone.state.JID
	}
	return p.owner
}

func (p *pocket) say(s *session, k stanza.Kind, typ, id string, to jid.JID, content ...xmltree.Appender) error {
	st := stanza.New(k, typ, jid.JID{}, to, content...)
	st.ID = id
	return s.send(st)
}

// content is what is in a chat message.
func (p *pocket) content(e *event) []xmltree.Appender {
	switch e.deed {
	case types, ownTypes:
		return []xmltree.Appender{bare{Space: ns.ChatStates, Local: e.word}}
	case receives: // XEP-0184 §5.2
		return []xmltree.Appender{mention{xmltree.Name{Space: ns.Receipts, Local: "received"}, p.wrote[e.who]}}
	case reads: // XEP-0333 §4
		return []xmltree.Appender{mention{xmltree.Name{Space: ns.Markers, Local: "displayed"}, p.wrote[e.who]}}
	case ownReads:
		return []xmltree.Appender{mention{xmltree.Name{Space: ns.Markers, Local: "displayed"}, p.read[e.who]}}
	}
	return []xmltree.Appender{
		words{nameBody, p.stamps.words(100)}, bare{Space: ns.ChatStates, Local: "active"},
		bare{Space: ns.Receipts, Local: "request"}, bare{Space: ns.Markers, Local: "markable"},
	}
}

// refuse answers the strangers, so that they can ask again.
func (p *pocket) refuse(ctx context.Context) error {
	for i := range strangers {
		if err := p.say(p.laptop, stanza.Presence, stanza.Unsubscribed, "", p.contacts[p.b.Contacts+i][0].account); err != nil {
			return err
		}
	}
	if err := p.r.quiet(ctx); err != nil {
		return err
	}
	return p.look(false)
}

// mention is an element that names a message.
type mention struct {
	name xmltree.Name
	id   string
}

// AppendXML implements xmltree.Appender.
func (m mention) AppendXML(w *xmltree.Writer) {
	w.Open(m.name)
	w.Attr("id", m.id)
	w.Close()
}

// client is which program a contact uses: one of four.
func client(who int) caps.Caps {
	vers := []string{"QgayPKawpkPSDYmwT/WM94uAlu0=", "0jHMGFl6jWVHDhVn8eXhXbXRkQk=", "q07IKJEyjvHSyhy//CH0CxmKi8w=", "66/0NaeaBKkwk85efJTGmU47vXI="}
	return caps.Caps{Hash: caps.SHA1, Node: "https://client.example", Ver: vers[who%len(vers)]}
}

// published is a notification of what somebody has published (XEP-0163 §4.3): a
// tune (XEP-0118) or a mood (XEP-0107).
type published struct {
	what string
	n    uint32
}

// AppendXML implements xmltree.Appender.
func (p published) AppendXML(w *xmltree.Writer) {
	const events, tune, mood = "http://jabber.org/protocol/pubsub#event", "http://jabber.org/protocol/tune", "http://jabber.org/protocol/mood"
	space := map[string]string{"tune": tune, "mood": mood}[p.what]
	w.Open(xmltree.Name{Space: events, Local: "event"})
	w.Open(xmltree.Name{Space: events, Local: "items"})
	w.Attr("node", space)
	w.Open(xmltree.Name{Space: events, Local: "item"})
	w.Attr("id", fmt.Sprintf("item%08d", p.n))
	w.Open(xmltree.Name{Space: space, Local: p.what})
	switch p.what {
	case "tune":
		w.Element(xmltree.Name{Space: space, Local: "artist"}, "The Consort of Verona")
		w.Element(xmltree.Name{Space: space, Local: "length"}, "211")
		w.Element(xmltree.Name{Space: space, Local: "title"}, fmt.Sprintf("Pavane %d", p.n))
	default:
		w.Element(xmltree.Name{Space: space, Local: "happy"}, "")
	}
	for range 4 {
		w.Close()
	}
}
