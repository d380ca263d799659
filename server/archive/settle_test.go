package archive_test

import (
	"slices"
	"strings"
	"testing"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/session"
	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

// device makes a resource of what is said of it: "sm" acknowledges, "had" has a
// copy of message 7, "read" has read the archive up to 7, "negative" and "away"
// (not available) are not fit.
func device(name string) *account.Resource {
	says := strings.Fields(name)
	r := &account.Resource{ID: session.ID(name), Confirms: slices.Contains(says, "sm")}
	if !slices.Contains(says, "away") {
		r.Presence = stanza.New(stanza.Presence, "", jid.JID{}, jid.JID{})
	}
	if slices.Contains(says, "negative") {
		r.Priority = -1
	}
	if slices.Contains(says, "had") {
		archive.Had.Set(r, []int64{3, 7})
	}
	if slices.Contains(says, "read") {
		archive.CaughtUp.Set(r, 7)
	}
	return r
}

func TestSettle(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		id      int64
		transit bool
		chosen  string // devices, with commas
		want    string
		owed    bool
	}{
		{0, false, "", "", true},
		{0, false, "a sm", "a sm", false}, // what is not stored cannot be given again
		{7, false, "", "", true},
		{7, false, "a", "a", false},
		{7, false, "a sm", "a sm", true},
		{7, false, "a sm,b sm", "a sm,b sm", true},
		{7, false, "a sm,b", "a sm,b", false},
		{7, false, "a had", "", false},
		{7, false, "a sm had", "", false},
		{7, false, "a had,b", "b", false},
		{7, false, "a had,b sm", "b sm", false}, // a has it: b may lose it
		{8, false, "a sm had,b sm", "a sm had,b sm", true},
		{7, false, "a read", "", true}, // others do not read archives
		{7, false, "a read,b", "b", false},
		{7, false, "a read,b sm", "b sm", true},
		{7, false, "a read,b had", "", false},
		{7, true, "a sm read", "a sm read", true}, // it is not in the archive
		{8, false, "a read", "a read", false},     // it came behind what was read
	} {
		var chosen []*account.Resource
		for _, name := range strings.Split(c.chosen, ",") {
			if name != "" {
				chosen = append(chosen, device(name))
			}
		}
		before := slices.Clone(chosen)
		s := archive.Settle(c.id, c.transit, chosen)
		var got []string
		for _, r := range s.Targets {
			got = append(got, string(r.ID))
		}
		if g := strings.Join(got, ","); g != c.want || s.Owed != c.owed {
			t.Errorf("message %d (transit %v) for %q: given to %q, owed %v; want %q, %v", c.id, c.transit, c.chosen, g, s.Owed, c.want, c.owed)
		}
		if !slices.Equal(chosen, before) {
			t.Errorf("message %d for %q: the list of the chosen was changed", c.id, c.chosen)
		}
	}
}

// A copy counts for the mark only where the message itself would have.
func TestCopyOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		device string
		id     int64
		owed   bool
		want   bool
	}{
		{"a sm", 7, true, true},
		{"a sm", 7, false, false},
		{"a sm", 0, true, false},
		{"a", 7, true, false},
		{"a sm negative", 7, true, false},
		{"a sm away", 7, true, false},
	} {
		e := session.Entry{Copy: true, Owed: !c.want, Transit: true}
		archive.CopyOf(device(c.device), c.id, c.owed, false, &e)
		if e.Owed != c.want || e.Transit || e.Store != c.id {
			t.Errorf("copy of %d (owed %v) for %q: owed %v, stored as %d; want %v", c.id, c.owed, c.device, e.Owed, e.Store, c.want)
		}
	}
}
