package bench

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// Manner is how clients log in.
type Manner struct {
	Profile string `help:"sasl1 is SASL, then a resource (RFC 6120); sasl2 is both in one step (XEP-0388, XEP-0386); fast is that with a token in the place of the password (XEP-0484)." enum:"sasl1,sasl2,fast" default:"sasl1" group:"Load"`
	Tickets bool   `name:"tls-tickets" help:"Clients that come again resume their TLS session (RFC 8446 §2.2), as a phone may." group:"Load"`
}

const (
	profileClassic = "sasl1"
	profileSASL2   = "sasl2"
	profileFast    = "fast"
)

func (p Manner) check() error {
	if all := []string{"", profileClassic, profileSASL2, profileFast}; !slices.Contains(all, p.Profile) {
		return fmt.Errorf("--profile=%s: there are %s", p.Profile, strings.Join(all[1:], ", "))
	}
	return nil
}

func (p Manner) String() string {
	s := cmp.Or(p.Profile, profileClassic)
	if p.Tickets {
		s += " with tickets of TLS"
	}
	return s
}

// tickets has a client read something behind the handshake, for that is where the
// ticket is.
func (p Manner) tickets(stages []string) error {
	if beyond := func(s string) bool { return s != stageNames()[stageTCP] && s != stageNames()[stageTLS] }; p.Tickets && !slices.ContainsFunc(stages, beyond) {
		return errors.New("--tls-tickets wants one of the --stages to be beyond tls: a ticket comes behind it")
	}
	return nil
}

var (
	errNoSASL2    = errors.New("the server offers no SASL2 (XEP-0388) here; measure with --profile=sasl1")
	errNoToken    = errors.New("the server does not let in with a token (XEP-0484); measure with --profile=sasl2 or sasl1")
	errNoTicket   = errors.New("the server does not resume a session of TLS 1.3; measure without --tls-tickets")
	errNotResumed = errors.New("the server does not go on with the stream that was lost")
)

// wire is a connection whose round trips are counted from TLS on: the times that
// something was waited for behind what was sent.
type wire struct {
	*stream.TCP
	// unbound lets a mechanism without channel binding be chosen although the
	// server has others: a client that knows no binding.
	unbound bool
	wrote   bool
	trips   int
}

func (w *wire) waits() {
	if w.wrote {
		w.wrote = false
		w.trips++
	}
}

// Bindings implements stream.Transport.
func (w *wire) Bindings() []sasl.Binding {
	if w.unbound {
		return nil
	}
	return w.TCP.Bindings()
}

// StartTLS implements stream.Transport.
func (w *wire) StartTLS(ctx context.Context, c *tls.Config) error {
	err := w.TCP.StartTLS(ctx, c)
	w.wrote, w.trips = false, 0
	return err
}

// Open implements stream.Transport.
func (w *wire) Open(h stream.Header, more ...xmltree.Appender) error {
	w.wrote = true
	return w.TCP.Open(h, more...)
}

// WriteBatch implements stream.Conn.
func (w *wire) WriteBatch(b [][]byte) error {
	w.wrote = true
	return w.TCP.WriteBatch(b)
}

// ReadHeader implements stream.Transport.
func (w *wire) ReadHeader() (stream.Header, error) {
	w.waits()
	return w.TCP.ReadHeader()
}

// ReadElement implements stream.Conn.
func (w *wire) ReadElement() (xmltree.Element, error) {
	w.waits()
	return w.TCP.ReadElement()
}

// steps are those of a client that wants so much, as far as a stage.
func (r *run) steps(s *session, to stage, want features) []negotiate.Step {
	n := s.number
	login := negotiate.SASL{Credentials: sasl.Credentials{Username: r.name(n), Password: r.o.password(n), Memory: r.cache(n)}}
	if r.o.Mechanism != anyMechanism {
		login.Only = []string{r.o.Mechanism}
	}
	steps := []negotiate.Step{login}
	switch want.profile {
	case profileSASL2, profileFast:
		steps = []negotiate.Step{negotiate.SASL2{SASL: login, Login: r.inline(n, to, want)}}
	default:
		if want.again != nil {
			steps = append(steps, comeback{want.again})
		}
	}
	if want.again != nil {
		return steps // there is nothing else to be had
	}
	steps = append(steps, negotiate.Bind{Resource: cmp.Or(want.resource, resource)}, indication{s})
	if want.management {
		steps = append(steps, negotiate.SM{Resume: want.resume})
	}
	return steps
}

// inline is what an account wants of a log-in by XEP-0388.
func (r *run) inline(n int, to stage, want features) *negotiate.Login {
	l := &negotiate.Login{Agent: agent(n)}
	if want.profile == profileFast {
		l.Tokens = &r.tokens
	}
	switch {
	case to < stageBind:
	case want.again != nil:
		l.Resume = &negotiate.Resumption{Resume: want.again.resumption(), JID: want.again.state.JID}
	default:
		l.Bind = &negotiate.Bind2{Tag: cmp.Or(want.resource, resource)}
		if want.management {
			l.Wants = []negotiate.Want{{Feature: ns.Acks, Element: negotiate.Enable{Resume: want.resume}}}
		}
	}
	return l
}

// agent is the device of an account: the same in every measurement.
func agent(n int) negotiate.UserAgent {
	return negotiate.UserAgent{ID: fmt.Sprintf("be7c4000-0000-4000-8000-%012x", n), Software: "kith bench"}
}

// refused says why there is no session, where it is about what was wanted.
func (f features) refused(st *negotiate.State, err error) error {
	switch {
	case st != nil && st.Gained.NotResume != nil:
		return fmt.Errorf("%w: %s", errNotResumed, st.Gained.NotResume.Condition)
	case !errors.Is(err, negotiate.ErrNotOffered):
		return err
	case st != nil && st.User.IsZero() && f.profile != "" && f.profile != profileClassic:
		return errNoSASL2
	case f.again != nil:
		return errNoResumption
	}
	return err
}

// resumption says which stream is resumed. Its reader has ended.
func (s *session) resumption() negotiate.Resume {
	return negotiate.Resume{PrevID: s.state.SM.ID, H: s.handled.H()}
}

// comeback resumes a stream in the place of binding a resource (XEP-0198 §5).
type comeback struct{ old *session }

// Offer implements negotiate.Step.
func (comeback) Offer(*negotiate.State) xmltree.Appender { return nil }

// Serve implements negotiate.Step.
func (comeback) Serve(context.Context, *negotiate.State, xmltree.Element) (negotiate.Outcome, error) {
	return negotiate.Pass, nil
}

// Take implements negotiate.Step.
func (c comeback) Take(_ context.Context, st *negotiate.State, features xmltree.Element) (negotiate.Outcome, error) {
	if st.User.IsZero() || !features.Child(negotiate.NameSM).Exists() {
		return negotiate.Pass, nil
	}
	if err := stream.Write(st.Conn, c.old.resumption()); err != nil {
		return 0, err
	}
	el, err := st.Conn.ReadElement()
	switch {
	case err != nil:
		return 0, err
	case !el.Is(negotiate.NameResumed):
		return 0, fmt.Errorf("%w: %s", errNotResumed, el.First().Name().Local)
	}
	st.JID = c.old.state.JID
	return negotiate.Complete, nil
}

// tokens are those of all accounts.
type tokens struct {
	mu  sync.Mutex // guards all
	all map[jid.JID]negotiate.SavedToken
}

// Load implements negotiate.TokenStore.
func (t *tokens) Load(account jid.JID) (negotiate.SavedToken, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	saved, ok := t.all[account]
	return saved, ok
}

// Save implements negotiate.TokenStore.
func (t *tokens) Save(account jid.JID, saved negotiate.SavedToken) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.all == nil {
		t.all = make(map[jid.JID]negotiate.SavedToken)
	}
	t.all[account] = saved
}

// Drop implements negotiate.TokenStore.
func (t *tokens) Drop(account jid.JID) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.all, account)
}
