package negotiate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/sasl"
	"kith/xmpp/xmltree"
)

// Login says what a client wants of a log-in by XEP-0388.
type Login struct {
	Agent  UserAgent
	Bind   *Bind2      // nil: a resource is bound as of old
	Resume *Resumption // the session of a stream that was lost
	Tokens TokenStore  // nil: no tokens are asked for
	Leave  bool        // the token is used for the last time, and no other is asked for
	Tasks  ClientTasks // beside upgrades; may be nil
	Wants  []Want      // of the session, with Bind
}

// Want is something that a session is to have from its beginning.
type Want struct {
	Feature string // that the server must offer
	Element xmltree.Appender
}

// ClientTasks returns the client's end of a task, nil if it has none.
type ClientTasks func(name string) ClientTask

// Resumption says which session is to be resumed.
type Resumption struct {
	Resume
	JID jid.JID
}

// SavedToken is a token, and what goes with it.
type SavedToken struct {
	Token     string
	Mechanism string
	Expiry    time.Time
	Count     uint64 // how often it was tried
	// Version is that of the features with which it was given (XEP-0509); "" makes
	// the client wait for the features.
	Version string
}

// TokenStore keeps the tokens of a client. They are worth as much as passwords.
type TokenStore interface {
	// Load returns the token of an account.
	Load(account jid.JID) (SavedToken, bool)
	// Save keeps a token in the place of the one before.
	Save(account jid.JID, t SavedToken)
	// Drop forgets the token of an account.
	Drop(account jid.JID)
}

// Gained is what a client has got with its log-in.
type Gained struct {
	Bound     xmltree.Element // the <bound/> of XEP-0386; zero without
	Resumed   *Resumed        // the session goes on
	NotResume *Failed         // it does not
}

// attempt is one <authenticate/>.
type attempt struct {
	client  sasl.Client
	request *Authenticate
	saved   *SavedToken // with which; nil: with a password
}

// ErrTask says that the server wants something done that the client cannot do.
var ErrTask = errors.New("the server wants a task done that is not known")

// Ahead returns an <authenticate/> to be sent with the header, before the features
// are known: by a token, if the client knows which features there were when it got
// that (XEP-0509). nil: it has to wait for them.
func (s SASL2) Ahead(st *State) xmltree.Appender {
	if s.Login == nil || !st.User.IsZero() || !st.Conn.Secure() || st.ahead != nil || st.refusals > 0 {
		return nil
	}
	saved, ok := s.saved(st)
	if !ok || saved.Version == "" {
		return nil
	}
	a, err := s.byToken(st, saved)
	if err != nil {
		return nil //nolint:nilerr // it will be seen with the features
	}
	a.request.Version = saved.Version
	st.ahead = a
	return a.request
}

// saved returns the token with which the client can log in.
func (s SASL2) saved(st *State) (SavedToken, bool) {
	if s.Login.Tokens == nil || s.Login.Agent.ID == "" {
		return SavedToken{}, false
	}
	saved, ok := s.Login.Tokens.Load(st.own)
	return saved, ok && time.Now().Before(saved.Expiry)
}

// byToken makes an attempt with a token. That it is made is noted before: a server
// takes no count twice (XEP-0484 §3.4).
func (s SASL2) byToken(st *State, saved SavedToken) (*attempt, error) {
	o := sasl.ClientOptions{Bindings: st.channelBindings(), OverTLS: st.Conn.Secure()}
	client, err := sasl.NewTokenClient(saved.Mechanism, s.SASL.Credentials.Username, []byte(saved.Token), o)
	if err != nil {
		return nil, err
	}
	saved.Count++
	s.Login.Tokens.Save(st.own, saved)
	a := s.attempt(client, nil)
	a.saved = &saved
	a.request.Token = &Token{Count: saved.Count, Invalidate: s.Login.Leave}
	return a, a.start()
}

func (a *attempt) start() (err error) {
	a.request.Initial, err = a.client.Start()
	return err
}

// attempt makes an <authenticate/> for what the server offers inline; nil: it is
// not known, and everything is asked for.
func (s SASL2) attempt(client sasl.Client, features func(string) bool) *attempt {
	l := s.Login
	a := &attempt{client: client, request: &Authenticate{Mechanism: client.Mechanism(), Agent: l.Agent}}
	if l.Resume != nil {
		a.request.Resume = &l.Resume.Resume
	}
	if l.Bind != nil {
		b := *l.Bind
		for _, w := range l.Wants {
			if features == nil || features(w.Feature) {
				b.Wants = append(b.Wants, w.Element)
			}
		}
		a.request.Bind = &b
	}
	return a
}

// Take implements Step.
func (s SASL2) Take(ctx context.Context, st *State, features xmltree.Element) (Outcome, error) {
	offer := features.Child(nameAuthentication)
	ahead := st.ahead
	st.ahead = nil
	if s.Login == nil || !st.User.IsZero() || !st.Conn.Secure() || !s.SASL.wanted() || !offer.Exists() && ahead == nil {
		return Pass, nil
	}
	inline := offer.Child(nameInline)
	v := features.Child(nameVersion).Attr("value")
	if ahead != nil {
		outcome, err := s.try(st, ahead, v)
		if err == nil || !s.again(st, ahead, err) {
			return outcome, err
		}
	}
	if saved, ok := s.saved(st); ok && offers(inline.Child(nameFast), nameFastMechanism, saved.Mechanism) {
		if a, err := s.byToken(st, saved); err == nil {
			s.fit(a, inline)
			outcome, err := s.send(st, a, v)
			if err == nil || !s.again(st, a, err) {
				return outcome, err
			}
		}
	}
	o := s.SASL.offerOf(st, features, offer, nameMechanism2)
	o.SASL2 = true
	client, err := s.SASL.choose(ctx, st, o)
	if err != nil {
		return 0, err
	}
	a := s.attempt(client, inlineFeatures(inline))
	s.fit(a, inline)
	s.ask(st, a, offer)
	if err := a.start(); err != nil {
		return 0, err
	}
	outcome, err := s.send(st, a, v)
	if err != nil {
		return 0, fmt.Errorf("authenticate by %s: %w", client.Mechanism(), err)
	}
	s.SASL.remember(st, client)
	return outcome, nil
}

// fit leaves out what the server does not offer.
func (s SASL2) fit(a *attempt, inline xmltree.Element) {
	if !inline.Child(nameBind2).Exists() {
		a.request.Bind = nil
	}
	if !inline.Child(NameSM).Exists() {
		a.request.Resume = nil
	}
}

// ask adds to an attempt by a password what goes with one: a wish for a token, and
// that the server may have other keys.
func (s SASL2) ask(st *State, a *attempt, offer xmltree.Element) {
	if s.Login.Tokens != nil && s.Login.Agent.ID != "" && !s.Login.Leave {
		fast := offer.Child(nameInline).Child(nameFast)
		for _, m := range sasl.TokenMechanisms(st.channelBindings(), true) {
			if offers(fast, nameFastMechanism, m) { // XEP-0484 §7: with channel binding if possible
				a.request.WantToken = m
				break
			}
		}
	}
	if !upgradable(a.request.Mechanism, st) {
		return
	}
	for c := range offer.Children() {
		if hash, ok := strings.CutPrefix(c.Text(), upgradePrefix); ok && c.Is(nameUpgrade) &&
			(hash == sasl.SHA256 || hash == sasl.SHA512) && s.SASL.Credentials.Password != "" {
			a.request.Upgrades = append(a.request.Upgrades, UpgradeName(hash))
		}
	}
}

// upgradable reports whether a server that has let us in by a mechanism may get a
// salted password. XEP-0480, security considerations: not who may be somebody in
// between, on a channel that we could have been bound to. PLAIN shows more.
func upgradable(mechanism string, st *State) bool {
	return mechanism == sasl.Plain || isPlus(mechanism) || strings.HasPrefix(mechanism, "SCRAM-") && len(st.channelBindings()) == 0
}

// again reports whether the client may try otherwise after an attempt with a token
// has failed. XEP-0484 §5.1: a token that is refused is dropped.
func (s SASL2) again(st *State, a *attempt, err error) bool {
	var f *sasl.Failure
	if !errors.As(err, &f) {
		return false
	}
	st.refusals++
	if f.Condition == sasl.NotAuthorized || f.Condition == sasl.CredentialsExpired || f.Condition == sasl.InvalidMechanism {
		s.Login.Tokens.Drop(st.own)
	}
	return s.SASL.Credentials.Password != "" || f.Condition == sasl.Aborted && a.request.Version != ""
}

func offers(list xmltree.Element, name xmltree.Name, what string) bool {
	for c := range list.Children() {
		if c.Is(name) && c.Text() == what {
			return true
		}
	}
	return false
}

// inlineFeatures tells what can be had with a resource.
func inlineFeatures(inline xmltree.Element) func(string) bool {
	list := inline.Child(nameBind2).Child(nameBindInline)
	return func(feature string) bool {
		for c := range list.Children() {
			if c.Is(nameBindFeature) && c.Attr("var") == feature {
				return true
			}
		}
		return false
	}
}

// send makes an attempt.
func (s SASL2) send(st *State, a *attempt, version string) (Outcome, error) {
	if err := st.write(a.request); err != nil {
		return 0, err
	}
	return s.try(st, a, version)
}

// try takes part in the exchange that an <authenticate/> has begun. version is that
// of the features.
func (s SASL2) try(st *State, a *attempt, version string) (Outcome, error) {
	var task ClientTask
	for {
		el, err := st.Conn.ReadElement()
		if err != nil {
			return 0, err
		}
		var answer xmltree.Appender
		switch {
		case el.Is(nameFailure2):
			return 0, sasl.Explain(a.client, parseFailure2(el))
		case el.Is(nameSuccess2):
			if err := finish2(a.client, el); err != nil {
				return 0, err
			}
			return s.succeeded(st, a, el, version)
		case el.Is(nameChallenge2) && task == nil:
			answer, err = respond(a.client, el)
		case el.Is(nameContinue):
			if err = finish2(a.client, el); err == nil {
				task, answer, err = s.nextTask(a, el)
			}
		case el.Is(nameTaskData) && task != nil:
			var content xmltree.Appender
			content, err = task.Next(el)
			answer = taskData{content}
		default:
			return 0, refusal(el)
		}
		if err != nil {
			// The server learns of it as a courtesy; the first error matters.
			st.write(empty(nameAbort2)) //nolint:errcheck // see above
			return 0, err
		}
		if err := st.write(answer); err != nil {
			return 0, err
		}
	}
}

// respond answers a challenge.
func respond(client sasl.Client, el xmltree.Element) (xmltree.Appender, error) {
	challenge, err := decode2(el.Text())
	if err != nil {
		return nil, err
	}
	response, err := client.Next(challenge)
	if err != nil {
		return nil, err
	}
	return data2{nameResponse2, response}, nil
}

// finish2 takes what comes with <success/>, or with the first <continue/>: there
// the server has to have proved itself.
func finish2(client sasl.Client, el xmltree.Element) error {
	if given := el.Child(nameAdditional); given.Exists() && !client.Done() {
		data, err := decode2(given.Text())
		if err != nil {
			return err
		}
		if _, err := client.Next(data); err != nil {
			return err
		}
	}
	if !client.Done() {
		return fmt.Errorf("%w: success without a proof", sasl.ErrServer)
	}
	return nil
}

// nextTask begins the first of the tasks that the client can do.
func (s SASL2) nextTask(a *attempt, el xmltree.Element) (ClientTask, xmltree.Appender, error) {
	names := taskNames(el)
	for _, name := range names {
		var task ClientTask
		if hash, ok := strings.CutPrefix(name, upgradePrefix); ok {
			// XEP-0480 §2.2: what we are ready for, once. Nobody else gets what can be
			// logged in with as with the password.
			if i := slices.Index(a.request.Upgrades, name); i >= 0 {
				a.request.Upgrades = slices.Delete(a.request.Upgrades, i, i+1)
				task = upgradeClient{hash, s.SASL.Credentials.Password}
			}
		} else if s.Login.Tasks != nil {
			task = s.Login.Tasks(name)
		}
		if task != nil {
			return task, next{name, task.Start()}, nil
		}
	}
	return nil, nil, fmt.Errorf("%w: %s", ErrTask, strings.Join(names, " "))
}

// next begins a task.
type next struct {
	name    string
	content xmltree.Appender
}

// AppendXML implements xmltree.Appender.
func (n next) AppendXML(w *xmltree.Writer) {
	w.Open(nameNext)
	w.Attr("task", n.name)
	if n.content != nil {
		w.Append(n.content)
	}
	w.Close()
}

// succeeded reads a <success/>.
func (s SASL2) succeeded(st *State, a *attempt, el xmltree.Element, version string) (Outcome, error) {
	id, err := jid.Parse(strings.TrimSpace(el.Child(nameAuthorizationID).Text()))
	own := st.own
	if s.SASL.Credentials.Anonymous && err == nil && id.Local() != "" && id.Host() == own {
		own = id.Bare().Clone() // XEP-0175 §3: who we are, the server says
	}
	if err != nil || id.Bare() != own {
		return 0, fmt.Errorf("%w: it has let us in as %q", sasl.ErrServer, el.Child(nameAuthorizationID).Text())
	}
	st.User, st.Mechanism, st.Agent = own, a.client.Mechanism(), a.request.Agent
	s.keep(st, a, el, version)
	if c := el.Child(NameResumed); c.Exists() && a.request.Resume != nil {
		h, err := handled(c)
		if err != nil {
			return 0, err
		}
		st.JID, st.Gained.Resumed = s.Login.Resume.JID, &Resumed{PrevID: a.request.Resume.PrevID, H: h}
		return Complete, nil
	}
	if c := el.Child(NameFailed); c.Exists() {
		h, err := handled(c)
		st.Gained.NotResume = &Failed{Condition: strings.Clone(c.First().Name().Local), Handled: err == nil, H: h}
	}
	if c := el.Child(nameBound); c.Exists() && a.request.Bind != nil && id.IsFull() {
		st.JID, st.Gained.Bound = id.Clone(), c
		if e := c.Child(NameEnabled); e.Exists() {
			enabled := ParseEnabled(e)
			st.SM = &enabled
		}
	}
	return Again, nil
}

// keep saves the token that came, or what has become of the one that was used.
func (s SASL2) keep(st *State, a *attempt, el xmltree.Element, version string) {
	store := s.Login.Tokens
	if store == nil {
		return
	}
	given := parseGiven(el.Child(nameToken))
	switch {
	case given != nil && !s.Login.Leave:
		mech := a.request.WantToken
		if mech == "" && a.saved != nil {
			mech = a.saved.Mechanism
		}
		if slices.Contains(sasl.TokenMechanisms(st.channelBindings(), true), mech) {
			store.Save(st.own, SavedToken{Token: given.Token, Mechanism: mech, Expiry: given.Expiry, Version: strings.Clone(version)})
		}
	case a.saved != nil && s.Login.Leave:
		store.Drop(st.own)
	case a.saved != nil && a.saved.Version != version:
		saved := *a.saved
		saved.Version = strings.Clone(version)
		store.Save(st.own, saved)
	}
}
