package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"kith/server/access"
	"kith/server/account"
	"kith/xmpp/jid"
)

// Device is a line of kith session devices: what has access to an account.
type Device = access.Client

// Revoking is what kith session revoke says: whose access, and which.
type Revoking struct {
	JID    jid.JID        `json:"jid"`
	Device account.Access `json:"device"`
}

func (r Revoking) check() error { return Change{JID: r.JID}.check() }

// Revoked is its answer.
type Revoked struct {
	Name string `json:"name"` // what a person knows it by
	Left string `json:"left"` // by what it may still come: "password", "elsewhere"; "": by nothing
}

func (s *Server) deviceRoutes(mux *http.ServeMux) {
	mux.HandleFunc("GET /session/devices", s.listDevices)
	mux.HandleFunc("POST /session/revoke", s.revokeDevice)
}

// clients asks the owner of an account that exists for its sessions.
func (s *Server) clients(ctx context.Context, j jid.JID) ([]access.Session, error) {
	if s.Router.Host(j.Domain()) == nil {
		return nil, errNoHost
	}
	if err := s.known(ctx, j); err != nil {
		return nil, err
	}
	return s.Router.Clients(ctx, j)
}

func (s *Server) listDevices(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), askWithin)
	defer cancel()
	text := r.URL.Query().Get("of")
	j, err := jid.Parse(text)
	if err == nil {
		err = Change{JID: j}.check()
	}
	if err != nil {
		refuse(w, http.StatusBadRequest, fmt.Sprintf("list devices: %q is no account; an account's address is name@domain", text))
		return
	}
	var list []Device
	sessions, err := s.clients(ctx, j)
	if err == nil {
		list, err = access.List(ctx, s.Accounts, s.Factors, j, sessions)
	}
	if err != nil {
		status, why := s.explain(j, err)
		refuse(w, status, fmt.Sprintf("list devices of %s: %s", j, why))
		return
	}
	reply(w, list)
}

func (s *Server) revokeDevice(w http.ResponseWriter, r *http.Request) {
	c, ok := command[Revoking](w, r, "revoke device")
	if !ok {
		return
	}
	// What was begun is finished, also when nobody waits for the answer any more.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), askWithin)
	defer cancel()
	var of Device
	var left access.Remains
	sessions, err := s.clients(ctx, c.JID)
	if err == nil {
		of, left, err = access.Revoke(ctx, s.Accounts, s.Factors, c.JID, sessions, c.Device, "")
	}
	switch {
	case errors.Is(err, access.ErrUnknown):
		refuse(w, http.StatusNotFound, fmt.Sprintf("revoke device %s of %s: there is none; kith session devices shows which there are", c.Device, c.JID))
		return
	case err != nil:
		status, why := s.explain(c.JID, err)
		refuse(w, status, fmt.Sprintf("revoke device %s of %s: %s", c.Device, c.JID, why))
		return
	}
	s.Log.Info("access revoked by command", "account", c.JID, "client", c.Device)
	answer := Revoked{Name: of.Name()}
	switch left {
	case access.Password:
		answer.Left = "password"
	case access.Elsewhere:
		answer.Left = "elsewhere"
	case access.Nothing:
	}
	reply(w, answer)
}
