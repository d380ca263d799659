package web

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"kith/server/route"
	"kith/xmpp/jid"
	"kith/xmpp/stream"
)

// Closing is what kith session close says: whose sessions.
type Closing struct {
	JID jid.JID `json:"jid"`
}

func (c Closing) check() error {
	if c.JID.Local() == "" {
		return fmt.Errorf("%q is neither an account nor a session; name user@domain or user@domain/resource", c.JID)
	}
	return nil
}

// Closed is its answer.
type Closed struct {
	Sessions int `json:"sessions"`
}

// askWithin is how long the owners of sessions may take to answer.
const askWithin = 30 * time.Second

// closedByOperator is what a client is told. The RFC has no condition for it.
func closedByOperator() error {
	return stream.ErrUndefinedCondition.With("closed by the operator of the server")
}

func (s *Server) listSessions(w http.ResponseWriter, r *http.Request) {
	var of jid.JID
	if text := r.URL.Query().Get("of"); text != "" {
		j, err := jid.Parse(text)
		if err != nil {
			refuse(w, http.StatusBadRequest, fmt.Sprintf("list sessions: %q is no address; name an account, one of its sessions, or a host", text))
			return
		}
		if s.Router.Host(j.Domain()) == nil {
			refuse(w, http.StatusNotFound, fmt.Sprintf("list sessions: %s is %v; it serves %s", j.Domain(), errNoHost, strings.Join(s.hosts(), ", ")))
			return
		}
		of = j
	}
	ctx, cancel := context.WithTimeout(r.Context(), askWithin)
	defer cancel()
	list, err := s.Router.Sessions(ctx, of)
	if err != nil {
		s.Log.Error("sessions not listed", "error", err)
		refuse(w, http.StatusServiceUnavailable, "list sessions: the server is too busy to answer; try again")
		return
	}
	reply(w, list)
}

func (s *Server) closeSessions(w http.ResponseWriter, r *http.Request) {
	c, ok := command[Closing](w, r, "close session")
	if !ok {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), askWithin)
	defer cancel()
	n, err := s.Router.CloseSessions(ctx, c.JID, closedByOperator())
	switch {
	case err != nil:
		s.Log.Error("sessions not closed", "of", c.JID, "error", err)
		refuse(w, http.StatusServiceUnavailable, "close session: the server is too busy to answer; try again")
	case n == 0:
		refuse(w, http.StatusNotFound, fmt.Sprintf("close session %s: there is none; kith session list shows which there are", c.JID))
	default:
		s.Log.Info("sessions closed by command", "of", c.JID, "sessions", n)
		reply(w, Closed{n})
	}
}

// Session is a line of kith session list.
type Session = route.SessionInfo
