package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"kith/server/account"
	"kith/server/config"
	"kith/xmpp/jid"
	"kith/xmpp/xep/invitation"
)

// Invite asks for an invitation.
type Invite struct {
	Host    jid.JID       `json:"host,omitzero"` // zero: the contact's, or the only one
	Contact jid.JID       `json:"contact,omitzero"`
	Admin   bool          `json:"admin,omitempty"`
	Expires time.Duration `json:"expires"` // from now, in nanoseconds
}

// Invited is the invitation: the only time that its token is told.
type Invited struct {
	account.Invitation
	Link string `json:"link"`
}

// Revoke takes an invitation back.
type Revoke struct {
	ID int64 `json:"id"`
}

// longestInvitation bounds how long an invitation is good: it has to end
// (XEP-0379 §6.2).
const longestInvitation = 366 * 24 * time.Hour

func (i Invite) check() error {
	switch {
	case i.Expires <= 0 || i.Expires > longestInvitation:
		return fmt.Errorf("it cannot be good for %v; name a time of up to a year, such as 7d", i.Expires)
	case !i.Host.IsZero() && i.Host != i.Host.Host():
		return fmt.Errorf("%q is no host", i.Host)
	case !i.Contact.IsZero() && (i.Contact.Local() == "" || !i.Contact.IsBare()):
		return fmt.Errorf("%q is no account; an account's address is name@domain", i.Contact)
	}
	return nil
}

func (r Revoke) check() error { return nil }

func (s *Server) invitationRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /invitations", s.listInvitations)
	mux.HandleFunc("POST /invitation/create", s.invite)
	mux.HandleFunc("POST /invitation/revoke", func(w http.ResponseWriter, r *http.Request) {
		c, ok := command[Revoke](w, r, "revoke invitation")
		if !ok {
			return
		}
		if err := s.Accounts.Revoke(context.WithoutCancel(r.Context()), c.ID); err != nil {
			status, why := s.explainInvitation(err)
			refuse(w, status, fmt.Sprintf("revoke invitation %d: %s", c.ID, why))
			return
		}
		reply(w, struct{}{})
	})
}

func (s *Server) invite(w http.ResponseWriter, r *http.Request) {
	c, ok := command[Invite](w, r, "make an invitation")
	if !ok {
		return
	}
	host, err := s.hostFor(c)
	if _, ok := s.Config().LDAP[host.Domain()]; err == nil && ok {
		err = fmt.Errorf("the accounts of %s come from its directory; make it there", host)
	}
	if err == nil && s.Config().RegistrationMode(host) == config.Closed {
		err = fmt.Errorf("registration at %s is closed; set mode in [registration], or registration in [host.%q], to \"invite\"", host, host)
	}
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, "make an invitation: "+err.Error())
		return
	}
	token, made, err := s.Accounts.Invite(context.WithoutCancel(r.Context()), account.Invitation{
		Host: host, Contact: c.Contact, Admin: c.Admin, Expires: time.Now().Add(c.Expires).UTC(),
	})
	if err != nil {
		status, why := s.explainInvitation(err)
		if errors.Is(err, account.ErrUnknown) {
			status, why = http.StatusNotFound, fmt.Sprintf("%s has no account here; kith account list shows who has", c.Contact)
		}
		refuse(w, status, "make an invitation: "+why)
		return
	}
	reply(w, Invited{made, invitation.Link(host, token)})
}

// hostFor returns the host that an invitation is for.
func (s *Server) hostFor(c Invite) (jid.JID, error) {
	host := c.Host
	switch {
	case !host.IsZero():
	case !c.Contact.IsZero():
		host = c.Contact.Host()
	case len(s.Config().Hosts) == 1:
		host = s.Config().Hosts[0]
	default:
		return host, fmt.Errorf("there are several hosts; name one with --host: %s", strings.Join(s.hosts(), ", "))
	}
	if s.Router.Host(host.Domain()) == nil {
		return host, fmt.Errorf("%s is %w; it serves %s", host, errNoHost, strings.Join(s.hosts(), ", "))
	}
	return host, nil
}

func (s *Server) explainInvitation(err error) (status int, why string) {
	if errors.Is(err, account.ErrNoInvitation) {
		return http.StatusNotFound, account.ErrNoInvitation.Error() + "; kith invite list shows which can be used"
	}
	if errors.Is(err, account.ErrElsewhere) {
		return http.StatusConflict, "the accounts of this host come from its directory; make it there"
	}
	return s.explain(jid.JID{}, err)
}

func (s *Server) listInvitations(w http.ResponseWriter, r *http.Request) {
	list, err := s.Accounts.Invitations(r.Context())
	if err != nil {
		s.Log.Error("invitations not listed", "error", err)
		refuse(w, http.StatusServiceUnavailable, "list invitations: the database does not answer; the log says why")
		return
	}
	if list == nil {
		list = []account.Invitation{}
	}
	reply(w, list)
}
