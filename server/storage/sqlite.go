package storage

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// Statements a connection keeps prepared. A program has fewer; the bound is for the
// case that somebody builds texts after all.
const maxPrepared = 1000

// The most that the log keeps on disk after a long reader made it grow.
const journalSizeLimit = 64 << 20

type sqliteStore struct {
	path     string
	wait     time.Duration
	maxPages atomic.Int64
	readers  chan *sqliteConn // one entry per reader; nil: not opened yet
	closed   chan struct{}
	closing  sync.Once
}

func openSQLite(path string, o Options) (*sqliteStore, error) {
	if path == "" || path == ":memory:" {
		return nil, errors.New("sqlite: needs the path of a file: each connection would have a :memory: database of its own")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	// SQLite gives its -wal and -shm files the mode of this one.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := f.Close(); err != nil {
		return nil, err
	}
	s := &sqliteStore{path: path, wait: o.Timeout, readers: make(chan *sqliteConn, o.Readers), closed: make(chan struct{})}
	s.maxPages.Store(int64(o.MaxPages))
	for range o.Readers {
		s.readers <- nil
	}
	return s, nil
}

func (s *sqliteStore) dialect() Dialect { return SQLite }

func (s *sqliteStore) connect() (writer, error) {
	c, err := s.open("synchronous(FULL)", "journal_size_limit("+strconv.Itoa(journalSizeLimit)+")")
	if err != nil {
		return nil, err
	}
	if err := s.limitPages(c); err != nil {
		c.close()
		return nil, err
	}
	return c, nil
}

// readerCache is the page cache of a connection that reads, in KiB as SQLite
// counts them: negative. The default of 2 MiB for each costs more memory than a
// few hundred sessions and gains nothing; the system caches the file anyway.
const readerCache = -256

// open opens a connection. Its journal is a WAL, its foreign keys are enforced,
// and an unknown "name" is an error as it is for PostgreSQL, not a string.
func (s *sqliteStore) open(pragmas ...string) (*sqliteConn, error) {
	q := url.Values{"_dqs": {"0"}, "_error_rc": {"1"}, "_defensive": {"1"}}
	for _, p := range append([]string{
		"busy_timeout(" + strconv.FormatInt(s.wait.Milliseconds(), 10) + ")",
		"journal_mode(WAL)", "foreign_keys(ON)", "case_sensitive_like(ON)",
	}, pragmas...) {
		q.Add("_pragma", p)
	}
	name := (&url.URL{Scheme: "file", Path: s.path, RawQuery: q.Encode()}).String()
	c, err := (&sqlite.Driver{}).Open(name)
	if err != nil {
		return nil, sqliteError(err)
	}
	return &sqliteConn{c: c.(sqliteDriverConn), prepared: make(map[string]*prepared)}, nil
}

func (s *sqliteStore) limitPages(c *sqliteConn) error {
	if n := s.maxPages.Load(); n > 0 {
		return c.script("PRAGMA max_page_count = " + strconv.FormatInt(n, 10))
	}
	return c.script("PRAGMA max_page_count = 4294967294")
}

// lend lends a reader connection; without a free one it waits.
func (s *sqliteStore) lend(ctx context.Context, f func(*sqliteConn) error) error {
	var c *sqliteConn
	select {
	case <-s.closed:
		return ErrClosed
	default:
	}
	select {
	case c = <-s.readers:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closed:
		return ErrClosed
	}
	defer func() {
		if c != nil && c.broken() {
			c.close()
			c = nil
		}
		s.readers <- c
	}()
	if c == nil {
		var err error
		if c, err = s.open("query_only(ON)", "cache_size("+strconv.Itoa(readerCache)+")"); err != nil {
			return wrapped(ErrUnavailable, err)
		}
	}
	return f(c)
}

func (s *sqliteStore) read(ctx context.Context, f func(*Reader) error) error {
	return s.lend(ctx, func(c *sqliteConn) error {
		if err := c.control("BEGIN"); err != nil {
			return err
		}
		r := &Reader{ctx: ctx, c: c}
		defer func() {
			r.c = nil
			// Nothing was written: how a snapshot ends does not matter, but a
			// connection that cannot end it is not used again.
			if err := c.control("ROLLBACK"); err != nil {
				c.bad = true
			}
		}()
		return f(r)
	})
}

// readOne needs no transaction: a statement of its own has a snapshot of its own.
func (s *sqliteStore) readOne(ctx context.Context, f func(*Reader) error) error {
	return s.lend(ctx, func(c *sqliteConn) error {
		r := &Reader{ctx: ctx, c: c}
		defer func() { r.c = nil }()
		return f(r)
	})
}

func (s *sqliteStore) close() error {
	s.closing.Do(func() {
		close(s.closed)
		for range cap(s.readers) {
			if c := <-s.readers; c != nil {
				c.close()
			}
		}
	})
	return nil
}

// sqliteDriverConn is what the driver's connections can do.
type sqliteDriverConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ExecerContext
}

type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

type prepared struct {
	stmt   sqliteStmt
	params int
}

// sqliteConn uses the driver's connection without database/sql, which would take a lock
// and check the arguments again for each row.
type sqliteConn struct {
	c        sqliteDriverConn
	prepared map[string]*prepared
	args     []driver.NamedValue // reused
	bad      bool
}

func (c *sqliteConn) prepare(sql string) (*prepared, error) {
	if p := c.prepared[sql]; p != nil {
		return p, nil
	}
	if len(c.prepared) >= maxPrepared {
		c.forget()
	}
	text, params := sqliteText(sql)
	s, err := c.c.PrepareContext(context.Background(), text)
	if err != nil {
		return nil, c.failed(sql, err)
	}
	p := &prepared{s.(sqliteStmt), params}
	c.prepared[sql] = p
	return p, nil
}

func (c *sqliteConn) forget() {
	for sql, p := range c.prepared {
		// Closing repeats the error of the last execution, which was reported then.
		_ = p.stmt.Close()
		delete(c.prepared, sql)
	}
}

func (c *sqliteConn) bind(sql string, args []any) (*prepared, []driver.NamedValue, error) {
	p, err := c.prepare(sql)
	if err != nil {
		return nil, nil, err
	}
	if len(args) != p.params {
		return nil, nil, fmt.Errorf("%q takes %d arguments, %d are given", brief(sql), p.params, len(args))
	}
	c.args = c.args[:0]
	for i, a := range args {
		c.args = append(c.args, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	return p, c.args, nil
}

func (c *sqliteConn) exec(ctx context.Context, sql string, args []any) (int64, error) {
	p, values, err := c.bind(sql, args)
	if err != nil {
		return 0, err
	}
	res, err := p.stmt.ExecContext(ctx, values)
	clear(values)
	if err != nil {
		return 0, c.failed(sql, err)
	}
	n, err := res.RowsAffected()
	return n, err
}

func (c *sqliteConn) query(ctx context.Context, sql string, args []any) (rows, error) {
	p, values, err := c.bind(sql, args)
	if err != nil {
		return nil, err
	}
	// The driver watches a context that can end on a goroutine of its own for each
	// statement, which costs more than most statements: one that has begun runs to its
	// end.
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	rs, err := p.stmt.QueryContext(context.Background(), values)
	clear(values)
	if err != nil {
		return nil, c.failed(sql, err)
	}
	return &sqliteRows{c: c, sql: sql, rs: rs, values: make([]driver.Value, len(rs.Columns()))}, nil
}

// control runs a statement without arguments that changes the transaction.
func (c *sqliteConn) control(sql string) error {
	_, err := c.exec(context.Background(), sql, nil)
	return err
}

func (c *sqliteConn) begin() error {
	err := c.control("BEGIN IMMEDIATE")
	if err != nil && !errors.Is(err, errLocked) {
		c.bad = true // in a transaction that somebody's statement began, say
	}
	return err
}

func (c *sqliteConn) commit() error { return c.control("COMMIT") }

func (c *sqliteConn) rollback() error { return c.control("ROLLBACK") }

func (c *sqliteConn) apply(batches [][]Op) (failed int, err error) {
	for i, ops := range batches {
		for _, op := range ops {
			if _, err := c.exec(context.Background(), op.SQL, op.Args); err != nil {
				return i, err
			}
		}
	}
	return -1, nil
}

func (c *sqliteConn) commitAll(batches [][]Op) (failed int, err error) {
	if err := c.begin(); err != nil {
		return -1, err
	}
	failed, err = c.apply(batches)
	if err == nil {
		err = c.commit()
	}
	if err != nil {
		// SQLite itself rolls back after some errors, a full disk for one.
		if rerr := c.rollback(); rerr != nil {
			c.bad = true
		}
	}
	return failed, err
}

func (c *sqliteConn) script(sql string) error {
	if _, err := c.c.ExecContext(context.Background(), sql, nil); err != nil {
		return c.failed(sql, err)
	}
	return nil
}

func (c *sqliteConn) alive() bool { return true }

func (c *sqliteConn) broken() bool { return c.bad }

func (c *sqliteConn) close() {
	c.forget()
	// What was committed is on disk; a transaction that was not is meant to be lost.
	_ = c.c.Close()
}

// failed classifies err, and marks the connection when it should not be used again.
func (c *sqliteConn) failed(sql string, err error) error {
	var e *sqlite.Error
	if errors.As(err, &e) {
		switch e.Code() & 0xff {
		case lib.SQLITE_IOERR, lib.SQLITE_CANTOPEN, lib.SQLITE_READONLY, lib.SQLITE_CORRUPT,
			lib.SQLITE_NOTADB, lib.SQLITE_NOMEM, lib.SQLITE_PROTOCOL, lib.SQLITE_MISUSE:
			c.bad = true
		}
	}
	return fmt.Errorf("%q: %w", brief(sql), sqliteError(err))
}

func sqliteError(err error) error {
	var e *sqlite.Error
	if !errors.As(err, &e) {
		return err
	}
	switch e.Code() {
	case lib.SQLITE_CONSTRAINT_UNIQUE, lib.SQLITE_CONSTRAINT_PRIMARYKEY, lib.SQLITE_CONSTRAINT_ROWID:
		return wrapped(ErrConflict, err)
	}
	switch e.Code() & 0xff {
	case lib.SQLITE_BUSY, lib.SQLITE_LOCKED:
		return wrapped(ErrUnavailable, wrapped(errLocked, err))
	case lib.SQLITE_FULL, lib.SQLITE_IOERR, lib.SQLITE_CANTOPEN, lib.SQLITE_READONLY,
		lib.SQLITE_CORRUPT, lib.SQLITE_NOTADB, lib.SQLITE_NOMEM, lib.SQLITE_PROTOCOL:
		return wrapped(ErrUnavailable, err)
	}
	return err
}

type sqliteRows struct {
	c      *sqliteConn
	sql    string
	rs     driver.Rows
	values []driver.Value
}

func (r *sqliteRows) columns() int { return len(r.values) }

func (r *sqliteRows) next() (bool, error) {
	err := r.rs.Next(r.values)
	if errors.Is(err, io.EOF) {
		return false, nil
	}
	if err != nil {
		return false, r.c.failed(r.sql, err)
	}
	return true, nil
}

func (r *sqliteRows) cell(i int) (cell, error) {
	switch v := r.values[i].(type) {
	case nil:
		return cell{}, nil
	case int64:
		return cell{kind: integer, i: v}, nil
	case float64:
		return cell{kind: float, f: v}, nil
	case string:
		return cell{kind: text, s: v}, nil
	case []byte:
		return cell{kind: bytes, b: v, given: true}, nil // the driver has made it for this row
	}
	return cell{}, fmt.Errorf("column of type %T: declare it as one of the types this package knows", r.values[i])
}

func (r *sqliteRows) close() error {
	if err := r.rs.Close(); err != nil {
		return r.c.failed(r.sql, err)
	}
	return nil
}
