package resolve

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// NameServer is a Resolver that asks one name server and believes what that says of
// DNSSEC (RFC 4035 §3.2.3): it is to validate answers, and nobody is to be between it
// and us. It asks nobody else, nor the system's file of hosts.
type NameServer struct {
	at    netip.AddrPort
	again time.Duration // after which it is asked again
}

// NewNameServer returns a Resolver that trusts the name server at an address.
func NewNameServer(at netip.AddrPort) NameServer { return NameServer{at, askAgain} }

const typeTLSA dnsmessage.Type = 52 // RFC 6698 §7.1

// Bounds of one question.
const (
	udpSize     = 1232 // of an answer without TCP: what passes everywhere in one piece
	askAgain    = 3 * time.Second
	asks        = 3
	maxRecords  = 512 // of all kinds in an answer
	maxAliases  = 16
	maxHostname = 253
)

// SRV implements Resolver.
func (n NameServer) SRV(ctx context.Context, name string) (Answer[SRV], error) {
	return lookUp(ctx, n, name, dnsmessage.TypeSRV, readSRV)
}

// TLSA implements Resolver.
func (n NameServer) TLSA(ctx context.Context, name string) (Answer[TLSA], error) {
	return lookUp(ctx, n, name, typeTLSA, readTLSA)
}

// Addresses implements Resolver.
func (n NameServer) Addresses(ctx context.Context, name string) (Answer[netip.Addr], error) {
	type result struct {
		Answer[netip.Addr]
		err error
	}
	later := make(chan result, 1)
	go func() {
		a, err := lookUp(ctx, n, name, dnsmessage.TypeAAAA, readAAAA)
		later <- result{a, err}
	}()
	four, err := lookUp(ctx, n, name, dnsmessage.TypeA, readA)
	six := <-later
	if err != nil && six.err != nil {
		if errors.Is(err, ErrNotFound) { // of one kind only, for all we know
			err = six.err
		}
		return Answer[netip.Addr]{}, err
	}
	// RFC 7673 §3.2: it is enough if one kind is.
	return Answer[netip.Addr]{slices.Concat(six.Records, four.Records), six.Secure || four.Secure}, nil
}

// reader reads a record whose header has been read; those that are not ok are left
// out.
type reader[T any] func(p *dnsmessage.Parser) (record T, ok bool, err error)

func readSRV(p *dnsmessage.Parser) (SRV, bool, error) {
	r, err := p.SRVResource()
	target := r.Target.String()
	return SRV{target, r.Port, r.Priority, r.Weight}, err == nil && (target == "." || hostname(target)), err
}

func readTLSA(p *dnsmessage.Parser) (TLSA, bool, error) {
	r, err := p.UnknownResource()
	if err != nil {
		return TLSA{}, false, err
	}
	t, ok := parseTLSA(r.Data)
	return t, ok, nil
}

func readA(p *dnsmessage.Parser) (netip.Addr, bool, error) {
	r, err := p.AResource()
	return netip.AddrFrom4(r.A), err == nil, err
}

func readAAAA(p *dnsmessage.Parser) (netip.Addr, bool, error) {
	r, err := p.AAAAResource()
	return netip.AddrFrom16(r.AAAA), err == nil, err
}

// hostname reports whether a name is one of a host, and not any bytes at all.
func hostname(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return false
		}
	}
	return len(name) > 1 && len(name) <= maxHostname+1
}

// lookUp asks for the records of one type.
func lookUp[T any](ctx context.Context, n NameServer, name string, typ dnsmessage.Type, read reader[T]) (Answer[T], error) {
	q, err := newQuestion(name, typ)
	if err != nil {
		return Answer[T]{}, fmt.Errorf("%w: %w", ErrNotFound, err) // who cannot be asked for is not there
	}
	msg, err := n.ask(ctx, q)
	if err != nil {
		return Answer[T]{}, fmt.Errorf("ask %s: %w", n.at, cmp.Or(ctx.Err(), err))
	}
	return parse(q, msg, read)
}

// question is one that is asked.
type question struct {
	dnsmessage.Question
	id    uint16
	bytes []byte
}

func newQuestion(name string, typ dnsmessage.Type) (q question, err error) {
	host, err := dnsmessage.NewName(strings.TrimSuffix(name, ".") + ".")
	if err != nil {
		return q, err
	}
	var id [2]byte
	rand.Read(id[:])
	q.id, q.Question = binary.BigEndian.Uint16(id[:]), dnsmessage.Question{Name: host, Type: typ, Class: dnsmessage.ClassINET}
	var opt dnsmessage.ResourceHeader
	if err := opt.SetEDNS0(udpSize, dnsmessage.RCodeSuccess, true); err != nil {
		return q, err
	}
	m := dnsmessage.Message{
		// RFC 6840 §5.7: the bit says that we would like to see it in the answer.
		Header:      dnsmessage.Header{ID: q.id, RecursionDesired: true, AuthenticData: true},
		Questions:   []dnsmessage.Question{q.Question},
		Additionals: []dnsmessage.Resource{{Header: opt, Body: &dnsmessage.OPTResource{}}},
	}
	q.bytes, err = m.Pack()
	return q, err
}

// answered reports whether a message is the answer to the question, and whether that
// was cut off.
func (q question) answered(msg []byte) (ok, cut bool) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err != nil || !h.Response || h.ID != q.id {
		return false, false
	}
	asked, err := p.Question()
	if err != nil || asked.Type != q.Type || asked.Class != q.Class || !strings.EqualFold(asked.Name.String(), q.Name.String()) {
		return false, false
	}
	return true, h.Truncated
}

var errNoAnswer = errors.New("name server does not answer")

// ask gets the answer, by UDP or, if it is too long for that, by TCP.
func (n NameServer) ask(ctx context.Context, q question) ([]byte, error) {
	msg, cut, err := n.byUDP(ctx, q)
	if err == nil && cut {
		return n.byTCP(ctx, q)
	}
	return msg, err
}

func (n NameServer) byUDP(ctx context.Context, q question) (msg []byte, cut bool, err error) {
	conn, stop, err := n.dial(ctx, "udp")
	if err != nil {
		return nil, false, err
	}
	defer stop()
	buf := make([]byte, 4*udpSize) // some do not ask how much we take
	for range asks {
		if _, err := conn.Write(q.bytes); err != nil {
			return nil, false, err
		}
		for {
			size, err := conn.Read(buf)
			var ne net.Error
			if errors.As(err, &ne) && ne.Timeout() {
				break
			}
			if err != nil {
				return nil, false, err
			}
			// Anything else is somebody who guesses, or an answer to an older one.
			if ok, cut := q.answered(buf[:size]); ok {
				return buf[:size], cut, nil
			}
		}
		if err := n.wait(ctx, conn); err != nil {
			return nil, false, err
		}
	}
	return nil, false, errNoAnswer
}

func (n NameServer) byTCP(ctx context.Context, q question) ([]byte, error) {
	conn, stop, err := n.dial(ctx, "tcp")
	if err != nil {
		return nil, err
	}
	defer stop()
	if _, err := conn.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(q.bytes))), q.bytes...)); err != nil {
		return nil, err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	msg := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(conn, msg); err != nil {
		return nil, err
	}
	if ok, cut := q.answered(msg); !ok || cut {
		return nil, errors.New("name server answers something else")
	}
	return msg, nil
}

// dial opens a connection that is closed by stop, and is of no use any more when the
// context ends.
func (n NameServer) dial(ctx context.Context, network string) (conn net.Conn, stop func(), err error) {
	conn, err = (&net.Dialer{Timeout: n.again}).DialContext(ctx, network, n.at.String())
	if err != nil {
		return nil, nil, err
	}
	if err := n.wait(ctx, conn); err != nil {
		conn.Close()
		return nil, nil, err
	}
	release := context.AfterFunc(ctx, func() { conn.Close() })
	return conn, func() { release(); conn.Close() }, nil
}

// wait gives the name server its time.
func (n NameServer) wait(ctx context.Context, conn net.Conn) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return conn.SetDeadline(time.Now().Add(n.again))
}

// parse reads the answer to a question.
func parse[T any](q question, msg []byte, read reader[T]) (out Answer[T], err error) {
	var p dnsmessage.Parser
	h, err := p.Start(msg)
	if err == nil {
		err = p.SkipAllQuestions()
	}
	if err != nil {
		return out, fmt.Errorf("read the answer: %w", err)
	}
	switch h.RCode {
	case dnsmessage.RCodeSuccess:
	case dnsmessage.RCodeNameError:
		return out, fmt.Errorf("%w: there is no %s", ErrNotFound, q.Name)
	case dnsmessage.RCodeServerFailure: // RFC 4035 §5.5: what is bogus is told so
		return out, fmt.Errorf("%w for %s", ErrNoAnswer, q.Name)
	default:
		return out, fmt.Errorf("name server refuses to answer for %s: %s", q.Name, h.RCode)
	}
	records, aliases, err := collect(&p, q.Type, read)
	if err != nil {
		return out, fmt.Errorf("read the answer: %w", err)
	}
	at := strings.ToLower(q.Name.String())
	for range maxAliases {
		if r := records[at]; len(r) > 0 {
			return Answer[T]{r, h.AuthenticData}, nil
		}
		next, ok := aliases[at]
		if !ok {
			return out, fmt.Errorf("%w: %s has nothing of the kind", ErrNotFound, q.Name)
		}
		at = next
	}
	return out, fmt.Errorf("too many aliases of %s", q.Name)
}

// collect reads an answer's records of a type, and its aliases, by their owners.
func collect[T any](p *dnsmessage.Parser, typ dnsmessage.Type, read reader[T]) (records map[string][]T, aliases map[string]string, err error) {
	records, aliases = make(map[string][]T), make(map[string]string)
	for range maxRecords {
		h, err := p.AnswerHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return records, aliases, nil
		}
		if err != nil {
			return nil, nil, err
		}
		owner := strings.ToLower(h.Name.String())
		switch {
		case h.Class == dnsmessage.ClassINET && h.Type == typ:
			r, ok, err := read(p)
			if err != nil {
				return nil, nil, err
			}
			if ok {
				records[owner] = append(records[owner], r)
			}
		case h.Class == dnsmessage.ClassINET && h.Type == dnsmessage.TypeCNAME:
			r, err := p.CNAMEResource()
			if err != nil {
				return nil, nil, err
			}
			aliases[owner] = strings.ToLower(r.CNAME.String())
		default: // signatures, and what else there is
			if err := p.SkipAnswer(); err != nil {
				return nil, nil, err
			}
		}
	}
	return nil, nil, errors.New("too many records")
}
