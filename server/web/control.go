package web

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"time"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/sasl"
)

// maxChange bounds the body of a command.
const maxChange = 64 << 10

// Status is what kith status shows.
type Status struct {
	Version    string            `json:"version"`
	Begun      time.Time         `json:"begun"`
	Hosts      []HostStatus      `json:"hosts"`
	Components []ComponentStatus `json:"components,omitempty"`
	Database   string            `json:"database"`
	Healthy    bool              `json:"healthy"`
	Problem    string            `json:"problem,omitempty"`
	Accounts   int               `json:"accounts"`
	Sessions   int64             `json:"sessions"`
	Resumable  int               `json:"resumable"` // of the sessions, with a stream or without
	Streams    int               `json:"streams"`
	Waiting    int               `json:"waiting_for_login"`
	Delivered  int64             `json:"stanzas_delivered"`
	Bounced    int64             `json:"stanzas_bounced"`
	Commits    int64             `json:"commits"`
	CommitMean float64           `json:"commit_mean_ms"`
	Heap       uint64            `json:"heap_bytes"`   // in use
	Memory     uint64            `json:"memory_bytes"` // that the system gave
	Panics     int64             `json:"panics"`
}

// HostStatus is what kith status shows of a host: messages are counted since the
// start, each once.
type HostStatus struct {
	Host      string `json:"host"`
	Accounts  int    `json:"accounts"`
	Sessions  int    `json:"sessions"`
	Delivered int64  `json:"messages_delivered"` // at once
	Kept      int64  `json:"messages_kept"`      // for nobody was there
	Bounced   int64  `json:"messages_bounced"`
	Waiting   int    `json:"messages_waiting"` // now, for a client to take them
}

// ComponentStatus is what kith status shows of an external component: stanzas are
// counted since the start.
type ComponentStatus struct {
	Host        string `json:"host"`
	Connections int    `json:"connections"`
	Sent        int64  `json:"stanzas_sent"` // to it
	Received    int64  `json:"stanzas_received"`
	Bounced     int64  `json:"stanzas_bounced"` // because it was not there
	Queued      int    `json:"stanzas_queued"`  // now
}

// Change is what a command changes of an account.
type Change struct {
	JID      jid.JID `json:"jid"`
	Password string  `json:"password,omitempty"`
	Admin    bool    `json:"admin,omitempty"`
}

// Report is what kith reload shows: what a reload has done.
type Report struct {
	File     string   `json:"file"`     // that was read; "" if there is none
	Changed  []string `json:"changed"`  // what holds from now on
	Restart  []string `json:"restart"`  // what holds after a restart only
	Warnings []string `json:"warnings"` // what is not as it should be
}

// Problem is a refusal: what failed, why, what to do.
type Problem struct {
	Error string `json:"error"`
}

// errNoHost refuses an account elsewhere.
var errNoHost = errors.New("not a host of this server")

func (s *Server) controlRoutes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /status", s.status)
	mux.HandleFunc("POST /reload", s.reload)
	mux.HandleFunc("GET /sessions", s.listSessions)
	mux.HandleFunc("POST /session/close", s.closeSessions)
	s.deviceRoutes(mux)
	mux.HandleFunc("GET /s2s", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Servers.List()) })
	mux.HandleFunc("GET /s2s/tlsa", func(w http.ResponseWriter, _ *http.Request) { reply(w, s.Servers.Publish()) })
	mux.HandleFunc("GET /accounts", s.listAccounts)
	mux.HandleFunc("POST /account/create", s.change("create account", func(ctx context.Context, c Change) error {
		if s.Router.Host(c.JID.Domain()) == nil {
			return errNoHost
		}
		return s.Accounts.Create(ctx, c.JID, c.Password, c.Admin)
	}))
	mux.HandleFunc("POST /account/password", s.change("set password of", func(ctx context.Context, c Change) error {
		return s.Accounts.SetPassword(ctx, c.JID, c.Password, "")
	}))
	mux.HandleFunc("POST /account/disable", s.change("disable account", func(ctx context.Context, c Change) error {
		return s.Accounts.SetDisabled(ctx, c.JID, true)
	}))
	mux.HandleFunc("POST /account/enable", s.change("enable account", func(ctx context.Context, c Change) error {
		return s.Accounts.SetDisabled(ctx, c.JID, false)
	}))
	mux.HandleFunc("POST /account/delete", s.change("delete account", func(ctx context.Context, c Change) error {
		return s.Accounts.Delete(ctx, c.JID)
	}))
	s.invitationRoutes(mux)
	s.reportRoutes(mux)
	s.factorRoutes(mux)
	return mux
}

// change reads a command and carries it out; what says what it does to the
// account.
func (s *Server) change(what string, do func(context.Context, Change) error) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, ok := command[Change](w, r, strings.TrimSuffix(what, " of"))
		if !ok {
			return
		}
		// What was begun is finished, also when nobody waits for the answer any more.
		if err := do(context.WithoutCancel(r.Context()), c); err != nil {
			status, why := s.explain(c.JID, err)
			refuse(w, status, fmt.Sprintf("%s %s: %s", what, c.JID, why))
			return
		}
		reply(w, struct{}{})
	}
}

// command reads what is asked for; if it cannot be, it says why and returns false.
func command[T interface{ check() error }](w http.ResponseWriter, r *http.Request, what string) (c T, ok bool) {
	err := read(http.MaxBytesReader(w, r.Body, maxChange), &c)
	if err == nil {
		err = c.check()
	}
	if err == nil {
		return c, true
	}
	status := http.StatusBadRequest
	if _, large := errors.AsType[*http.MaxBytesError](err); large {
		status = http.StatusRequestEntityTooLarge
	}
	refuse(w, status, fmt.Sprintf("%s: %v", what, err))
	return c, false
}

func read(body io.Reader, into any) error {
	d := json.NewDecoder(body)
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("read the command: %w", err)
	}
	switch _, err := d.Token(); {
	case err == nil:
		return errors.New("read the command: something follows it")
	case !errors.Is(err, io.EOF):
		return fmt.Errorf("read the command: %w", err)
	}
	return nil
}

func (c Change) check() error {
	if c.JID.Local() == "" || !c.JID.IsBare() {
		return fmt.Errorf("%q is no account; an account's address is name@domain", c.JID)
	}
	return nil
}

// explain tells an operator why a command failed and what to do about it.
func (s *Server) explain(j jid.JID, err error) (status int, why string) {
	if l, ok := errors.AsType[*account.Lookalike](err); ok {
		return http.StatusConflict, l.Error() + ", for which people would take it; choose another"
	}
	switch {
	case errors.Is(err, account.ErrMixed):
		return http.StatusUnprocessableEntity, account.ErrMixed.Error() + "; choose one in a single script"
	case errors.Is(err, errNoHost):
		return http.StatusNotFound, fmt.Sprintf("%s is %v; it serves %s", j.Domain(), err, strings.Join(s.hosts(), ", "))
	case errors.Is(err, account.ErrExists):
		return http.StatusConflict, account.ErrExists.Error() + "; kith account password gives it another password"
	case errors.Is(err, account.ErrUnknown):
		return http.StatusNotFound, account.ErrUnknown.Error() + "; kith account list shows which there are"
	case errors.Is(err, account.ErrElsewhere):
		return http.StatusConflict, elsewhere(j)
	case errors.Is(err, sasl.ErrCredentials):
		return http.StatusUnprocessableEntity, "the password is empty or holds characters that a client cannot send; choose another"
	case errors.Is(err, storage.ErrUnavailable):
		s.Log.Error("command failed", "account", j, "error", err)
		return http.StatusServiceUnavailable, "the database does not answer; the log says why"
	}
	s.Log.Error("command failed", "account", j, "error", err)
	return http.StatusInternalServerError, err.Error()
}

// elsewhere says what to do about an account that has no password here.
func elsewhere(j jid.JID) string {
	return fmt.Sprintf("who logs in at %s, and by what, is decided by its directory or its issuer of tokens; make or change it there: "+
		"the account is made by the first log-in", j.Domain())
}

func (s *Server) hosts() (names []string) {
	for _, h := range s.Router.Hosts() {
		names = append(names, h.Domain.Domain())
	}
	return names
}

// reload takes up the configuration. Its errors are many lines, each with its
// place.
func (s *Server) reload(w http.ResponseWriter, _ *http.Request) {
	report, err := s.Reload()
	if err != nil {
		refuse(w, http.StatusUnprocessableEntity, err.Error())
		return
	}
	reply(w, report)
}

func (s *Server) listAccounts(w http.ResponseWriter, r *http.Request) {
	list, err := s.Accounts.List(r.Context())
	if err != nil {
		s.Log.Error("accounts not listed", "error", err)
		refuse(w, http.StatusServiceUnavailable, "list accounts: the database does not answer; the log says why")
		return
	}
	if list == nil {
		list = []account.Info{}
	}
	reply(w, list)
}

func (s *Server) status(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 3*time.Second)
	defer cancel()
	rs, cs, db := s.Router.Stats(), s.Clients.Stats(), s.DB.Stats()
	var mem runtime.MemStats
	runtime.ReadMemStats(&mem)
	st := Status{
		Version: s.Version, Begun: s.Begun, Database: s.DB.Dialect().String(), Healthy: true,
		Sessions: rs.Sessions, Resumable: cs.Resumable, Streams: cs.Streams, Waiting: cs.Waiting,
		Delivered: rs.Delivered, Bounced: rs.Bounced, Commits: db.Groups, Panics: s.Cluster.Stats().Panics,
		Heap: mem.HeapAlloc, Memory: mem.Sys - mem.HeapReleased,
	}
	if db.Groups > 0 {
		st.CommitMean = db.CommitSum.Seconds() * 1e3 / float64(db.Groups)
	}
	accounts, err := s.Accounts.CountByHost(ctx)
	var waiting map[string]int
	if err == nil {
		waiting, err = archive.CountByHost(ctx, s.DB)
	}
	if err == nil {
		err = s.DB.Ping(ctx)
	}
	if err != nil {
		st.Healthy, st.Problem = false, err.Error()
	}
	for _, n := range accounts {
		st.Accounts += n
	}
	for _, h := range s.Router.HostStats() {
		st.Hosts = append(st.Hosts, HostStatus{
			Host: h.Host, Accounts: accounts[h.Host], Sessions: h.Sessions,
			Delivered: h.Delivered, Kept: h.Kept, Bounced: h.Bounced, Waiting: waiting[h.Host],
		})
	}
	for _, c := range s.Components.Stats() {
		st.Components = append(st.Components, ComponentStatus{c.Host, c.Connections, c.Sent, c.Received, c.Bounced, c.Queued})
	}
	reply(w, st)
}
