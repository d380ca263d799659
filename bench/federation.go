package bench

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"kith/xmpp/jid"
	"kith/xmpp/stanza"
)

// Federation has pairs of accounts of which one, at the server, writes to the
// other, at a second server.
type Federation struct {
	Chat
	PeerDomain  string `help:"Domain of the second server's accounts." placeholder:"DOMAIN" group:"Second server"`
	PeerAddress string `help:"Where it listens for clients, if not at the usual port of its domain." placeholder:"HOST:PORT" group:"Second server"`
	PeerPIDs    []int  `name:"peer-pid" help:"Its process, as --server-pid." placeholder:"PID" group:"Second server"`
	PeerFirst   int    `help:"Number of the first of its accounts that is used." default:"0" group:"Second server"`
	Both        bool   `help:"In each second pair the account at the second server writes." group:"Load"`
}

// partNames tell two servers apart.
func partNames() []string { return []string{"first", "second"} }

// Check implements Scenario.
func (b Federation) Check() error {
	if _, err := jid.New("", b.PeerDomain, ""); err != nil || b.PeerDomain == "" {
		return fmt.Errorf("--peer-domain=%s is no domain", b.PeerDomain)
	}
	if b.PeerFirst < 0 {
		return errors.New("--peer-first must not be below 0")
	}
	return b.Chat.Check()
}

func (Federation) name() string { return "federation" }

func (b Federation) settings() string {
	s := b.Chat.settings() + ", to " + b.PeerDomain
	if b.Both {
		s += " and from there"
	}
	return s
}

var (
	errSameDomain = errors.New("--domain and --peer-domain are the same: that is kith bench chat")
	errOnePID     = errors.New("the CPU time is that of both servers: --server-pid and --peer-pid go together")
)

// peer is the second server. The first has to be measured with it from then on.
func (b Federation) peer(r *run) (*run, error) {
	o := r.o
	o.Domain, o.Address, o.PIDs, o.First = b.PeerDomain, b.PeerAddress, b.PeerPIDs, b.PeerFirst
	switch {
	case o.Domain == r.o.Domain:
		return nil, errSameDomain
	case (len(o.PIDs) > 0) != (len(r.o.PIDs) > 0):
		return nil, errOnePID
	}
	peer, err := newRun(o, r.ledger)
	if err != nil || !peer.server.known() {
		return peer, err
	}
	r.parts = []processes{r.server, peer.server}
	r.server, err = newProcesses(slices.Concat(r.o.PIDs, o.PIDs))
	return peer, err
}

func (b Federation) run(ctx context.Context, r *run) error {
	peer, err := b.peer(r)
	if err != nil {
		return err
	}
	want := features{management: b.Sm || b.Resume, resume: b.Resume, carbons: b.Carbons}
	here, err := r.login(ctx, 0, b.Pairs, want)
	if err != nil {
		return err
	}
	there, err := peer.login(ctx, 0, b.Pairs, want)
	if err != nil {
		return fmt.Errorf("at the second server: %w", err)
	}
	if err := meet(ctx, here[0], there[0].account.Host()); err != nil {
		return err
	}
	ends := make([][2]*session, b.Pairs)
	for i := range ends {
		ends[i] = [2]*session{here[i], there[i]}
		if b.Both && i%2 == 1 {
			ends[i] = [2]*session{there[i], here[i]}
		}
	}
	return b.talk(ctx, r, ends)
}

// meet has the server ask another for a sign of life, so that the streams between
// them are there. An answer is one, whatever it says.
func meet(ctx context.Context, s *session, other jid.JID) error {
	_, err := s.ask(ctx, stanza.Get, other, bare(namePing), nil)
	// RFC 6120 §8.3.3: what the sender's own server says.
	if refusal, ok := errors.AsType[*stanza.Error](err); ok && !strings.HasPrefix(refusal.Condition, "remote-server-") {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s does not reach %s, which it has to: %w", s.account.Host(), other, err)
	}
	return nil
}
