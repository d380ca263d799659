package caps_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"kith/server/account"
	"kith/server/caps"
	"kith/server/cluster"
	"kith/server/session"
	"kith/server/storage"
	"kith/server/storage/storagetest"
	xcaps "kith/xmpp/xep/caps"
	"kith/xmpp/xep/disco"
	"kith/xmpp/xep/form"
	"kith/xmpp/xmltree"
)

var begin = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func open(t *testing.T, db *storage.DB) *caps.Cache {
	t.Helper()
	if err := db.Migrate(t.Context(), caps.Migrations()); err != nil {
		t.Fatal(err)
	}
	c, err := caps.Open(t.Context(), db, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func device() *account.Resource { return &account.Resource{ID: session.NewID()} }

func waiter(r *account.Resource) caps.Waiter { return caps.Waiter{Session: r.ID} }

// info is an answer of some features, and what somebody claims who gives it.
func info(t *testing.T, features ...string) (*disco.Info, xcaps.Caps) {
	t.Helper()
	i := &disco.Info{Features: features}
	ver, err := xcaps.Hash(xcaps.SHA1, i)
	if err != nil {
		t.Fatal(err)
	}
	return i, xcaps.Caps{Hash: xcaps.SHA1, Node: "x", Ver: ver}
}

// lanes is a cluster whose actors are nothing.
type lanes struct{ *cluster.Local }

func (lanes) Load(context.Context, cluster.Key) (any, error)    { return nil, nil }
func (lanes) New(cluster.Key, any, cluster.Actor) cluster.Actor { return nobody{} }
func newLanes(t *testing.T, db *storage.DB) *lanes {
	l := new(lanes)
	l.Local = cluster.NewLocal(db, l, cluster.Options{Lanes: 1})
	t.Cleanup(func() { l.Close(context.Background()) })
	return l
}

type nobody struct{}

func (nobody) Busy() bool { return false }
func (nobody) Size() int  { return 0 }

// saved returns when all that was sent before is committed.
type saved chan struct{}

func (s saved) Handle(t *cluster.Turn, _ cluster.Actor) {
	t.After(cluster.EffectFunc(func(*cluster.Turn) { close(s) }))
}
func (s saved) Fail(*cluster.Turn, error) { close(s) }

func (l *lanes) save(saves ...*caps.Save) {
	for _, s := range saves {
		if s != nil {
			l.Send("x", s)
		}
	}
	done := make(saved)
	l.Send("x", done)
	<-done
}

func rows(t *testing.T, db *storage.DB) (n int) {
	t.Helper()
	if err := db.Read(t.Context(), func(r *storage.Reader) error { return r.QueryRow(`SELECT count(*) FROM caps`).Scan(&n) }); err != nil {
		t.Fatal(err)
	}
	return n
}

// learn has a device answer, truly, and returns what is to be stored.
func learn(t *testing.T, c *caps.Cache, now time.Time, features ...string) *caps.Save {
	t.Helper()
	i, claim := info(t, features...)
	r := device()
	n := c.Claim(waiter(r), r, claim, now)
	if n.Ask == "" {
		t.Fatalf("%s: not asked: %+v", claim.Ver, n)
	}
	return c.Answer(r, n.Ask, i, now).Save
}

// knows reports whether what has these features is known without being asked.
func knows(t *testing.T, c *caps.Cache, now time.Time, features ...string) (bool, *caps.Save) {
	t.Helper()
	_, claim := info(t, features...)
	r := device()
	n := c.Claim(waiter(r), r, claim, now)
	return caps.Of(r).Has(features[0]), n.Save
}

func TestDevices(t *testing.T) {
	c := open(t, storagetest.SQLite(t))
	answer, claim := info(t, "urn:b", "urn:a")
	one, two, three := device(), device(), device()
	n := c.Claim(waiter(one), one, claim, begin)
	if n.Ask == "" || n.Claim != claim || n.Changed || n.Wait != 0 || caps.Of(one) != nil {
		t.Fatalf("the first: %+v", n)
	}
	if again := c.Claim(waiter(one), one, claim, begin); again.Ask != "" || again.Wait != 0 {
		t.Errorf("the same again: %+v", again)
	}
	if w := c.Claim(waiter(two), two, claim, begin); w.Ask != "" || w.Wait == 0 {
		t.Errorf("the second: %+v, want it to wait", w)
	}
	if caps.Asked(one, "") || caps.Asked(two, n.Ask) || caps.Asked(three, "") || !caps.Asked(one, n.Ask) {
		t.Error("who was asked what")
	}
	if a := c.Answer(two, n.Ask, answer, begin); a.Changed || a.Save != nil || caps.Of(two) != nil {
		t.Errorf("an answer of one who was not asked: %+v", a)
	}
	a := c.Answer(one, n.Ask, answer, begin)
	if !a.Changed || a.Was != nil || a.Save == nil || len(a.Wake) != 1 || a.Wake[0].Session != two.ID {
		t.Errorf("the answer: %+v", a)
	}
	if k := caps.Of(one); !k.Has("urn:a") || !k.Has("urn:b") || k.Has("urn:c") {
		t.Errorf("known: %+v", k)
	}
	if a := c.Answer(one, n.Ask, nil, begin); a.Changed {
		t.Errorf("a second answer: %+v", a)
	}
	if w := c.Retry(waiter(two), two, begin); !w.Changed || w.Ask != "" || caps.Of(two) != caps.Of(one) {
		t.Errorf("who has waited: %+v", w)
	}
	if w := c.Retry(waiter(two), two, begin); w.Changed || w.Ask != "" {
		t.Errorf("who has waited, once more: %+v", w)
	}
	was := caps.Of(one)
	// Something else: what was known is known until it is answered.
	_, other := info(t, "urn:other")
	n = c.Claim(waiter(one), one, other, begin)
	if n.Ask == "" || n.Changed || caps.Of(one) != was {
		t.Errorf("something else: %+v", n)
	}
	old := n.Ask
	n = c.Claim(waiter(one), one, xcaps.Caps{Node: "legacy", Ver: "1"}, begin)
	if caps.Asked(one, old) || n.Ask == "" || n.Ask == old {
		t.Errorf("what is not claimed any more can still be answered: %+v", n)
	}
	if a := c.Answer(one, n.Ask, answer, begin); !a.Changed || a.Was != was || a.Save != nil || !caps.Of(one).Has("urn:a") {
		t.Errorf("what cannot be verified: %+v", a)
	}
	if a := c.Claim(waiter(one), one, xcaps.Caps{}, begin); !a.Changed || caps.Of(one) != nil {
		t.Errorf("gone away: %+v", a)
	}
	if a := c.Claim(waiter(three), three, xcaps.Caps{}, begin); a.Changed || caps.Of(three).Has("urn:a") {
		t.Errorf("never there: %+v", a)
	}
}

// What cannot be verified holds for the one who says it; what is no answer, for
// nobody.
func TestAnswers(t *testing.T) {
	c := open(t, storagetest.SQLite(t))
	many := func(n int, name string) (out []string) {
		for i := range n {
			out = append(out, fmt.Sprintf("%s:%d", name, i))
		}
		return out
	}
	identities := func(n int) (out []disco.Identity) {
		for _, s := range many(n, "x") {
			out = append(out, disco.Identity{Category: "client", Type: "pc", Name: s})
		}
		return out
	}
	fields := func(values int) []xmltree.Appender {
		return []xmltree.Appender{form.New(form.Result, "urn:x:y", form.Field{Var: "os", Values: many(values, "v")})}
	}
	for i, tt := range []struct {
		name          string
		info          *disco.Info
		right         bool // the hash
		known, shared bool
	}{
		{"right", &disco.Info{Features: []string{"urn:f"}}, true, true, true},
		{"wrong", &disco.Info{Features: []string{"urn:f"}}, false, true, false},
		{"none", nil, false, false, false},
		{"ill-formed", &disco.Info{Features: []string{"urn:f", "urn:f"}}, false, false, false},
		{"ambiguous", &disco.Info{Features: []string{"urn:f", "os", "a:b", "urn:z"}}, true, true, false},
		{"as many identities as may be", &disco.Info{Identities: identities(32), Features: []string{"urn:f"}}, true, true, true},
		{"too many identities", &disco.Info{Identities: identities(33), Features: []string{"urn:f"}}, true, false, false},
		{"as many features", &disco.Info{Features: append(many(999, "a"), "urn:f")}, true, true, true},
		{"too many features", &disco.Info{Features: append(many(1000, "a"), "urn:f")}, true, false, false},
		{"as many fields", &disco.Info{Features: []string{"urn:f"}, Forms: fields(196)}, true, true, true},
		{"too many fields", &disco.Info{Features: []string{"urn:f"}, Forms: fields(197)}, true, false, false},
		{"as many bytes", &disco.Info{Features: []string{"urn:f", "x:" + strings.Repeat("x", 32<<10-7)}}, true, true, true},
		{"too many bytes", &disco.Info{Features: []string{"urn:f", "x:" + strings.Repeat("x", 32<<10-6)}}, true, false, false},
		{"a form of others", &disco.Info{Features: []string{"urn:f"}, Forms: []xmltree.Appender{xcaps.Caps{}}}, false, false, false},
	} {
		claim := xcaps.Caps{Hash: xcaps.SHA1, Node: "x", Ver: fmt.Sprint(i)}
		if tt.right {
			tt.info.Features = append(tt.info.Features, fmt.Sprintf("urn:n:%d", i)) // so that no two are the same
			if strings.Contains(tt.name, "features") {
				tt.info.Features = tt.info.Features[1:]
			}
			if strings.Contains(tt.name, "bytes") {
				tt.info.Features = tt.info.Features[:len(tt.info.Features)-1]
			}
			var err error
			if claim.Ver, err = xcaps.Hash(xcaps.SHA1, tt.info); err != nil {
				t.Fatalf("%s: %v", tt.name, err)
			}
		}
		one, two := device(), device()
		c.Answer(one, c.Claim(waiter(one), one, claim, begin).Ask, tt.info, begin)
		if got := caps.Of(one).Has("urn:f"); got != tt.known {
			t.Errorf("%s: known %v, want %v", tt.name, got, tt.known)
		}
		c.Claim(waiter(two), two, claim, begin)
		if got := caps.Of(two).Has("urn:f"); got != tt.shared {
			t.Errorf("%s: known of another %v, want %v", tt.name, got, tt.shared)
		}
	}
}

// Of questions that nobody answers, only so many are remembered; then everybody
// is asked.
func TestQuestionsAreBounded(t *testing.T) {
	c := open(t, storagetest.SQLite(t))
	ask := func(ver string, now time.Time) caps.Next {
		r := device()
		return c.Claim(waiter(r), r, xcaps.Caps{Hash: xcaps.SHA1, Node: "x", Ver: ver}, now)
	}
	for i := range 1500 {
		ask(fmt.Sprint(i), begin)
	}
	for ver, wait := range map[string]bool{"0": true, "999": true, "1000": false, "1499": false} {
		if n := ask(ver, begin); (n.Wait != 0) != wait || (n.Ask != "") == wait {
			t.Errorf("%s: %+v, want it to wait: %v", ver, n, wait)
		}
	}
	later := begin.Add(10 * time.Second)
	if n := ask("0", later); n.Ask == "" {
		t.Errorf("behind one who keeps silent: %+v, want it to be asked", n)
	}
	ask("1499", later)
	if n := ask("1499", later); n.Wait == 0 {
		t.Errorf("%+v, want it to wait: there is room again", n)
	}
	waiting := 0
	for range 1200 {
		if ask("0", later).Wait != 0 {
			waiting++
		}
	}
	if waiting != 1000 {
		t.Errorf("%d wait for one, want 1000", waiting)
	}
}

// What is kept is bounded, in memory and in the store; what is used stays.
func TestCacheIsBounded(t *testing.T) {
	db := storagetest.SQLite(t)
	c, l := open(t, db), newLanes(t, db)
	const all = 1200
	now := begin
	for i := range all {
		l.save(learn(t, c, now, fmt.Sprintf("urn:x:%d", i)))
		now = now.Add(time.Hour)
		known, touched := knows(t, c, now, "urn:x:0")
		if !known {
			t.Fatalf("what is used is forgotten after %d", i)
		}
		l.save(touched)
	}
	check := func(when string) {
		t.Helper()
		n := 0
		for i := range all {
			if known, _ := knows(t, c, now, fmt.Sprintf("urn:x:%d", i)); known {
				n++
				if i > 0 && i <= all-1000 {
					t.Errorf("%s: %d is known, want the oldest to be forgotten", when, i)
				}
			} else if i == 0 {
				t.Errorf("%s: what is used is forgotten", when)
			}
		}
		if n != 1000 || rows(t, db) != 1000 {
			t.Errorf("%s: %d are kept, %d in the store, want 1000", when, n, rows(t, db))
		}
	}
	check("running")
	c = open(t, db)
	check("restarted")
	for i := range 200 {
		l.save(learn(t, c, now, "urn:y:"+fmt.Sprint(i), "x:"+strings.Repeat("x", 30_000)))
	}
	if n := rows(t, db); n < 50 || n > 4<<20/30_000 {
		t.Errorf("%d rows of 30 kB are kept, want as many as 4 MiB have", n)
	}
}

// What is stored and cannot be read, and what is too much, is deleted.
func TestOpen(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		c, l := open(t, db), newLanes(t, db)
		l.save(learn(t, c, begin, "urn:good"), learn(t, c, begin, "urn:bad"))
		_, bad := info(t, "urn:bad")
		if err := db.Write(t.Context(), func(tx *storage.Tx) error {
			_, err := tx.Exec(`UPDATE caps SET info = $2 WHERE ver = $1`, bad.Ver, []byte("<query"))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		c = open(t, db)
		if n := rows(t, db); n != 1 {
			t.Errorf("%d rows, want 1", n)
		}
		for f, want := range map[string]bool{"urn:good": true, "urn:bad": false} {
			if got, _ := knows(t, c, begin, f); got != want {
				t.Errorf("%s is known: %v, want %v", f, got, want)
			}
		}
	})
}

// What a device has said, and what it was asked, outlive the server with its
// session.
func TestKept(t *testing.T) {
	c := open(t, storagetest.SQLite(t))
	again := func(r *account.Resource) *account.Resource {
		t.Helper()
		into := make(map[string]json.RawMessage)
		if err := caps.Kept().Keep(r, into); err != nil {
			t.Fatal(err)
		}
		next := device()
		if err := caps.Kept().Recall(next, into); err != nil {
			t.Fatal(err)
		}
		return next
	}
	answer, claim := info(t, "urn:f")
	one, two := device(), device()
	n := c.Claim(waiter(one), one, claim, begin)
	c.Claim(waiter(two), two, claim, begin)
	one, two = again(one), again(two)
	if !caps.Asked(one, n.Ask) {
		t.Error("what was asked is forgotten")
	}
	c.Answer(one, n.Ask, answer, begin)
	if one = again(one); !caps.Of(one).Has("urn:f") || caps.Of(one).Has("urn:g") {
		t.Errorf("known: %+v", caps.Of(one))
	}
	if n := c.Claim(waiter(one), one, claim, begin); n.Changed || n.Ask != "" {
		t.Errorf("the same again: %+v", n)
	}
	if n := c.Claim(waiter(two), two, claim, begin); !n.Changed || !caps.Of(two).Has("urn:f") {
		t.Errorf("who has waited: %+v", n)
	}
	if r := again(device()); caps.Of(r) != nil {
		t.Error("something of nothing")
	}
}
