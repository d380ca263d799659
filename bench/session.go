package bench

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"sync/atomic"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/negotiate"
	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xep/carbons"
	"kith/xmpp/xep/roster"
	"kith/xmpp/xmltree"
)

var (
	nameBody   = xmltree.Name{Space: ns.Client, Local: "body"}
	nameStatus = xmltree.Name{Space: ns.Client, Local: "status"}
	namePing   = xmltree.Name{Space: ns.Ping, Local: "ping"}
)

// stage is how far a connection is brought.
type stage int

const (
	stageTCP  stage = iota
	stageTLS        // encrypted
	stageSASL       // authenticated
	stageBind       // a resource is bound
	stageFull       // roster fetched, presence sent
)

func stageNames() []string { return []string{"tcp", "tls", "sasl", "bind", "full"} }

// resource is asked for, so that no server's stanzas are longer by what it makes up.
const resource = "bench"

// features are what a session is to have beyond the least.
type features struct {
	management, resume, carbons bool
	resource                    string // if it is not the usual one
	through                     func(net.Conn) net.Conn
	profile                     string   // how it logs in
	again                       *session // whose stream is resumed, in the place of binding a resource
}

// session is one client's connection.
type session struct {
	r       *run
	number  int // of the account
	account jid.JID
	conn    *stream.TCP
	state   *negotiate.State
	early   []xmltree.Element
	handled negotiate.Received // the reader's
	plain   atomic.Uint64
	done    chan struct{}         // closed when the reader has ended; nil: there is none
	heed    func(xmltree.Element) // called for all that comes, also for what is answered at once; nil: nobody
	csi     bool                  // XEP-0352 is offered
	halted  atomic.Bool           // the reader ends: the client is about to come back
	trips   int                   // round trips, since there is TLS
}

// limits are wide: what the server sends is what is measured.
func limits() xmltree.Limits {
	return xmltree.Limits{Bytes: 16 << 20, Depth: 256, Elements: 1 << 20, Attrs: 1 << 10, Namespaces: 1 << 10}
}

// connect brings a connection of account n as far as a stage.
func (r *run) connect(ctx context.Context, n int, to stage, want features) (*session, error) {
	account, err := r.o.account(n)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, r.o.Timeout)
	defer cancel()
	s, err := r.dial(ctx, n, account, want.through)
	if err != nil || to == stageTCP {
		return s, err
	}
	if err := s.negotiate(ctx, to, want, r.steps(s, to, want)); err != nil {
		s.close()
		return nil, fmt.Errorf("log in as %s: %w", account, err)
	}
	if to < stageFull {
		return s, nil
	}
	if err := s.begin(ctx, want); err != nil {
		s.close()
		return nil, fmt.Errorf("log in as %s: %w", account, err)
	}
	return s, nil
}

// dial opens a connection, with direct TLS if that is what is measured.
func (r *run) dial(ctx context.Context, n int, account jid.JID, through func(net.Conn) net.Conn) (*session, error) {
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", r.o.address())
	if err != nil {
		return nil, err
	}
	if through != nil {
		conn = through(conn)
	}
	s := &session{r: r, number: n, account: account, conn: stream.NewTCP(conn, stream.Options{Limits: limits()})}
	r.opened(s)
	return s, nil
}

// indication looks whether Client State Indication is offered (XEP-0352 §4.1).
type indication struct{ *session }

var nameIndication = xmltree.Name{Space: ns.CSI, Local: "csi"}

// Offer implements negotiate.Step.
func (indication) Offer(*negotiate.State) xmltree.Appender { return nil }

// Serve implements negotiate.Step.
func (indication) Serve(context.Context, *negotiate.State, xmltree.Element) (negotiate.Outcome, error) {
	return negotiate.Pass, nil
}

// Take implements negotiate.Step.
func (i indication) Take(_ context.Context, _ *negotiate.State, features xmltree.Element) (negotiate.Outcome, error) {
	i.csi = i.csi || features.Child(nameIndication).Exists()
	return negotiate.Pass, nil
}

func (r *run) name(n int) string {
	account, err := r.o.account(n)
	if err != nil {
		return "" // connect has told
	}
	return account.Local()
}

var (
	errNoManagement = errors.New("the server does not grant stream management (XEP-0198); measure without --sm")
	errNoResumption = errors.New("the server does not grant resumption (XEP-0198); measure without --sm-resume")
)

// negotiate takes TLS and then the steps, as far as the stage.
func (s *session) negotiate(ctx context.Context, to stage, want features, steps []negotiate.Step) error {
	o := s.r.o
	if o.TLS == tlsDirect {
		if err := s.conn.StartTLS(ctx, s.r.secure(s.number)); err != nil || to == stageTLS {
			return err
		}
	}
	if o.TLS != tlsNone {
		steps = append([]negotiate.Step{negotiate.StartTLS{Config: s.r.secure(s.number), Timeout: o.Timeout, Required: true}}, steps...)
	}
	wire := &wire{TCP: s.conn, unbound: o.Mechanism != anyMechanism && !isPlus(o.Mechanism)}
	state, err := negotiate.Initiate(ctx, wire, negotiate.ClientOptions{
		Account: s.account, Steps: steps,
		Until: func(st *negotiate.State) bool {
			return to == stageTLS && st.Conn.Secure() || to == stageSASL && !st.User.IsZero()
		},
	})
	if err != nil {
		return want.refused(state, err)
	}
	s.state, s.early, s.trips = state, state.Early, wire.trips
	state.Early = nil
	mechanism := state.Mechanism
	if want.profile == profileFast && !sasl.IsToken(mechanism) {
		mechanism = "" // it was how the token was got
	}
	s.r.report.saw(s.conn.TLS(), mechanism)
	switch {
	case want.again != nil && to >= stageBind:
		s.state.SM, s.handled = want.again.state.SM, want.again.handled
	case to >= stageBind && want.management && state.SM == nil:
		return errNoManagement
	case to >= stageBind && want.resume && !state.SM.Resume:
		return errNoResumption
	}
	return nil
}

func isPlus(mechanism string) bool {
	return slices.Contains([]string{sasl.ScramSHA1Plus, sasl.ScramSHA256Plus, sasl.ScramSHA512Plus}, mechanism)
}

// begin does what clients do first: it fetches the roster and sends presence.
func (s *session) begin(ctx context.Context, want features) error {
	if _, err := s.ask(ctx, stanza.Get, jid.JID{}, &roster.Query{}, nil); err != nil {
		return fmt.Errorf("fetch the roster: %w", err)
	}
	if want.carbons {
		if _, err := s.ask(ctx, stanza.Set, jid.JID{}, bare(carbons.NameEnable), nil); err != nil {
			return fmt.Errorf("enable carbons (XEP-0280): %w", err)
		}
	}
	return s.send(stanza.New(stanza.Presence, "", jid.JID{}, jid.JID{}))
}

// bare is an element without attributes and content.
type bare xmltree.Name

// AppendXML implements xmltree.Appender.
func (b bare) AppendXML(w *xmltree.Writer) { w.Element(xmltree.Name(b), "") }

// words are an element with nothing but text.
type words struct {
	name xmltree.Name
	text string
}

// AppendXML implements xmltree.Appender.
func (t words) AppendXML(w *xmltree.Writer) { w.Element(t.name, t.text) }

func (s *session) send(a xmltree.Appender) error { return stream.Write(s.conn, a) }

// write sends what is serialised already.
func (s *session) write(b []byte) error { return s.conn.WriteBatch([][]byte{b}) }

// ask sends a request and waits for its answer; it is for a session that nobody
// else reads. What comes meanwhile is given to other, if that is not nil.
func (s *session) ask(ctx context.Context, typ string, to jid.JID, payload xmltree.Appender, other func(xmltree.Element)) (*stanza.Stanza, error) {
	iq := stanza.New(stanza.IQ, typ, jid.JID{}, to, payload)
	iq.ID = stream.NewID()
	s.trips++
	if err := s.send(iq); err != nil {
		return nil, err
	}
	var reply *stanza.Stanza
	err := s.until(ctx, func(el xmltree.Element) (bool, error) {
		if stanza.KindOf(el) != stanza.IQ || el.Attr("id") != iq.ID {
			if other != nil {
				other(el)
			}
			return false, nil
		}
		var err error
		reply, err = stanza.Parse(el)
		return true, err
	})
	switch {
	case err != nil:
		return nil, err
	case reply.Type == stanza.TypeError:
		return nil, stanza.ErrorOf(reply)
	}
	return reply, nil
}

// until reads until done says so, an answer takes too long, or the context ends.
func (s *session) until(ctx context.Context, done func(xmltree.Element) (bool, error)) error {
	if err := s.conn.SetReadDeadline(time.Now().Add(s.r.o.Timeout)); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		s.conn.SetReadDeadline(time.Unix(1, 0)) //nolint:errcheck // a connection that is gone needs none
	})
	defer stop()
	for {
		el, err := s.next()
		if err != nil {
			return errors.Join(ctx.Err(), err)
		}
		if !s.mine(el) {
			continue
		}
		if ok, err := done(el); ok || err != nil {
			return errors.Join(err, s.conn.SetReadDeadline(time.Time{}))
		}
	}
}

func (s *session) next() (xmltree.Element, error) {
	if len(s.early) > 0 {
		el := s.early[0]
		s.early = s.early[1:]
		return el, nil
	}
	return s.conn.ReadElement()
}

// mine counts an element, answers what any client answers, and reports whether
// there is more to it.
func (s *session) mine(el xmltree.Element) bool {
	s.plain.Add(uint64(el.Len()))
	if s.heed != nil {
		s.heed(el)
	}
	kind := stanza.KindOf(el)
	if kind == 0 {
		if el.Is(negotiate.NameRequest) {
			s.send(negotiate.Ack{H: s.handled.H()}) //nolint:errcheck // the next read says why
		}
		return false
	}
	s.handled.Add(1)
	if t := el.Attr("type"); kind == stanza.IQ && (t == stanza.Get || t == stanza.Set) {
		s.answer(el)
		return false
	}
	return true
}

// answer answers requests: pings and roster pushes with a result, all else with
// an error (RFC 6120 §8.4).
func (s *session) answer(el xmltree.Element) {
	iq, err := stanza.Parse(el)
	if err != nil {
		return // nobody to answer to
	}
	reply := iq.ErrorReply(stanza.ErrServiceUnavailable)
	if p := iq.Payload(); p.Is(namePing) || p.Is(roster.Name) {
		reply = iq.Reply(nil)
	}
	s.send(reply) //nolint:errcheck // the next read says why
}

// listen reads in a goroutine of its own. on gets the stanzas; idle, if it is not
// nil, is called when nothing more has come yet, so that what is sent in answer
// goes out in one write.
func (s *session) listen(on func(xmltree.Element), idle func()) {
	s.done = make(chan struct{})
	go func() {
		defer close(s.done)
		for {
			el, err := s.next()
			if err != nil {
				if !s.conn.Closing() && !s.halted.Load() {
					s.r.lost.Add(1)
					s.r.remember(fmt.Errorf("session of %s: %w", s.account, err))
				}
				return
			}
			if s.mine(el) && on != nil {
				on(el)
			}
			if idle != nil && len(s.early) == 0 && !s.conn.Ready() {
				idle()
			}
		}
	}()
}

// close ends the session, as a client does that goes off-line.
func (s *session) close() {
	s.conn.Close(nil)
	if s.done != nil {
		<-s.done
	}
	s.r.ended(s)
}

func (s *session) traffic() traffic {
	in, out := s.conn.Counters()
	return traffic{in, out, s.plain.Load()}
}

// login logs in n accounts, from the number first on.
func (r *run) login(ctx context.Context, first, n int, want features) ([]*session, error) {
	all := make([]*session, n)
	var up atomic.Int64
	err := parallel(ctx, n, r.o.Concurrency, func(i int) (err error) {
		all[i], err = r.connect(ctx, r.o.First+first+i, stageFull, want)
		r.progress("logging in, %d of %d", up.Add(1), n)
		return err
	})
	return all, err
}
