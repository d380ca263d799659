// Package access holds the words of XEP-0494: Client Access Management.
package access

import (
	"errors"
	"strings"
	"time"

	"kith/xmpp/ns"
	"kith/xmpp/xep/xtime"
	"kith/xmpp/xmltree"
)

// Names of what is asked for, and of the list.
var (
	NameList    = xmltree.Name{Space: ns.CAM, Local: "list"}
	NameRevoke  = xmltree.Name{Space: ns.CAM, Local: "revoke"}
	NameClients = xmltree.Name{Space: ns.CAM, Local: "clients"}
)

// ErrMalformed is returned for what is no list of clients.
var ErrMalformed = errors.New("malformed list of clients")

// List asks for the clients of an account (§4.1).
type List struct{}

// AppendXML implements xmltree.Appender.
func (List) AppendXML(w *xmltree.Writer) { w.Element(NameList, "") }

// Revoke asks that a client has no access any more (§4.2).
type Revoke struct{ ID string }

// AppendXML implements xmltree.Appender.
func (r Revoke) AppendXML(w *xmltree.Writer) {
	w.Open(NameRevoke)
	w.Attr("id", r.ID)
	w.Close()
}

// ParseRevoke reads which client is meant; "" if none is named.
func ParseRevoke(el xmltree.Element) Revoke { return Revoke{strings.Clone(el.Attr("id"))} }

// PasswordReset is the condition of who asks for the end of a client that knows the
// password (§4.2).
type PasswordReset struct{}

var nameReset = xmltree.Name{Space: ns.CAM, Local: "password-reset-required"}

// AppendXML implements xmltree.Appender.
func (PasswordReset) AppendXML(w *xmltree.Writer) { w.Element(nameReset, "") }

// Type says what is known of a client.
type Type string

// The types of §4.1.
const (
	Session Type = "session" // it has, or has had, a session
	Access  Type = "access"  // it may have one
)

// Permission is what a client may do.
type Permission string

// The permissions of §4.1.
const (
	Unrestricted Permission = "unrestricted"
	Normal       Permission = "normal" // but for what concerns the access to the account
	Restricted   Permission = "restricted"
)

// Auth lists by what a client has come.
type Auth struct {
	Password bool
	Grant    bool
	Fast     bool
	// Mechanism is one of SASL, where there is no word for it; "" for none.
	Mechanism string
}

// Client is what has access to an account.
type Client struct {
	Connected   bool // or its session waits for it
	ID          string
	Type        Type
	First, Last time.Time // zero: not known
	Auth        Auth
	Permission  Permission
	Software    string // "" for each that is not known
	URI         string
	Device      string
}

// Clients is the list.
type Clients []Client

var (
	nameClient     = xmltree.Name{Space: ns.CAM, Local: "client"}
	nameFirst      = xmltree.Name{Space: ns.CAM, Local: "first-seen"}
	nameLast       = xmltree.Name{Space: ns.CAM, Local: "last-seen"}
	nameAuth       = xmltree.Name{Space: ns.CAM, Local: "auth"}
	namePassword   = xmltree.Name{Space: ns.CAM, Local: "password"}
	nameGrant      = xmltree.Name{Space: ns.CAM, Local: "grant"}
	nameFast       = xmltree.Name{Space: ns.CAM, Local: "fast"}
	nameMechanism  = xmltree.Name{Space: ns.SASL, Local: "mechanism"}
	namePermission = xmltree.Name{Space: ns.CAM, Local: "permission"}
	nameAgent      = xmltree.Name{Space: ns.CAM, Local: "user-agent"}
	nameSoftware   = xmltree.Name{Space: ns.CAM, Local: "software"}
	nameURI        = xmltree.Name{Space: ns.CAM, Local: "uri"}
	nameDevice     = xmltree.Name{Space: ns.CAM, Local: "device"}
)

// AppendXML implements xmltree.Appender.
func (cs Clients) AppendXML(w *xmltree.Writer) {
	w.Open(NameClients)
	for i := range cs {
		cs[i].append(w)
	}
	w.Close()
}

func (c *Client) append(w *xmltree.Writer) {
	w.Open(nameClient)
	w.Attr("connected", boolean(c.Connected))
	w.Attr("id", c.ID)
	w.Attr("type", string(c.Type))
	for _, at := range []struct {
		name xmltree.Name
		time.Time
	}{{nameFirst, c.First}, {nameLast, c.Last}} {
		if !at.IsZero() {
			w.Element(at.name, xtime.Format(at.Truncate(time.Second)))
		}
	}
	w.Open(nameAuth)
	for _, by := range []struct {
		name xmltree.Name
		is   bool
	}{{namePassword, c.Auth.Password}, {nameGrant, c.Auth.Grant}, {nameFast, c.Auth.Fast}} {
		if by.is {
			w.Element(by.name, "")
		}
	}
	if c.Auth.Mechanism != "" {
		w.Element(nameMechanism, c.Auth.Mechanism)
	}
	w.Close()
	w.Open(namePermission)
	w.Attr("status", string(c.Permission))
	w.Close()
	if c.Software != "" || c.URI != "" || c.Device != "" {
		w.Open(nameAgent)
		for _, of := range []struct {
			name xmltree.Name
			text string
		}{{nameSoftware, c.Software}, {nameURI, c.URI}, {nameDevice, c.Device}} {
			if of.text != "" {
				w.Element(of.name, of.text)
			}
		}
		w.Close()
	}
	w.Close()
}

func boolean(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// Parse reads a list. A time that cannot be read is not known.
func Parse(el xmltree.Element) (Clients, error) {
	if !el.Is(NameClients) {
		return nil, ErrMalformed
	}
	var cs Clients
	for c := range el.Children() {
		if !c.Is(nameClient) {
			continue
		}
		auth, agent := c.Child(nameAuth), c.Child(nameAgent)
		on := c.Attr("connected")
		client := Client{
			Connected: on == "true" || on == "1", ID: strings.Clone(c.Attr("id")), Type: Type(strings.Clone(c.Attr("type"))),
			First: when(c.Child(nameFirst)), Last: when(c.Child(nameLast)),
			Auth: Auth{
				Password: auth.Child(namePassword).Exists(), Grant: auth.Child(nameGrant).Exists(), Fast: auth.Child(nameFast).Exists(),
				Mechanism: text(auth.Child(nameMechanism)),
			},
			Permission: Permission(strings.Clone(c.Child(namePermission).Attr("status"))),
			Software:   text(agent.Child(nameSoftware)), URI: text(agent.Child(nameURI)), Device: text(agent.Child(nameDevice)),
		}
		if client.ID == "" {
			return nil, ErrMalformed
		}
		cs = append(cs, client)
	}
	return cs, nil
}

func when(el xmltree.Element) time.Time {
	t, err := xtime.Parse(strings.TrimSpace(el.Text()))
	if err != nil {
		return time.Time{}
	}
	return t
}

func text(el xmltree.Element) string { return strings.Clone(strings.TrimSpace(el.Text())) }
