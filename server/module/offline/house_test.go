package offline_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/server/account"
	"kith/server/account/accounttest"
	"kith/server/archive"
	"kith/server/cluster"
	"kith/server/config"
	"kith/server/module"
	"kith/server/module/mam"
	"kith/server/module/offline"
	"kith/server/module/presence"
	"kith/server/route"
	"kith/server/session"
	"kith/server/storage"
	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// house is a server without streams: what its sessions send and are sent is put
// in and taken out where the streams would be.
type house struct {
	*testing.T
	db       *storage.DB
	accounts *account.Store
	cluster  *cluster.Local
	router   *route.Router
	config   *config.Config
	log      *slog.Logger
}

const capulet = "capulet.example"

// With fewUnacked, and roomy for a device, a page is ten messages: a quarter of what
// may be unacknowledged.
func fewUnacked(l *config.Limits) { l.UnackedStanzas = 40 }

var roomy = session.Limits{QueueBytes: 1 << 20, UnackedBytes: 1 << 20, Unacked: 40}

// acknowledges has the device acknowledge what it gets (XEP-0198).
func (d *device) acknowledges() {
	d.EnableAcks(nil)
	d.router.Confirms(d.Session)
}

// newHouse opens a house in which romeo and juliet have accounts, until the test ends. It
// runs in a synctest bubble.
func newHouse(t *testing.T, limits func(*config.Limits)) *house {
	t.Helper()
	ctx := context.Background()
	h := &house{T: t, config: config.Local(t.TempDir()), log: slog.New(slog.NewTextHandler(logger{t}, nil))}
	var err error
	if h.db, err = storage.Open(ctx, "sqlite:"+filepath.Join(t.TempDir(), "kith.db"), h.log); err != nil {
		t.Fatal(err)
	}
	for _, m := range []storage.Migrations{archive.Migrations(), route.Migrations()} {
		if err := h.db.Migrate(ctx, m); err != nil {
			t.Fatal(err)
		}
	}
	if h.accounts, err = account.Open(ctx, h.db, archive.Purges...); err != nil {
		t.Fatal(err)
	}
	h.config.Hosts = []jid.JID{jid.MustParse(capulet)}
	if limits != nil {
		limits(&h.config.Limits)
	}
	h.open()
	h.accounts.OnChange(func(j jid.JID) { h.router.Changed(j) })
	for _, n := range []string{"romeo", "juliet"} {
		accounttest.Create(t, h.accounts, jid.MustParse(n+"@"+capulet))
	}
	t.Cleanup(h.close)
	return h
}

// open starts what is not stored.
func (h *house) open() {
	h.Helper()
	h.router = route.New(h.accounts, h.log, archive.Load)
	host := &module.Host{Domain: h.config.Hosts[0], DB: h.db, Accounts: h.accounts, Router: h.router, Config: h.config, Version: "test", Log: h.log}
	for _, d := range []module.Definition{presence.Module, mam.Module, offline.Module} {
		if err := d.Attach(host); err != nil {
			h.Fatal(err)
		}
	}
	h.router.SetHosts([]*module.Host{host})
	h.cluster = cluster.NewLocal(h.db, h.router, cluster.Options{Log: h.log})
	h.router.Start(h.cluster)
}

func (h *house) close() {
	if err := h.cluster.Close(context.Background()); err != nil {
		h.Error(err)
	}
	if err := h.db.Close(); err != nil {
		h.Error(err)
	}
}

type logger struct{ *testing.T }

func (l logger) Write(p []byte) (int, error) { l.Logf("%s", p); return len(p), nil }

// device is a session and its client's end.
type device struct {
	*house
	*session.Session
	asker cluster.Asker
	conn  *conn
}

// conn is the stream that a device's session writes to.
type conn struct {
	mu    sync.Mutex
	got   bytes.Buffer
	stuck bool // the client reads nothing
	freed *sync.Cond
	err   error // the stream was ended
}

func newConn() *conn {
	c := &conn{}
	c.freed = sync.NewCond(&c.mu)
	return c
}

func (c *conn) TryWriteBatch(b [][]byte) (bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.stuck {
		return false, nil
	}
	for _, p := range b {
		c.got.Write(p)
	}
	return true, nil
}

func (c *conn) WriteBatch(b [][]byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.stuck && c.err == nil {
		c.freed.Wait()
	}
	for _, p := range b {
		c.got.Write(p)
	}
	return c.err
}

// stick has the client read nothing, or read again.
func (c *conn) stick(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.stuck = on
	c.freed.Broadcast()
}

func (c *conn) Drain() error { return c.WriteBatch(nil) }

func (c *conn) Close(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err = err; err == nil {
		c.err = net.ErrClosed
	}
	c.freed.Broadcast()
	return nil
}

// connect binds a session to a resource.
func (h *house) connect(address string, l session.Limits) *device {
	h.Helper()
	if l == (session.Limits{}) {
		l = session.Limits{QueueBytes: 1 << 20, UnackedBytes: 1 << 21, Unacked: 1000}
	}
	name, resource, _ := strings.Cut(address, "/")
	d := &device{house: h, conn: newConn()}
	in := session.NewInbound(1000, 1<<20, nil)
	d.Session = session.New(session.NewID(), jid.MustParse(name+"@"+capulet+"/"+resource), d.conn, in, l)
	if _, err := h.router.Bind(context.Background(), d.Session, route.Wanted{Limit: 20}); err != nil {
		h.Fatal(err)
	}
	d.Start()
	return d
}

// leaving makes an item of what the client sends.
func (d *device) leaving(s string) cluster.Item {
	d.Helper()
	el, err := xmltree.ParseIn(ns.Client, []byte(s), xmltree.Limits{})
	if err != nil {
		d.Fatalf("%s: %v", s, err)
	}
	it, err := d.router.Leaving(d.Session, &d.asker, el, time.Now())
	if err != nil {
		d.Fatalf("%s: %v", s, err)
	}
	return it
}

// send sends what the client sends in one go, and waits until the server has done all that comes of it. It runs in a
// synctest bubble.
func (d *device) send(elements ...string) {
	d.Helper()
	var items []cluster.Item
	for _, s := range elements {
		items = append(items, d.leaving(s))
	}
	d.cluster.Send(account.Key(d.JID), items...)
	synctest.Wait()
}

// end ends the session as when its connection is lost.
func (d *device) end() {
	d.router.Ended(d.Session)
	d.conn.Close(nil)
	synctest.Wait()
}

// received returns what the client was sent since it was asked last, an element a line.
func (d *device) received() string {
	synctest.Wait()
	d.conn.mu.Lock()
	defer d.conn.mu.Unlock()
	defer d.conn.got.Reset()
	dec := xmltree.NewDecoder(xmltree.Limits{Bytes: 1 << 22})
	dec.Feed([]byte("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"))
	dec.Feed(d.conn.got.Bytes())
	var out strings.Builder
	for {
		el, err := dec.Next()
		if err != nil {
			return out.String()
		}
		fmt.Fprintf(&out, "%s\n", el.Raw())
	}
}

// marked returns how many messages are marked as taken by nobody, and how many are kept.
func (h *house) marked() (marked, kept int) {
	err := h.db.Read(context.Background(), func(r *storage.Reader) error {
		if err := r.QueryRow(`SELECT count(*) FROM offline`).Scan(&marked); err != nil {
			return err
		}
		return r.QueryRow(`SELECT count(*) FROM message WHERE NOT outgoing`).Scan(&kept)
	})
	if err != nil {
		h.Fatal(err)
	}
	return marked, kept
}
