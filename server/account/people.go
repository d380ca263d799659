package account

import (
	"context"
	"errors"
	"fmt"
	"time"

	"kith/server/account/lookalike"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
)

// People say where those come from who log in to a host. The zero value is this
// server alone: its accounts have passwords, kept here.
type People struct {
	// Directory, if it is not nil, knows all people of the host, and their
	// passwords. Nobody else is made an account, or logs in.
	Directory Directory
	// Issuer, if it is not nil, gives tokens to some.
	Issuer Issuer
	// Anonymous lets in who has no account, with one that lasts as long as the session.
	Anonymous bool
}

// Directory knows the people of a host. Its methods refuse by a *sasl.Failure of
// sasl.NotAuthorized; any other error says that the directory cannot be asked.
type Directory interface {
	// Check returns who a user is, if that is his password.
	Check(ctx context.Context, username, password string) (Person, error)
	// Find returns who a user is, if he may log in.
	Find(ctx context.Context, username string) (Person, error)
	// SetPassword changes the password of a person whom Find has returned. It fails
	// with ErrElsewhere if it may not, with ErrPassword or sasl.ErrCredentials if that
	// is none for it.
	SetPassword(ctx context.Context, p Person, password string) error
}

// Issuer verifies tokens.
type Issuer interface {
	// Token returns for whom a token speaks. It refuses by a *sasl.TokenRefusal; any
	// other error says that the token cannot be verified now.
	Token(ctx context.Context, token string) (Person, error)
}

// Person is somebody as a Directory or an Issuer knows him.
type Person struct {
	Source   string // who knows
	Subject  string // by which he is known there, whatever he is called
	Username string // what he is called: the localpart of his account, in canonical form
	Role     Role
	Create   bool // an account is made for him if there is none
	Adopt    bool // he gets an account of that name that was made here
	Vetted   bool // his name was given to him, so that it may look like another
}

// Role is what a source says of a person's rights.
type Role int

// The roles. NoRole leaves an account as it is.
const (
	NoRole Role = iota
	User
	Admin
)

// Why a person is not let in, for the log.
var (
	errNoAccount  = errors.New("there is no account, and none is made by logging in")
	errOther      = errors.New("the account of that name belongs to somebody else there; it is not given to a second one")
	errNotAdopted = errors.New("the account of that name was made here; it is given to nobody else unless adopt is set")
	errRenamed    = errors.New("the account has another name")
)

// ErrElsewhere is returned where a password would be set, or an account made, of
// which a directory or an issuer of tokens decides.
var ErrElsewhere = errors.New("the account is logged in to by what is kept elsewhere")

// ErrPassword is returned for a password that the directory does not take.
var ErrPassword = errors.New("the directory does not take this password")

// SetPeople sets where people come from, by domain, for log-ins that begin later.
// Who is there without an account where nobody may be so any more is logged out.
func (s *Store) SetPeople(people map[string]People) {
	s.people.Store(&people)
	for _, j := range s.temporary.all() {
		if !people[j.Domain()].Anonymous {
			// Nothing is stored, so that nothing fails.
			_ = s.Withdraw(context.Background(), j, "", nil, Everything)
		}
	}
}

func (s *Store) peopleOf(domain string) People {
	if p := s.people.Load(); p != nil {
		return (*p)[domain]
	}
	return People{}
}

// own fails where accounts are not this server's to make.
func (s *Store) own(host jid.JID) error {
	if s.peopleOf(host.Domain()).Directory != nil {
		return ErrElsewhere
	}
	return nil
}

// Mechanisms returns those by which the people of the host may log in. A directory
// checks passwords and tells no keys: so there is no SCRAM.
func (b Backend) Mechanisms() []string {
	out := []string{sasl.External}
	if b.people.Directory == nil {
		out = append(out, sasl.ScramSHA512Plus, sasl.ScramSHA256Plus, sasl.ScramSHA1Plus,
			sasl.ScramSHA512, sasl.ScramSHA256, sasl.ScramSHA1)
	}
	if b.people.Issuer != nil {
		out = append(out, sasl.OAuthBearer)
	}
	if b.people.Anonymous {
		out = append(out, sasl.Anonymous)
	}
	return append(out, sasl.Plain)
}

// Token implements sasl.TokenBackend. Where there is a directory, it has to know
// who comes with a token.
func (b Backend) Token(ctx context.Context, token string) (string, error) {
	if b.people.Issuer == nil {
		return "", &sasl.Failure{Condition: sasl.InvalidMechanism}
	}
	p, err := b.people.Issuer.Token(ctx, token)
	if err == nil && b.people.Directory != nil {
		p, err = b.people.Directory.Find(ctx, p.Username)
	}
	if err != nil {
		return "", err
	}
	j, err := b.s.settle(ctx, b.domain, p)
	return j.Local(), err
}

// directory lets a person in whom the directory knows.
func (b Backend) directory(ctx context.Context, username string, p Person, err error) error {
	if err != nil {
		return err
	}
	j, err := b.s.settle(ctx, b.domain, p)
	if err == nil && j.Local() != username {
		return &sasl.Failure{Condition: sasl.NotAuthorized, Err: fmt.Errorf("%s: %w, %s", username, errRenamed, j)}
	}
	return err
}

// settle returns the account of a person who has proved who he is, and makes it
// what it has to be by what is known of him. It fails with a *sasl.Failure if he
// is not to be let in.
func (s *Store) settle(ctx context.Context, domain string, p Person) (jid.JID, error) {
	named, err := jid.New(p.Username, domain, "")
	if err != nil || named.Local() == "" || p.Subject == "" {
		return jid.JID{}, &sasl.Failure{Condition: sasl.NotAuthorized, Err: fmt.Errorf("%q at %s cannot be an account: %w", p.Username, domain, err)}
	}
	var a known
	err = s.db.Read(ctx, func(r *storage.Reader) (err error) {
		a, err = find(r, domain, p)
		return err
	})
	p.Create = p.Create && !s.reserved(named)
	if err == nil && (a.id == 0 || a.stale(p)) {
		done := func() {}
		if a.id == 0 && p.Adopt && s.peopleOf(domain).Directory == nil { // its password is forgotten
			done = s.revoke(named, Ours)
		}
		err = s.db.Write(ctx, func(tx *storage.Tx) (err error) {
			a, err = settleIn(tx, domain, named, p)
			return err
		})
		done()
		if err == nil && a.changed {
			s.announce(a.jid)
		}
		if err == nil && a.adopted {
			s.announcePassword(a.jid, "")
		}
	}
	if _, ok := errors.AsType[*Lookalike](err); ok || errors.Is(err, ErrMixed) || isRefusal(err) {
		return jid.JID{}, &sasl.Failure{Condition: sasl.NotAuthorized, Err: fmt.Errorf("log-in of %s by %s: %w", named, p.Source, err)}
	}
	switch {
	case err != nil:
		return jid.JID{}, fmt.Errorf("log-in of %s by %s: %w", named, p.Source, err)
	case a.disabled:
		return jid.JID{}, &sasl.Failure{Condition: sasl.AccountDisabled}
	}
	return a.jid, nil
}

func isRefusal(err error) bool {
	return errors.Is(err, errNoAccount) || errors.Is(err, errOther) || errors.Is(err, errNotAdopted)
}

// known is an account, of id 0 if there is none.
type known struct {
	id              int64
	jid             jid.JID
	disabled, admin bool
	changed         bool // by settling
	adopted         bool // by settling: it has no password any more
}

// stale reports whether a source says another role than the account has.
func (a known) stale(p Person) bool { return p.Role != NoRole && a.admin != (p.Role == Admin) }

// find returns the account of a person who has one.
func find(r *storage.Reader, domain string, p Person) (a known, err error) {
	err = r.QueryRow(`SELECT a.id, a.jid, a.disabled, a.admin FROM identity i JOIN account a ON a.id = i.account
		WHERE i.host = $1 AND i.source = $2 AND i.subject = $3`, domain, p.Source, p.Subject).Scan(&a.id, &a.jid, &a.disabled, &a.admin)
	if errors.Is(err, storage.ErrNotFound) {
		return known{}, nil
	}
	return a, err
}

// settleIn is the part of settle that writes.
func settleIn(tx *storage.Tx, domain string, named jid.JID, p Person) (known, error) {
	a, err := find(&tx.Reader, domain, p)
	if err != nil {
		return known{}, err
	}
	if a.id == 0 {
		if a, err = claim(tx, named, p); err != nil {
			return known{}, err
		}
		a.changed = true
		_, err = tx.Exec(`INSERT INTO identity (host, source, subject, account) VALUES ($1, $2, $3, $4)`, domain, p.Source, p.Subject, a.id)
		if err != nil {
			return known{}, err
		}
	}
	if a.stale(p) {
		a.admin, a.changed = !a.admin, true
		if _, err := tx.Exec(`UPDATE account SET admin = $2 WHERE id = $1`, a.id, a.admin); err != nil {
			return known{}, err
		}
	}
	return a, nil
}

// claim returns the account of that name for a person who has none yet. An account
// that was made here, with a password, is his only if the configuration says so,
// and its password is forgotten: there would be two ways in.
func claim(tx *storage.Tx, named jid.JID, p Person) (a known, err error) {
	err = tx.QueryRow(`SELECT id, jid, disabled, admin FROM account WHERE jid = $1`, named.String()).Scan(&a.id, &a.jid, &a.disabled, &a.admin)
	if errors.Is(err, storage.ErrNotFound) {
		if !p.Create {
			return a, errNoAccount
		}
		id, err := insertBare(tx, named, p.Role == Admin, p.Vetted)
		return known{id: id, jid: named, admin: p.Role == Admin}, err
	}
	if err != nil {
		return a, err
	}
	var n int
	if err := tx.QueryRow(`SELECT count(*) FROM identity WHERE account = $1 AND source = $2`, a.id, p.Source).Scan(&n); err != nil {
		return a, err
	}
	switch {
	case n > 0: // he was called so before, or somebody else was
		return a, errOther
	case !p.Adopt:
		return a, errNotAdopted
	}
	forgotten, err := tx.Exec(`DELETE FROM credential WHERE account = $1`, a.id)
	if err != nil {
		return a, err
	}
	a.adopted = forgotten > 0
	return a, revokeAll(tx, a.id)
}

// insertBare writes the row of a new account.
func insertBare(tx *storage.Tx, j jid.JID, admin, vetted bool) (id int64, err error) {
	if !vetted && lookalike.Mixed(j.Local()) {
		return 0, ErrMixed
	}
	skeleton := skeletonOf(j)
	err = tx.QueryRow(`INSERT INTO account (jid, created, disabled, admin, skeleton, skeleton_version) VALUES ($1, $2, $3, $4, $5, $6)
		ON CONFLICT (jid) DO NOTHING RETURNING id`, j.String(), time.Now().UnixMilli(), false, admin, skeleton, lookalike.Version).Scan(&id)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return 0, ErrExists
	case err != nil || vetted:
		return id, err
	}
	return id, checkSkeleton(&tx.Reader, skeleton, j)
}

// linked reports whether an account is logged in to by what is kept elsewhere.
func linked(tx *storage.Tx, id int64) (bool, error) {
	var n int
	err := tx.QueryRow(`SELECT count(*) FROM identity WHERE account = $1`, id).Scan(&n)
	return n > 0, err
}
