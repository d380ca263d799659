// Package xtime holds the words of XEP-0202: Entity Time, and the formats of
// XEP-0082: XMPP Date and Time Profiles.
package xtime

import (
	"time"

	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// Name is the name of the payload, of request and result.
var Name = xmltree.Name{Space: ns.Time, Local: "time"}

var (
	nameTZO = xmltree.Name{Space: ns.Time, Local: "tzo"}
	nameUTC = xmltree.Name{Space: ns.Time, Local: "utc"}
)

// Time is somebody's time. The zero value is the request.
type Time struct {
	UTC    time.Time
	Offset time.Duration // of the local time from UTC
}

// AppendXML implements xmltree.Appender.
func (t Time) AppendXML(w *xmltree.Writer) {
	w.Open(Name)
	if !t.UTC.IsZero() {
		w.Element(nameTZO, FormatZone(t.Offset))
		w.Element(nameUTC, Format(t.UTC))
	}
	w.Close()
}

// ParseTime reads a result.
func ParseTime(el xmltree.Element) (Time, error) {
	utc, err := Parse(el.Child(nameUTC).Text())
	if err != nil || !el.Is(Name) {
		return Time{}, ErrFormat
	}
	offset, err := ParseZone(el.Child(nameTZO).Text())
	if err != nil {
		return Time{}, err
	}
	return Time{UTC: utc.UTC(), Offset: offset}, nil
}
