package negotiate

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/xmltree"
)

// Names of XEP-0484.
var (
	nameFast          = xmltree.Name{Space: ns.FAST, Local: "fast"}
	nameFastMechanism = xmltree.Name{Space: ns.FAST, Local: "mechanism"}
	nameRequestToken  = xmltree.Name{Space: ns.FAST, Local: "request-token"}
	nameToken         = xmltree.Name{Space: ns.FAST, Local: "token"}
)

// Tokens keeps what clients log in with again, for a server (XEP-0484).
type Tokens interface {
	// Use finds a token of the user's device that is for the mechanism and proves
	// itself; renew says that the client should have another one. Errors are those
	// of sasl.DeviceBackend, also for a count that is not higher than one before.
	Use(ctx context.Context, user jid.JID, u TokenUse, proves func(token []byte) bool) (renew bool, err error)
	// Issue makes a token for the device. What is in use goes on being valid until
	// the new one is used. nil says that there is none to be had just now.
	Issue(ctx context.Context, user jid.JID, agent UserAgent, mechanism string) *GivenToken
	// Revoke forgets the tokens of a device.
	Revoke(ctx context.Context, user jid.JID, agent UserAgent) error
}

// TokenUse says who uses a token, and how.
type TokenUse struct {
	Agent     UserAgent
	Mechanism string
	Count     uint64 // of the client's attempts with it; 0: not said
}

// Token says that a client logs in with a token (XEP-0484 §3.4).
type Token struct {
	Count      uint64 // 0: not said
	Invalidate bool   // this was the last time
}

var errCount = errors.New("count is no positive integer")

// AppendXML implements xmltree.Appender.
func (t *Token) AppendXML(w *xmltree.Writer) {
	w.Open(nameFast)
	if t.Count > 0 {
		w.Attr("count", strconv.FormatUint(t.Count, 10))
	}
	if t.Invalidate {
		w.Attr("invalidate", "true")
	}
	w.Close()
}

func parseToken(el xmltree.Element) (*Token, error) {
	t := &Token{Invalidate: boolean(el.Attr("invalidate"))}
	if s := el.Attr("count"); s != "" {
		n, ok := positive(s)
		if !ok {
			return nil, errCount
		}
		t.Count = n
	}
	return t, nil
}

// GivenToken is a token that a server gives out (XEP-0484 §3.3).
type GivenToken struct {
	Token  string // the characters are the secret
	Expiry time.Time
}

// AppendXML implements xmltree.Appender.
func (t *GivenToken) AppendXML(w *xmltree.Writer) {
	w.Open(nameToken)
	w.Attr("token", t.Token)
	w.Attr("expiry", t.Expiry.UTC().Format(time.RFC3339))
	w.Close()
}

// parseGiven reads a <token/>, nil if there is none that can be used.
func parseGiven(el xmltree.Element) *GivenToken {
	at, err := time.Parse(time.RFC3339, el.Attr("expiry"))
	if err != nil || el.Attr("token") == "" {
		return nil
	}
	return &GivenToken{Token: strings.Clone(el.Attr("token")), Expiry: at}
}

// offerFast writes the inline feature (XEP-0484 §3.1). TLS 0-RTT is not offered,
// for our TLS has none.
func offerFast(w *xmltree.Writer, mechanisms []string) {
	w.Open(nameFast)
	for _, m := range mechanisms {
		w.Element(nameFastMechanism, m)
	}
	w.Close()
}

// tokenBackend is a backend for one log-in with a token.
type tokenBackend struct {
	sasl.Backend
	tokens Tokens
	domain string
	login  *login
}

// Device implements sasl.DeviceBackend.
func (b tokenBackend) Device(ctx context.Context, username, mech string, proves func([]byte) bool) error {
	user, err := jid.New(username, b.domain, "")
	if err != nil {
		return &sasl.Failure{Condition: sasl.NotAuthorized, Err: err}
	}
	u := TokenUse{Agent: b.login.request.Agent, Mechanism: mech, Count: b.login.request.Token.Count}
	b.login.renew, err = b.tokens.Use(ctx, user, u, proves)
	return err
}

// tokens gives and takes what the request says of tokens, once the client has
// proved everything (XEP-0484 §3.3, §3.5, §3.6).
func (s SASL2) tokens(ctx context.Context, st *State, l *login, ok *success2) error {
	if s.Tokens == nil {
		return nil
	}
	a := l.request
	used := a.Token != nil
	if used && a.Token.Invalidate {
		if err := s.Tokens.Revoke(ctx, st.User, a.Agent); err != nil {
			return err
		}
		l.renew = false
	}
	want := a.WantToken
	if used && l.renew && want == "" {
		want = a.Mechanism
	}
	// A token would outlive the certificate, or the account.
	if st.Mechanism == sasl.External || st.Mechanism == sasl.Anonymous {
		return nil
	}
	if want == "" || a.Agent.ID == "" || !slices.Contains(s.tokenMechanisms(st), want) {
		return nil
	}
	if t := s.Tokens.Issue(ctx, st.User, a.Agent, want); t != nil {
		ok.more = append(ok.more, t)
	}
	return nil
}

// tokenMechanisms are those that are offered on the connection as it is.
func (s SASL2) tokenMechanisms(st *State) []string {
	if s.Tokens == nil {
		return nil
	}
	return sasl.TokenMechanisms(st.channelBindings(), st.Conn.Secure())
}
