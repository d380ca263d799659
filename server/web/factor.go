package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"kith/server/factor"
	"kith/xmpp/jid"
)

// Factor is what kith account factor shows.
type Factor struct {
	Enabled  bool                 `json:"enabled"`
	Recovery int                  `json:"recovery"` // codes that are left
	Apps     []factor.AppPassword `json:"apps"`
}

// Enrolment is what an authenticator has to be told.
type Enrolment struct {
	Secret string `json:"secret"`
	URI    string `json:"uri"`
}

// Confirmation ends an enrolment.
type Confirmation struct {
	JID  jid.JID `json:"jid"`
	Code string  `json:"code"`
}

func (c Confirmation) check() error { return Change{JID: c.JID}.check() }

// Recovery are codes for who has lost an authenticator.
type Recovery struct {
	Codes []string `json:"codes"`
}

func (s *Server) factorRoutes(mux *http.ServeMux) {
	mux.HandleFunc("POST /factor", serve(s, "second factor", func(ctx context.Context, c Change) (Factor, error) {
		if err := s.known(ctx, c.JID); err != nil {
			return Factor{}, err
		}
		st, err := s.Factors.Status(ctx, c.JID)
		if err != nil {
			return Factor{}, err
		}
		apps, err := s.Factors.AppPasswords(ctx, c.JID)
		return Factor{st.Enabled, st.Recovery, apps}, err
	}))
	mux.HandleFunc("POST /factor/begin", serve(s, "set up the second factor", func(ctx context.Context, c Change) (Enrolment, error) {
		if s.Accounts.Backend(c.JID.Host()).Local() {
			e, err := s.Factors.Begin(ctx, c.JID)
			return Enrolment(e), err
		}
		return Enrolment{}, errDirectory
	}))
	mux.HandleFunc("POST /factor/confirm", serve(s, "set up the second factor", func(ctx context.Context, c Confirmation) (Recovery, error) {
		codes, err := s.Factors.Confirm(ctx, c.JID, c.Code)
		return Recovery{codes}, err
	}))
	mux.HandleFunc("POST /factor/remove", serve(s, "remove the second factor", func(ctx context.Context, c Change) (struct{}, error) {
		was, err := s.Factors.Remove(ctx, c.JID)
		if err == nil && !was {
			err = factor.ErrNotEnrolled
		}
		return struct{}{}, err
	}))
}

var errDirectory = errors.New("its people log in by a directory, which has second factors of its own")

// known fails for an account that is not there.
func (s *Server) known(ctx context.Context, j jid.JID) error {
	_, err := s.Accounts.Info(ctx, j)
	return err
}

// about is a command about an account.
type about interface {
	check() error
	of() jid.JID
}

func (c Change) of() jid.JID       { return c.JID }
func (c Confirmation) of() jid.JID { return c.JID }

// serve answers a command about an account with what do returns.
func serve[C about, A any](s *Server, what string, do func(context.Context, C) (A, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, ok := command[C](w, r, what)
		if !ok {
			return
		}
		answer, err := do(context.WithoutCancel(r.Context()), c)
		if err != nil {
			status, why := s.explainFactor(c.of(), err)
			refuse(w, status, fmt.Sprintf("%s of %s: %s", what, c.of(), why))
			return
		}
		reply(w, answer)
	}
}

// explainFactor is explain for second factors.
func (s *Server) explainFactor(j jid.JID, err error) (status int, why string) {
	switch {
	case errors.Is(err, factor.ErrCode):
		return http.StatusUnprocessableEntity, factor.ErrCode.Error() + "; are the clocks of the server and of the authenticator right?"
	case errors.Is(err, factor.ErrTooMany):
		return http.StatusTooManyRequests, factor.ErrTooMany.Error()
	case errors.Is(err, factor.ErrEnrolled):
		return http.StatusConflict, factor.ErrEnrolled.Error() + "; kith account factor --remove takes it away"
	case errors.Is(err, factor.ErrNotEnrolled):
		return http.StatusNotFound, factor.ErrNotEnrolled.Error() + "; kith account factor --set-up begins one"
	case errors.Is(err, errDirectory):
		return http.StatusConflict, err.Error()
	}
	return s.explain(j, err)
}
