package archive

import (
	"encoding/json"
	"slices"

	"kith/server/account"
	"kith/server/cluster"
	"kith/xmpp/jid"
	"kith/xmpp/xep/mam"
)

// prefs are what an owner wants to be archived (XEP-0441); nil: everything.
var prefs = account.NewSlot[*Prefs]("archiving preferences")

// Prefs are archiving preferences. They do not change.
type Prefs struct{ mam.Prefs }

// PrefsOf returns what an account wants to be archived.
func PrefsOf(a *account.Actor) *Prefs {
	if p := prefs.Durable(a); p != nil {
		return p
	}
	return &Prefs{mam.Prefs{Default: mam.Always}}
}

// Wants reports whether messages to or from somebody are archived; listed tells
// whether that is a contact (XEP-0441 §2.1.1, §2.3.1). Of two entries the one with
// the resource counts, then the one that keeps less.
func (p *Prefs) Wants(peer jid.JID, listed func(jid.JID) bool) bool {
	for _, j := range []jid.JID{peer, peer.Bare()} {
		switch {
		case slices.Contains(p.Never, j):
			return false
		case slices.Contains(p.Always, j):
			return true
		}
	}
	switch p.Default {
	case mam.Never:
		return false
	case mam.Roster:
		return listed(peer.Bare())
	}
	return true
}

// SetPrefs changes what is archived from now on.
func SetPrefs(t *cluster.Turn, a *account.Actor, p *Prefs) error {
	b, err := json.Marshal(stored{p.Default, texts(p.Always), texts(p.Never)})
	if err != nil {
		return err
	}
	prefs.SetDurable(a, p)
	t.Write(`INSERT INTO archive (owner, floor, prefs) VALUES ($1, 0, $2)
		ON CONFLICT (owner) DO UPDATE SET prefs = excluded.prefs`, a.ID(), string(b))
	return nil
}

// Size implements what account.Actor asks of what it holds.
func (p *Prefs) Size() int {
	n := 64
	for _, j := range slices.Concat(p.Always, p.Never) {
		n += 64 + len(j.String())
	}
	return n
}

// stored are preferences as the database has them.
type stored struct {
	Default mam.Default `json:"default"`
	Always  []string    `json:"always,omitempty"`
	Never   []string    `json:"never,omitempty"`
}

// readPrefs reads what SetPrefs has written. What makes no sense, which is not our
// doing, is as if nothing had been said: the account has to go on.
func readPrefs(s string) *Prefs {
	var st stored
	if s == "" || json.Unmarshal([]byte(s), &st) != nil {
		return nil
	}
	return &Prefs{mam.Prefs{Default: st.Default, Always: addresses(st.Always), Never: addresses(st.Never)}}
}

func texts(list []jid.JID) []string {
	out := make([]string, len(list))
	for i, j := range list {
		out[i] = j.String()
	}
	return out
}

func addresses(list []string) []jid.JID {
	var out []jid.JID
	for _, s := range list {
		if j, err := jid.Parse(s); err == nil {
			out = append(out, j)
		}
	}
	return out
}
