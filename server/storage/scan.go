package storage

import (
	"database/sql"
	"encoding"
	"fmt"
	"math"
	"reflect"
	"strconv"
)

type cellKind uint8

const (
	null cellKind = iota
	integer
	float
	text
	bytes
)

// A cell is one value of a row, as both databases give it. b may be the
// connection's memory.
type cell struct {
	kind cellKind
	i    int64
	f    float64
	s    string
	b    []byte

	given bool // b is nobody's but this row's
}

// Scan hands over the row's values, in the order of its columns. It is called once
// for a row.
func (row Row) Scan(dest ...any) error {
	if n := row.r.columns(); n != len(dest) {
		return fmt.Errorf("scan: the row has %d columns, %d are wanted", n, len(dest))
	}
	for i, d := range dest {
		c, err := row.r.cell(i)
		if err == nil {
			err = c.assign(d)
		}
		if err != nil {
			return fmt.Errorf("scan column %d: %w", i+1, err)
		}
	}
	return nil
}

func (c *cell) assign(dest any) error {
	switch d := dest.(type) {
	case *int64:
		n, err := c.int64()
		*d = n
		return err
	case *int:
		n, err := c.int64()
		*d = int(n)
		return err
	case *string:
		s, err := c.text()
		*d = s
		return err
	case *[]byte:
		b, err := c.blob()
		*d = b
		return err
	case *bool:
		n, err := c.int64()
		*d = n != 0
		return err
	case *float64:
		f, err := c.float64()
		*d = f
		return err
	case *any:
		*d = c.value()
		return nil
	case sql.Scanner:
		return d.Scan(c.value())
	case encoding.TextUnmarshaler:
		s, err := c.text()
		if err != nil {
			return err
		}
		return d.UnmarshalText([]byte(s))
	}
	return c.reflect(dest)
}

// reflect assigns to a pointer to a named type.
func (c *cell) reflect(dest any) error {
	p := reflect.ValueOf(dest)
	if p.Kind() != reflect.Pointer || p.IsNil() {
		return fmt.Errorf("%T is no pointer to scan into", dest)
	}
	v := p.Elem()
	switch {
	case v.CanInt():
		n, err := c.int64()
		if err == nil && v.OverflowInt(n) {
			err = fmt.Errorf("%d does not fit %T", n, dest)
		}
		if err == nil {
			v.SetInt(n)
		}
		return err
	case v.CanUint():
		n, err := c.int64()
		if err == nil && (n < 0 || v.OverflowUint(uint64(n))) {
			err = fmt.Errorf("%d does not fit %T", n, dest)
		}
		if err == nil {
			v.SetUint(uint64(n))
		}
		return err
	case v.CanFloat():
		f, err := c.float64()
		v.SetFloat(f)
		return err
	case v.Kind() == reflect.Bool:
		n, err := c.int64()
		v.SetBool(n != 0)
		return err
	case v.Kind() == reflect.String:
		s, err := c.text()
		v.SetString(s)
		return err
	case v.Kind() == reflect.Slice && v.Type().Elem().Kind() == reflect.Uint8:
		b, err := c.blob()
		v.SetBytes(b)
		return err
	}
	return fmt.Errorf("%T cannot be scanned into", dest)
}

func (c *cell) int64() (int64, error) {
	switch {
	case c.kind == integer || c.kind == null:
		return c.i, nil
	case c.kind == float && c.f == math.Trunc(c.f) && math.Abs(c.f) < 1<<63:
		return int64(c.f), nil
	}
	return 0, c.mismatch("an integer")
}

func (c *cell) float64() (float64, error) {
	switch c.kind {
	case float, null:
		return c.f, nil
	case integer:
		return float64(c.i), nil
	}
	return 0, c.mismatch("a number")
}

func (c *cell) text() (string, error) {
	switch c.kind {
	case text, null:
		if c.b != nil {
			return string(c.b), nil
		}
		return c.s, nil
	case bytes:
		return string(c.b), nil
	case integer:
		return strconv.FormatInt(c.i, 10), nil
	}
	return "", c.mismatch("a string")
}

func (c *cell) blob() ([]byte, error) {
	switch c.kind {
	case null:
		return nil, nil
	case text, bytes:
		switch {
		case c.given && c.b != nil:
			return c.b, nil
		case c.b != nil:
			return append([]byte{}, c.b...), nil
		}
		return []byte(c.s), nil
	}
	return nil, c.mismatch("bytes")
}

func (c *cell) value() any {
	switch c.kind {
	case integer:
		return c.i
	case float:
		return c.f
	case text:
		s, _ := c.text() // a text cell always has one
		return s
	case bytes:
		return append([]byte{}, c.b...)
	}
	return nil
}

func (c *cell) mismatch(want string) error {
	return fmt.Errorf("%s is not %s", [...]string{"NULL", "an integer", "a float", "a string", "a byte string"}[c.kind], want)
}
