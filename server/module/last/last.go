// Package last implements XEP-0012: Last Activity, for the host and the accounts.
// Clients answer for themselves, if the one who asks may know that they are there.
//
// It tells no more than presence does: who sees the presence of an account is
// answered. Who can know of the account without seeing it, because it has asked
// for a subscription, is refused as XEP-0012 §3 wants; to all others it is as if
// there were no such account (RFC 6121 §8.5.1), which the text does not think of.
package last

import (
	"context"
	"strings"
	"unicode/utf8"

	"kith/server/account"
	"kith/server/module"
	"kith/server/roster"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	xlast "kith/xmpp/xep/last"
	"kith/xmpp/xmltree"
)

// Module is the module. It comes behind presence, which refuses presence that
// makes no sense.
var Module = module.Define("last", attach, module.XEP(12, "2.0"))

// longest is how many bytes of somebody's last words are kept.
const longest = 1023

var nameStatus = xmltree.Name{Space: ns.Client, Local: "status"}

func attach(h *module.Host, _ struct{}) error {
	h.DiscoFeature(ns.Last)
	h.AccountFeature(ns.Last)
	h.Keep(words)
	h.IQ(stanza.Get, xlast.Name, module.ToServer, uptime)
	h.IQ(stanza.Get, xlast.Name, module.ToAccount, answer)
	h.Stages.Arriving.Check = append(h.Stages.Arriving.Check, guard)
	h.Stages.Leaving.Broadcast = append(h.Stages.Leaving.Broadcast, listen)
	h.Facts.Unbound = append(h.Facts.Unbound, unbound)
	return nil
}

// uptime tells since when the server runs (XEP-0012 §5).
func uptime(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	return xlast.Query{Known: true, Ago: t.Turn.Now().Sub(t.Host.Begun)}, nil
}

// answer tells when somebody was there last (XEP-0012 §3).
func answer(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	if err := refusal(t); err != nil {
		return nil, err
	}
	d := departed(t.Account)
	switch {
	case t.Account.Busy():
		return xlast.Query{Known: true}, nil
	case d == nil: // never, as far as is known
		return nil, stanza.ErrItemNotFound
	}
	return xlast.Query{Known: true, Ago: t.Turn.Now().Sub(d.at), Status: d.status}, nil
}

// guard keeps questions from the clients of those who may not be seen (XEP-0012
// §4).
func guard(_ context.Context, t *module.Transit) error {
	if t.Kind != stanza.IQ || t.Type != stanza.Get || !t.To.IsFull() || !t.Payload().Is(xlast.Name) {
		return nil
	}
	return refusal(t)
}

// refusal is what is said to who may not know when somebody was there; nil if he
// may.
func refusal(t *module.Transit) error {
	switch {
	case t.Sees(t.From):
		return nil
	case roster.Of(t.Account).Item(t.From.Bare()).State&(roster.To|roster.PendingOut) != 0:
		return stanza.ErrForbidden
	}
	return stanza.ErrServiceUnavailable
}

// words are those with which a session became unavailable.
var words = account.NewSlot[string]("last words")

// listen notes the words with which a session becomes unavailable. What the server
// says for one that has ended is none of its words.
func listen(_ context.Context, t *module.Transit) error {
	switch {
	case t.Type == "":
		words.Set(t.Sender, "")
	case t.Type == stanza.Unavailable && t.Size() > 0:
		words.Set(t.Sender, status(t.Stanza))
	}
	return nil
}

// status returns the status of a presence, that in the language of the stanza if
// there are several (RFC 6121 §4.7.2.2).
func status(st *stanza.Stanza) string {
	var found xmltree.Element
	for c := range st.Children() {
		if !c.Is(nameStatus) {
			continue
		}
		if _, other := c.LookupAttr(xmltree.Name{Space: ns.XML, Local: "lang"}); !other {
			found = c
			break
		}
		if !found.Exists() {
			found = c
		}
	}
	s := found.Text()
	if n := longest; len(s) > n {
		for !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return strings.Clone(s)
}

// unbound notes when the last session of an account has ended.
func unbound(t *module.Transit, r *account.Resource) {
	if !t.Account.Exists() || t.Account.Busy() {
		return
	}
	n := &note{id: t.Account.ID(), departure: departure{at: t.Turn.Now(), status: words.Get(r)}}
	leaving.SetLive(t.Account, n)
	t.Turn.SendSoon(t.Turn.Key(), n)
}
