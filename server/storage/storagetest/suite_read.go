package storagetest

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"kith/server/storage"
)

type named int32

type label string

func (l *label) UnmarshalText(b []byte) error {
	*l = label("<" + string(b) + ">")
	return nil
}

func values(t *testing.T, db *storage.DB) {
	Schema(t, db, `CREATE TABLE value (id bigint PRIMARY KEY, i bigint, s {{text}}, b {{bytes}}, f double precision, yes boolean, j {{json}})`)
	all := []struct {
		i   any
		s   string
		b   []byte
		f   float64
		yes bool
	}{
		{int64(math.MaxInt64), "plain", []byte{0, 1, 255}, 0.1, true},
		{int64(math.MinInt64), "", []byte{}, math.Inf(1), false},
		{int(-1), "ünïcödé 🎉 '\"$1", bytes.Repeat([]byte("x"), 100_000), -1e300, true},
		{int32(7), strings.Repeat("long ", 50_000), []byte("text"), 0, false},
		{uint16(9), "\x01\x7f", []byte{'a', 0}, 3, true},
		{named(11), "named", []byte{1}, 2.5, true},
	}
	for id, v := range all {
		err := db.Commit([]storage.Op{{
			SQL:  "INSERT INTO value (id, i, s, b, f, yes, j) VALUES ($1, $2, $3, $4, $5, $6, $7)",
			Args: []any{id, v.i, v.s, v.b, v.f, v.yes, `{"a": 1}`},
		}})
		if err != nil {
			t.Fatalf("insert %v: %v", v.i, err)
		}
	}
	want := []int64{math.MaxInt64, math.MinInt64, -1, 7, 9, 11}
	err := db.Read(ctx, func(r *storage.Reader) error {
		for id, v := range all {
			var i int64
			var s, j string
			var b []byte
			var f float64
			var yes bool
			if err := r.QueryRow("SELECT i, s, b, f, yes, j FROM value WHERE id = $1 AND s = $2", id, v.s).Scan(&i, &s, &b, &f, &yes, &j); err != nil {
				return err
			}
			if i != want[id] || s != v.s || !bytes.Equal(b, v.b) || b == nil || f != v.f || yes != v.yes || j != `{"a": 1}` {
				t.Errorf("row %d: got %v %.20q %.20v %v %v %s", id, i, s, b, f, yes, j)
			}
		}
		var n named
		var l label
		var sum, count int
		var null sql.Null[int64]
		var any any
		err := r.QueryRow("SELECT CAST(7 AS bigint), s, sum(i), count(*), i, 'x' FROM value WHERE id = 3 GROUP BY s, i").
			Scan(&n, &l, &sum, &count, &null, &any)
		if n != 7 || !strings.HasPrefix(string(l), "<long") || sum != 7 || count != 1 || null.V != 7 || !null.Valid || any != "x" {
			t.Errorf("named types: got %v %.10q %v %v %v %v", n, l, sum, count, null, any)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func nulls(t *testing.T, db *storage.DB) {
	Schema(t, db, `CREATE TABLE value (i bigint, s {{text}}, b {{bytes}}, f double precision, yes boolean)`)
	err := db.Commit([]storage.Op{{SQL: "INSERT INTO value (i, s, b, f, yes) VALUES ($1, $2, $3, $4, $5)",
		Args: []any{nil, nil, []byte(nil), nil, nil}}})
	if err != nil {
		t.Fatal(err)
	}
	i, s, b, f, yes := 1, "a", []byte("a"), 1.0, true
	var null sql.Null[string]
	var any any = 1
	err = db.Read(ctx, func(r *storage.Reader) error {
		err := r.QueryRow("SELECT i, s, b, f, yes, s, s FROM value WHERE b IS NULL").Scan(&i, &s, &b, &f, &yes, &null, &any)
		return err
	})
	if err != nil || i != 0 || s != "" || b != nil || f != 0 || yes || null.Valid || any != nil {
		t.Errorf("NULLs: got %v %q %v %v %v %v %v, error %v", i, s, b, f, yes, null, any, err)
	}
}

func refusedArguments(t *testing.T, db *storage.DB) {
	Schema(t, db, `CREATE TABLE value (s {{text}})`)
	const insert = "INSERT INTO value (s) VALUES ($1)"
	for _, c := range []struct {
		arg  any
		says string
	}{
		{"a\x00b", "NUL"}, {label("\x00"), "NUL"}, {"\xff", "UTF-8"}, {time.Unix(0, 0), "time.Time"},
		{struct{}{}, "struct"}, {uint64(math.MaxUint64), "bigint"}, {new(int), "*int"},
	} {
		commit := db.Commit([]storage.Op{{SQL: insert, Args: []any{c.arg}}})
		write := db.Write(ctx, func(tx *storage.Tx) error {
			_, err := tx.Exec(insert, c.arg)
			return err
		})
		read := db.Read(ctx, func(r *storage.Reader) error {
			var s string
			return r.QueryRow("SELECT s FROM value WHERE s = $1", c.arg).Scan(&s)
		})
		for how, err := range map[string]error{"Commit": commit, "Write": write, "Read": read} {
			if err == nil || !strings.Contains(err.Error(), c.says) || errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("%s of %T %q: error %v, want one about %s", how, c.arg, c.arg, err, c.says)
			}
		}
	}
}

func textOrder(t *testing.T, db *storage.DB) {
	Schema(t, db, `CREATE TABLE name (s {{text}} PRIMARY KEY)`)
	var ops []storage.Op
	for _, s := range []string{"b", "a", "B", "é", "A", "aa", "_", "~"} {
		ops = append(ops, storage.Op{SQL: "INSERT INTO name (s) VALUES ($1)", Args: []any{s}})
	}
	if err := db.Commit(ops); err != nil {
		t.Fatal(err)
	}
	list := func(sql string, args ...any) string {
		var all []string
		err := db.Read(ctx, func(r *storage.Reader) error {
			for row, err := range r.Query(sql, args...) {
				var s string
				if err == nil {
					err = row.Scan(&s)
				}
				if err != nil {
					return err
				}
				all = append(all, s)
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		return strings.Join(all, " ")
	}
	if got, want := list("SELECT s FROM name ORDER BY s"), "A B _ a aa b ~ é"; got != want {
		t.Errorf("order is %q, want that of the bytes, %q", got, want)
	}
	if got, want := list("SELECT s FROM name WHERE s LIKE $1 ORDER BY s", "a%"), "a aa"; got != want {
		t.Errorf("LIKE finds %q, want %q", got, want)
	}
}

func wrongStatements(t *testing.T, db *storage.DB) {
	numbers(t, db)
	for _, op := range []storage.Op{
		{SQL: "INSERT INTO nowhere (n) VALUES (1)"},
		{SQL: "no SQL"},
		{SQL: "INSERT INTO number (n, by_whom) VALUES ($1, $2)", Args: []any{1}},
		{SQL: "INSERT INTO number (n, by_whom) VALUES ($1, $2)", Args: []any{1, "x", "y"}},
		{SQL: "INSERT INTO number (n, by_whom) VALUES ($1, $2)", Args: []any{1, nil}},
		{SQL: `INSERT INTO number (n, by_whom) VALUES (1, "unknown")`},
	} {
		commit := db.Commit([]storage.Op{insert(1, "x"), op})
		write := db.Write(ctx, func(tx *storage.Tx) error {
			_, err := tx.Exec(op.SQL, op.Args...)
			return err
		})
		for how, err := range map[string]error{"Commit": commit, "Write": write} {
			if err == nil || errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrConflict) {
				t.Errorf("%s of %q: error %v, want the statement's", how, op.SQL, err)
			}
		}
	}
	wantNumbers(t, db)
}

func queryRows(t *testing.T, db *storage.DB) {
	numbers(t, db)
	if err := db.Commit([]storage.Op{insert(1, "a"), insert(2, "a"), insert(3, "a")}); err != nil {
		t.Fatal(err)
	}
	var n int
	err := db.Read(ctx, func(r *storage.Reader) error {
		wantError(t, "QueryRow without a row", r.QueryRow("SELECT n FROM number WHERE n = $1", 9).Scan(&n), storage.ErrNotFound)
		if err := r.QueryRow("SELECT n FROM number WHERE n = $1 OR n = $1 + $2 ORDER BY n", 2, 1).Scan(&n); err != nil || n != 2 {
			t.Errorf("QueryRow of two rows: got %d, error %v, want the first", n, err)
		}
		if err := r.QueryRow("SELECT n, by_whom FROM number").Scan(&n); err == nil {
			t.Error("Scan of two columns into one variable is no error")
		}
		if err := r.QueryRow("SELECT by_whom FROM number").Scan(&n); err == nil {
			t.Error("Scan of text into an int is no error")
		}
		for row, err := range r.Query("SELECT n FROM number ORDER BY n") {
			if err != nil {
				return err
			}
			if err := r.QueryRow("SELECT n FROM number").Scan(&n); err == nil {
				t.Error("a query while rows are open is no error")
			}
			if err := row.Scan(&n); err != nil || n != 1 {
				t.Errorf("first row %d, error %v", n, err)
			}
			break
		}
		return r.QueryRow("SELECT count(*) FROM number").Scan(&n)
	})
	if err != nil || n != 3 {
		t.Errorf("after a loop that was left: count %d, error %v", n, err)
	}
	var kept *storage.Reader
	if err := db.Read(ctx, func(r *storage.Reader) error { kept = r; return nil }); err != nil {
		t.Fatal(err)
	}
	if err := kept.QueryRow("SELECT n FROM number").Scan(&n); err == nil {
		t.Error("a Reader works after its Read")
	}
}

func snapshot(t *testing.T, db *storage.DB) {
	numbers(t, db)
	count := func(r *storage.Reader) (n int) {
		if err := r.QueryRow("SELECT count(*) FROM number").Scan(&n); err != nil {
			t.Error(err)
		}
		return n
	}
	for want := range 3 {
		err := db.Read(ctx, func(r *storage.Reader) error {
			before := count(r)
			if err := db.Commit([]storage.Op{insert(want, "a")}); err != nil {
				t.Error(err)
			}
			if after := count(r); before != want || after != want {
				t.Errorf("a Read saw %d and then %d rows, want %d", before, after, want)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func readersDoNotWrite(t *testing.T, db *storage.DB) {
	numbers(t, db)
	err := db.Read(ctx, func(r *storage.Reader) error {
		var n int
		return r.QueryRow("INSERT INTO number (n, by_whom) VALUES (1, 'reader') RETURNING n").Scan(&n)
	})
	if err == nil {
		t.Error("a reader can write")
	}
	wantNumbers(t, db)
}

func loneRow(t *testing.T, db *storage.DB) {
	numbers(t, db)
	if err := db.Commit([]storage.Op{insert(7, "a"), insert(8, "b")}); err != nil {
		t.Fatal(err)
	}
	var n int
	var whom string
	const query = "SELECT n, by_whom FROM number WHERE n >= $1 ORDER BY n"
	if err := db.QueryRow(ctx, query, 7).Scan(&n, &whom); err != nil || n != 7 || whom != "a" {
		t.Errorf("got %d of %q, error %v; want the first row", n, whom, err)
	}
	wantError(t, "no row", db.QueryRow(ctx, query, 9).Scan(&n, &whom), storage.ErrNotFound)
	gone, cancel := context.WithCancel(ctx)
	cancel()
	wantError(t, "after the cancel", db.QueryRow(gone, query, 7).Scan(&n, &whom), context.Canceled)
	for what, q := range map[string]storage.Lone{
		"a wrong argument":  db.QueryRow(ctx, query, time.Unix(0, 0)),
		"no such column":    db.QueryRow(ctx, "SELECT x FROM number"),
		"a row for writing": db.QueryRow(ctx, "INSERT INTO number (n, by_whom) VALUES (1, 'reader') RETURNING n"),
	} {
		if err := q.Scan(&n); err == nil || errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: error %v, want one that blames the caller", what, err)
		}
	}
	err := db.ReadOne(ctx, func(r *storage.Reader) error {
		if err := r.QueryRow(query, 7).Scan(&n, &whom); err != nil {
			t.Error(err)
		}
		return r.QueryRow(query, 8).Scan(&n, &whom)
	})
	if err == nil {
		t.Error("two statements without a transaction")
	}
	wantNumbers(t, db, 7, 8)
	for range 20 { // no connection is lost by it
		if err := db.QueryRow(ctx, query, 8).Scan(&n, &whom); err != nil || n != 8 {
			t.Fatalf("got %d, error %v", n, err)
		}
	}
}

func cancelledRead(t *testing.T, db *storage.DB) {
	c, cancel := context.WithCancel(ctx)
	err := db.Read(c, func(r *storage.Reader) error {
		cancel()
		var n int
		return r.QueryRow("SELECT 1").Scan(&n)
	})
	wantError(t, "a query after the cancel", err, context.Canceled)
	wantError(t, "a Read after the cancel", db.Read(c, func(*storage.Reader) error { return nil }), context.Canceled)
	if errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("%v blames the store", err)
	}
	for range 20 { // each reader works on
		if err := db.Ping(ctx); err != nil {
			t.Fatal(err)
		}
	}
}
