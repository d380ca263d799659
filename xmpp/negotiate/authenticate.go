package negotiate

import (
	"encoding/base64"
	"regexp"
	"strconv"
	"strings"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/xmltree"
)

// Names of XEP-0388.
var (
	nameAuthentication  = xmltree.Name{Space: ns.SASL2, Local: "authentication"}
	nameAuthenticate    = xmltree.Name{Space: ns.SASL2, Local: "authenticate"}
	nameMechanism2      = xmltree.Name{Space: ns.SASL2, Local: "mechanism"}
	nameInline          = xmltree.Name{Space: ns.SASL2, Local: "inline"}
	nameInitial         = xmltree.Name{Space: ns.SASL2, Local: "initial-response"}
	nameUserAgent       = xmltree.Name{Space: ns.SASL2, Local: "user-agent"}
	nameSoftware        = xmltree.Name{Space: ns.SASL2, Local: "software"}
	nameDevice          = xmltree.Name{Space: ns.SASL2, Local: "device"}
	nameChallenge2      = xmltree.Name{Space: ns.SASL2, Local: "challenge"}
	nameResponse2       = xmltree.Name{Space: ns.SASL2, Local: "response"}
	nameAbort2          = xmltree.Name{Space: ns.SASL2, Local: "abort"}
	nameSuccess2        = xmltree.Name{Space: ns.SASL2, Local: "success"}
	nameFailure2        = xmltree.Name{Space: ns.SASL2, Local: "failure"}
	nameText2           = xmltree.Name{Space: ns.SASL2, Local: "text"}
	nameAdditional      = xmltree.Name{Space: ns.SASL2, Local: "additional-data"}
	nameAuthorizationID = xmltree.Name{Space: ns.SASL2, Local: "authorization-identifier"}
)

// maxDescription bounds, in bytes, what is taken of how a client calls itself and
// its device.
const maxDescription = 128

// UserAgent is what a client says of its installation (XEP-0388 §2.3). It is told
// to nobody but the account's owner.
type UserAgent struct {
	ID       string // a UUID that stays the same; "": not said
	Software string
	Device   string
}

var reUUID = regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$`)

// AppendXML implements xmltree.Appender.
func (u UserAgent) AppendXML(w *xmltree.Writer) {
	w.Open(nameUserAgent)
	w.AttrOpt("id", u.ID)
	for _, e := range []struct {
		name xmltree.Name
		text string
	}{{nameSoftware, u.Software}, {nameDevice, u.Device}} {
		if e.text != "" {
			w.Element(e.name, e.text)
		}
	}
	w.Close()
}

// parseUserAgent reads a <user-agent/>; ok is false if its id is no UUID.
func parseUserAgent(el xmltree.Element) (u UserAgent, ok bool) {
	cut := func(s string) string {
		s = strings.TrimSpace(s)
		if len(s) > maxDescription {
			s = strings.ToValidUTF8(s[:maxDescription], "")
		}
		return strings.Clone(s)
	}
	u = UserAgent{
		ID:       strings.ToLower(strings.Clone(el.Attr("id"))),
		Software: cut(el.Child(nameSoftware).Text()),
		Device:   cut(el.Child(nameDevice).Text()),
	}
	return u, u.ID == "" || reUUID.MatchString(u.ID)
}

// Authenticate asks to log in, and for what the stream is to be afterwards
// (XEP-0388 §2.3).
type Authenticate struct {
	Mechanism string
	Initial   []byte // nil: no initial response
	Agent     UserAgent
	Resume    *Resume  // XEP-0198 §9: goes before Bind
	Bind      *Bind2   // nil: a resource is bound as of old
	Token     *Token   // the proof is by a token (XEP-0484)
	WantToken string   // a token is wanted for this mechanism; "": none
	Upgrades  []string // tasks that the client is ready for (XEP-0480)
	Version   string   // of the features that the client reckons with (XEP-0509); "": it has seen them
}

// AppendXML implements xmltree.Appender.
func (a *Authenticate) AppendXML(w *xmltree.Writer) {
	w.Open(nameAuthenticate)
	w.Attr("mechanism", a.Mechanism)
	writeData(w, nameInitial, a.Initial)
	if a.Agent != (UserAgent{}) {
		w.Append(a.Agent)
	}
	if a.Resume != nil {
		w.Append(a.Resume)
	}
	if a.Bind != nil {
		w.Append(a.Bind)
	}
	if a.Token != nil {
		w.Append(a.Token)
	}
	if a.WantToken != "" {
		w.Open(nameRequestToken)
		w.Attr("mechanism", a.WantToken)
		w.Close()
	}
	for _, u := range a.Upgrades {
		w.Element(nameUpgrade, u)
	}
	if a.Version != "" {
		w.Append(version(a.Version))
	}
	w.Close()
}

// parseAuthenticate reads an <authenticate/>.
func parseAuthenticate(el xmltree.Element) (*Authenticate, *sasl.Failure) {
	a := &Authenticate{Mechanism: strings.Clone(el.Attr("mechanism"))}
	malformed := func(err error) (*Authenticate, *sasl.Failure) {
		return nil, &sasl.Failure{Condition: sasl.MalformedRequest, Err: err}
	}
	for c := range el.Children() {
		switch c.Name() {
		case nameInitial:
			data, err := decode2(c.Text())
			if err != nil {
				return nil, &sasl.Failure{Condition: sasl.IncorrectEncoding, Err: err}
			}
			a.Initial = data
		case nameUserAgent:
			agent, ok := parseUserAgent(c)
			if !ok {
				return nil, &sasl.Failure{Condition: sasl.MalformedRequest, Text: "the id of the user agent is no UUID"}
			}
			a.Agent = agent
		case NameResume:
			resume, err := ParseResume(c)
			if err != nil {
				return malformed(err)
			}
			a.Resume = &resume
		case nameBind2:
			a.Bind = parseBind2(c)
		case nameFast:
			token, err := parseToken(c)
			if err != nil {
				return malformed(err)
			}
			a.Token = token
		case nameRequestToken:
			a.WantToken = strings.Clone(c.Attr("mechanism"))
		case nameUpgrade:
			if len(a.Upgrades) < maxUpgrades {
				a.Upgrades = append(a.Upgrades, strings.Clone(strings.TrimSpace(c.Text())))
			}
		case nameVersion:
			a.Version = strings.Clone(c.Attr("value"))
		}
	}
	return a, nil
}

// decode2 reads base64, never nil. Unlike in RFC 6120, an empty element is an
// empty message, and white space around it does no harm (XEP-0388 §2.2).
func decode2(text string) ([]byte, error) {
	data, err := base64.StdEncoding.Strict().DecodeString(strings.TrimSpace(text))
	if data == nil {
		data = []byte{}
	}
	if i := strings.IndexAny(strings.TrimSpace(text), "\r\n"); err == nil && i >= 0 {
		return nil, base64.CorruptInputError(i)
	}
	return data, err
}

// writeData writes an element of a SASL message, nothing if data is nil.
func writeData(w *xmltree.Writer, name xmltree.Name, data []byte) {
	if data != nil {
		w.Element(name, base64.StdEncoding.EncodeToString(data))
	}
}

// data2 is an element that holds a SASL message and nothing else.
type data2 struct {
	name xmltree.Name
	data []byte
}

// AppendXML implements xmltree.Appender.
func (d data2) AppendXML(w *xmltree.Writer) {
	w.Element(d.name, base64.StdEncoding.EncodeToString(d.data))
}

// success2 is the <success/> of XEP-0388 §2.6.1.
type success2 struct {
	data []byte // nil: none
	user jid.JID
	more []xmltree.Appender
}

// AppendXML implements xmltree.Appender.
func (s *success2) AppendXML(w *xmltree.Writer) {
	w.Open(nameSuccess2)
	writeData(w, nameAdditional, s.data)
	w.Element(nameAuthorizationID, s.user.String())
	for _, a := range s.more {
		w.Append(a)
	}
	w.Close()
}

// failure2 is the <failure/> of XEP-0388 §2.6.2.
type failure2 struct {
	*sasl.Failure
	more xmltree.Appender // an application's own condition; nil: none
}

// AppendXML implements xmltree.Appender.
func (f failure2) AppendXML(w *xmltree.Writer) {
	w.Open(nameFailure2)
	w.Element(xmltree.Name{Space: ns.SASL, Local: f.Condition}, "")
	if f.more != nil {
		w.Append(f.more)
	}
	if f.Text != "" {
		w.Element(nameText2, f.Text)
	}
	w.Close()
}

// parseFailure2 reads a <failure/>.
func parseFailure2(el xmltree.Element) *sasl.Failure {
	f := &sasl.Failure{Condition: sasl.NotAuthorized}
	for c := range el.Children() {
		switch {
		case c.Is(nameText2):
			f.Text = strings.Clone(c.Text())
		case c.Name().Space == ns.SASL:
			f.Condition = strings.Clone(c.Name().Local)
		}
	}
	return f
}

// positive reads an xs:positiveInteger that fits.
func positive(s string) (uint64, bool) {
	n, err := strconv.ParseUint(s, 10, 63)
	return n, err == nil && n > 0
}
