package storage

import "testing"

func TestSQLiteText(t *testing.T) {
	for _, c := range []struct {
		in, want string
		params   int
	}{
		{"SELECT 1", "SELECT 1", 0},
		{"SELECT $1, $2", "SELECT ?, ?", 2},
		{"SELECT $2, $1", "SELECT ?2, ?1", 2},
		{"SELECT $1, $1, $2", "SELECT ?1, ?1, ?2", 2},
		{"SELECT $12", "SELECT ?12", 12},
		{"SELECT $1 -- $2\n, $2", "SELECT ? -- $2\n, ?", 2},
		{"SELECT '$1 '' $2', $1", "SELECT '$1 '' $2', ?", 1},
		{`SELECT "$1 "" $2", $1`, `SELECT "$1 "" $2", ?`, 1},
		{"SELECT /* $1 ' */ $1", "SELECT /* $1 ' */ ?", 1},
		{"SELECT $1 --", "SELECT ? --", 1},
		{"SELECT $1 /*", "SELECT ? /*", 1},
		{"SELECT 'open $1", "SELECT 'open $1", 0},
		{"SELECT a$ FROM $x", "SELECT a$ FROM $x", 0},
		{"$1", "?", 1},
	} {
		got, params := sqliteText(c.in)
		if got != c.want || params != c.params {
			t.Errorf("sqliteText(%q) = %q, %d, want %q, %d", c.in, got, params, c.want, c.params)
		}
	}
}

func FuzzSQLiteText(f *testing.F) {
	f.Add("SELECT $1, '$2' -- $3\n/* $4 */")
	f.Fuzz(func(t *testing.T, sql string) {
		text, params := sqliteText(sql)
		if params == 0 && text != sql {
			t.Errorf("sqliteText(%q) = %q without a placeholder", sql, text)
		}
	})
}
