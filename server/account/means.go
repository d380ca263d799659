package account

import (
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"kith/server/session"
)

// Method is a set of ways in which a client has logged in.
type Method uint8

// The ways. The database keeps the numbers.
const (
	ByPassword Method = 1 << iota
	ByGrant           // of an issuer of tokens
	ByCertificate
	ByToken // that was given here (XEP-0484)
	ByApp   // a password that was made for it
)

var methods = [...]string{"password", "grant", "certificate", "token", "app password"}

// Names returns the ways as words.
func (m Method) Names() []string {
	names := []string{}
	for i, name := range methods {
		if m&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	return names
}

// MarshalJSON implements json.Marshaler: as words.
func (m Method) MarshalJSON() ([]byte, error) { return json.Marshal(m.Names()) }

// UnmarshalJSON implements json.Unmarshaler.
func (m *Method) UnmarshalJSON(b []byte) error {
	var names []string
	if err := json.Unmarshal(b, &names); err != nil {
		return fmt.Errorf("read by what somebody has logged in: %w", err)
	}
	*m = 0
	for _, name := range names {
		if i := slices.Index(methods[:], name); i >= 0 {
			*m |= 1 << i
		}
	}
	return nil
}

// Means are what a session's client has logged in by, and what it calls itself.
type Means struct {
	By       Method `json:"by"`
	App      int64  `json:"app,omitempty"`    // the app password; 0: none
	Device   string `json:"device,omitempty"` // its installation, see Store.Device; "": not known
	Software string `json:"software,omitempty"`
	Name     string `json:"name,omitempty"` // of the device
}

// Access is what gives access to an account and can be taken away: all of it, an
// installation of a client, an app password, or a single session whose client does
// not say what it is.
type Access string

// Accesses that are no single ones.
const (
	Everything Access = ""
	Apps       Access = "app"
	Ours       Access = "ours" // by what is kept here: passwords, and tokens that were given for them
)

// The letters by which an Access begins.
const (
	accessDevice  = "d-"
	accessApp     = "a-"
	accessSession = "s-"
)

// OfDevice is the access of an installation.
func OfDevice(id string) Access { return Access(accessDevice + id) }

// OfApp is the access by an app password.
func OfApp(id int64) Access { return Access(accessApp + strconv.FormatInt(id, 10)) }

// OfSession is the access of a session by itself.
func OfSession(id session.ID) Access { return Access(accessSession + string(id)) }

// Device returns the installation that it is the access of.
func (a Access) Device() (id string, ok bool) { return strings.CutPrefix(string(a), accessDevice) }

// App returns the app password that it is the access by.
func (a Access) App() (id int64, ok bool) {
	text, ok := strings.CutPrefix(string(a), accessApp)
	if !ok {
		return 0, false
	}
	id, err := strconv.ParseInt(text, 10, 64)
	return id, err == nil
}

// Among reports whether an access, of one client, is one of those of a list.
func (a Access) Among(list []Access) bool {
	return slices.ContainsFunc(list, func(of Access) bool {
		return of == a || of == Everything || of == Apps && strings.HasPrefix(string(a), accessApp)
	})
}

// Accesses are those that log-ins by these means go by, but for Everything. m may
// be nil.
func (m *Means) Accesses() (list []Access) {
	if m == nil {
		return nil
	}
	if m.App != 0 {
		list = append(list, OfApp(m.App), Apps)
	}
	if m.Device != "" {
		list = append(list, OfDevice(m.Device))
	}
	return list
}

// Access is that by which a session is listed: its app password's, its
// installation's, or its own.
func (r *Resource) Access() Access {
	if list := r.Means.Accesses(); len(list) > 0 {
		return list[0]
	}
	return OfSession(r.ID)
}

// By reports whether one of these gives the session its access.
func (r *Resource) By(list []Access) bool {
	own := append(r.Means.Accesses(), OfSession(r.ID), Everything)
	return slices.ContainsFunc(list, func(a Access) bool { return slices.Contains(own, a) })
}

// Limited reports whether the session's client was let in by a password of its
// own, which is good for everything but what concerns the access to the account.
func (r *Resource) Limited() bool { return r.Means != nil && r.Means.App != 0 }

// Granted reports whether the session's client was let in by a grant alone, which is
// not worth a password (RFC 7628 §5).
func (r *Resource) Granted() bool { return r.Means != nil && r.Means.By == ByGrant }

// Again returns the means of a session that goes on with a client that has logged in
// by others. Who knows how to resume it is the same installation.
func (m *Means) Again(by *Means) *Means {
	if m == nil || m.Device == "" || by != nil && by.Device != "" {
		return by
	}
	again := Means{By: ByPassword}
	if by != nil {
		again = *by
	}
	again.Device, again.Software, again.Name = m.Device, m.Software, m.Name
	return &again
}
