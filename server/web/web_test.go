package web

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"kith/server/account"
	"kith/server/archive"
	"kith/server/c2s"
	"kith/server/cluster"
	"kith/server/component"
	"kith/server/config"
	"kith/server/module"
	"kith/server/route"
	"kith/server/s2s"
	"kith/server/storage"
	"kith/xmpp/jid"
)

// start returns a server whose parts are real, and nobody is connected to.
func start(t *testing.T) *Server {
	t.Helper()
	c, log := config.Local(t.TempDir()), slog.New(slog.DiscardHandler)
	c.Hosts = []jid.JID{jid.MustParse("localhost"), jid.MustParse("verona.example")}
	db, err := storage.Open(t.Context(), c.StorageURL(), log)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() }) // a test may have closed it
	if err := db.Migrate(t.Context(), archive.Migrations()); err != nil {
		t.Fatal(err)
	}
	accounts, err := account.Open(t.Context(), db)
	if err != nil {
		t.Fatal(err)
	}
	r := route.New(accounts, log)
	var hosts []*module.Host
	for _, h := range c.Hosts {
		hosts = append(hosts, &module.Host{Domain: h, DB: db, Accounts: accounts, Router: r, Config: c, Log: log})
	}
	r.SetHosts(hosts)
	cl := cluster.NewLocal(db, r, cluster.Options{Log: log})
	t.Cleanup(func() { cl.Close(context.Background()) })
	r.Start(cl)
	return New(Parts{
		Config: func() *config.Config { return c }, Version: "1.2.3", Log: log, Begun: time.Now(), DB: db, Accounts: accounts, Router: r, Cluster: cl,
		Clients:    c2s.New(c, accounts, nil, r, cl, func(string) *tls.Config { return nil }, log),
		Components: component.New(c, r, func() *tls.Config { return nil }, log),
		Servers:    s2s.New(s2s.Parts{Config: c, Router: r, Log: log}),
	})
}

// ask sends a request to a handler and returns status and body.
func ask(h http.Handler, method, path, body string) (int, string) {
	w := httptest.NewRecorder()
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.Host = "localhost:5280"
	h.ServeHTTP(w, r)
	return w.Code, w.Body.String()
}

func TestHealth(t *testing.T) {
	s := start(t)
	want := func(path string, status int, body string) {
		t.Helper()
		if code, got := ask(s.admin.Handler, "GET", path, ""); code != status || got != body {
			t.Errorf("GET %s: %d %q, want %d %q", path, code, got, status, body)
		}
	}
	want("/healthz", 200, "ok\n")
	want("/readyz", 200, "ready\n")
	if err := s.DB.Close(); err != nil {
		t.Fatal(err)
	}
	want("/healthz", 200, "ok\n")
	want("/readyz", 503, "the database does not answer; the log says why\n")

	// The figures are there all the same, and kith status says what is wrong.
	if code, _ := ask(s.admin.Handler, "GET", "/metrics", ""); code != 200 {
		t.Errorf("GET /metrics with a closed database: %d, want 200", code)
	}
	var st Status
	if code, body := ask(s.control.Handler, "GET", "/status", ""); code != 200 || json.Unmarshal([]byte(body), &st) != nil || st.Healthy || st.Problem == "" {
		t.Errorf("GET /status with a closed database: %d %s, want 200, not healthy, and a problem", code, body)
	}
	for _, r := range [][3]string{{"GET", "/accounts", ""}, {"POST", "/account/create", `{"jid":"romeo@localhost","password":"secret"}`}} {
		if code, body := ask(s.control.Handler, r[0], r[1], r[2]); code != 503 || !strings.Contains(body, "the database does not answer; the log says why") {
			t.Errorf("%s %s with a closed database: %d %s, want 503", r[0], r[1], code, body)
		}
	}
}

// A database that is there and cannot be written to is no database.
func TestReadyFullDisk(t *testing.T) {
	s := start(t)
	if err := s.DB.LimitPages(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	big := `{"jid":"%s@localhost","password":"secret"}`
	for n := 0; ; n++ {
		code, body := ask(s.control.Handler, "POST", "/account/create", fmt.Sprintf(big, strings.Repeat("a", n+1)))
		if code == 503 {
			break
		}
		if code != 200 || n > 500 {
			t.Fatalf("account %d on a full disk: %d %s, want 503 at last", n, code, body)
		}
	}
	if code, body := ask(s.control.Handler, "GET", "/accounts", ""); code != 200 {
		t.Errorf("GET /accounts on a full disk: %d %s, want 200", code, body)
	}
}

func TestMetrics(t *testing.T) {
	s := start(t)
	code, body := ask(s.admin.Handler, "GET", "/metrics", "")
	if code != 200 {
		t.Fatalf("GET /metrics: %d %s", code, body)
	}
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		t.Fatalf("GET /metrics: %v in %s", err, body)
	}
	if want := len(figures()) + len(hostFigures()) + 1; len(families) != want {
		t.Errorf("%d figures, want %d", len(families), want)
	}
	for name, f := range families {
		counts := strings.HasSuffix(name, "_total")
		switch {
		case !strings.HasPrefix(name, "kith_"):
			t.Errorf("%s is not named kith_", name)
		case f.GetHelp() == "":
			t.Errorf("%s has no description", name)
		case counts != (f.GetType() == dto.MetricType_COUNTER):
			t.Errorf("%s is a %s: counters and nothing else end in _total", name, f.GetType())
		}
	}
	if f := families["kith_start_time_seconds"]; f == nil || f.Metric[0].GetGauge().GetValue() < 1e9 {
		t.Errorf("kith_start_time_seconds is %v, want seconds since 1970", f)
	}
}

// What the administration port tells needs no credentials, and there is nothing
// that changes anything.
func TestAdminRoutes(t *testing.T) {
	s := start(t)
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS"} {
			if code, _ := ask(s.admin.Handler, method, path, "x"); code != http.StatusMethodNotAllowed {
				t.Errorf("%s %s: %d, want 405", method, path, code)
			}
		}
	}
	for _, path := range []string{"/", "/status", "/accounts", "/account/create", "/debug/pprof/", "/metrics/x", "/healthz/../accounts"} {
		for _, method := range []string{"GET", "POST"} {
			if code, body := ask(s.admin.Handler, method, path, `{"jid":"romeo@localhost"}`); code == http.StatusOK {
				t.Errorf("%s %s on the administration port: %d %s, want an error", method, path, code, body)
			}
		}
	}
}

func TestControl(t *testing.T) {
	s := start(t)
	const romeo = `{"jid":"romeo@localhost","password":"secret"}`
	tests := []struct {
		method, path, body string
		code               int
		want               string // part of the answer
	}{
		{"GET", "/accounts", "", 200, "[]"},
		{"POST", "/account/create", romeo, 200, "{}"},
		{"POST", "/account/create", romeo, 409, "create account romeo@localhost: the account exists; kith account password"},
		{"POST", "/account/create", `{"jid":"Juliet@VERONA.example","password":"secret","admin":true}`, 200, "{}"},
		{"GET", "/accounts", "", 200, `"jid":"juliet@verona.example"`},
		{"POST", "/account/password", romeo, 200, "{}"},
		{"POST", "/account/disable", `{"jid":"romeo@localhost"}`, 200, "{}"},
		{"GET", "/accounts", "", 200, `"disabled":true`},
		{"POST", "/account/enable", `{"jid":"romeo@localhost"}`, 200, "{}"},
		{"POST", "/account/delete", `{"jid":"romeo@localhost"}`, 200, "{}"},
		{"POST", "/account/delete", `{"jid":"romeo@localhost"}`, 404, "delete account romeo@localhost: there is no such account; kith account list"},
		{"POST", "/account/enable", `{"jid":"romeo@localhost"}`, 404, "enable account romeo@localhost"},
		{"POST", "/account/password", romeo, 404, "set password of romeo@localhost"},
		{"GET", "/status", "", 200, `"hosts":[{"host":"localhost","accounts":0,`},

		{"POST", "/account/create", `{"jid":"romeo@mantua.example","password":"secret"}`, 404, "mantua.example is not a host of this server; it serves localhost, verona.example"},
		{"POST", "/account/create", `{"jid":"romeo@localhost"}`, 422, "choose another"},
		{"POST", "/account/create", `{"jid":"romeo@localhost","password":"a\u0007b"}`, 422, "choose another"},
		{"POST", "/account/create", `{"jid":"romeo@localhost/orchard","password":"secret"}`, 400, "name@domain"},
		{"POST", "/account/create", `{"jid":"localhost","password":"secret"}`, 400, "name@domain"},
		{"POST", "/account/create", `{"jid":"@","password":"secret"}`, 400, "read the command"},
		{"POST", "/account/create", `{"password":"secret"}`, 400, "name@domain"},
		{"POST", "/account/create", `{"jid":"a@localhost","password":"x","root":true}`, 400, `unknown field`},
		{"POST", "/account/create", romeo + romeo, 400, "something follows"},
		{"POST", "/account/create", romeo + "\n", 200, "{}"},
		{"POST", "/account/create", "", 400, "read the command"},
		{"POST", "/account/create", "[]", 400, "read the command"},
		{"POST", "/account/create", romeo[:20], 400, "read the command"},
		{"POST", "/account/create", `{"jid":"a@localhost","password":"` + strings.Repeat("x", maxChange) + `"}`, 413, "too large"},
		{"POST", "/account/create", romeo + strings.Repeat(" ", maxChange), 413, "too large"},

		{"GET", "/account/create", "", 405, ""},
		{"PUT", "/account/delete", `{"jid":"juliet@verona.example"}`, 405, ""},
		{"POST", "/status", "", 405, ""},
		{"DELETE", "/accounts", "", 405, ""},
		{"GET", "/", "", 404, ""},
		{"POST", "/account/", romeo, 404, ""},
		{"GET", "/metrics", "", 404, ""},
	}
	for _, tt := range tests {
		code, body := ask(s.control.Handler, tt.method, tt.path, tt.body)
		if code != tt.code || !strings.Contains(body, tt.want) {
			t.Errorf("%s %s %.60q: %d %s, want %d %s", tt.method, tt.path, tt.body, code, body, tt.code, tt.want)
		}
		if strings.Contains(body, "secret") {
			t.Errorf("%s %s %.60q: the answer %s holds the password", tt.method, tt.path, tt.body, body)
		}
	}
}

// A page in a browser may ask any port of the machine, by a name of its own that
// it has let point here.
func TestHostHeader(t *testing.T) {
	s := start(t)
	get := func(host string) int {
		w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil)
		r.Host = host
		s.admin.Handler.ServeHTTP(w, r)
		return w.Code
	}
	if code := get("localhost:5280"); code != http.StatusOK {
		t.Errorf("Host: localhost:5280: %d, want 200", code)
	}
	if code := get("rebound.example:5280"); code != http.StatusMisdirectedRequest {
		t.Errorf("Host: rebound.example:5280: %d, want 421", code)
	}

	loopback := []string{"127.0.0.1:5280", "[::1]:5280"}
	tests := []struct {
		listen []string
		host   string
		want   bool
	}{
		{loopback, "", true}, // HTTP/1.0; no browser
		{loopback, "localhost", true},
		{loopback, "LocalHost.:80", true},
		{loopback, "127.0.0.1:5280", true},
		{loopback, "127.8.9.1", true},
		{loopback, "[::1]:5280", true},
		{loopback, "[::1]", true},
		{loopback, "[::ffff:127.0.0.1]:5280", true},
		{loopback, "rebound.example", false},
		{loopback, "localhost.rebound.example:5280", false},
		{loopback, "127.0.0.1.rebound.example", false},
		{loopback, "10.0.0.1:5280", false},
		{loopback, "0.0.0.0:5280", false},
		{loopback, "[::]:5280", false},
		{loopback, "localhost:5280:5280", false},
		{loopback, "localhost@rebound.example", false},
		{loopback, "rebound.example#localhost", false},
		{[]string{"10.0.0.1:5280"}, "10.0.0.1:8080", true},
		{[]string{"10.0.0.1:5280"}, "10.0.0.2:5280", false},
		{[]string{"10.0.0.1:5280"}, "localhost:5280", true},
		{[]string{"[fe80::1%eth0]:5280"}, "[fe80::1]:5280", true},
		{[]string{"[::]:5280"}, "10.0.0.2:5280", true},
		{[]string{"[::]:5280"}, "[2001:db8::1]:5280", true},
		{[]string{"[::]:5280"}, "rebound.example:5280", false},
		{[]string{"0.0.0.0:5280"}, "10.0.0.2", true},
	}
	for _, tt := range tests {
		var listen []netip.AddrPort
		for _, a := range tt.listen {
			listen = append(listen, netip.MustParseAddrPort(a))
		}
		if got := ownName(listen, tt.host); got != tt.want {
			t.Errorf("listening on %s, Host: %q: %v, want %v", tt.listen, tt.host, got, tt.want)
		}
	}
}

// Real listeners: both kinds of request come through, and Close ends them.
func TestServe(t *testing.T) {
	s := start(t)
	admin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	control, err := ListenControl(s.Config().Data)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 2)
	go func() { done <- s.ServeAdmin(admin) }()
	go func() { done <- s.ServeControl(control) }()

	overSocket := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", Socket(s.Config().Data))
	}}}
	for url, c := range map[string]*http.Client{"http://" + admin.Addr().String() + "/healthz": http.DefaultClient, "http://kith/status": overSocket} {
		res, err := c.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		res.Body.Close()
		if res.StatusCode != http.StatusOK {
			t.Errorf("%s: %s, want 200", url, res.Status)
		}
		c.CloseIdleConnections()
	}
	// The server closes its listeners first.
	if err := admin.Close(); err != nil {
		t.Errorf("close the administration port: %v", err)
	}
	if err := control.Close(); err != nil {
		t.Errorf("close the socket: %v", err)
	}
	if err := s.Close(t.Context()); err != nil {
		t.Errorf("Close: %v", err)
	}
	for range 2 {
		if err := <-done; err != nil {
			t.Errorf("Serve: %v", err)
		}
	}
	if _, err := os.Lstat(filepath.Join(s.Config().Data, socketName)); !os.IsNotExist(err) {
		t.Errorf("the socket after Close: %v, want none", err)
	}
}
