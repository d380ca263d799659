// Package access says what has access to an account: installations of clients, app
// passwords, sessions; and takes it from one of them.
//
// What it knows comes from three places: the devices that the accounts keep, the app
// passwords of second factors, and the sessions of now, which the owner of the
// account copies in its lane. The rest waits for the store: it is for the pools.
package access

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kith/server/account"
	"kith/server/session"
	"kith/xmpp/jid"
)

// ErrUnknown is returned where nothing has access under an id.
var ErrUnknown = errors.New("no such client has access to the account")

// Apps keeps the app passwords of accounts.
type Apps interface {
	AppPasswords(ctx context.Context, j jid.JID) ([]account.App, error)
	Revoke(ctx context.Context, j jid.JID, app int64, but session.ID) error
}

// Session is what is copied of a session in the lane of its owner.
type Session struct {
	ID       session.ID
	Resource string
	Access   account.Access
	Means    account.Means
	Since    time.Time
}

// Sessions copies what a list says of an account's sessions. It is for the lane.
func Sessions(a *account.Actor) []Session {
	var list []Session
	for _, r := range a.Resources() {
		s := Session{ID: r.ID, Resource: r.JID.Resource(), Access: r.Access(), Means: account.Means{By: account.ByPassword}, Since: r.Since}
		if r.Means != nil {
			s.Means = *r.Means
		}
		list = append(list, s)
	}
	return list
}

// Client is what has access.
type Client struct {
	ID        account.Access `json:"id"`
	Connected bool           `json:"connected"` // it has a session, or one that waits for it
	Used      bool           `json:"used"`      // it has, or has had, a session
	First     time.Time      `json:"first"`     // access that is known of
	Last      time.Time      `json:"last,omitzero"`
	By        account.Method `json:"by"`
	Software  string         `json:"software,omitempty"`
	Device    string         `json:"device,omitempty"`
	Resource  string         `json:"resource,omitempty"` // of the session, of a client of which nothing is kept
}

// Limited reports whether it may do everything but what concerns the access to the
// account.
func (c *Client) Limited() bool { return c.By == account.ByApp }

// Name is what a person knows it by.
func (c *Client) Name() string {
	switch {
	case c.Software != "" && c.Device != "":
		return c.Software + " on " + c.Device
	case c.Software != "" || c.Device != "":
		return c.Software + c.Device
	}
	return "client with the resource " + c.Resource
}

// Remains says what is left to a client whose access was taken away as far as that is
// possible here.
type Remains int

// What may be left.
const (
	Nothing   Remains = iota
	Password          // it knows the password: only another one keeps it out
	Elsewhere         // an issuer of tokens, or an authority, vouches for it
)

// remains says what is left to who has come by these methods. Who has a token has got
// it by a password.
func remains(by account.Method) Remains {
	switch {
	case by&(account.ByPassword|account.ByToken) != 0:
		return Password
	case by&(account.ByGrant|account.ByCertificate) != 0:
		return Elsewhere
	}
	return Nothing
}

// List returns what has access to an account: the connected first, then by when it
// was here last.
func List(ctx context.Context, accounts *account.Store, apps Apps, j jid.JID, sessions []Session) ([]Client, error) {
	devices, err := accounts.Devices(ctx, j)
	if err != nil {
		return nil, err
	}
	var passwords []account.App
	if accounts.Backend(j.Host()).Local() { // a directory does not take them
		if passwords, err = apps.AppPasswords(ctx, j); err != nil {
			return nil, err
		}
	}
	list := []Client{}
	for _, d := range devices {
		list = append(list, Client{ID: account.OfDevice(d.ID), Used: true, First: d.First, Last: d.Last, By: d.By, Software: d.Software, Device: d.Name})
	}
	for _, a := range passwords {
		list = append(list, Client{ID: account.OfApp(a.ID), Used: !a.Used.IsZero(), First: a.Created, Last: a.Used, By: account.ByApp, Software: a.Label})
	}
	for _, s := range sessions {
		list = add(list, s)
	}
	slices.SortStableFunc(list, func(a, b Client) int {
		if a.Connected != b.Connected {
			if a.Connected {
				return -1
			}
			return 1
		}
		return b.Last.Compare(a.Last)
	})
	return list, nil
}

// add puts a session where it belongs: to the client that is known, or to one of
// which nothing is kept.
func add(list []Client, s Session) []Client {
	i := slices.IndexFunc(list, func(c Client) bool { return c.ID == s.Access })
	if i < 0 {
		i = len(list)
		list = append(list, Client{ID: s.Access, Resource: s.Resource, First: s.Since.UTC(), Software: s.Means.Software, Device: s.Means.Name})
	}
	c := &list[i]
	c.Connected, c.Used = true, true
	c.By |= s.Means.By
	if s.Since.After(c.Last) {
		c.Last = s.Since.UTC()
	}
	return list
}

// Revoke takes the access from a client: its tokens, or its password, are void, and
// its sessions end, but for one, which may be "". It returns whose access that was,
// and what is left to it. It fails with ErrUnknown.
func Revoke(ctx context.Context, accounts *account.Store, apps Apps, j jid.JID, sessions []Session, id account.Access, but session.ID) (Client, Remains, error) {
	list, err := List(ctx, accounts, apps, j, sessions)
	if err != nil {
		return Client{}, Nothing, err
	}
	i := slices.IndexFunc(list, func(c Client) bool { return c.ID == id })
	if i < 0 {
		return Client{}, Nothing, ErrUnknown
	}
	c := list[i]
	id = account.Access(strings.Clone(string(id)))
	if app, ok := id.App(); ok && accounts.Backend(j.Host()).Local() {
		if err := apps.Revoke(ctx, j, app, but); err != nil {
			return c, Nothing, fmt.Errorf("revoke the access of %s: %w", id, err)
		}
		return c, Nothing, nil
	}
	if device, ok := id.Device(); ok {
		return c, remains(c.By), accounts.WithdrawDevice(ctx, j, device, but)
	}
	return c, remains(c.By), accounts.Withdraw(ctx, j, but, nil, id)
}
