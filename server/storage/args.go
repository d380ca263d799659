package storage

import (
	"fmt"
	"math"
	"reflect"
	"strings"
	"unicode/utf8"
)

// normalOps returns ops with arguments of the six kinds only; ops itself when there
// is nothing to convert, which is the rule.
func normalOps(ops []Op) ([]Op, error) {
	out := ops
	for i := range ops {
		args, err := normalArgs(ops[i].SQL, ops[i].Args)
		if err != nil {
			return nil, err
		}
		if len(args) == 0 || &args[0] == &ops[i].Args[0] {
			continue
		}
		if &out[0] == &ops[0] {
			out = append([]Op(nil), ops...)
		}
		out[i].Args = args
	}
	return out, nil
}

// normalArgs returns args as int64, string, []byte, bool, float64 and nil; args
// itself when they are.
func normalArgs(sql string, args []any) ([]any, error) {
	out := args
	for i, a := range args {
		switch v := a.(type) {
		case nil, int64, bool, float64, []byte:
			continue
		case string:
			if err := checkText(v); err != nil {
				return nil, argError(sql, i, err)
			}
			continue
		}
		v, err := normal(a)
		if err != nil {
			return nil, argError(sql, i, err)
		}
		if &out[0] == &args[0] {
			out = append([]any(nil), args...)
		}
		out[i] = v
	}
	return out, nil
}

func normal(a any) (any, error) {
	switch v := a.(type) {
	case int:
		return int64(v), nil
	case int32:
		return int64(v), nil
	}
	v := reflect.ValueOf(a)
	switch {
	case v.CanInt():
		return v.Int(), nil
	case v.CanUint():
		if v.Uint() > math.MaxInt64 {
			return nil, fmt.Errorf("%d is more than a bigint holds", v.Uint())
		}
		return int64(v.Uint()), nil
	case v.CanFloat():
		return v.Float(), nil
	case v.Kind() == reflect.Bool:
		return v.Bool(), nil
	case v.Kind() == reflect.String:
		return v.String(), checkText(v.String())
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		return v.Bytes(), nil
	}
	return nil, fmt.Errorf("%T cannot be stored", a)
}

// checkText refuses what PostgreSQL has no way to store, so that SQLite, which would
// store it, does not keep rows that can never move to the other.
func checkText(s string) error {
	if strings.IndexByte(s, 0) >= 0 {
		return fmt.Errorf("a NUL byte in a string cannot be stored")
	}
	if !utf8.ValidString(s) {
		return fmt.Errorf("a string that is not UTF-8 cannot be stored")
	}
	return nil
}

// argError names the argument and the statement; never the value, which is somebody's data.
func argError(sql string, i int, err error) error {
	return fmt.Errorf("argument $%d of %q: %w", i+1, brief(sql), err)
}

// brief is the beginning of a statement on one line, for error messages.
func brief(sql string) string {
	s := strings.Join(strings.Fields(sql), " ")
	if len(s) > 60 {
		s = s[:60] + "..."
	}
	return s
}
