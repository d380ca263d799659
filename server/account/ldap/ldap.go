// Package ldap asks a directory (LDAP, RFC 4511) who people are: it implements
// account.Directory.
//
// A password is checked by a simple bind (RFC 4513 §5.1) over TLS, or to an
// address of loopback. It is never empty, for such a bind succeeds and proves
// nothing (§5.1.2). What a stranger has typed enters a filter or a DN escaped
// (RFC 4515 §3, RFC 4514 §2.4). Each question takes one of a bounded number of
// connections; who waits for one waits as long as his log-in may take.
package ldap

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"github.com/go-ldap/ldap/v3"

	"kith/server/account"
	"kith/server/config"
	"kith/xmpp/sasl"
)

// source is that of all persons of a host: it has one directory.
const source = "ldap"

// Directory is a directory with its connections.
type Directory struct {
	conf config.LDAP
	pool *pool
}

// New returns a directory. It connects when it is asked.
func New(conf config.LDAP) (*Directory, error) {
	p, err := newPool(conf)
	if err != nil {
		return nil, err
	}
	return &Directory{conf, p}, nil
}

// Close closes the connections; those in use as soon as they are done with.
func (d *Directory) Close() { d.pool.close() }

// Why somebody is refused, for the log.
var (
	errNobody   = account.Gone("the directory knows nobody of that name")
	errSeveral  = errors.New("the directory knows several of that name; the filter has to find one")
	errPassword = errors.New("not the password in the directory")
	errGroup    = account.Gone("not a member of the group that may log in")
)

func refuse(err error) error { return &sasl.Failure{Condition: sasl.NotAuthorized, Err: err} }

// Check implements account.Directory.
func (d *Directory) Check(ctx context.Context, username, password string) (p account.Person, err error) {
	if username == "" || password == "" {
		return p, refuse(errPassword)
	}
	err = d.pool.with(ctx, func(c *conn) (err error) {
		p, err = d.check(c, username, password)
		return err
	})
	return p, err
}

func (d *Directory) check(c *conn, username, password string) (account.Person, error) {
	if d.self() {
		dn := d.dn(username)
		if err := c.prove(dn, password); err != nil {
			return account.Person{}, err
		}
		return d.person(c, username)
	}
	if err := c.serve(d.conf); err != nil {
		return account.Person{}, err
	}
	e, err := d.find(c, username)
	if errors.Is(err, errNobody) {
		// As for a wrong password, one more question goes to and fro.
		if c.prove(d.nobody(), password) == nil {
			return account.Person{}, errors.New("the directory takes any name and password")
		}
		return account.Person{}, err
	}
	if err != nil {
		return account.Person{}, err
	}
	p, err := d.describe(c, username, e)
	if err != nil && !errors.Is(err, errGroup) {
		return account.Person{}, err
	}
	if err := c.prove(e.DN, password); err != nil {
		return account.Person{}, err
	}
	return p, err
}

// Find implements account.Directory.
func (d *Directory) Find(ctx context.Context, username string) (p account.Person, err error) {
	switch {
	case username == "":
		return p, refuse(errNobody)
	case d.self():
		return p, refuse(errors.New("nobody but its owner can read an entry: set bind_dn"))
	}
	err = d.pool.with(ctx, func(c *conn) error {
		if err := c.serve(d.conf); err != nil {
			return err
		}
		p, err = d.person(c, username)
		return err
	})
	return p, err
}

// self reports whether entries are read by their owners.
func (d *Directory) self() bool { return d.conf.DN != "" && d.conf.BindDN == "" }

func (d *Directory) dn(username string) string {
	return strings.ReplaceAll(d.conf.DN, "{name}", ldap.EscapeDN(username))
}

// nobody is a name that no entry has.
func (d *Directory) nobody() string {
	if d.conf.DN != "" {
		return d.dn(rand.Text())
	}
	return "cn=" + rand.Text() + "," + d.conf.Base
}

func (d *Directory) person(c *conn, username string) (account.Person, error) {
	e, err := d.find(c, username)
	if err != nil {
		return account.Person{}, err
	}
	return d.describe(c, username, e)
}

// find returns the entry of a person.
func (d *Directory) find(c *conn, username string) (*ldap.Entry, error) {
	filter := strings.ReplaceAll(d.conf.Filter, "{name}", ldap.EscapeFilter(username))
	base, scope := d.conf.Base, ldap.ScopeWholeSubtree
	if d.conf.DN != "" {
		base, scope = d.dn(username), ldap.ScopeBaseObject
		if filter == "" {
			filter = "(objectClass=*)"
		}
	}
	// Of two it is not known who is meant: no more need to come.
	r, err := c.Search(ldap.NewSearchRequest(base, scope, ldap.NeverDerefAliases, 2, int(d.conf.Timeout.Seconds())+1, false, filter, []string{d.conf.ID}, nil))
	switch {
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultSizeLimitExceeded):
		return nil, refuse(errSeveral)
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject) && d.conf.DN != "":
		return nil, refuse(errNobody)
	case err != nil:
		return nil, fmt.Errorf("look %s up below %s: %w", username, base, err)
	case len(r.Entries) == 0:
		return nil, refuse(errNobody)
	case len(r.Entries) > 1:
		return nil, refuse(errSeveral)
	}
	return r.Entries[0], nil
}

// describe returns what the directory says of whom an entry is.
func (d *Directory) describe(c *conn, username string, e *ldap.Entry) (account.Person, error) {
	id := e.GetRawAttributeValues(d.conf.ID)
	if len(id) != 1 {
		return account.Person{}, fmt.Errorf("the entry %s has %d values of %s that can be read, and needs one: set id", e.DN, len(id), d.conf.ID)
	}
	p := account.Person{
		Source: source, Subject: subject(id[0]), Username: username, Create: true, Adopt: d.conf.Adopt, Vetted: true,
	}
	if d.conf.Group != "" {
		in, err := d.member(c, d.conf.Group, username, e.DN)
		if err != nil {
			return account.Person{}, err
		}
		if !in {
			return account.Person{}, refuse(errGroup)
		}
	}
	if d.conf.AdminGroup != "" {
		in, err := d.member(c, d.conf.AdminGroup, username, e.DN)
		if err != nil {
			return account.Person{}, err
		}
		p.Role = account.User
		if in {
			p.Role = account.Admin
		}
	}
	return p, nil
}

// member reports whether an entry belongs to a group, in whichever of the usual
// ways (RFC 4519 §2.17, §2.40; RFC 2307 §3).
func (d *Directory) member(c *conn, group, username, dn string) (bool, error) {
	of := ldap.EscapeFilter(dn)
	filter := "(|(member=" + of + ")(uniqueMember=" + of + ")(memberUid=" + ldap.EscapeFilter(username) + "))"
	r, err := c.Search(ldap.NewSearchRequest(group, ldap.ScopeBaseObject, ldap.NeverDerefAliases, 1, int(d.conf.Timeout.Seconds())+1, false, filter, []string{"1.1"}, nil))
	switch {
	case ldap.IsErrorAnyOf(err, ldap.LDAPResultNoSuchObject):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look into the group %s: %w", group, err)
	}
	return len(r.Entries) == 1, nil
}

// subject is an identifier as text, whether it is text or not.
func subject(id []byte) string {
	for _, b := range id {
		if b < ' ' || b > '~' {
			return "0x" + hex.EncodeToString(id)
		}
	}
	return string(id)
}
