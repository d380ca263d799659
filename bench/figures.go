package bench

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
)

// Figure is one result. Key names it for programs, with its unit; Label for
// people.
type Figure struct {
	Key, Label string
	Value      float64
}

// Figures are those of one repetition, or their medians, in the order in which
// they are told.
type Figures []Figure

// add appends a figure, rounded to what can be meant.
func (f *Figures) add(key, label string, value float64) {
	*f = append(*f, Figure{key, label, round(value)})
}

// Get returns the figure of a key.
func (f Figures) Get(key string) (float64, bool) {
	for _, one := range f {
		if one.Key == key {
			return one.Value, true
		}
	}
	return 0, false
}

// MarshalJSON implements json.Marshaler: an object, in the order of the figures.
func (f Figures) MarshalJSON() ([]byte, error) {
	b := []byte{'{'}
	for i, one := range f {
		if i > 0 {
			b = append(b, ',')
		}
		b = strconv.AppendQuote(b, one.Key)
		b = append(b, ':')
		b = strconv.AppendFloat(b, one.Value, 'f', -1, 64)
	}
	return append(b, '}'), nil
}

// UnmarshalJSON implements json.Unmarshaler. A label is its key.
func (f *Figures) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return fmt.Errorf("figures are no JSON object: %w", err)
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		one := Figure{Key: fmt.Sprint(key), Label: fmt.Sprint(key)}
		if err := d.Decode(&one.Value); err != nil {
			return fmt.Errorf("figure %s: %w", one.Key, err)
		}
		*f = append(*f, one)
	}
	return nil
}

// round keeps thousandths; what could not be measured is 0.
func round(v float64) float64 {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return math.Round(v*1000) / 1000
}

// text writes a value for people, with about four digits.
func text(v float64) string {
	digits := 3
	switch a := math.Abs(v); {
	case a >= 1000:
		digits = 0
	case a >= 100:
		digits = 1
	case a >= 10:
		digits = 2
	}
	s := strconv.FormatFloat(v, 'f', digits, 64)
	if bytes.IndexByte([]byte(s), '.') >= 0 {
		s = string(bytes.TrimRight(bytes.TrimRight([]byte(s), "0"), "."))
	}
	return s
}

// medians returns the median of each figure of the first repetition.
func medians(all []Figures) Figures {
	if len(all) == 0 {
		return nil
	}
	var out Figures
	for _, one := range all[0] {
		var values []float64
		for _, f := range all {
			if v, ok := f.Get(one.Key); ok {
				values = append(values, v)
			}
		}
		out.add(one.Key, one.Label, median(values))
	}
	return out
}

// median returns the middle value, or the mean of the two in the middle; 0 of
// none.
func median(values []float64) float64 {
	if len(values) == 0 {
		return 0
	}
	s := slices.Sorted(slices.Values(values))
	n := len(s)
	return (s[(n-1)/2] + s[n/2]) / 2
}

// per is a/b, and 0 where there is nothing to divide by.
func per(a, b float64) float64 {
	if b == 0 {
		return 0
	}
	return a / b
}
