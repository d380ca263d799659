package server_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xep/carbons"
	"kith/xmpp/xmltree"
	"kith/xmpptest"
)

// What each device of an account gets (RFC 6121 §8.5, XEP-0160, XEP-0280, XEP-0313).
// A device is fit that is available with a priority that is not negative.
//
//	message                          goes to                 if there is none      copies
//	to a device's address            that device             as below              yes
//	chat, to the account or          all that are fit        kept for the next     yes
//	  to a device that is gone                                 that is fit
//	normal, to the account           all that are fit        kept                  yes
//	normal, to a device that is gone nobody                  sent back             no
//	headline, to the account         all that are fit        dropped               no
//	headline, to one that is gone    nobody                  dropped               no
//	groupchat                        nobody                  sent back             no
//	error                            nobody                  dropped               no
//	sent by another device                                                         yes
//
// Copies go to all other devices that have enabled them, also to those that are
// not fit; of a message that is kept only to those that are available. There are
// none of what is private (no-copy) and of headlines. What has lasting value, and no hint against it, is
// in the archive, once; the rest is kept for nobody. Nobody is given what it has: in
// a copy, or from the archive when it read that before it became available.
//
// A device that acknowledges (XEP-0198) and is lost hands back what it did not
// acknowledge, if no other device has it or may yet have it. What waited for a
// device comes page by page, as it acknowledges; what is sent meanwhile follows.

// A kind of message, by what it means.
type sort struct {
	name, typ, payload string
	copied             bool
	kept               bool // until somebody has it
	archived           bool
	fleeting           bool // who does not look need not have it
	light              bool // who does not look gets it with something else
}

const hint = " xmlns='urn:xmpp:hints'/>"

var sorts = []sort{
	{name: "chat", typ: "chat", payload: "<body>x</body>", copied: true, kept: true, archived: true},
	{name: "talk", typ: "chat", payload: "<body>x</body><active xmlns='http://jabber.org/protocol/chatstates'/><markable xmlns='urn:xmpp:chat-markers:0'/><request xmlns='urn:xmpp:receipts'/>", copied: true, kept: true, archived: true},
	{name: "normal", typ: "normal", payload: "<body>x</body>", copied: true, kept: true, archived: true},
	{name: "headline", typ: "headline", payload: "<body>x</body>"},
	{name: "error", typ: "error", payload: "<body>x</body><error type='cancel'><gone xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"},
	{name: "groupchat", typ: "groupchat", payload: "<body>x</body>"},
	{name: "no-store", typ: "chat", payload: "<body>x</body><no-store" + hint, copied: true},
	{name: "no-permanent-store", typ: "chat", payload: "<body>x</body><no-permanent-store" + hint, copied: true, kept: true},
	{name: "no-copy", typ: "chat", payload: "<body>x</body><no-copy" + hint, kept: true, archived: true},
	{name: "private", typ: "chat", payload: "<body>x</body><private xmlns='urn:xmpp:carbons:2'/>", kept: true, archived: true},
	{name: "state", typ: "chat", payload: "<composing xmlns='http://jabber.org/protocol/chatstates'/>", copied: true, fleeting: true},
	{name: "receipt", typ: "normal", payload: "<received xmlns='urn:xmpp:receipts' id='x'/>", copied: true, kept: true, archived: true, light: true},
	{name: "marker", typ: "chat", payload: "<displayed xmlns='urn:xmpp:chat-markers:0' id='x'/>", copied: true, kept: true, archived: true, light: true},
}

// trait is how a device behaves whenever it comes.
type trait struct {
	name                string
	copies, reads, acks bool
	negative, inactive  bool
}

var traits = []trait{
	{name: "phone", copies: true, reads: true, acks: true},
	{name: "desk", copies: true, reads: true},
	{name: "old"},
	{name: "sm", acks: true},
	{name: "tablet", copies: true, acks: true, inactive: true},
	{name: "bot", copies: true, negative: true},
	{name: "mute", acks: true, negative: true},
}

// device is a session, from its log-in to its end.
type device struct {
	trait
	c         *xmpptest.Client // nil: detached
	id        string           // to resume it
	h         int
	acked     int // of h
	available bool
	negative  bool
	inactive  bool
	got       map[int]int    // how often
	read      map[int]bool   // in the archive, before it was available
	last      map[string]int // by sender and recipient: the last in order
	want      map[int]bool   // what it must get, and has not
	may       map[int]bool   // what it may get: who does not look need not have it
	unacked   map[int]bool   // what it got, but has not acknowledged: whether it holds it then
	waited    map[int]bool   // what waited for it, or for another
}

func (d *device) fit() bool { return d.available && !d.negative }

// pageOfUnacked is how many messages a device gets at a time of those that waited
// for it.
const pageOfUnacked = 6

// behind reports whether it has to acknowledge something to get on.
func (d *device) behind() bool { return d.acks && d.h-d.acked > pageOfUnacked }

// letter is a message as the model sees it.
type letter struct {
	sort
	from, to string
	held     bool // by a device that it was meant for, for sure
	lost     bool // by a device that was to have it: it may come later, to others
	queued   bool // for a device that acknowledges nothing and did not look: lost with it, whoever has a copy
	waits    bool // for the next that is fit
	seen     bool
}

// act is a step, drawn before anything runs.
type act struct{ what, who, sort, to int }

func (a act) String() string { return fmt.Sprintf("{%d, %d, %d, %d}", a.what, a.who, a.sort, a.to) }

func acts() *rapid.Generator[[]act] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) act {
		return act{
			rapid.IntRange(0, 19).Draw(t, "what"), rapid.IntRange(0, len(traits)-1).Draw(t, "who"),
			max(0, rapid.IntRange(-8, len(sorts)-1).Draw(t, "sort")), rapid.IntRange(0, len(traits)+1).Draw(t, "to"),
		}
	}), 20, 60)
}

// TestDevices: whatever its devices do, and whatever is sent, each of them gets
// what the table says, once and in the order of its sender, and nothing is lost.
func TestDevices(t *testing.T) {
	left := crowd(60, 10)
	rapid.Check(t, func(r *rapid.T) {
		if left == 0 {
			return
		}
		there := rapid.IntRange(0, len(traits)).Draw(r, "there at first")
		list := acts().Draw(r, "acts")
		var wrong []string
		synctest.Test(t, func(t *testing.T) { wrong = playDevices(t, there, list) })
		if len(wrong) > 0 {
			r.Fatalf("%s", strings.Join(wrong, "\n"))
		}
		left--
	})
}

const devicesOf = "juliet@capulet.example"

// household is a run of the model.
type household struct {
	*xmpptest.Server
	t       *testing.T
	peers   map[string]*device
	devices map[string]*device
	letters []*letter
	archive []int
	errors  map[string]int // bounces of a peer's that are to come
	wrong   []string
	log     []string
}

func (h *household) fail(format string, args ...any) {
	h.wrong = append(h.wrong, fmt.Sprintf(format, args...))
}

func (h *household) note(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf(format, args...))
}

func playDevices(t *testing.T, there int, list []act) []string {
	config := xmpptest.Config(fmt.Sprintf("limits.unacked_stanzas = %d", 4*pageOfUnacked))
	h := &household{t: t, Server: xmpptest.New(t, config), devices: make(map[string]*device), errors: make(map[string]int)}
	h.invite()
	for _, tr := range traits[:there] {
		h.come(tr)
		h.look()
	}
	for _, a := range list {
		h.act(a)
		h.Settle()
		h.look()
		if len(h.wrong) > 0 {
			return h.story()
		}
	}
	h.end()
	if len(h.wrong) > 0 {
		return h.story()
	}
	return nil
}

// story is what has happened, and what was wrong.
func (h *household) story() []string {
	return slices.Concat(h.log, h.wrong, []string{"the server's log:", h.Log()})
}

var peers = []string{"romeo@montague.example/orchard", "nurse@capulet.example/house"}

func newDevice(tr trait, c *xmpptest.Client) *device {
	return &device{trait: tr, c: c, negative: tr.negative, got: make(map[int]int), read: make(map[int]bool),
		last: make(map[string]int), want: make(map[int]bool), may: make(map[int]bool), unacked: make(map[int]bool), waited: make(map[int]bool)}
}

func (h *household) invite() {
	h.Account(jid.MustParse(devicesOf))
	h.peers = make(map[string]*device)
	for _, p := range peers {
		h.peers[p] = newDevice(trait{name: p}, h.MustBeOnline(p)[0])
	}
}

func (h *household) act(a act) {
	tr := traits[a.who]
	d := h.devices[tr.name]
	switch {
	case a.what < 10:
		h.letter(peers[a.who%len(peers)], a)
	case a.what < 12 && d != nil && d.c != nil:
		h.letter(devicesOf+"/"+tr.name, a)
	case d == nil:
		h.come(tr)
	case d.c == nil:
		switch {
		case a.what%2 == 0:
			h.resume(d)
		case a.what == 13:
			h.expire()
		case a.what == 15: // RFC 6120 §7.7.2.2
			h.gone(d)
			h.come(tr)
		}
	case a.what == 12 && a.to%2 == 0:
		h.leave(d)
	case a.what < 15:
		h.cut(d)
	case a.what == 15:
		h.ack(d)
	case a.what == 16:
		h.note("%s: priority", d.name)
		d.negative = !d.negative
		h.present(d)
		h.pass(d)
	case a.what == 17:
		d.inactive = !d.inactive
		h.attend(d)
	case a.what == 18:
		h.restart()
	default:
		h.expire()
	}
}

// all are the devices, always in the same order.
func (h *household) all() (list []*device) {
	for _, name := range slices.Sorted(maps.Keys(h.devices)) {
		list = append(list, h.devices[name])
	}
	return list
}

// look takes what everybody has received, and compares.
func (h *household) look() {
	h.takeAll()
	for range 20 { // pages come when a client has been seen to take the one before
		paged := func(d *device) bool { return d.acks || len(d.waited) > 0 }
		if !slices.ContainsFunc(h.all(), func(d *device) bool { return paged(d) && h.late(d) }) {
			break
		}
		for _, d := range h.all() {
			if d.behind() { // it keeps others waiting
				h.ack(d)
			}
		}
		h.Pass(200 * time.Millisecond)
		h.takeAll()
	}
	for _, d := range h.all() {
		if h.late(d) {
			h.fail("%s did not get %v", d.name, d.want)
		}
	}
	for _, p := range h.peers {
		if h.late(p) {
			h.fail("%s did not get %v", p.name, p.want)
		}
	}
}

// late reports whether a device should have got something by now. What waited goes
// to one device at a time, which may have lost its connection.
func (h *household) late(d *device) bool {
	if d.c == nil || d.inactive || d.behind() {
		return false
	}
	turn := !slices.ContainsFunc(h.all(), func(other *device) bool { return other.c == nil })
	for n := range d.want {
		if turn || !d.waited[n] {
			return true
		}
	}
	return false
}

// takeAll takes what everybody has received.
func (h *household) takeAll() {
	h.Settle()
	all := h.all()
	for _, p := range peers {
		all = append(all, h.peers[p])
	}
	var held []*letter // only now: several may get at once what comes back
	for _, d := range all {
		if d.c == nil {
			continue
		}
		for _, el := range d.c.Received() {
			if l := h.take(d, el); l != nil && !d.acks && (d.fit() || l.to == devicesOf+"/"+d.name) {
				held = append(held, l)
			}
		}
		if err := d.c.Err(); err != nil {
			h.fail("%s was thrown out: %v", d.name, err)
		}
	}
	for _, l := range held {
		l.held = true
	}
	for _, d := range all {
		if d.h-d.acked > 2*pageOfUnacked { // no further, or it is lost for being slow
			h.ack(d)
		}
	}
}

// take takes one element. It returns a letter that came behind its time.
func (h *household) take(d *device, el xmltree.Element) (late *letter) {
	if el.Name().Space == ns.Client && d.acks && d.id != "" {
		d.h++
	}
	if el.Name().Local == "enabled" {
		d.id = strings.Clone(el.Attr("id"))
	}
	if el.Name().Local != "message" {
		return nil
	}
	inner := el
	for c := range el.Children() {
		if carbons.IsCopy(c) {
			inner = carbons.Forwarded(c)
		}
	}
	n, err := strconv.Atoi(inner.Attr("id"))
	if err != nil || n < 1 || n > len(h.letters) {
		h.fail("%s got %s", d.name, el.Raw())
		return nil
	}
	l := h.letters[n-1]
	if inner.Attr("type") == "error" && l.typ != "error" {
		if h.errors[inner.Attr("id")]--; h.errors[inner.Attr("id")] < 0 || inner.Attr("to") != l.from {
			h.fail("%s got the error %s", d.name, el.Raw())
		}
		return nil
	}
	h.note("    %s got %d", d.name, n)
	if d.got[n]++; d.got[n] > 1 {
		h.fail("%s got %d again", d.name, n)
	}
	if d.read[n] {
		h.fail("%s got %d, which it had from the archive", d.name, n)
	}
	l.seen = true
	if d.acks {
		// A copy counts where the message would have come without the other device.
		d.unacked[n] = d.fit() || l.to == devicesOf+"/"+d.name
	}
	switch key := l.from + ">" + l.to; {
	case d.want[n] || d.may[n]:
		delete(d.want, n)
		delete(d.may, n)
		if !l.fleeting && !l.lost {
			if n < d.last[key] {
				h.fail("%s got %d behind %d", d.name, n, d.last[key])
			}
			d.last[key] = n
		}
		return nil
	case l.lost && l.sort.kept && (!l.held || l.queued) && (d.fit() || l.to == devicesOf+"/"+d.name):
		return l
	}
	h.fail("%s got %d, which is not for it", d.name, n)
	return nil
}

// end lets everybody go. Whoever comes then gets what nobody had; all is in the
// archive.
func (h *household) end() {
	for _, d := range h.all() {
		if d.c != nil && d.inactive {
			d.inactive = false
			h.attend(d)
		}
	}
	h.look()
	for _, d := range h.all() {
		if d.c != nil {
			h.cut(d)
		}
	}
	h.expire()
	h.come(trait{name: "witness"})
	h.look()
	for i, l := range h.letters {
		if lost := l.waits || l.lost || l.held; lost && l.sort.kept && !l.seen {
			h.fail("%d was lost", i+1)
		}
	}
	for id, n := range h.errors {
		if n != 0 {
			h.fail("of %s %d errors did not come", id, n)
		}
	}
	h.leave(h.devices["witness"])
	h.come(trait{name: "reader", reads: true})
	h.look()
}
