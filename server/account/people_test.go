package account_test

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"kith/server/account"
	"kith/server/session"
	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/sasl"
)

// elsewhere knows people by their names; the word is a password, or a token with
// the name before it.
type elsewhere struct {
	people map[string]account.Person
	word   string
	err    error
}

func (e elsewhere) Find(_ context.Context, username string) (account.Person, error) {
	p, ok := e.people[username]
	if e.err != nil {
		return p, e.err
	}
	if !ok {
		return p, &sasl.Failure{Condition: sasl.NotAuthorized}
	}
	return p, nil
}

func (e elsewhere) Check(ctx context.Context, username, password string) (account.Person, error) {
	if e.err == nil && password != e.word {
		return account.Person{}, &sasl.Failure{Condition: sasl.NotAuthorized}
	}
	return e.Find(ctx, username)
}

func (e elsewhere) SetPassword(_ context.Context, p account.Person, password string) error {
	switch password {
	case "not here":
		return account.ErrElsewhere
	case "weak":
		return account.ErrPassword
	}
	e.people["changed"] = account.Person{Username: p.Username, Subject: p.Subject, Source: password}
	return nil
}

func (e elsewhere) Token(ctx context.Context, token string) (account.Person, error) {
	p, err := e.Find(ctx, token)
	if err != nil && e.err == nil {
		return p, &sasl.TokenRefusal{Status: sasl.InvalidToken, Err: err}
	}
	return p, err
}

func outcome(err error) string {
	if r, ok := errors.AsType[*sasl.TokenRefusal](err); ok {
		return r.Status
	}
	if f, ok := errors.AsType[*sasl.Failure](err); ok {
		return f.Condition
	}
	if err != nil {
		return "error"
	}
	return ""
}

const password = "r0m30"

// from has the people of montague.example come from elsewhere.
func from(s *account.Store, d account.Directory, i account.Issuer) account.Backend {
	s.SetPeople(map[string]account.People{"montague.example": {Directory: d, Issuer: i}})
	return s.Backend(jid.MustParse("montague.example"))
}

// TestToken: who comes with a token becomes the account that is his, and no other.
func TestToken(t *testing.T) {
	person := func(subject, name string, f func(*account.Person)) account.Person {
		p := account.Person{Source: "https://issuer.example", Subject: subject, Username: name}
		if f != nil {
			f(&p)
		}
		return p
	}
	create := func(p *account.Person) { p.Create = true }
	adopt := func(p *account.Person) { p.Adopt = true }
	s, _ := open(t)
	var sessions []jid.JID
	s.OnPassword(func(j jid.JID, _ session.ID) { sessions = append(sessions, j) })
	if err := s.Create(t.Context(), romeo, password, false); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), jid.MustParse("juliet@montague.example"), password, false); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.IssueToken(t.Context(), romeo, negotiate.UserAgent{ID: "a"}, sasl.TokenUnbound); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		what string
		p    account.Person
		want string // the localpart, or how it is refused
	}{
		{"no account, and none is made", person("1", "mercutio", nil), sasl.NotAuthorized},
		{"no account", person("1", "mercutio", create), "mercutio"},
		{"again", person("1", "mercutio", nil), "mercutio"},
		{"called otherwise now", person("1", "queen-mab", create), "mercutio"},
		{"his name is somebody else's now", person("2", "mercutio", create), sasl.NotAuthorized},
		{"even where accounts are adopted", person("2", "mercutio", adopt), sasl.NotAuthorized},
		{"a name like his", person("3", "rnercutio", create), sasl.NotAuthorized},
		{"a name in two scripts", person("3", "mеrcutio", create), sasl.NotAuthorized},
		{"no name", person("3", "", create), sasl.NotAuthorized},
		{"no localpart", person("3", "a@b", create), sasl.NotAuthorized},
		{"no subject", person("", "benvolio", create), sasl.NotAuthorized},
		{"an account with a password", person("4", "romeo", create), sasl.NotAuthorized},
		{"which is to be adopted", person("4", "romeo", adopt), "romeo"},
		{"from now on", person("4", "romeo", nil), "romeo"},
		{"another issuer", account.Person{Source: "https://other.example", Subject: "4", Username: "romeo", Create: true}, sasl.NotAuthorized},
	} {
		b := from(s, nil, elsewhere{people: map[string]account.Person{"token": step.p}})
		name, err := b.Token(t.Context(), "token")
		if got := name + outcome(err); got != step.want {
			t.Errorf("%s: %q (%v), want %q", step.what, got, err, step.want)
		}
	}
	if !slices.Equal(sessions, []jid.JID{romeo}) {
		t.Errorf("the sessions of %v end; want those of the account that was adopted", sessions)
	}

	if had, err := s.RevokeTokens(t.Context(), romeo, s.Device(romeo, "a")); had || err != nil {
		t.Errorf("a device of the account that was adopted has kept its token: %v, %v", had, err)
	}
	b := from(s, nil, elsewhere{})
	if got := outcome(b.Plain(t.Context(), "romeo", password)); got != sasl.NotAuthorized {
		t.Errorf("PLAIN by the password of before: %q, want %s", got, sasl.NotAuthorized)
	}
	if got := outcome(b.Plain(t.Context(), "juliet", password)); got != "" {
		t.Errorf("PLAIN by a password that was not forgotten: %q, want it to succeed", got)
	}
	if err := s.SetPassword(t.Context(), romeo, "x", ""); !errors.Is(err, account.ErrElsewhere) {
		t.Errorf("SetPassword of an account with a token: %v, want ErrElsewhere", err)
	}

	// Deletion forgets who it was.
	if err := s.Delete(t.Context(), romeo); err != nil {
		t.Fatal(err)
	}
	b = from(s, nil, elsewhere{people: map[string]account.Person{"old": person("4", "romeo", nil), "new": person("5", "romeo", create)}})
	if name, err := b.Token(t.Context(), "old"); outcome(err) != sasl.NotAuthorized {
		t.Errorf("whose account was deleted: %q, %v", name, err)
	}
	if name, err := b.Token(t.Context(), "new"); name != "romeo" || err != nil {
		t.Errorf("whom the name was given to: %q, %v", name, err)
	}
}

// TestAdoption: who has proved the password of an account a moment before it is
// adopted gets nothing for it any more, nor another one.
func TestAdoption(t *testing.T) {
	s, _ := open(t)
	create(t, s, romeo, password)
	m := s.Moment()
	b := from(s, nil, elsewhere{people: map[string]account.Person{
		"token": {Source: "https://issuer.example", Subject: "4", Username: "romeo", Adopt: true},
	}})
	if name, err := b.Token(t.Context(), "token"); name != "romeo" || err != nil {
		t.Fatal(name, err)
	}
	if !s.Revoked(romeo, m, account.Ours) || s.Revoked(romeo, m) {
		t.Errorf("revoked by what is kept: %v, by anything: %v", s.Revoked(romeo, m, account.Ours), s.Revoked(romeo, m))
	}
	keys, err := sasl.MakeKeys(sasl.SHA512, "another", sasl.NewSalt(), sasl.MinIterations)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Upgrader(romeo.Host()).Add(t.Context(), "romeo", sasl.SHA512, keys); outcome(err) != sasl.NotAuthorized {
		t.Errorf("other keys: %v", err)
	}
	if got := outcome(b.Plain(t.Context(), "romeo", "another")); got != sasl.NotAuthorized {
		t.Errorf("PLAIN by them: %q", got)
	}
}

// TestDirectory: a directory decides who logs in, whatever by.
func TestDirectory(t *testing.T) {
	s, _ := open(t)
	create(t, s, romeo, password)
	person := func(name string, f func(*account.Person)) account.Person {
		p := account.Person{Source: "ldap", Subject: "id of " + name, Username: name, Create: true, Vetted: true}
		if f != nil {
			f(&p)
		}
		return p
	}
	people := map[string]account.Person{
		"mercutio":  person("mercutio", nil),
		"rnercutio": person("rnercutio", nil), // whose name it is, whatever it looks like
		"romeo":     person("romeo", nil),
		"mab":       person("mab", func(p *account.Person) { p.Subject = "id of mercutio" }),
	}
	away := elsewhere{err: errors.New("no route to host")}
	d := elsewhere{people: people, word: "secret"}
	plain := func(username, password string) func(account.Backend) error {
		return func(b account.Backend) error { return b.Plain(t.Context(), username, password) }
	}
	external := func(username string) func(account.Backend) error {
		return func(b account.Backend) error { return b.External(t.Context(), username) }
	}
	token := func(word string) func(account.Backend) error {
		return func(b account.Backend) error { _, err := b.Token(t.Context(), word); return err }
	}
	tokens := elsewhere{people: map[string]account.Person{
		"his":   {Source: "https://issuer.example", Subject: "7", Username: "mercutio", Adopt: true},
		"other": {Source: "https://issuer.example", Subject: "8", Username: "nobody", Create: true},
	}}
	for _, test := range []struct {
		what string
		d    account.Directory
		do   func(account.Backend) error
		want string
	}{
		{"a certificate of who has not logged in yet", d, external("mercutio"), ""},
		{"his password", d, plain("mercutio", "secret"), ""},
		{"not his password", d, plain("mercutio", "guess"), sasl.NotAuthorized},
		{"a name that looks like his", d, plain("rnercutio", "secret"), ""},
		{"his entry by another name", d, plain("mab", "secret"), sasl.NotAuthorized},
		{"nobody", d, plain("nobody", "secret"), sasl.NotAuthorized},
		{"nobody's certificate", d, external("nobody"), sasl.NotAuthorized},
		{"an account that was made here, by the directory's password", d, plain("romeo", "secret"), sasl.NotAuthorized},
		{"by its own", d, plain("romeo", password), sasl.NotAuthorized},
		{"his token", d, token("his"), ""},
		{"the token of somebody who is not in the directory", d, token("other"), sasl.NotAuthorized},
		{"no token", d, token("none"), sasl.InvalidToken},
		{"the directory away", away, plain("mercutio", "secret"), "error"},
		{"and a certificate", away, external("mercutio"), "error"},
		{"and a token", away, token("his"), "error"},
		{"who has left", elsewhere{word: "secret"}, plain("mercutio", "secret"), sasl.NotAuthorized},
		{"and his certificate", elsewhere{word: "secret"}, external("mercutio"), sasl.NotAuthorized},
		{"and his token", elsewhere{word: "secret"}, token("his"), sasl.NotAuthorized},
	} {
		if got := outcome(test.do(from(s, test.d, tokens))); got != test.want {
			t.Errorf("%s: %q, want %q", test.what, got, test.want)
		}
	}

	b := from(s, d, nil)
	if want := []string{sasl.External, sasl.Plain}; !slices.Equal(b.Mechanisms(), want) {
		t.Errorf("mechanisms: %v, want %v", b.Mechanisms(), want)
	}
	if k, err := b.SCRAM(t.Context(), "romeo", sasl.SHA256); err != nil || k.Check(sasl.SHA256, password) {
		t.Errorf("SCRAM has the keys of an account that was made here; %v", err)
	}
	mercutio := jid.MustParse("mercutio@montague.example")
	_, _, invite := s.Invite(t.Context(), account.Invitation{Host: mercutio.Host(), Expires: time.Now().Add(time.Hour)})
	_, redeem := s.Redeem(t.Context(), jid.MustParse("tybalt@montague.example"), "x", account.Ticket{})
	for what, err := range map[string]error{
		"Create":      s.Create(t.Context(), jid.MustParse("tybalt@montague.example"), "x", false),
		"SetPassword": s.SetPassword(t.Context(), mercutio, "x", ""),
		"Invite":      invite,
		"Redeem":      redeem,
	} {
		if !errors.Is(err, account.ErrElsewhere) {
			t.Errorf("%s: %v, want ErrElsewhere", what, err)
		}
	}
	create(t, s, juliet, "x") // another host is another matter

	if err := s.SetDisabled(t.Context(), mercutio, true); err != nil {
		t.Fatal(err)
	}
	if got := outcome(b.Plain(t.Context(), "mercutio", "secret")); got != sasl.AccountDisabled {
		t.Errorf("locked out here: %q, want %s", got, sasl.AccountDisabled)
	}
}

// TestRoles: what a source says of rights holds from the next log-in on.
func TestRoles(t *testing.T) {
	s, _ := open(t)
	var changed []jid.JID
	s.OnChange(func(j jid.JID) { changed = append(changed, j) })
	for i, step := range []struct {
		role    account.Role
		admin   bool
		changes int
	}{
		{account.User, false, 1}, {account.Admin, true, 2}, {account.Admin, true, 2}, {account.NoRole, true, 2}, {account.User, false, 3},
	} {
		p := account.Person{Source: "ldap", Subject: "1", Username: "romeo", Create: true, Role: step.role}
		b := from(s, elsewhere{people: map[string]account.Person{"romeo": p}}, nil)
		if err := b.External(t.Context(), "romeo"); err != nil {
			t.Fatal(err)
		}
		if got := load(t, s, romeo); got.Admin != step.admin || len(changed) != step.changes {
			t.Errorf("%d, role %d: admin %v, told of %d changes; want %v, %d", i, step.role, got.Admin, len(changed), step.admin, step.changes)
		}
	}
}
