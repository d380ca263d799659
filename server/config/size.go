package config

import (
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// Size is a number of bytes; in a file a string such as "256KiB", or a plain number.
type Size int64

// Units of Size.
const (
	KiB Size = 1 << 10
	MiB Size = 1 << 20
	GiB Size = 1 << 30
)

type unit struct {
	name  string
	bytes Size
}

// units are in the order in which String prefers them.
func units() []unit {
	return []unit{
		{"GiB", GiB}, {"MiB", MiB}, {"KiB", KiB},
		{"GB", 1e9}, {"MB", 1e6}, {"kB", 1e3}, {"B", 1},
	}
}

var errNotASize = errors.New("not a size")

// UnmarshalText reads a number and a unit: B, kB, MB, GB (powers of 1000) or KiB, MiB, GiB (powers of 1024).
func (s *Size) UnmarshalText(text []byte) error {
	digits := strings.TrimRight(string(text), "kKMGiB ")
	name := strings.TrimSpace(string(text)[len(digits):])
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n < 0 {
		return errNotASize
	}
	for _, u := range units() {
		if u.name == name || name == "" && u.bytes == 1 {
			if Size(n) > math.MaxInt64/u.bytes {
				return errNotASize
			}
			*s = Size(n) * u.bytes
			return nil
		}
	}
	return errNotASize
}

// String returns the size with the largest unit that leaves a whole number.
func (s Size) String() string {
	for _, u := range units() {
		if s >= u.bytes && s%u.bytes == 0 {
			return strconv.FormatInt(int64(s/u.bytes), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// ParseDuration is time.ParseDuration with days, in which people count how long things are kept.
func ParseDuration(s string) (time.Duration, error) {
	if days, ok := strings.CutSuffix(s, "d"); ok {
		n, err := strconv.ParseInt(days, 10, 64)
		if err != nil || n < 0 || n > math.MaxInt64/int64(24*time.Hour) {
			return 0, errors.New("not a number of days")
		}
		return time.Duration(n) * 24 * time.Hour, nil
	}
	return time.ParseDuration(s)
}
