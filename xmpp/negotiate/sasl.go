package negotiate

import (
	"context"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

var (
	nameMechanisms = xmltree.Name{Space: ns.SASL, Local: "mechanisms"}
	nameMechanism  = xmltree.Name{Space: ns.SASL, Local: "mechanism"}
	nameAuth       = xmltree.Name{Space: ns.SASL, Local: "auth"}
	nameChallenge  = xmltree.Name{Space: ns.SASL, Local: "challenge"}
	nameResponse   = xmltree.Name{Space: ns.SASL, Local: "response"}
	nameAbort      = xmltree.Name{Space: ns.SASL, Local: "abort"}
	nameSuccess    = xmltree.Name{Space: ns.SASL, Local: "success"}
	nameFailure    = xmltree.Name{Space: ns.SASL, Local: "failure"}
	nameText       = xmltree.Name{Space: ns.SASL, Local: "text"}

	// XEP-0440
	nameBindings = xmltree.Name{Space: ns.Binding, Local: "sasl-channel-binding"}
	nameBinding  = xmltree.Name{Space: ns.Binding, Local: "channel-binding"}
)

// defaultAttempts is how often a peer may fail: RFC 6120 §6.4.5 allows 2 to 5
// retries.
const defaultAttempts = 4

// SASL implements RFC 6120 §6 and, beside it, XEP-0440.
type SASL struct {
	// Backend makes it a server's step.
	Backend sasl.Backend
	// Only, if it is not nil, lists the mechanisms that may be offered. OAUTHBEARER
	// is offered only if it is listed; the Backend must be a sasl.TokenBackend then. So
	// is ANONYMOUS, with a sasl.AnonymousBackend.
	Only []string
	// Attempts is how often a client may fail before the stream is closed; 4
	// if it is 0.
	Attempts int
	// MinIterations is that of sasl.ServerOptions.
	MinIterations int
	// Refused, if it is not nil, learns of each failure before the client
	// does. It may take its time, to slow down a peer who guesses.
	Refused func(ctx context.Context, st *State, failure *sasl.Failure)
	// Accepted, if it is not nil, learns that the client has proved all that it has to,
	// before the client does.
	Accepted func(st *State)

	// Certified, if it is not nil, returns the accounts for which the client has
	// shown a certificate that is to be believed, for EXTERNAL (XEP-0178). The
	// Backend must be a sasl.ExternalBackend then. (Server.)
	Certified func() []jid.JID

	// Credentials make it a client's step.
	Credentials sasl.Credentials
	// Certificate, if it is not nil, is the one that the client shows to servers
	// who ask for it. (Client.)
	Certificate *x509.Certificate
	// Token, if it is not nil, is asked for a bearer token where OAUTHBEARER is
	// offered and the stream is encrypted. (Client.)
	Token func(ctx context.Context) (string, error)
	// Known, if it is not nil, remembers how the client has logged in to servers.
	// (Client.)
	Known Known
}

// Offer implements Step.
func (s SASL) Offer(st *State) xmltree.Appender {
	if s.Backend == nil || !st.User.IsZero() || st.locked() {
		return nil
	}
	mechanisms := s.mechanisms(st)
	if len(mechanisms) == 0 {
		return nil
	}
	return markup(func(w *xmltree.Writer) {
		// XEP-0440 §3: beside the mechanisms.
		if bindings := st.channelBindings(); len(bindings) > 0 && slices.ContainsFunc(mechanisms, isPlus) {
			w.Open(nameBindings)
			for _, b := range bindings {
				w.Open(nameBinding)
				w.Attr("type", b.Type)
				w.Close()
			}
			w.Close()
		}
		w.Open(nameMechanisms)
		for _, m := range mechanisms {
			w.Element(nameMechanism, m)
		}
		w.Close()
	})
}

func (s SASL) serverOptions(st *State) sasl.ServerOptions {
	bindings := st.channelBindings()
	var identities []jid.JID
	if s.Certified != nil && st.Conn.Secure() {
		identities = s.Certified()
	}
	return sasl.ServerOptions{
		Identities:    identities,
		Domain:        st.Host.Domain(),
		Bindings:      bindings,
		PlusOffered:   slices.ContainsFunc(s.allowed(sasl.Mechanisms(sasl.ServerOptions{Bindings: bindings, PlusOffered: true})), isPlus),
		OverTLS:       st.Conn.Secure(),
		Tokens:        slices.Contains(s.Only, sasl.OAuthBearer),
		Anonymous:     slices.Contains(s.Only, sasl.Anonymous),
		MinIterations: s.MinIterations,
		TLS:           st.tlsVersion(),
	}
}

// vouched are the options with what was offered, for SCRAM to vouch for: the same
// list in both profiles (XEP-0474 §6.1).
func (s SASL) vouched(st *State) sasl.ServerOptions {
	o := s.serverOptions(st)
	o.Offer = &sasl.Offer{Mechanisms: s.mechanisms(st)}
	if slices.ContainsFunc(o.Offer.Mechanisms, isPlus) { // else none are announced
		for _, b := range st.channelBindings() {
			o.Offer.Types = append(o.Offer.Types, b.Type)
		}
	}
	return o
}

// mechanisms are those that are offered on the connection as it is.
func (s SASL) mechanisms(st *State) []string {
	return s.allowed(sasl.Mechanisms(s.serverOptions(st)))
}

func (s SASL) allowed(mechanisms []string) []string {
	if s.Only == nil {
		return mechanisms
	}
	return slices.DeleteFunc(mechanisms, func(m string) bool { return !slices.Contains(s.Only, m) })
}

func isPlus(mechanism string) bool { return strings.HasSuffix(mechanism, "-PLUS") }

// Serve implements Step.
func (s SASL) Serve(ctx context.Context, st *State, el xmltree.Element) (Outcome, error) {
	if el.Name().Space != ns.SASL || s.Backend == nil {
		return Pass, nil
	}
	if !st.User.IsZero() {
		return 0, stream.ErrNotAuthorized.With("already authenticated")
	}
	switch el.Name() {
	case nameAuth:
		// RFC 6120 §6.4.2: a new <auth/> ends the exchange under way.
		st.exchange = nil
		exchange, failure := s.begin(st, el.Attr("mechanism"))
		if failure != nil {
			return s.refuse(ctx, st, failure)
		}
		st.exchange = exchange
		return s.next(ctx, st, el)
	case nameResponse:
		if st.exchange == nil {
			return s.refuse(ctx, st, &sasl.Failure{Condition: sasl.MalformedRequest})
		}
		return s.next(ctx, st, el)
	case nameAbort:
		return s.refuse(ctx, st, &sasl.Failure{Condition: sasl.Aborted})
	}
	return Pass, nil
}

// begin starts the exchange of a mechanism, if it was offered.
func (s SASL) begin(st *State, mechanism string) (sasl.Server, *sasl.Failure) {
	if st.locked() {
		return nil, &sasl.Failure{Condition: sasl.EncryptionRequired}
	}
	if !slices.Contains(s.mechanisms(st), mechanism) {
		if mechanism == sasl.Plain && !st.Conn.Secure() {
			return nil, &sasl.Failure{Condition: sasl.EncryptionRequired}
		}
		return nil, &sasl.Failure{Condition: sasl.InvalidMechanism}
	}
	exchange, err := sasl.NewServer(strings.Clone(mechanism), s.Backend, s.vouched(st))
	if err != nil {
		return nil, failureOf(err)
	}
	return exchange, nil
}

// next gives the client's message to the exchange and answers it.
func (s SASL) next(ctx context.Context, st *State, el xmltree.Element) (Outcome, error) {
	data, err := decode(el.Text())
	if err != nil {
		return s.refuse(ctx, st, &sasl.Failure{Condition: sasl.IncorrectEncoding, Err: err})
	}
	if data == nil && el.Is(nameResponse) {
		data = []byte{} // an empty response, where "=" is for <auth/> only
	}
	answer, done, err := st.exchange.Next(ctx, data)
	switch {
	case err != nil:
		return s.refuse(ctx, st, failureOf(err))
	case !done:
		return Handled, st.write(message{nameChallenge, "", answer})
	}
	user, err := jid.New(st.exchange.Username(), st.Host.Domain(), "")
	if err != nil {
		return s.refuse(ctx, st, &sasl.Failure{Condition: sasl.NotAuthorized, Err: err})
	}
	st.User, st.Mechanism, st.exchange = user, st.exchange.Mechanism(), nil
	if err := st.checkFrom(st.Header); err != nil {
		return 0, err
	}
	s.accept(st)
	// The client has nothing to say before it has read the answer.
	if err := st.Conn.Restart(); err != nil {
		return 0, err
	}
	return Restart, st.write(message{nameSuccess, "", answer})
}

// refuse reports failure, and closes the stream of a client that goes on
// failing.
func (s SASL) refuse(ctx context.Context, st *State, f *sasl.Failure) (Outcome, error) {
	return s.deny(ctx, st, f, failure{f})
}

// deny says no in the words of one of the profiles.
func (s SASL) deny(ctx context.Context, st *State, f *sasl.Failure, words xmltree.Appender) (Outcome, error) {
	st.exchange, st.login = nil, nil
	if s.Refused != nil {
		s.Refused(ctx, st, f)
	}
	if err := st.write(words); err != nil {
		return 0, err
	}
	limit := s.Attempts
	if limit <= 0 {
		limit = defaultAttempts
	}
	if st.refusals++; st.refusals >= limit {
		return 0, stream.ErrPolicyViolation.With("too many failed attempts to authenticate")
	}
	return Handled, nil
}

// accept tells who wants to know that a client is in.
func (s SASL) accept(st *State) {
	if s.Accepted != nil {
		s.Accepted(st)
	}
}

// failureOf hides from the client what is not a failure of its own.
func failureOf(err error) *sasl.Failure {
	var f *sasl.Failure
	if errors.As(err, &f) {
		return f
	}
	return &sasl.Failure{Condition: sasl.TemporaryAuthFailure, Err: err}
}

// Take implements Step.
func (s SASL) Take(ctx context.Context, st *State, features xmltree.Element) (Outcome, error) {
	offer := features.Child(nameMechanisms)
	if !st.User.IsZero() || !s.wanted() || !offer.Exists() {
		return Pass, nil
	}
	client, err := s.choose(ctx, st, s.offerOf(st, features, offer, nameMechanism))
	if err != nil {
		return 0, err
	}
	if err := authenticate(st, client); err != nil {
		return 0, fmt.Errorf("authenticate by %s: %w", client.Mechanism(), err)
	}
	s.remember(st, client)
	st.User, st.Mechanism = st.own, client.Mechanism()
	return Restart, st.Conn.Restart()
}

// wanted reports whether the client has something to log in with.
func (s SASL) wanted() bool { return s.Credentials.Username != "" || s.Credentials.Anonymous }

// offerOf reads what a server offers in one of the profiles.
func (s SASL) offerOf(st *State, features, list xmltree.Element, name xmltree.Name) sasl.ClientOptions {
	o := sasl.ClientOptions{Bindings: st.channelBindings(), OverTLS: st.Conn.Secure(), TLS: st.tlsVersion()}
	for m := range list.Children() {
		if m.Is(name) {
			o.Offered = append(o.Offered, strings.Clone(m.Text()))
		}
	}
	bindings := features.Child(nameBindings)
	if bindings.Exists() { // XEP-0474 §6.1 asks for the element, whatever is in it
		o.BindingTypes = []string{}
	}
	for b := range bindings.Children() {
		if b.Is(nameBinding) {
			o.BindingTypes = append(o.BindingTypes, strings.Clone(b.Attr("type")))
		}
	}
	return o
}

// choose returns the client's end of the strongest mechanism of an offer.
func (s SASL) choose(ctx context.Context, st *State, o sasl.ClientOptions) (sasl.Client, error) {
	credentials := s.Credentials
	credentials.Certified = s.Certificate != nil
	if s.Token != nil && !credentials.Anonymous && o.OverTLS && slices.Contains(o.Offered, sasl.OAuthBearer) {
		token, err := s.Token(ctx)
		if err != nil {
			return nil, fmt.Errorf("get a token: %w", err)
		}
		credentials.Token = token
	}
	known := s.known(st)
	o.Protected = known.Protected
	usable := o
	usable.Offered = s.allowed(slices.Clone(o.Offered))
	if s.Only != nil && !slices.ContainsFunc(s.Only, isPlus) {
		usable.Bindings = nil // who is not to use channel binding says that it has none
	}
	// XEP-0474 §7: who has proved a password once does not show it afterwards.
	if known.Proved {
		usable.Offered = slices.DeleteFunc(slices.Clone(usable.Offered), func(m string) bool { return m == sasl.Plain })
	}
	mechanism, err := sasl.Choose(credentials, usable)
	if err != nil {
		if known.Proved && slices.Contains(o.Offered, sasl.Plain) {
			return nil, fmt.Errorf("%w: %w: only PLAIN is left", sasl.ErrDowngrade, err)
		}
		return nil, err
	}
	// Where the server vouches for its offer, it may change it.
	if known.Bound && !known.Protected && !isPlus(mechanism) && mechanism != sasl.External && len(o.Bindings) > 0 {
		return nil, fmt.Errorf("%w: no channel binding any more", sasl.ErrDowngrade)
	}
	// Whose a token is, the server finds out: it has to come to the same account.
	other := mechanism == sasl.External && !s.certifiedFor(st.own) || mechanism == sasl.OAuthBearer
	if credentials.Authzid == "" && other {
		credentials.Authzid = st.own.String()
	}
	return sasl.NewClientOf(mechanism, credentials, usable, o)
}

// certifiedFor reports whether the certificate is for one account and no other:
// then there is nothing to choose (XEP-0178 §2, step 10).
func (s SASL) certifiedFor(own jid.JID) bool {
	ids, err := sasl.Addresses(s.Certificate)
	return err == nil && len(ids) == 1 && ids[0] == own
}

// authenticate is the client's end of the exchange.
func authenticate(st *State, client sasl.Client) error {
	initial, err := client.Start()
	if err != nil {
		return err
	}
	if err := st.write(message{nameAuth, client.Mechanism(), initial}); err != nil {
		return err
	}
	for {
		el, err := st.Conn.ReadElement()
		if err != nil {
			return err
		}
		switch el.Name() {
		case nameFailure:
			return sasl.Explain(client, parseFailure(el))
		case nameSuccess:
			return finish(client, el)
		case nameChallenge:
		default:
			return refusal(el)
		}
		challenge, err := decode(el.Text())
		if err != nil {
			return err
		}
		response, err := client.Next(challenge)
		if err != nil {
			// The exchange is over for us; that the server learns of it is a
			// courtesy, and the first error is the one that matters.
			st.write(empty(nameAbort)) //nolint:errcheck // see above
			return err
		}
		if err := st.write(message{nameResponse, "", response}); err != nil {
			return err
		}
	}
}

// finish believes a success only if the server has proved itself.
func finish(client sasl.Client, success xmltree.Element) error {
	data, err := decode(success.Text())
	if err != nil {
		return err
	}
	if data != nil && !client.Done() {
		if _, err := client.Next(data); err != nil {
			return err
		}
	}
	if !client.Done() {
		return fmt.Errorf("%w: success without a proof", sasl.ErrServer)
	}
	return nil
}

func parseFailure(el xmltree.Element) error {
	f := &sasl.Failure{Condition: sasl.NotAuthorized} // RFC 6120 §6.5: what an unknown one counts as
	for c := range el.Children() {
		switch {
		case c.Name().Space != ns.SASL:
		case c.Is(nameText):
			f.Text = strings.Clone(c.Text())
		default:
			f.Condition = strings.Clone(c.Name().Local)
		}
	}
	return f
}

// decode reads base64: nil for nothing, an empty slice for "=", which stands
// for an empty message (RFC 6120 §6.4.2).
func decode(text string) ([]byte, error) {
	switch {
	case text == "":
		return nil, nil
	case text == "=":
		return []byte{}, nil
	case strings.ContainsAny(text, "\r\n"):
		// RFC 6120 §6.3.5: nothing beyond the alphabet; the decoder would
		// overlook these.
		return nil, base64.CorruptInputError(strings.IndexAny(text, "\r\n"))
	}
	return base64.StdEncoding.Strict().DecodeString(text)
}

// message is an element that carries a SASL message.
type message struct {
	name      xmltree.Name
	mechanism string
	data      []byte // nil: none
}

// AppendXML implements xmltree.Appender.
func (m message) AppendXML(w *xmltree.Writer) {
	w.Open(m.name)
	w.AttrOpt("mechanism", m.mechanism)
	switch {
	case len(m.data) > 0:
		w.Text(base64.StdEncoding.EncodeToString(m.data))
	// RFC 6120 §6.4.2, §6.4.6: empty, but there.
	case m.data != nil && (m.name == nameAuth || m.name == nameSuccess):
		w.Text("=")
	}
	w.Close()
}

// failure writes itself as RFC 6120 §6.5 has it.
type failure struct{ *sasl.Failure }

// AppendXML implements xmltree.Appender.
func (f failure) AppendXML(w *xmltree.Writer) {
	w.Open(nameFailure)
	w.Element(xmltree.Name{Space: ns.SASL, Local: f.Condition}, "")
	if f.Text != "" {
		w.Open(nameText)
		w.AttrNS(xmltree.Name{Space: ns.XML, Local: "lang"}, "en")
		w.Text(f.Text)
		w.Close()
	}
	w.Close()
}
