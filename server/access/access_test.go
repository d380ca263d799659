package access_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"kith/server/access"
	"kith/server/account"
	"kith/server/factor"
	"kith/server/session"
	"kith/server/storage/storagetest"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/sasl"
)

var romeo = jid.MustParse("romeo@montague.example")

// TestRevoke: what is left to whom, by what he has come.
func TestRevoke(t *testing.T) {
	db := storagetest.SQLite(t)
	if err := db.Migrate(t.Context(), factor.Migrations()); err != nil {
		t.Fatal(err)
	}
	accounts, err := account.Open(t.Context(), db, factor.Purges...)
	if err != nil {
		t.Fatal(err)
	}
	apps, err := factor.Open(t.Context(), db, accounts)
	if err != nil {
		t.Fatal(err)
	}
	if err := accounts.Create(t.Context(), romeo, "secret", false); err != nil {
		t.Fatal(err)
	}
	if _, _, err := accounts.IssueToken(t.Context(), romeo, negotiate.UserAgent{ID: "p", Software: "Verona Chat", Device: "balcony"}, sasl.TokenUnbound); err != nil {
		t.Fatal(err)
	}
	phone := accounts.Device(romeo, "p")
	owner := account.NewActor(romeo, new(account.State), nil)
	add := func(id session.ID, m *account.Means) {
		owner.Add(&account.Resource{ID: id, JID: jid.MustParse("romeo@montague.example/" + string(id)), Means: m, Since: time.Now().Add(time.Minute)})
	}
	add("plain", nil)
	add("phone", &account.Means{By: account.ByToken, Device: phone})
	add("phone2", &account.Means{By: account.ByToken, Device: phone})
	add("grant", &account.Means{By: account.ByGrant})
	add("certificate", &account.Means{By: account.ByCertificate, Device: "x", Software: "Cert"})
	add("both", &account.Means{By: account.ByGrant, Device: "y", Name: "watch"})
	add("both2", &account.Means{By: account.ByPassword, Device: "y", Name: "watch"})
	add("unlisted", &account.Means{By: account.ByToken, Device: "z"})
	sessions := access.Sessions(owner)
	var ended []account.Access
	accounts.OnWithdrawal(func(_ jid.JID, what []account.Access, _ session.ID) { ended = append(ended, what...) })
	list, err := access.List(t.Context(), accounts, apps, romeo, sessions)
	if err != nil || len(list) != 6 {
		t.Fatalf("%+v, %v", list, err)
	}
	for _, tt := range []struct {
		id   account.Access
		name string
		left access.Remains
		err  error
	}{
		{account.OfSession("plain"), "client with the resource plain", access.Password, nil},
		{account.OfDevice(phone), "Verona Chat on balcony", access.Password, nil},
		{account.OfSession("grant"), "client with the resource grant", access.Elsewhere, nil},
		{account.OfDevice("x"), "Cert", access.Elsewhere, nil},
		{account.OfDevice("y"), "watch", access.Password, nil},
		{account.OfDevice("z"), "client with the resource unlisted", access.Password, nil},
		{account.OfSession("phone"), "", access.Nothing, access.ErrUnknown},
		{account.OfApp(1), "", access.Nothing, access.ErrUnknown},
		{account.Everything, "", access.Nothing, access.ErrUnknown},
	} {
		ended = nil
		c, left, err := access.Revoke(t.Context(), accounts, apps, romeo, sessions, tt.id, "")
		if !errors.Is(err, tt.err) || left != tt.left || err == nil && c.Name() != tt.name {
			t.Errorf("%q: %q, left %v, %v; want %q, %v, %v", tt.id, c.Name(), left, err, tt.name, tt.left, tt.err)
		}
		if err == nil && !slices.Equal(ended, []account.Access{tt.id}) || err != nil && len(ended) > 0 {
			t.Errorf("%q: the sessions of %q end", tt.id, ended)
		}
	}
}
