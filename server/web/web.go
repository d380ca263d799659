// Package web is what the server says over HTTP: health and figures on the
// administration port, and the commands of a running server on a socket in its
// data directory.
package web

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"kith/server/account"
	"kith/server/c2s"
	"kith/server/cluster"
	"kith/server/component"
	"kith/server/config"
	"kith/server/factor"
	"kith/server/route"
	"kith/server/s2s"
	"kith/server/storage"
)

// Parts are what the pages speak of.
type Parts struct {
	Config     func() *config.Config // as it is now
	Version    string
	Log        *slog.Logger
	Begun      time.Time
	DB         *storage.DB
	Accounts   *account.Store
	Factors    *factor.Store
	Router     *route.Router
	Cluster    *cluster.Local
	Clients    *c2s.Server
	Servers    *s2s.Server
	Components *component.Server
	Reload     func() (Report, error) // takes up the configuration
}

// Server answers HTTP.
type Server struct {
	Parts
	admin, control http.Server
	census         census
}

// New returns a server for these parts.
func New(p Parts) *Server {
	s := &Server{Parts: p}
	s.admin = server(s.adminRoutes())
	s.control = server(s.controlRoutes())
	return s
}

func server(h http.Handler) http.Server {
	return http.Server{Handler: h, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 30 * time.Second,
		WriteTimeout: time.Minute, IdleTimeout: time.Minute, MaxHeaderBytes: 16 << 10}
}

// ServeAdmin answers on the administration port.
func (s *Server) ServeAdmin(l net.Listener) error { return ignoreClosed(s.admin.Serve(l)) }

// ServeControl answers the commands.
func (s *Server) ServeControl(l net.Listener) error { return ignoreClosed(s.control.Serve(l)) }

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// Close waits for the requests under way. The listeners may be closed already.
func (s *Server) Close(ctx context.Context) error {
	return errors.Join(ignoreClosed(s.admin.Shutdown(ctx)), ignoreClosed(s.control.Shutdown(ctx)))
}

func (s *Server) adminRoutes() http.Handler {
	reg := prometheus.NewRegistry()
	reg.MustRegister(collector{s})
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(reg, promhttp.HandlerOpts{ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelError)}))
	return ownNames(s.Config().Listen.Admin, mux)
}

// ready says whether the server can do its work: whether its database can be
// read and written.
func (s *Server) ready(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
	defer cancel()
	if err := s.DB.Ping(ctx); err != nil {
		s.Log.Warn("not ready", "error", err)
		http.Error(w, "the database does not answer; the log says why", http.StatusServiceUnavailable)
		return
	}
	w.Write([]byte("ready\n"))
}

func reply(w http.ResponseWriter, v any) { answer(w, http.StatusOK, v) }

func refuse(w http.ResponseWriter, status int, why string) { answer(w, status, Problem{why}) }

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client is on the same machine; if it has gone, nobody is left to tell.
	json.NewEncoder(w).Encode(v) //nolint:errcheck // see above
}
