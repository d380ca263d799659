package account_test

import (
	"errors"
	"slices"
	"testing"
	"time"

	"kith/server/account"
	"kith/server/session"
	"kith/server/storage"
	"kith/server/storage/storagetest"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/sasl"
)

// TestWithdrawDevice: the tokens of a device are void, also for who is about to use
// one; those of another are not. It is remembered for as long as it knows the
// password.
func TestWithdrawDevice(t *testing.T) {
	storagetest.Each(t, func(t *testing.T, db *storage.DB) {
		s, err := account.Open(t.Context(), db)
		if err != nil {
			t.Fatal(err)
		}
		create(t, s, romeo, password)
		phone, laptop := negotiate.UserAgent{ID: "p", Software: "Verona Chat"}, negotiate.UserAgent{ID: "l"}
		token := map[negotiate.UserAgent]string{}
		for _, agent := range []negotiate.UserAgent{phone, laptop} {
			if token[agent], _, err = s.IssueToken(t.Context(), romeo, agent, sasl.TokenUnbound); err != nil {
				t.Fatal(err)
			}
		}
		var ended []account.Access
		s.OnWithdrawal(func(j jid.JID, what []account.Access, but session.ID) {
			if ended = append(ended, what...); j != romeo || but != "desk" {
				t.Errorf("told of %s, but %s", j, but)
			}
		})
		use := func(agent negotiate.UserAgent, count uint64, meanwhile func()) error {
			_, err := s.UseToken(t.Context(), romeo, negotiate.TokenUse{Agent: agent, Mechanism: sasl.TokenUnbound, Count: count}, func(of []byte) bool {
				if meanwhile != nil {
					meanwhile()
				}
				meanwhile = nil
				return string(of) == token[agent]
			})
			return err
		}
		begun := s.Moment()
		device, other := s.Device(romeo, phone.ID), s.Device(romeo, laptop.ID)
		err = use(phone, 1, func() {
			if err := s.WithdrawDevice(t.Context(), romeo, device, "desk"); err != nil {
				t.Fatal(err)
			}
		})
		wantRefused(t, "a token that is revoked while it is used", err)
		wantRefused(t, "a token that was revoked", use(phone, 2, nil))
		if err := use(laptop, 1, nil); err != nil {
			t.Errorf("the token of another device: %v", err)
		}
		if !slices.Equal(ended, []account.Access{account.OfDevice(device)}) {
			t.Errorf("the sessions of %v end", ended)
		}
		for _, held := range []struct {
			by   []account.Access
			want bool
		}{{nil, false}, {[]account.Access{account.OfDevice(other)}, false}, {[]account.Access{account.OfApp(1), account.OfDevice(device)}, true}} {
			if s.Revoked(romeo, begun, held.by...) != held.want || s.Revoked(juliet, begun, held.by...) || s.Revoked(romeo, s.Moment(), held.by...) {
				t.Errorf("who has begun before by %v is revoked: %v", held.by, !held.want)
			}
		}
		list, err := s.Devices(t.Context(), romeo)
		if err != nil || len(list) != 2 {
			t.Fatalf("devices: %+v, %v", list, err)
		}
		for _, d := range list {
			want := account.ByPassword | account.ByToken
			if d.ID == device {
				want = account.ByPassword
			}
			if d.By != want || d.ID == device && d.Software != "Verona Chat" {
				t.Errorf("device %+v, want it by %v", d, want.Names())
			}
		}
		if more, err := s.ForgetDevices(t.Context(), time.Now().Add(time.Hour), 1); !more || err != nil {
			t.Errorf("one forgotten of one at most: more %v, %v", more, err)
		}
		if more, err := s.ForgetDevices(t.Context(), time.Now().Add(time.Hour), 1); more || err != nil {
			t.Errorf("none is left without a token: more %v, %v", more, err)
		}
		if list, err := s.Devices(t.Context(), romeo); err != nil || len(list) != 1 || list[0].ID != other {
			t.Errorf("devices: %+v, %v; want the one with a token", list, err)
		}
	})
}

// TestAccess: by what a session can be ended.
func TestAccess(t *testing.T) {
	device, app, single := account.OfDevice("x"), account.OfApp(7), account.OfSession("1")
	for _, tt := range []struct {
		means *account.Means
		own   account.Access
		by    []account.Access
	}{
		{nil, single, []account.Access{single, account.Everything}},
		{&account.Means{By: account.ByToken, Device: "x"}, device, []account.Access{single, device, account.Everything}},
		{&account.Means{By: account.ByApp, App: 7}, app, []account.Access{single, app, account.Apps, account.Everything}},
		{&account.Means{By: account.ByApp, App: 7, Device: "x"}, app, []account.Access{single, app, account.Apps, device, account.Everything}},
	} {
		r := &account.Resource{ID: "1", Means: tt.means}
		if got := r.Access(); got != tt.own {
			t.Errorf("%+v has access by %q, want %q", tt.means, got, tt.own)
		}
		for _, a := range []account.Access{single, account.OfSession("2"), device, account.OfDevice("y"), app, account.OfApp(8), account.Apps, account.Everything} {
			if got := r.By([]account.Access{"other", a}); got != slices.Contains(tt.by, a) {
				t.Errorf("%+v ends with %q: %v", tt.means, a, got)
			}
		}
	}
	if id, ok := account.Apps.App(); ok {
		t.Errorf("all app passwords are the one of number %d", id)
	}
}

// TestAgain: a session that goes on stays its installation's, and is by what its
// client has come at last.
func TestAgain(t *testing.T) {
	phone := &account.Means{By: account.ByToken, Device: "p", Software: "V", Name: "N"}
	for what, tt := range map[string]struct{ was, by, want *account.Means }{
		"nothing said, nothing known":  {nil, nil, nil},
		"nothing said":                 {phone, nil, &account.Means{By: account.ByPassword, Device: "p", Software: "V", Name: "N"}},
		"an app, which does not say":   {phone, &account.Means{By: account.ByApp, App: 7}, &account.Means{By: account.ByApp, App: 7, Device: "p", Software: "V", Name: "N"}},
		"the password after an app's":  {&account.Means{By: account.ByApp, App: 7}, nil, nil},
		"another that says what it is": {phone, &account.Means{By: account.ByPassword, Device: "l"}, &account.Means{By: account.ByPassword, Device: "l"}},
	} {
		got := tt.was.Again(tt.by)
		if (got == nil) != (tt.want == nil) || got != nil && *got != *tt.want {
			t.Errorf("%s: %+v, want %+v", what, got, tt.want)
		}
	}
}

// TestLook: who is gone loses what he has; when the directory cannot be asked, nobody
// does.
func TestLook(t *testing.T) {
	mercutio := jid.MustParse("mercutio@montague.example")
	person := account.Person{Source: "ldap", Subject: "1", Username: "mercutio", Create: true, Role: account.Admin}
	other, lesser := person, person
	other.Subject, lesser.Role = "2", account.User
	for what, tt := range map[string]struct {
		d     account.Directory
		gone  bool
		err   bool
		admin bool
	}{
		"there":                       {elsewhere{people: map[string]account.Person{"mercutio": person}}, false, false, true},
		"no administrator any more":   {elsewhere{people: map[string]account.Person{"mercutio": lesser}}, false, false, false},
		"gone":                        {elsewhere{err: &sasl.Failure{Condition: sasl.NotAuthorized, Err: account.Gone("left")}}, true, false, true},
		"his name is another's now":   {elsewhere{people: map[string]account.Person{"mercutio": other}}, true, false, true},
		"refused for another reason":  {elsewhere{err: &sasl.Failure{Condition: sasl.NotAuthorized}}, false, true, true},
		"the directory does not talk": {elsewhere{err: errors.New("away")}, false, true, true},
		"no directory any more":       {nil, false, false, true},
	} {
		t.Run(what, func(t *testing.T) {
			s, _ := open(t)
			if err := from(s, elsewhere{people: map[string]account.Person{"mercutio": person}}, nil).External(t.Context(), "mercutio"); err != nil {
				t.Fatal(err)
			}
			if _, _, err := s.IssueToken(t.Context(), mercutio, negotiate.UserAgent{ID: "p"}, sasl.TokenUnbound); err != nil {
				t.Fatal(err)
			}
			ended := 0
			s.OnWithdrawal(func(j jid.JID, what []account.Access, but session.ID) {
				if ended++; j != mercutio || but != "" || !slices.Equal(what, []account.Access{account.Everything}) {
					t.Errorf("told of %s, %q, but %q", j, what, but)
				}
			})
			begun := s.Moment()
			from(s, tt.d, nil)
			gone, err := s.Look(t.Context(), mercutio)
			if (gone != nil) != tt.gone || (err != nil) != tt.err {
				t.Errorf("gone: %v, %v", gone, err)
			}
			list, err := s.Devices(t.Context(), mercutio)
			if err != nil || (len(list) == 0) != tt.gone || (ended == 1) != tt.gone || s.Revoked(mercutio, begun) != tt.gone {
				t.Errorf("%d devices, %v; sessions ended %d times; held log-ins revoked: %v", len(list), err, ended, s.Revoked(mercutio, begun))
			}
			if st := load(t, s, mercutio); st.ID == 0 || st.Disabled || st.Admin != tt.admin {
				t.Errorf("the account is %+v", st)
			}
		})
	}
}
