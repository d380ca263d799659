package report_test

import (
	"context"
	"reflect"
	"testing"
	"time"

	"kith/server/account"
	"kith/server/account/accounttest"
	"kith/server/cluster"
	"kith/server/report"
	"kith/server/storage"
	"kith/server/storage/storagetest"
	"kith/xmpp/jid"
)

var (
	romeo  = jid.MustParse("romeo@montague.example")
	tybalt = jid.MustParse("tybalt@capulet.example")
)

// lanes are those of a database.
type lanes struct {
	accounts *account.Store
}

// Load implements cluster.Loader.
func (l lanes) Load(ctx context.Context, k cluster.Key) (any, error) {
	return l.accounts.Load(ctx, jid.MustParse(string(k)), []account.Part{report.Load})
}

// New implements cluster.Loader.
func (lanes) New(k cluster.Key, state any, _ cluster.Actor) cluster.Actor {
	return account.NewActor(jid.MustParse(string(k)), state.(*account.State), nil)
}

// step is something to be done in the lane.
type step struct {
	do   func(t *cluster.Turn, a *account.Actor)
	done chan error
}

func (s *step) Handle(t *cluster.Turn, ac cluster.Actor) {
	s.do(t, ac.(*account.Actor))
	t.After(cluster.EffectFunc(func(*cluster.Turn) { s.done <- nil }))
}

func (s *step) Fail(_ *cluster.Turn, err error) { s.done <- err }

// TestReports: reports are kept with copies, listed, told of once in a while, and
// go when they are old, too many, deleted, or their account is.
func TestReports(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		ctx := t.Context()
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(db.Migrate(ctx, report.Migrations()))
		accounts, err := account.Open(ctx, db, report.Purges...)
		must(err)
		accounttest.Create(t, accounts, romeo)
		c := cluster.NewLocal(db, lanes{accounts}, cluster.Options{Lanes: 1})
		t.Cleanup(func() { must(c.Close(context.Background())) })
		var owner int64
		add := func(perDay int) (kept bool) {
			t.Helper()
			s := &step{func(t *cluster.Turn, a *account.Actor) {
				owner = a.ID()
				kept = report.Add(t, a, perDay, &report.Report{Reported: tybalt, Reason: "urn:xmpp:reporting:spam", Words: "loud", ThirdParty: true})
			}, make(chan error, 1)}
			c.Send(account.Key(romeo), s)
			must(<-s.done)
			return kept
		}
		list := func(host string, before int64, n int) (ids []int64) {
			t.Helper()
			rs, err := report.List(ctx, db, host, before, n)
			must(err)
			for _, r := range rs {
				ids = append(ids, r.ID)
			}
			return ids
		}
		want := func(what string, got, want any) {
			t.Helper()
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%s: %v, want %v", what, got, want)
			}
		}

		want("two of two", []bool{add(2), add(2)}, []bool{true, true})
		want("three of two", add(2), false)
		must(report.Attach(ctx, db, owner, tybalt, [][]byte{[]byte("<message/>"), []byte("<message id='2'/>")}))
		must(report.Attach(ctx, db, owner, romeo, [][]byte{[]byte("<message/>")})) // there is no such report
		rs, err := report.List(ctx, db, romeo.Domain(), 0, 1)
		must(err)
		if len(rs) != 1 {
			t.Fatalf("reports %v, want one", rs)
		}
		want("report", rs[0], report.Report{ID: 2, Host: romeo.Domain(), At: rs[0].At, By: romeo, Reported: tybalt, Reason: "urn:xmpp:reporting:spam",
			Words: "loud", ThirdParty: true, Messages: []string{"<message/>", "<message id='2'/>"}})
		want("all", list("", 0, 10), []int64{2, 1})
		want("older", list("", 2, 10), []int64{1})
		want("of another host", list(tybalt.Domain(), 0, 10), []int64(nil))

		now := time.Now()
		tell := func(after time.Duration) int {
			t.Helper()
			news, err := report.Tell(ctx, db, romeo.Domain(), now.Add(after), time.Minute)
			must(err)
			return news.Count
		}
		want("told", []int{tell(0), tell(time.Hour)}, []int{2, 0})
		add(3)
		want("told again", []int{tell(time.Second), tell(time.Hour)}, []int{0, 1})
		add(4)

		gone, err := report.Delete(ctx, db, tybalt.Domain(), 1)
		must(err)
		want("deleted at another host", gone, []int64(nil))
		gone, err = report.Delete(ctx, db, romeo.Domain(), 1, 9, 2)
		must(err)
		want("deleted", gone, []int64{1, 2})
		add(5)
		must(report.Sweep(ctx, db, romeo.Domain(), now.Add(-time.Hour), 2))
		want("the newest two", list("", 0, 10), []int64{5, 4})
		must(report.Sweep(ctx, db, tybalt.Domain(), now.Add(time.Hour), 2))
		want("of another host swept", list("", 0, 10), []int64{5, 4})
		must(report.Sweep(ctx, db, romeo.Domain(), now.Add(time.Hour), 2))
		want("old ones swept", list("", 0, 10), []int64(nil))

		add(6)
		must(report.Attach(ctx, db, owner, tybalt, [][]byte{[]byte("<message/>")}))
		must(accounts.Delete(ctx, romeo))
		var left int
		must(db.Read(ctx, func(r *storage.Reader) error {
			return r.QueryRow(`SELECT (SELECT count(*) FROM report) + (SELECT count(*) FROM report_message)`).Scan(&left)
		}))
		want("left of a deleted account", left, 0)
	})
}
