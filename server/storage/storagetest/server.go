package storagetest

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

// The server's keeper. It obeys its standard input, and when that ends, which it does
// even when the test process is killed, it stops the server and removes its files.
const keeper = `
start() { "$1" -D "$2/data" -k "$2" -c listen_addresses= -c max_connections=200 -c "fsync=$3" -c "full_page_writes=$3" >>"$2/log" 2>&1 & pid=$!; }
all() { kill "-$1" "$pid"; for s in /proc/[0-9]*/stat; do read -r p x y of x <"$s" && [ "$of" = "$pid" ] && kill "-$1" "$p"; done 2>/dev/null; }
stop() { all CONT; kill "-$1" "$pid"; wait "$pid"; }
start "$@"
while read -r order; do
	case $order in
	start) start "$@" ;;
	crash) stop QUIT ;;
	freeze) all STOP ;;
	thaw) all CONT ;;
	esac
	echo done
done
stop INT
rm -rf "$2"
`

// How long a server may take to start.
const startTime = 30 * time.Second

// Server is a PostgreSQL server that the tests started.
type Server struct {
	dir    string
	keeper *exec.Cmd
	orders io.WriteCloser
	done   *bufio.Reader
}

// NewServer starts a server of the test's own, for tests that crash it. It is skipped as
// for Postgres.
func NewServer(t testing.TB) *Server {
	t.Helper()
	wanted(t)
	s, err := startServer()
	if err != nil {
		unavailable(t, err)
	}
	t.Cleanup(func() {
		if err := errors.Join(s.orders.Close(), s.keeper.Wait()); err != nil {
			t.Errorf("stop PostgreSQL: %v", err)
		}
	})
	return s
}

// Crash ends the server at once, as a crash does.
func (s *Server) Crash(t testing.TB) { s.order(t, "crash") }

// Start starts it again and waits until it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	s.order(t, "start")
	if err := s.answers(); err != nil {
		t.Fatal(err)
	}
}

// Freeze stops all of its processes where they are: connections stay open, and nobody
// answers.
func (s *Server) Freeze(t testing.TB) { s.order(t, "freeze") }

// Thaw lets them go on.
func (s *Server) Thaw(t testing.TB) { s.order(t, "thaw") }

func (s *Server) order(t testing.TB, order string) {
	t.Helper()
	if _, err := io.WriteString(s.orders, order+"\n"); err != nil {
		t.Fatal(err)
	}
	if _, err := s.done.ReadString('\n'); err != nil {
		t.Fatal(err)
	}
}

func (s *Server) url(schema string) string {
	return "postgres:///postgres?user=kith&search_path=" + schema + "&host=" + url.QueryEscape(s.dir)
}

func startServer() (*Server, error) {
	initdb, postgres, err := programs()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "kith-postgres-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir}
	if err := s.start(initdb, postgres); err != nil {
		os.RemoveAll(dir) // the error that matters is the other
		return nil, err
	}
	if err := s.answers(); err != nil {
		s.orders.Close() // the keeper cleans up
		return nil, err
	}
	return s, nil
}

func (s *Server) start(initdb, postgres string) error {
	attr, err := s.unprivileged()
	if err != nil {
		return err
	}
	init := exec.Command(initdb, "-D", filepath.Join(s.dir, "data"), "-U", "kith", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
	init.SysProcAttr, init.Dir = attr, s.dir
	if out, err := init.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	if err := s.guard(); err != nil {
		return err
	}
	// Tests crash the server, never the machine: only benchmarks have to wait for the disk.
	fsync := "off"
	if f := flag.Lookup("test.bench"); f != nil && f.Value.String() != "" {
		fsync = "on"
	}
	k := exec.Command("/bin/sh", "-c", keeper, "sh", postgres, s.dir, fsync)
	k.SysProcAttr, k.Dir = attr, s.dir
	if s.orders, err = k.StdinPipe(); err != nil {
		return err
	}
	out, err := k.StdoutPipe()
	if err != nil {
		return err
	}
	s.keeper, s.done = k, bufio.NewReader(out)
	return k.Start()
}

// Guarded is the one user who must give a password.
const Guarded = "guarded"

// guard has the server ask that user for it.
func (s *Server) guard() error {
	file := filepath.Join(s.dir, "data", "pg_hba.conf")
	rules, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	return os.WriteFile(file, append([]byte("local all "+Guarded+" scram-sha-256\n"), rules...), 0o600)
}

// unprivileged chooses the user of the server: it refuses to run as root.
func (s *Server) unprivileged() (*syscall.SysProcAttr, error) {
	if os.Getuid() != 0 {
		return &syscall.SysProcAttr{Setpgid: true}, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("PostgreSQL does not run as root: %w", err)
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	if err := os.Chown(s.dir, uid, gid); err != nil {
		return nil, err
	}
	// A group of its own: the interrupt that ends the tests is not for the keeper.
	return &syscall.SysProcAttr{Setpgid: true, Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
}

// answers waits for the server.
func (s *Server) answers() error {
	ctx, cancel := context.WithTimeout(context.Background(), startTime)
	defer cancel()
	for {
		c, err := pgx.Connect(ctx, s.url("public"))
		if err == nil {
			return c.Close(ctx)
		}
		select {
		case <-ctx.Done():
			log, _ := os.ReadFile(filepath.Join(s.dir, "log")) // without it the error has to do
			return fmt.Errorf("PostgreSQL does not answer: %w\n%s", err, log)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// programs finds the server's programs, which Debian keeps off the PATH.
func programs() (initdb, postgres string, err error) {
	dirs, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil {
		return "", "", err
	}
	dirs = append(dirs, filepath.SplitList(os.Getenv("PATH"))...)
	best := -1
	for _, dir := range dirs {
		p := filepath.Join(dir, "postgres")
		if exec.Command(p, "--version").Run() != nil {
			continue
		}
		if _, err := exec.LookPath(filepath.Join(dir, "initdb")); err != nil {
			continue
		}
		version := 0
		if v, ok := strings.CutPrefix(filepath.Dir(dir), "/usr/lib/postgresql/"); ok {
			version, _ = strconv.Atoi(v) // what is no number is the oldest
		}
		if version > best {
			best, initdb, postgres = version, filepath.Join(dir, "initdb"), p
		}
	}
	if best < 0 {
		return "", "", errors.New("no initdb and postgres in /usr/lib/postgresql/*/bin or PATH")
	}
	return initdb, postgres, nil
}
