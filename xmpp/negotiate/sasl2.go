package negotiate

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// SASL2 implements XEP-0388: Extensible SASL Profile, with what may be had in the
// same round trip: a resource (XEP-0386), the session of a lost stream (XEP-0198
// §9), a token for the next time (XEP-0484). It stands before SASL. There is no
// SASL2 without TLS.
type SASL2 struct {
	// SASL says which mechanisms there are, and whose accounts: in both profiles the
	// same.
	SASL SASL
	// Establisher gives sessions; nil: they are bound as of old. (Server.)
	Establisher Establisher
	// Features are what Establisher can enable with a resource, by the names of
	// service discovery. (Server.)
	Features []string
	// Tokens, if it is not nil, gives out tokens. (Server.)
	Tokens Tokens
	// Tasks, if it is not nil, says what clients have left to do behind their
	// mechanism. (Server.)
	Tasks TaskFunc
	// Upgrades are the tasks of XEP-0480 that are offered. (Server.)
	Upgrades []string

	// Login makes it a client's step.
	Login *Login
}

// login is one log-in under way, for a server.
type login struct {
	request  *Authenticate
	exchange sasl.Server
	user     jid.JID // who has proved to be that by the mechanism; zero before
	tasks    []Task  // one of them is next
	task     Task    // under way
	done     []string
	renew    bool // the client should have another token
}

// Offer implements Step.
func (s SASL2) Offer(st *State) xmltree.Appender {
	if s.SASL.Backend == nil || !st.User.IsZero() || !st.Conn.Secure() {
		return nil
	}
	mechanisms := s.SASL.mechanisms(st)
	if len(mechanisms) == 0 { // XEP-0388 §2.1
		return nil
	}
	return markup(func(w *xmltree.Writer) {
		w.Open(nameAuthentication)
		for _, m := range mechanisms {
			w.Element(nameMechanism2, m)
		}
		fast := s.tokenMechanisms(st)
		if s.Establisher != nil || len(fast) > 0 {
			w.Open(nameInline)
			if s.Establisher != nil {
				w.Element(NameSM, "")
				offerBind2(w, s.Features)
			}
			if len(fast) > 0 {
				offerFast(w, fast)
			}
			w.Close()
		}
		for _, u := range s.Upgrades {
			w.Element(nameUpgrade, u)
		}
		w.Close()
	})
}

// Serve implements Step.
func (s SASL2) Serve(ctx context.Context, st *State, el xmltree.Element) (Outcome, error) {
	if el.Name().Space != ns.SASL2 || s.SASL.Backend == nil {
		return Pass, nil
	}
	// XEP-0388 §5.8: once.
	if !st.User.IsZero() {
		return 0, stream.ErrNotAuthorized.With("already authenticated")
	}
	switch el.Name() {
	case nameAuthenticate:
		if st.login != nil {
			return 0, stream.ErrPolicyViolation.With("authentication is under way")
		}
		return s.begin(ctx, st, el)
	case nameResponse2:
		if st.login == nil || !st.login.user.IsZero() {
			return s.refuse(ctx, st, &sasl.Failure{Condition: sasl.MalformedRequest}, nil)
		}
		data, err := decode2(el.Text())
		if err != nil {
			return s.refuse(ctx, st, &sasl.Failure{Condition: sasl.IncorrectEncoding, Err: err}, nil)
		}
		return s.next(ctx, st, data)
	case nameAbort2:
		return s.refuse(ctx, st, &sasl.Failure{Condition: sasl.Aborted}, nil)
	case nameNext, nameTaskData:
		return s.task(ctx, st, el)
	}
	return Pass, nil
}

// refuse reports failure.
func (s SASL2) refuse(ctx context.Context, st *State, f *sasl.Failure, more xmltree.Appender) (Outcome, error) {
	return s.SASL.deny(ctx, st, f, failure2{f, more})
}

// begin takes an <authenticate/>.
func (s SASL2) begin(ctx context.Context, st *State, el xmltree.Element) (Outcome, error) {
	st.exchange = nil
	if !st.Conn.Secure() {
		return s.refuse(ctx, st, &sasl.Failure{Condition: sasl.EncryptionRequired}, nil)
	}
	a, failure := parseAuthenticate(el)
	if failure != nil {
		return s.refuse(ctx, st, failure, nil)
	}
	// XEP-0509 §2.2: the client reckons with features that are no longer ours.
	if a.Version != "" && a.Version != string(st.version) {
		return s.refuse(ctx, st, &sasl.Failure{Condition: sasl.Aborted}, empty(nameMismatch))
	}
	l := &login{request: a}
	exchange, failure := s.exchange(st, l)
	if failure != nil {
		return s.refuse(ctx, st, failure, nil)
	}
	l.exchange, st.login = exchange, l
	return s.next(ctx, st, a.Initial)
}

// exchange begins the exchange of a mechanism, if it was offered.
func (s SASL2) exchange(st *State, l *login) (sasl.Server, *sasl.Failure) {
	a := l.request
	if a.Token == nil {
		return s.SASL.begin(st, a.Mechanism)
	}
	switch {
	case !slices.Contains(s.tokenMechanisms(st), a.Mechanism):
		return nil, &sasl.Failure{Condition: sasl.InvalidMechanism}
	case a.Agent.ID == "": // XEP-0484 §5.1
		return nil, &sasl.Failure{Condition: sasl.MalformedRequest, Text: "a token needs a user agent with an id"}
	}
	backend := tokenBackend{s.SASL.Backend, s.Tokens, st.Host.Domain(), l}
	exchange, err := sasl.NewServer(a.Mechanism, backend, s.SASL.serverOptions(st))
	if err != nil {
		return nil, failureOf(err)
	}
	return exchange, nil
}

// next gives the client's message to the exchange and answers it.
func (s SASL2) next(ctx context.Context, st *State, data []byte) (Outcome, error) {
	l := st.login
	answer, done, err := l.exchange.Next(ctx, data)
	switch {
	case err != nil:
		return s.refuse(ctx, st, failureOf(err), nil)
	case !done:
		return Handled, st.write(data2{nameChallenge2, answer})
	}
	user, err := jid.New(l.exchange.Username(), st.Host.Domain(), "")
	if err != nil {
		return s.refuse(ctx, st, &sasl.Failure{Condition: sasl.NotAuthorized, Err: err}, nil)
	}
	// XEP-0388 §2.3: who the header said it was.
	if from, err := jid.Parse(st.Header.From); st.Header.From != "" && (err != nil || from.Bare() != user) {
		return s.refuse(ctx, st, &sasl.Failure{Condition: sasl.InvalidAuthzid, Err: err}, nil)
	}
	l.user = user
	return s.proved(ctx, st, answer, nil)
}

// finish lets a client in that has nothing left to prove, and gives it what it has
// asked for in the same breath. <success/> is the first that it hears.
func (s SASL2) finish(ctx context.Context, st *State, data []byte, more xmltree.Appender) (Outcome, error) {
	l := st.login
	st.User, st.Mechanism, st.Agent, st.login = l.user, l.exchange.Mechanism(), l.request.Agent, nil
	s.SASL.accept(st)
	ok := &success2{data: data, user: l.user}
	if more != nil {
		ok.more = append(ok.more, more)
	}
	if err := s.tokens(ctx, st, l, ok); err != nil {
		return 0, fmt.Errorf("give a token to %s: %w", st.User, err)
	}
	// XEP-0386 §3.2: what is resumed is not bound.
	if resumed, err := s.resume(ctx, st, l.request.Resume, ok); err != nil || resumed {
		return Complete, err
	}
	if l.request.Bind != nil && s.Establisher != nil {
		full, answers, err := s.Establisher.Bind2(ctx, st, l.request)
		var e *stanza.Error
		switch {
		case errors.As(err, &e): // it may bind as of old, and learn why that is refused
		case err != nil:
			return 0, fmt.Errorf("bind a resource of %s: %w", st.User, err)
		default:
			st.JID, ok.user = full, full
			ok.more = append(ok.more, bound2(answers))
		}
	}
	outcome := Again
	if !st.JID.IsZero() {
		outcome = Complete
	}
	// XEP-0388 §2.6.1: the features of the stream as it is now, which goes on.
	return outcome, st.write(ok, st.offers(st.steps))
}

// resume goes on with the session of another stream, if the client has asked for
// it. There are no features then (XEP-0198 §9.2).
func (s SASL2) resume(ctx context.Context, st *State, want *Resume, ok *success2) (bool, error) {
	if want == nil || s.Establisher == nil {
		return false, nil
	}
	full, failed, err := s.Establisher.Resume(ctx, st.User, *want, func(full jid.JID, r Resumed) xmltree.Appender {
		ok.user = full
		ok.more = append(ok.more, r)
		return ok
	})
	if err != nil {
		return false, fmt.Errorf("resume a session of %s: %w", st.User, err)
	}
	if failed != nil {
		ok.more = append(ok.more, failed)
		return false, nil
	}
	st.JID = full
	return true, nil
}
