package storage

import "strings"

// sqliteText turns the placeholders $1, $2, ... into those of SQLite, and returns how many
// arguments they take. Where they are in order, each once, they become plain question
// marks: the driver asks for the name of each numbered one at each execution.
func sqliteText(sql string) (text string, params int) {
	ordered := true
	placeholders(sql, func(_, _, n int) {
		ordered = ordered && n == params+1
		params = max(params, n)
	})
	if params == 0 {
		return sql, 0
	}
	var b strings.Builder
	last := 0
	placeholders(sql, func(from, to, _ int) {
		b.WriteString(sql[last:from])
		b.WriteByte('?')
		if !ordered {
			b.WriteString(sql[from+1 : to])
		}
		last = to
	})
	b.WriteString(sql[last:])
	return b.String(), params
}

// placeholders finds each $n outside strings, quoted names and comments.
func placeholders(sql string, found func(from, to, n int)) {
	for i := 0; i < len(sql); i++ {
		switch {
		case sql[i] == '\'' || sql[i] == '"':
			// A doubled quote ends and begins again, which comes to the same.
			i = skip(sql, i+1, sql[i:i+1])
		case strings.HasPrefix(sql[i:], "--"):
			i = skip(sql, i+2, "\n")
		case strings.HasPrefix(sql[i:], "/*"):
			i = skip(sql, i+2, "*/")
		case sql[i] == '$':
			from, n := i, 0
			for i+1 < len(sql) && '0' <= sql[i+1] && sql[i+1] <= '9' && n < 1<<16 {
				i++
				n = n*10 + int(sql[i]-'0')
			}
			if n > 0 {
				found(from, i+1, n)
			}
		}
	}
}

// skip returns the index of the last byte of the next end at or after i.
func skip(sql string, i int, end string) int {
	if i > len(sql) {
		return len(sql)
	}
	k := strings.Index(sql[i:], end)
	if k < 0 {
		return len(sql)
	}
	return i + k + len(end) - 1
}
