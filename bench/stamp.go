package bench

import (
	"bytes"
	"crypto/rand"
	"strconv"
	"strings"
	"time"

	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/xmltree"
)

const (
	runLength   = 8  // hexadecimal digits that tell one run's stanzas from another's
	timeLength  = 16 // of the nanoseconds since the epoch
	countLength = 8  // of a counter, so that no two are the same
	stampLength = runLength + timeLength + countLength
)

// stamps makes and reads the texts by which a stanza says when it was due.
type stamps struct{ run string }

func newStamps() stamps {
	return stamps{strings.ToLower(rand.Text()[:runLength])}
}

// blank is a stamp to be written over.
func (s stamps) blank() string { return s.run + strings.Repeat("0", timeLength+countLength) }

// read returns when a text was due, false if it is none of this run's.
func (s stamps) read(text string) (time.Time, bool) {
	if len(text) < stampLength || text[:runLength] != s.run {
		return time.Time{}, false
	}
	nanos, err := strconv.ParseInt(text[runLength:runLength+timeLength], 16, 64)
	if err != nil {
		return time.Time{}, false
	}
	return time.Unix(0, nanos), true
}

// write makes the text of what is due at a time, the n-th of its kind.
func (s stamps) write(due time.Time, n uint32) string {
	b := []byte(s.blank())
	digits(b[runLength:runLength+timeLength], uint64(due.UnixNano()))
	digits(b[runLength+timeLength:], uint64(n))
	return string(b)
}

// number returns which of its kind a text of this run is.
func (s stamps) number(text string) (uint32, bool) {
	if len(text) < stampLength || text[:runLength] != s.run {
		return 0, false
	}
	n, err := strconv.ParseUint(text[runLength+timeLength:stampLength], 16, 32)
	return uint32(n), err == nil
}

// template is a stanza, serialised once, with places for the stamp.
type template struct {
	text   []byte
	places []int // of what follows the run
}

// template makes one of a stanza that holds blank stamps.
func (s stamps) template(st *stanza.Stanza) template {
	t := template{text: xmltree.Marshal(st, ns.Client)}
	blank := []byte(s.blank())
	for at := 0; ; {
		i := bytes.Index(t.text[at:], blank)
		if i < 0 {
			return t
		}
		t.places = append(t.places, at+i+runLength)
		at += i + stampLength
	}
}

// append appends the stanza, due at a time, the n-th of its kind.
func (t template) append(b []byte, due time.Time, n uint32) []byte {
	begin := len(b)
	b = append(b, t.text...)
	for _, at := range t.places {
		digits(b[begin+at:begin+at+timeLength], uint64(due.UnixNano()))
		digits(b[begin+at+timeLength:begin+at+timeLength+countLength], uint64(n))
	}
	return b
}

// digits fills b with the last digits of v.
func digits(b []byte, v uint64) {
	for i := len(b) - 1; i >= 0; i-- {
		b[i] = "0123456789abcdef"[v&15]
		v >>= 4
	}
}

// words is a text of n bytes that begins with a blank stamp.
func (s stamps) words(n int) string {
	const filler = " wherefore art thou"
	text := s.blank() + strings.Repeat(filler, max(n-stampLength, 0)/len(filler)+1)
	return text[:max(n, stampLength)]
}
