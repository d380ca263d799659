package mam

import (
	"context"
	"errors"
	"slices"
	"strings"

	"kith/server/archive"
	"kith/server/module"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
	xmam "kith/xmpp/xep/mam"
	"kith/xmpp/xmltree"
)

// maxListed is how many addresses preferences may name in all.
const maxListed = 1000

// preferences tells what is archived (XEP-0441 §2.1).
func (m *archives) preferences(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	if err := owned(t); err != nil {
		return nil, err
	}
	return &archive.PrefsOf(t.Account).Prefs, nil
}

// prefer changes what is archived from now on, and tells what it has become.
func (m *archives) prefer(_ context.Context, t *module.Transit) (xmltree.Appender, error) {
	if err := owned(t); err != nil {
		return nil, err
	}
	want, err := xmam.ParsePrefs(t.Payload())
	switch {
	case errors.Is(err, xmam.ErrAddress):
		return nil, stanza.ErrJIDMalformed
	case err != nil:
		return nil, stanza.ErrBadRequest
	case len(want.Always)+len(want.Never) > maxListed:
		return nil, stanza.ErrNotAcceptable.With("The lists are too long.")
	}
	p := &archive.Prefs{Prefs: xmam.Prefs{Default: want.Default, Always: listed(want.Always), Never: listed(want.Never)}}
	for _, j := range p.Never {
		if _, both := slices.BinarySearchFunc(p.Always, j, byText); both {
			return nil, stanza.ErrBadRequest.With("An address is in both lists.")
		}
	}
	if err := archive.SetPrefs(t.Turn, t.Account, p); err != nil {
		return nil, err
	}
	return &p.Prefs, nil
}

func byText(a, b jid.JID) int { return strings.Compare(a.String(), b.String()) }

// listed returns the addresses in order and once each, in memory of their own.
func listed(list []jid.JID) []jid.JID {
	out := make([]jid.JID, len(list))
	for i, j := range list {
		out[i] = j.Clone()
	}
	slices.SortFunc(out, byText)
	return slices.Compact(out)
}
