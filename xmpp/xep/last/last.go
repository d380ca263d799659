// Package last holds the words of XEP-0012: Last Activity.
package last

import (
	"errors"
	"math"
	"strconv"
	"time"

	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Name is the name of the payload, of request and result.
var Name = xmltree.Name{Space: ns.Last, Local: "query"}

// ErrMalformed is returned for what is no result.
var ErrMalformed = errors.New("malformed last activity")

// Query is when somebody was active last. The zero value is the request.
type Query struct {
	Known  bool          // it is a result
	Ago    time.Duration // in whole seconds; of a server: since when it runs
	Status string        // the words with which a user has left; "" if there were none
}

// AppendXML implements xmltree.Appender.
func (q Query) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	if q.Known {
		w.Attr("seconds", strconv.FormatInt(int64(max(q.Ago, 0)/time.Second), 10))
		w.Text(q.Status)
	}
	w.Close()
}

// longest is how many seconds a Duration can say.
const longest = uint64(math.MaxInt64 / int64(time.Second))

// Parse reads a result. A time that is too long to be said, 292 years, is that
// long.
func Parse(el xmltree.Element) (Query, error) {
	n, err := strconv.ParseUint(el.Attr("seconds"), 10, 64)
	if err != nil || !el.Is(Name) {
		return Query{}, ErrMalformed
	}
	return Query{Known: true, Ago: time.Duration(min(n, longest)) * time.Second, Status: el.Text()}, nil
}
