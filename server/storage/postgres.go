package storage

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// A write connection that was idle for so long is tried before it is used: the
// database may have been restarted meanwhile.
const maxIdle = time.Second

type pgStore struct {
	pool    *pgxpool.Pool
	config  *pgx.ConnConfig
	timeout time.Duration
	closed  atomic.Bool
}

func openPostgres(ctx context.Context, url string, o Options) (*pgStore, error) {
	cfg, err := pgxpool.ParseConfig(url)
	if err != nil {
		return nil, fmt.Errorf("postgres: %w", err) // pgx leaves the password out
	}
	cfg.MaxConns = int32(o.Readers)
	// A connection that is dead or does not answer is found out by its first statement.
	cfg.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return false }
	params := cfg.ConnConfig.RuntimeParams
	if params["application_name"] == "" {
		params["application_name"] = "kith"
	}
	switch v := params["synchronous_commit"]; v {
	case "":
		params["synchronous_commit"] = "on"
	case "on", "remote_write", "remote_apply", "local":
		// Each of these has the commit in this server's log on disk.
	default:
		return nil, fmt.Errorf("postgres: synchronous_commit=%s: what is acknowledged would not be on disk; remove it from the URL", v)
	}
	if cfg.ConnConfig.ConnectTimeout == 0 {
		cfg.ConnConfig.ConnectTimeout = o.Timeout
	}
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, pgError(err, true)
	}
	return &pgStore{pool: pool, config: cfg.ConnConfig.Copy(), timeout: o.Timeout}, nil
}

func (s *pgStore) dialect() Dialect { return Postgres }

func (s *pgStore) connect() (writer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
	defer cancel()
	c, err := pgx.ConnectConfig(ctx, s.config.Copy())
	if err != nil {
		return nil, pgError(oneLine{err}, true)
	}
	if encoding := c.PgConn().ParameterStatus("server_encoding"); encoding != "UTF8" {
		_ = c.Close(ctx) // the error that matters is the other
		return nil, errEncoding(encoding)
	}
	return &pgWriter{pgConn: pgConn{c: c, timeout: s.timeout}, prepared: make(map[string]*pgconn.StatementDescription), last: time.Now()}, nil
}

func (s *pgStore) read(ctx context.Context, f func(*Reader) error) error {
	c, err := s.snapshot(ctx)
	if err != nil {
		return err
	}
	defer c.Release()
	r := &Reader{ctx: ctx, c: &pgConn{c: c.Conn()}}
	defer func() {
		r.c = nil
		ctx, cancel := context.WithTimeout(context.Background(), s.timeout)
		defer cancel()
		// When this fails the pool does not take the connection back; nothing was written.
		_, _ = c.Exec(ctx, "ROLLBACK")
	}()
	return f(r)
}

// readOne needs no transaction, and so one round trip instead of three.
func (s *pgStore) readOne(ctx context.Context, f func(*Reader) error) error {
	var done error
	c, err := s.first(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		r := &Reader{ctx: ctx, c: &pgConn{c: c.Conn()}}
		defer func() { r.c = nil }()
		done = f(r)
		return r.err
	})
	if err != nil {
		return err
	}
	c.Release()
	return done
}

// snapshot begins a read-only transaction.
func (s *pgStore) snapshot(ctx context.Context) (*pgxpool.Conn, error) {
	return s.first(ctx, func(ctx context.Context, c *pgxpool.Conn) error {
		_, err := c.Exec(ctx, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
		return err
	})
}

// first lends a connection on which a first statement was run. After a restart of
// the database all idle connections are dead: it goes on until the pool has made a
// new one.
func (s *pgStore) first(ctx context.Context, run func(context.Context, *pgxpool.Conn) error) (*pgxpool.Conn, error) {
	for tries := s.pool.Config().MaxConns; ; tries-- {
		c, err := s.pool.Acquire(ctx)
		if err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			if s.closed.Load() {
				return nil, ErrClosed
			}
			return nil, pgError(err, true)
		}
		limited, cancel := context.WithTimeout(ctx, s.timeout)
		err = run(limited, c)
		late := limited.Err() != nil
		cancel()
		if err == nil {
			return c, nil
		}
		lost := c.Conn().IsClosed()
		c.Release()
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if !lost || late || tries <= 0 {
			return nil, pgError(err, lost)
		}
	}
}

func (s *pgStore) close() error {
	s.closed.Store(true)
	s.pool.Close() // waits for reads to end
	return nil
}

// pgConn runs statements one by one; pgx prepares and caches them.
type pgConn struct {
	c       *pgx.Conn
	timeout time.Duration // 0: none but ctx's
	bad     bool          // the connection is there but of no use
}

// bound gives ctx the write connection's time-out.
func (c *pgConn) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	if c.timeout == 0 {
		return ctx, func() {}
	}
	return context.WithTimeout(ctx, c.timeout)
}

func (c *pgConn) exec(ctx context.Context, sql string, args []any) (int64, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	tag, err := c.c.Exec(ctx, sql, args...)
	if err != nil {
		return 0, c.failed(ctx, sql, err)
	}
	return tag.RowsAffected(), nil
}

func (c *pgConn) query(ctx context.Context, sql string, args []any) (rows, error) {
	ctx, cancel := c.bound(ctx)
	rs, err := c.c.Query(ctx, sql, args...)
	if err != nil {
		cancel()
		return nil, c.failed(ctx, sql, err)
	}
	return &pgRows{c: c, ctx: ctx, cancel: cancel, sql: sql, rs: rs}, nil
}

// failed classifies err. A caller that gave up is told so, not that the database is down.
func (c *pgConn) failed(ctx context.Context, sql string, err error) error {
	if c.timeout == 0 && ctx.Err() != nil {
		return fmt.Errorf("%q: %w", brief(sql), ctx.Err())
	}
	c.bad = c.bad || useless(err)
	return fmt.Errorf("%q: %w", brief(sql), pgError(err, c.broken()))
}

func (c *pgConn) broken() bool { return c.bad || c.c.IsClosed() }

// useless tells of a server that has become a standby (another connection may reach the
// primary), and of prepared statements that became stale or unknown.
func useless(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && (e.Code == "25006" || e.Code == "26000" || e.Routine == "RevalidateCachedQuery")
}

// pgError classifies err; lost tells that there is no connection any more.
func pgError(err error, lost bool) error {
	var e *pgconn.PgError
	if errors.Is(err, ErrUnavailable) { // it is classified
		return err
	}
	if errors.As(err, &e) {
		switch {
		case e.Code == "23505": // unique_violation
			return wrapped(ErrConflict, err)
		case lost,
			strings.HasPrefix(e.Code, "08"),  // connection exception
			strings.HasPrefix(e.Code, "53"),  // insufficient resources: disk full, too many connections
			strings.HasPrefix(e.Code, "57P"), // shutting down, starting up
			strings.HasPrefix(e.Code, "58"),  // system error
			strings.HasPrefix(e.Code, "XX"):  // internal error, corruption
			return wrapped(ErrUnavailable, err)
		}
		return err
	}
	if lost {
		return wrapped(ErrUnavailable, err)
	}
	return err
}

// pgWriter is the write connection. Batches go out as one pipeline: one round
// trip for a group.
type pgWriter struct {
	pgConn
	prepared map[string]*pgconn.StatementDescription
	build    pgx.ExtendedQueryBuilder
	owner    []int // the batch of each statement under way, reused
	last     time.Time
}

func (w *pgWriter) alive() bool {
	if w.c.PgConn().TxStatus() != 'I' {
		return false // somebody's statement began a transaction
	}
	if time.Since(w.last) < maxIdle {
		return true
	}
	ctx, cancel := w.bound(context.Background())
	defer cancel()
	return w.c.Ping(ctx) == nil
}

func (w *pgWriter) begin() error { return w.control("BEGIN") }

func (w *pgWriter) rollback() error { return w.control("ROLLBACK") }

func (w *pgWriter) commit() error { return w.control("COMMIT") }

// control begins or ends the transaction. PostgreSQL answers COMMIT with ROLLBACK when
// a statement had failed.
func (w *pgWriter) control(sql string) error {
	w.last = time.Now()
	ctx, cancel := w.bound(context.Background())
	defer cancel()
	tag, err := w.c.Exec(ctx, sql)
	if err != nil {
		return w.failed(ctx, sql, err)
	}
	if tag.String() != sql {
		return fmt.Errorf("%q: the answer is %q", sql, tag.String())
	}
	return nil
}

func (w *pgWriter) apply(batches [][]Op) (failed int, err error) {
	return w.pipeline(batches, false)
}

func (w *pgWriter) commitAll(batches [][]Op) (failed int, err error) {
	w.last = time.Now()
	failed, err = w.pipeline(batches, true)
	if err != nil && !w.c.IsClosed() && w.c.PgConn().TxStatus() != 'I' {
		if rerr := w.rollback(); rerr != nil {
			w.bad = true
		}
	}
	return failed, err
}

var (
	beginOp  = Op{SQL: "BEGIN"}
	commitOp = Op{SQL: "COMMIT"}
)

// pipeline sends all statements, between BEGIN and COMMIT if whole is true, and then reads
// their results. When one fails PostgreSQL skips the rest.
func (w *pgWriter) pipeline(batches [][]Op, whole bool) (failed int, err error) {
	ctx, cancel := w.bound(context.Background())
	defer cancel()
	if failed, err := w.prepareAll(ctx, batches); err != nil {
		return failed, err
	}
	p := w.c.PgConn().StartPipeline(ctx)
	failed, err = w.send(p, batches, whole)
	// What was sent is answered, also when the rest could not be encoded: without
	// the COMMIT none of it stays.
	if serr := p.Sync(); serr != nil {
		_ = p.Close() // the connection is lost: serr says why
		return -1, w.failed(ctx, "COMMIT", serr)
	}
	if err == nil {
		failed, err = w.receive(p, ctx, batches)
	}
	if cerr := p.Close(); cerr != nil && err == nil {
		return -1, w.failed(ctx, "COMMIT", cerr)
	}
	return failed, err
}

func (w *pgWriter) prepareAll(ctx context.Context, batches [][]Op) (failed int, err error) {
	if len(w.prepared) > maxPrepared {
		if err := w.c.DeallocateAll(ctx); err != nil {
			return -1, w.failed(ctx, "DEALLOCATE ALL", err)
		}
		clear(w.prepared)
	}
	for _, op := range []Op{beginOp, commitOp} {
		if err := w.prepare(ctx, op.SQL); err != nil {
			return -1, err
		}
	}
	for i, ops := range batches {
		for _, op := range ops {
			if err := w.prepare(ctx, op.SQL); err != nil {
				return i, err
			}
		}
	}
	return -1, nil
}

func (w *pgWriter) prepare(ctx context.Context, sql string) error {
	if w.prepared[sql] != nil {
		return nil
	}
	sd, err := w.c.Prepare(ctx, "kith"+strconv.Itoa(len(w.prepared)), sql)
	if err != nil {
		return w.failed(ctx, sql, err)
	}
	w.prepared[sql] = sd
	return nil
}

// send queues the statements, and notes the batch each belongs to.
func (w *pgWriter) send(p *pgconn.Pipeline, batches [][]Op, whole bool) (failed int, err error) {
	w.owner = w.owner[:0]
	if whole {
		if err := w.sendOp(p, beginOp, -1); err != nil {
			return -1, err
		}
	}
	for i, ops := range batches {
		for _, op := range ops {
			if err := w.sendOp(p, op, i); err != nil {
				return i, err
			}
		}
	}
	if whole {
		return -1, w.sendOp(p, commitOp, -1)
	}
	return -1, nil
}

func (w *pgWriter) sendOp(p *pgconn.Pipeline, op Op, owner int) error {
	sd := w.prepared[op.SQL]
	if len(op.Args) != len(sd.ParamOIDs) {
		return fmt.Errorf("%q takes %d arguments, %d are given", brief(op.SQL), len(sd.ParamOIDs), len(op.Args))
	}
	if err := w.build.Build(w.c.TypeMap(), sd, op.Args); err != nil {
		return fmt.Errorf("%q: %w", brief(op.SQL), err)
	}
	p.SendQueryPrepared(sd.Name, w.build.ParamValues, w.build.ParamFormats, w.build.ResultFormats)
	w.owner = append(w.owner, owner)
	return nil
}

func (w *pgWriter) receive(p *pgconn.Pipeline, ctx context.Context, batches [][]Op) (failed int, err error) {
	done := 0 // statements of the current batch that were answered
	for i, owner := range w.owner {
		sql := "COMMIT"
		if owner >= 0 {
			if i == 0 || w.owner[i-1] != owner {
				done = 0
			}
			sql = batches[owner][done].SQL
			done++
		}
		res, err := p.GetResults()
		if rr, ok := res.(*pgconn.ResultReader); ok && err == nil {
			_, err = rr.Close()
		}
		if err != nil {
			return owner, w.failed(ctx, sql, err)
		}
	}
	return -1, nil
}

// script is not bounded in time: a migration may take long.
func (w *pgWriter) script(sql string) error {
	_, err := w.c.PgConn().Exec(context.Background(), sql).ReadAll()
	if err != nil {
		return w.failed(context.Background(), sql, err)
	}
	return nil
}

func (w *pgWriter) close() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = w.c.Close(ctx) // what was committed is on disk
}
