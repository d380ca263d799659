package xtime

import (
	"errors"
	"time"
)

// ErrFormat is returned for what is not in a format of XEP-0082.
var ErrFormat = errors.New("no date and time of XEP-0082")

// Format returns a moment as the DateTime profile has it (XEP-0082 §3.2), in UTC,
// to the millisecond.
func Format(t time.Time) string {
	return t.UTC().Truncate(time.Millisecond).Format(time.RFC3339Nano) // the layout that package time writes fastest
}

// Parse reads a DateTime of XEP-0082 §3.2. It is as strict as the text, which
// time.Parse is not: that takes "7:04:05" and a comma.
func Parse(s string) (time.Time, error) {
	const seconds = len("2006-01-02T15:04:05")
	if len(s) <= seconds || !shaped(s[:seconds], "0000-00-00T00:00:00") {
		return time.Time{}, ErrFormat
	}
	zone := seconds
	if s[zone] == '.' {
		for zone++; zone < len(s) && digit(s[zone]); zone++ {
		}
		if zone == seconds+1 {
			return time.Time{}, ErrFormat
		}
	}
	if _, err := ParseZone(s[zone:]); err != nil {
		return time.Time{}, err
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return time.Time{}, ErrFormat
	}
	return t, nil
}

// FormatZone returns an offset from UTC as a Time Zone Definition (XEP-0082 §2),
// always as a number.
func FormatZone(offset time.Duration) string {
	return time.Time{}.In(time.FixedZone("", int(offset.Seconds()))).Format("-07:00")
}

// ParseZone reads a Time Zone Definition: Z or (+|-)hh:mm.
func ParseZone(s string) (time.Duration, error) {
	if s == "Z" {
		return 0, nil
	}
	if len(s) != len("+00:00") || !shaped(s[1:], "00:00") || s[0] != '+' && s[0] != '-' {
		return 0, ErrFormat
	}
	hours, minutes := number(s[1:3]), number(s[4:6])
	if minutes > 59 || hours*60+minutes > 14*60 { // XML Schema 2 §3.2.7.3: at most 14 hours
		return 0, ErrFormat
	}
	offset := time.Duration(hours)*time.Hour + time.Duration(minutes)*time.Minute
	if s[0] == '-' {
		offset = -offset
	}
	return offset, nil
}

// shaped reports whether s has a digit where shape has one, and else is shape.
func shaped(s, shape string) bool {
	for i := range len(shape) {
		if shape[i] == '0' && !digit(s[i]) || shape[i] != '0' && s[i] != shape[i] {
			return false
		}
	}
	return true
}

func digit(c byte) bool { return '0' <= c && c <= '9' }

func number(s string) int { return int(s[0]-'0')*10 + int(s[1]-'0') }
