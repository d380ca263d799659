// Package mam holds the words of XEP-0313: Message Archive Management, with the
// preferences of XEP-0441 and the trim command that is proposed for it.
package mam

import (
	"errors"
	"time"

	"kith/xmpp/ns"
	"kith/xmpp/xep/forward"
	"kith/xmpp/xep/rsm"
	"kith/xmpp/xep/xtime"
	"kith/xmpp/xmltree"
)

// Names of the elements.
var (
	NameQuery    = xmltree.Name{Space: ns.MAM, Local: "query"}
	NameResult   = xmltree.Name{Space: ns.MAM, Local: "result"}
	NameFin      = xmltree.Name{Space: ns.MAM, Local: "fin"}
	NameMetadata = xmltree.Name{Space: ns.MAM, Local: "metadata"}
	NamePrefs    = xmltree.Name{Space: ns.MAM, Local: "prefs"}
	NameTrim     = xmltree.Name{Space: ns.MAMTrim, Local: "trim"}

	nameFlip   = xmltree.Name{Space: ns.MAM, Local: "flip-page"}
	nameStart  = xmltree.Name{Space: ns.MAM, Local: "start"}
	nameEnd    = xmltree.Name{Space: ns.MAM, Local: "end"}
	nameTrimID = xmltree.Name{Space: ns.MAMTrim, Local: "id"}
)

// Features of an archive (XEP-0313 §7).
const (
	FeatureExtended           = ns.MAM + "#extended"
	FeatureGroupchatField     = ns.MAM + "#groupchat-field"
	FeatureGroupchatAvailable = ns.MAM + "#groupchat-available"
)

// Errors of elements that cannot be read.
var (
	ErrMalformed = errors.New("malformed element of an archive")
	ErrAddress   = errors.New("malformed address")
	ErrField     = errors.New("unknown field")
)

// Result is a message of an archive, as the payload of a message. It is true only
// if it comes from the archive that was asked (§8.2).
type Result struct {
	QueryID   string
	ID        string // in the archive
	Forwarded forward.Forwarded
}

// AppendXML implements xmltree.Appender.
func (r *Result) AppendXML(w *xmltree.Writer) {
	r.open(w)
	r.Forwarded.AppendXML(w)
	w.Close()
}

// AppendStored is AppendXML with a message that is kept as bytes in the place of
// Forwarded.Stanza, see xmltree.Writer.Stored. What was written is of no use if it
// fails.
func (r *Result) AppendStored(w *xmltree.Writer, message []byte, l xmltree.Limits) error {
	r.open(w)
	if err := r.Forwarded.AppendStored(w, message, l); err != nil {
		return err
	}
	w.Close()
	return nil
}

func (r *Result) open(w *xmltree.Writer) {
	w.Open(NameResult)
	w.AttrOpt("queryid", r.QueryID)
	w.Attr("id", r.ID)
}

// ParseResult reads a result.
func ParseResult(el xmltree.Element) (*Result, error) {
	r := &Result{QueryID: el.Attr("queryid"), ID: el.Attr("id")}
	var err error
	if r.Forwarded, err = forward.Parse(el.Child(forward.Name)); err != nil || r.ID == "" || !el.Is(NameResult) {
		return nil, ErrMalformed
	}
	return r, nil
}

// Fin ends the results of a query.
type Fin struct {
	Complete bool // nothing is left in the direction of the query
	Unstable bool // what was told may change
	Set      rsm.Result
}

// AppendXML implements xmltree.Appender.
func (f *Fin) AppendXML(w *xmltree.Writer) {
	w.Open(NameFin)
	if f.Complete {
		w.Attr("complete", "true")
	}
	if f.Unstable {
		w.Attr("stable", "false")
	}
	f.Set.AppendXML(w)
	w.Close()
}

// ParseFin reads the end of the results.
func ParseFin(el xmltree.Element) (*Fin, error) {
	if !el.Is(NameFin) {
		return nil, ErrMalformed
	}
	stable, told := el.LookupAttr(xmltree.Name{Local: "stable"})
	f := &Fin{Complete: isTrue(el.Attr("complete")), Unstable: told && !isTrue(stable)}
	var err error
	f.Set, err = rsm.ParseResult(el.Child(rsm.Name))
	return f, err
}

// isTrue reads XML Schema's boolean.
func isTrue(s string) bool { return s == "true" || s == "1" }

// Metadata tells where an archive begins and ends. Both are nil if it is empty.
type Metadata struct{ Start, End *Mark }

// Mark is a message of an archive.
type Mark struct {
	ID string
	At time.Time
}

// AppendXML implements xmltree.Appender.
func (m *Metadata) AppendXML(w *xmltree.Writer) {
	w.Open(NameMetadata)
	if m.Start != nil && m.End != nil {
		m.Start.append(w, nameStart)
		m.End.append(w, nameEnd)
	}
	w.Close()
}

func (m *Mark) append(w *xmltree.Writer, n xmltree.Name) {
	w.Open(n)
	w.Attr("id", m.ID)
	w.Attr("timestamp", xtime.Format(m.At))
	w.Close()
}

// ParseMetadata reads where an archive begins and ends.
func ParseMetadata(el xmltree.Element) (*Metadata, error) {
	if !el.Is(NameMetadata) {
		return nil, ErrMalformed
	}
	m := new(Metadata)
	start, end := el.Child(nameStart), el.Child(nameEnd)
	if start.Exists() != end.Exists() {
		return nil, ErrMalformed
	}
	if !start.Exists() {
		return m, nil
	}
	var err, other error
	m.Start, err = parseMark(start)
	m.End, other = parseMark(end)
	return m, errors.Join(err, other)
}

func parseMark(el xmltree.Element) (*Mark, error) {
	at, err := xtime.Parse(el.Attr("timestamp"))
	if err != nil || el.Attr("id") == "" {
		return nil, ErrMalformed
	}
	return &Mark{ID: el.Attr("id"), At: at.UTC()}, nil
}

// Trim asks for the deletion of all messages up to one, with it; of all there are
// if ID is "".
type Trim struct{ ID string }

// AppendXML implements xmltree.Appender.
func (t Trim) AppendXML(w *xmltree.Writer) {
	w.Open(NameTrim)
	if t.ID != "" {
		w.Element(nameTrimID, t.ID)
	}
	w.Close()
}

// ParseTrim reads what is to be deleted. It is strict: everything is too much to
// delete for an element that was not understood.
func ParseTrim(el xmltree.Element) (t Trim, err error) {
	if !el.Is(NameTrim) {
		return Trim{}, ErrMalformed
	}
	for c := range el.Children() {
		if !c.Is(nameTrimID) || t.ID != "" || c.Text() == "" {
			return Trim{}, ErrMalformed
		}
		t.ID = c.Text()
	}
	return t, nil
}
