package server_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xep/carbons"
	"kith/xmpp/xmltree"
)

// What the household of TestDevices does, and what it has to expect of that.

// letter is sent by a peer to the account, or by a device to a peer.
func (h *household) letter(from string, a act) {
	l := &letter{sort: sorts[a.sort], from: from}
	h.letters = append(h.letters, l)
	n := len(h.letters)
	sender := h.peers[from]
	if sender == nil {
		_, name, _ := strings.Cut(from, "/")
		sender = h.devices[name]
		l.to = jid.MustParse(peers[a.to%len(peers)]).Bare().String()
		h.sent(l, n, sender, h.peers[peers[a.to%len(peers)]])
	} else {
		l.to = devicesOf
		switch {
		case a.to < len(traits):
			l.to += "/" + traits[a.to].name
		case a.to == len(traits):
			l.to += "/gone"
		}
		h.received(l, n)
	}
	h.note("%d: %s from %s to %s", n, l.name, l.from, l.to)
	sender.c.MustSend(fmt.Sprintf("<message to='%s' type='%s' id='%d'>%s</message>", l.to, l.typ, n, l.payload))
}

// sent: XEP-0280 §8, and what the peer gets.
func (h *household) sent(l *letter, n int, from, to *device) {
	switch l.typ {
	case "groupchat":
		h.errors[strconv.Itoa(n)]++
		return
	case "error":
		return
	}
	to.want[n] = true
	if l.archived {
		h.archive = append(h.archive, n)
	}
	for _, d := range h.all() {
		if d != from && d.copies && l.copied {
			d.give(l, n)
		}
	}
}

// received is the table above.
func (h *household) received(l *letter, n int) {
	_, resource, _ := strings.Cut(l.to, "/")
	var targets []*device
	if d := h.devices[resource]; d != nil {
		targets = []*device{d}
	} else {
		full := resource != ""
		switch {
		case l.typ == "error", l.typ == "headline" && full:
			return
		case l.typ == "groupchat", l.typ == "normal" && full:
			h.errors[strconv.Itoa(n)]++
			return
		}
		for _, d := range h.all() {
			if d.fit() {
				targets = append(targets, d)
			}
		}
		l.waits = len(targets) == 0 && l.sort.kept
	}
	if l.archived {
		h.archive = append(h.archive, n)
	}
	for _, d := range targets {
		d.give(l, n)
		l.held = l.held || !d.acks
		l.queued = l.queued || !d.acks && d.inactive && l.light
	}
	for _, d := range h.all() {
		if d.copies && l.copied && !slices.Contains(targets, d) && (len(targets) > 0 || d.available) {
			d.give(l, n)
		}
	}
}

// give: who does not look, or is not there, need not have what is fleeting.
func (d *device) give(l *letter, n int) {
	if l.fleeting && (d.inactive || d.c == nil) {
		d.may[n] = true
		return
	}
	d.want[n] = true
}

func (h *household) come(tr trait) {
	h.note("%s comes", tr.name)
	d := newDevice(tr, h.MustConnect(devicesOf+"/"+tr.name))
	h.devices[tr.name] = d
	if d.copies {
		d.c.MustSend("<iq type='set' id='c'><enable xmlns='urn:xmpp:carbons:2'/></iq>")
		h.Settle()
	}
	if d.reads {
		h.query(d)
	}
	if d.acks {
		d.c.MustSend("<enable xmlns='urn:xmpp:sm:3' resume='true' max='60'/>")
		h.Settle()
	}
	h.look()
	h.present(d)
	if d.trait.inactive {
		d.inactive = true
		h.attend(d)
	}
}

// query reads the archive, which must hold all that was to be kept, in order.
func (h *household) query(d *device) {
	var got []int
	after := ""
	for range 20 {
		d.c.MustSend("<iq type='set' id='q'><query xmlns='urn:xmpp:mam:2'><set xmlns='http://jabber.org/protocol/rsm'><max>20</max>" + after + "</set></query></iq>")
		h.Settle()
		for _, el := range d.c.Received() {
			if r := el.Child(xmltree.Name{Space: ns.MAM, Local: "result"}); r.Exists() {
				n, _ := strconv.Atoi(carbons.Forwarded(r).Attr("id")) //nolint:errcheck // 0 is none of them
				got = append(got, n)
				after = "<after>" + r.Attr("id") + "</after>"
				if !d.available {
					d.read[n] = true
				}
				continue
			}
			h.take(d, el)
			if fin := el.Child(xmltree.Name{Space: ns.MAM, Local: "fin"}); fin.Attr("complete") == "true" {
				if !slices.Equal(got, h.archive) {
					h.fail("%s finds %v in the archive, want %v", d.name, got, h.archive)
				}
				return
			}
		}
	}
	h.fail("%s does not come to the end of the archive", d.name)
}

// present says how available a device is. The first that is fit gets what waits.
func (h *household) present(d *device) {
	priority := 0
	if d.negative {
		priority = -1
	}
	d.available = true
	h.note("%s is available with priority %d", d.name, priority)
	d.c.MustSend(fmt.Sprintf("<presence><priority>%d</priority></presence>", priority))
	h.await(d)
}

// await has a device that is fit expect what waits and it has not.
func (h *household) await(d *device) {
	for i, l := range h.letters {
		n := i + 1
		if l.waits && d.fit() && d.got[n] == 0 && !d.want[n] && !d.read[n] {
			l.waits, l.lost = false, false
			d.want[n], d.waited[n] = true, true
			l.held = !d.acks
			clear(d.last) // of what is newer it may have had copies
		}
	}
}

// pass leaves what waited for a device, and has not come to it, to the next that is
// fit if it no longer is.
func (h *household) pass(d *device) {
	for n := range d.waited {
		if l := h.letters[n-1]; d.want[n] && !d.fit() && !l.held {
			l.lost = true
			delete(d.want, n)
			d.may[n] = true
		}
	}
}

// attend tells the server whether somebody looks at a device.
func (h *household) attend(d *device) {
	h.note("%s is inactive: %v", d.name, d.inactive)
	what := "active"
	if d.inactive {
		what = "inactive"
	}
	d.c.MustSend("<" + what + " xmlns='urn:xmpp:csi:0'/>")
}

func (h *household) ack(d *device) {
	if !d.acks || d.c == nil {
		return
	}
	h.note("%s acknowledges %d", d.name, d.h)
	d.c.MustSend(fmt.Sprintf("<a xmlns='urn:xmpp:sm:3' h='%d'/>", d.h))
	for n, holds := range d.unacked {
		l := h.letters[n-1]
		l.held = l.held || holds
	}
	d.acked = d.h
	clear(d.unacked)
	h.Settle()
}

// leave ends a session in order.
func (h *household) leave(d *device) {
	h.note("%s leaves", d.name)
	d.c.Close()
	h.gone(d)
}

// cut takes the connection from a session.
func (h *household) cut(d *device) {
	h.note("%s is cut", d.name)
	d.c.Cut()
	if d.id == "" {
		h.gone(d)
	}
	d.c, d.inactive = nil, false
}

// gone forgets a session; what it was to have may come to others.
func (h *household) gone(d *device) {
	h.note("%s is gone", d.name)
	delete(h.devices, d.name)
	for i, l := range h.letters { // an error may have waited behind a page that it did not acknowledge
		if d.acks && l.from == devicesOf+"/"+d.name {
			delete(h.errors, strconv.Itoa(i+1))
		}
	}
	for _, list := range []map[int]bool{d.want, d.may, d.unacked} {
		for n := range list {
			if l := h.letters[n-1]; !l.held || l.queued {
				l.lost = true
				h.elsewhere(n)
			}
		}
	}
}

// elsewhere: what comes back to one device may wait in the queues of others.
func (h *household) elsewhere(n int) {
	for _, d := range h.all() {
		if d.fit() && d.got[n] == 0 && !d.want[n] && (d.c == nil || d.inactive) {
			d.may[n] = true
		}
	}
}

func (h *household) resume(d *device) {
	h.note("%s resumes from %d", d.name, d.h)
	c, answer := attempt(h.t, h.Server, "juliet", "capulet.example", d.id, d.h)
	if answer.Name().Local != "resumed" {
		h.fail("%s is not resumed: %s", d.name, answer.Raw())
	}
	d.c, d.acked = c, d.h
}

// patience is longer than a session waits for its client.
const patience = 61 * time.Second

// expire lets so much time pass that who was cut does not come back.
func (h *household) expire() {
	for _, d := range h.all() {
		h.ack(d)
	}
	h.look()
	h.note("time passes")
	for _, d := range h.all() {
		if d.c == nil {
			h.gone(d)
		}
	}
	for _, p := range h.peers { // who says nothing for long is thrown out
		p.c.MustSend(" ")
	}
	for _, d := range h.all() {
		if d.c != nil {
			d.c.MustSend(" ")
		}
	}
	h.Pass(patience)
}

// restart restarts the server: who acknowledges may resume.
func (h *household) restart() {
	h.note("the server restarts")
	h.Settle()
	h.look()
	h.Restart()
	for _, d := range h.all() {
		if d.id == "" {
			h.gone(d)
		}
		d.c, d.inactive = nil, false
	}
	for _, p := range peers {
		h.peers[p].c = h.MustBeOnline(p)[0]
	}
}
