package storage

import (
	"context"
	"errors"
	"iter"
	"strings"
)

// A conn is one connection, used by one goroutine at a time. Its errors are
// already classified.
type conn interface {
	query(ctx context.Context, sql string, args []any) (rows, error)
	exec(ctx context.Context, sql string, args []any) (affected int64, err error)
}

// rows are the rows of one query; each must be closed before the next call on its conn.
type rows interface {
	next() (bool, error)
	columns() int
	cell(i int) (cell, error)
	close() error
}

var (
	errRowsOpen = errors.New("the rows of another query are still being read")
	errTxDone   = errors.New("the transaction has ended")
	errAlone    = errors.New("without a transaction only one SELECT can be run")
)

// Reader queries the database. It belongs to the function it was given to and to
// one goroutine.
type Reader struct {
	ctx  context.Context
	c    conn
	open bool  // rows of a query are being read
	err  error // the statement that failed; nothing goes on after it

	wrote bool // something may have to be rolled back
	alone bool // there is no transaction: one statement, which must only read
	begun bool // if alone: it was run
}

// A Row is one row of a query, valid until the next.
type Row struct{ r rows }

// Query runs a query and yields its rows. An error is yielded last. No other call is
// allowed while the loop runs.
//
//	for row, err := range r.Query("SELECT name, at FROM vcard WHERE owner = $1", owner) {
//		if err != nil {
//			return err
//		}
//		if err := row.Scan(&name, &at); err != nil {
//			return err
//		}
//	}
func (r *Reader) Query(sql string, args ...any) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		rs, err := r.start(sql, args)
		if err != nil {
			yield(Row{}, err)
			return
		}
		r.open = true
		defer func() {
			r.open = false
			// What the loop wanted it has; a broken connection shows at the next call.
			if err := rs.close(); err != nil && r.err == nil {
				r.err = err
			}
		}()
		for {
			more, err := rs.next()
			if err != nil {
				r.err = err
				yield(Row{}, err)
				return
			}
			if !more || !yield(Row{rs}, nil) {
				return
			}
		}
	}
}

// QueryRow is a query for one row; it is run by Scan.
func (r *Reader) QueryRow(sql string, args ...any) Single { return Single{r, sql, args} }

// Single is a query for one row.
type Single struct {
	r    *Reader
	sql  string
	args []any
}

// Scan runs the query and copies the first row's values; without a row it returns ErrNotFound.
func (s Single) Scan(dest ...any) error {
	rs, err := s.r.start(s.sql, s.args)
	if err != nil {
		return err
	}
	more, err := rs.next()
	if err != nil {
		s.r.err = err
	} else if !more {
		err = ErrNotFound
	} else {
		err = Row{rs}.Scan(dest...)
	}
	if cerr := rs.close(); cerr != nil && s.r.err == nil {
		s.r.err = cerr
		return cerr
	}
	return err
}

func (r *Reader) ready() error {
	switch {
	case r.c == nil:
		return errTxDone
	case r.open:
		return errRowsOpen
	}
	return r.err
}

func (r *Reader) start(sql string, args []any) (rows, error) {
	if err := r.ready(); err != nil {
		return nil, err
	}
	args, err := normalArgs(sql, args)
	if err != nil {
		return nil, err
	}
	if r.alone {
		if r.begun || !strings.HasPrefix(sql, "SELECT ") {
			return nil, errAlone
		}
		r.begun = true
	}
	// INSERT ... RETURNING is a query too.
	r.wrote = r.wrote || !strings.HasPrefix(sql, "SELECT ")
	rs, err := r.c.query(r.ctx, sql, args)
	if err != nil {
		r.err = err
	}
	return rs, err
}

// Tx is a transaction: what was written is seen by its own queries at once and by
// others after the commit. Once a statement has failed, all later ones fail too.
type Tx struct {
	Reader
	ran int64 // statements run by Exec, for Stats
}

// Exec runs a statement and returns the number of rows it changed.
func (tx *Tx) Exec(sql string, args ...any) (int64, error) {
	if err := tx.ready(); err != nil {
		return 0, err
	}
	args, err := normalArgs(sql, args)
	if err != nil {
		return 0, err
	}
	tx.wrote = true
	n, err := tx.c.exec(tx.ctx, sql, args)
	if err != nil {
		tx.err = err
		return 0, err
	}
	tx.ran++
	return n, nil
}
