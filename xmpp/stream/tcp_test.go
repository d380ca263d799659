package stream

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"kith/xmpp/xmltree"
)

// certificate makes a self-signed one and the pool that trusts it.
func certificate(t testing.TB) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"montague.example"}, IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// loopback returns both ends of a TCP connection.
func loopback(t testing.TB) (server, client net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	client, err = net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close(); client.Close() })
	return server, client
}

// pair makes streams of both ends of a connection.
func pair(server, client net.Conn) (s, c *TCP) {
	return NewTCP(server, Options{Server: true}), NewTCP(client, Options{})
}

// secure does the handshake at both ends.
func secure(t testing.TB, s, c *TCP, version uint16) {
	t.Helper()
	cert, pool := certificate(t)
	done := make(chan error, 1)
	go func() {
		done <- s.StartTLS(context.Background(), ServerTLS(&tls.Config{Certificates: []tls.Certificate{cert}, MaxVersion: version}))
	}()
	if err := c.StartTLS(context.Background(), &tls.Config{RootCAs: pool, ServerName: "montague.example"}); err != nil {
		t.Fatalf("client: %v", err)
	}
	if err := <-done; err != nil {
		t.Fatalf("server: %v", err)
	}
}

// open exchanges headers.
func open(t testing.TB, s, c *TCP) {
	t.Helper()
	errs := make(chan error, 1)
	go func() {
		if _, err := s.ReadHeader(); err != nil {
			errs <- err
			return
		}
		errs <- s.Open(Header{From: "montague.example", ID: "x", Version: Version}, Features{})
	}()
	if err := c.Open(Header{To: "montague.example", Version: Version}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.ReadHeader(); err != nil {
		t.Fatal(err)
	}
	if el, err := c.ReadElement(); err != nil || !IsFeatures(el) {
		t.Fatalf("first element is %q, %v; want features", el.Raw(), err)
	}
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
}

func message(n int) []byte {
	return fmt.Appendf(nil, "<message to='romeo@montague.example/home' type='chat' id='%d'><body>%s</body></message>",
		n, strings.Repeat("x", 300))
}

// kinds are the connections that a stream has to work over.
var kinds = map[string]func(t *testing.T) (s, c *TCP){
	"pipe": func(t *testing.T) (s, c *TCP) { return pair(net.Pipe()) },
	"tcp":  func(t *testing.T) (s, c *TCP) { return pair(loopback(t)) },
	"tls over pipe": func(t *testing.T) (s, c *TCP) {
		s, c = pair(net.Pipe())
		secure(t, s, c, 0)
		return s, c
	},
	"tls over tcp": func(t *testing.T) (s, c *TCP) {
		s, c = pair(loopback(t))
		secure(t, s, c, 0)
		return s, c
	},
	"tls 1.2": func(t *testing.T) (s, c *TCP) {
		s, c = pair(loopback(t))
		secure(t, s, c, tls.VersionTLS12)
		return s, c
	},
}

func TestElements(t *testing.T) {
	for name, make := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := make(t)
			open(t, s, c)
			const count = 300
			go func() {
				for n := 0; n < count; {
					var batch [][]byte
					for range 1 + n%90 { // up to 36 kB
						batch = append(batch, []byte(" "), message(n))
						n++
					}
					if err := c.WriteBatch(batch); err != nil {
						t.Errorf("WriteBatch: %v", err)
					}
				}
				c.Close(nil)
			}()
			n := 0
			for ; ; n++ {
				el, err := s.ReadElement()
				if err == io.EOF {
					break
				}
				if err != nil {
					t.Fatalf("element %d: %v", n, err)
				}
				if got, want := el.Attr("id"), fmt.Sprint(n); got != want {
					t.Fatalf("element has id %s, want %s", got, want)
				}
			}
			if n < count {
				t.Errorf("%d elements came, want %d", n, count)
			}
			if err := s.Close(nil); err != nil {
				t.Errorf("Close: %v", err)
			}
			if _, err := s.ReadElement(); err == nil {
				t.Error("an element came after Close")
			}
			if err := s.WriteBatch([][]byte{message(0)}); err == nil {
				t.Error("a batch was written after Close")
			}
			in, out := s.Counters()
			if in == 0 || out == 0 {
				t.Errorf("counters are %d, %d", in, out)
			}
		})
	}
}

func TestReady(t *testing.T) {
	for name, make := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := make(t)
			open(t, s, c)
			if s.Ready() {
				t.Error("ready before anything came")
			}
			// A batch of one record comes as one.
			go c.WriteBatch([][]byte{message(0), message(1), message(2), message(3)[:50]})
			for i := range 3 {
				if el, err := s.ReadElement(); err != nil || el.Attr("id") != fmt.Sprint(i) {
					t.Fatalf("element %d: %q, %v", i, el.Raw(), err)
				}
				if got, want := s.Ready(), i < 2; got != want {
					t.Errorf("after element %d: ready is %v, want %v", i, got, want)
				}
			}
			if s.buf != nil {
				t.Error("a buffer is held in the middle of an element")
			}
			go c.WriteBatch([][]byte{message(3)[50:]})
			if el, err := s.ReadElement(); err != nil || el.Attr("id") != "3" {
				t.Fatalf("element 3: %q, %v", el.Raw(), err)
			}
			bye(s, c)
		})
	}
}

// bye closes both ends at once, as neither then waits for the other.
func bye(s, c *TCP) {
	go s.Close(nil)
	c.Close(nil)
}

// An idle connection holds no buffer, nor does one that gets keepalives.
func TestIdleHoldsNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pair(net.Pipe())
		secure(t, s, c, 0)
		open(t, s, c)
		go func() {
			for {
				if _, err := s.ReadElement(); err != nil {
					return
				}
			}
		}()
		for _, in := range []string{"", "<message/>", " ", "\n\n", "<message><body>half", "</body></message>", " "} {
			if err := c.WriteBatch([][]byte{[]byte(in)}); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
			if s.buf != nil || s.sock.held != nil {
				t.Errorf("a buffer is held after %q", in)
			}
		}
		c.Close(nil)
		s.Close(nil)
	})
}

func TestIdleMemory(t *testing.T) {
	const conns = 200
	heap := func() uint64 {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	before := heap()
	var keep []*TCP
	for range conns {
		s, c := pair(loopback(t))
		open(t, s, c)
		go s.ReadElement()
		keep = append(keep, s, c)
	}
	for _, c := range keep {
		if !c.opts.Server {
			c.WriteBatch([][]byte{[]byte("<message><body>" + strings.Repeat("x", 100))})
		}
	}
	time.Sleep(50 * time.Millisecond) // real sockets: there is nothing to wait on
	each := int64(heap()-before) / conns
	// Both ends, with a goroutine that reads; a buffer alone would be 16 KiB.
	if each > 12<<10 {
		t.Errorf("a pair of idle connections holds %d bytes", each)
	}
	t.Logf("%d bytes for a pair", each)
	for _, c := range keep {
		c.sock.Conn.Close()
	}
}

func TestTryWriteBatch(t *testing.T) {
	for _, name := range []string{"tcp", "tls over tcp"} {
		t.Run(name, func(t *testing.T) {
			s, c := kinds[name](t)
			open(t, s, c)
			batch := [][]byte{message(0), message(1), message(2)}
			sent := 0
			for {
				done, err := s.TryWriteBatch(batch)
				if err != nil {
					t.Fatalf("TryWriteBatch: %v", err)
				}
				sent += len(batch)
				if !done {
					break
				}
				if sent > 1e6 {
					t.Fatal("a socket that nobody reads takes everything")
				}
			}
			if len(s.sock.pending) > 2*bufSize {
				t.Errorf("%d bytes are pending", len(s.sock.pending))
			}
			if done, err := s.TryWriteBatch(batch); done || !errors.Is(err, ErrWouldBlock) {
				t.Errorf("TryWriteBatch with bytes pending = %v, %v; want ErrWouldBlock", done, err)
			}
			drained := make(chan error)
			go func() { drained <- s.Drain() }()
			for i := range sent {
				el, err := c.ReadElement()
				if err != nil || el.Attr("id") != fmt.Sprint(i%3) {
					t.Fatalf("element %d of %d: %q, %v", i, sent, el.Raw(), err)
				}
			}
			if err := <-drained; err != nil {
				t.Errorf("Drain: %v", err)
			}
			if s.sock.pending != nil || s.sock.held != nil {
				t.Error("a buffer is held after Drain")
			}
			if done, err := s.TryWriteBatch(batch); !done || err != nil {
				t.Errorf("TryWriteBatch after Drain = %v, %v", done, err)
			}
		})
	}
}

// A pipe cannot be asked whether it would block.
func TestTryWriteBatchOnPipe(t *testing.T) {
	s, _ := pair(net.Pipe())
	if done, err := s.TryWriteBatch([][]byte{message(0)}); done || !errors.Is(err, ErrWouldBlock) {
		t.Errorf("TryWriteBatch = %v, %v; want ErrWouldBlock", done, err)
	}
}

// trickle is a pipe that takes little at once.
type trickle struct {
	net.Conn
	take int
	got  bytes.Buffer
}

func (c *trickle) TryWrite(p []byte) (int, error) {
	n := min(len(p), c.take)
	return c.got.Write(p[:n])
}

func (c *trickle) Write(p []byte) (int, error) { return c.got.Write(p) }

func TestTryWriter(t *testing.T) {
	end, _ := net.Pipe()
	c := &trickle{Conn: end, take: 10}
	s := NewTCP(c, Options{Server: true})
	if done, err := s.TryWriteBatch([][]byte{[]byte("0123456789"), []byte("abcdefghijklm")}); done || err != nil {
		t.Errorf("TryWriteBatch = %v, %v; want false, nil", done, err)
	}
	if err := s.Drain(); err != nil {
		t.Fatal(err)
	}
	if got, want := c.got.String(), "0123456789abcdefghijklm"; got != want {
		t.Errorf("written %q, want %q", got, want)
	}
}

func TestWriteTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end, other := net.Pipe()
		defer other.Close()
		s := NewTCP(end, Options{Server: true, WriteTimeout: 5 * time.Second})
		start := time.Now()
		err := s.WriteBatch([][]byte{message(0)})
		if err == nil || time.Since(start) != 5*time.Second {
			t.Errorf("WriteBatch gave up after %v with %v, want 5s", time.Since(start), err)
		}
		if err := s.WriteBatch([][]byte{message(0)}); err == nil {
			t.Error("a batch was written behind a gap")
		}
	})
}

func TestReadDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, c := pair(net.Pipe())
		open(t, s, c)
		s.SetReadDeadline(time.Now().Add(time.Minute))
		start := time.Now()
		_, err := s.ReadElement()
		if time.Since(start) != time.Minute || !errors.Is(ErrorFor(err), ErrConnectionTimeout) {
			t.Errorf("ReadElement gave %v after %v", err, time.Since(start))
		}
		s.SetReadDeadline(time.Time{})
		go c.WriteBatch([][]byte{message(7)})
		if el, err := s.ReadElement(); err != nil || el.Attr("id") != "7" {
			t.Errorf("after the deadline: %q, %v", el.Raw(), err)
		}
		s.Close(nil)
		c.Close(nil)
	})
}

func TestLimits(t *testing.T) {
	end, other := net.Pipe()
	s := NewTCP(end, Options{Server: true, Limits: xmltree.Limits{Bytes: 1000}})
	go func() {
		other.Write([]byte("<stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"))
		other.Write(message(0))
		other.Write([]byte("<message><body>" + strings.Repeat("x", 2000)))
	}()
	s.ReadHeader()
	if _, err := s.ReadElement(); err != nil {
		t.Fatal(err)
	}
	if _, err := s.ReadElement(); !errors.Is(err, ErrPolicyViolation) {
		t.Errorf("an element of 2,000 bytes: %v, want policy-violation", err)
	}
}

func TestAllocations(t *testing.T) {
	// crypto/tls allocates a reader for each of the three times it looks for a
	// record or its rest.
	for name, most := range map[string]float64{"tcp": 5, "tls over tcp": 5 + 3} {
		s, c := kinds[name](t)
		open(t, s, c)
		batch := [][]byte{message(0)[:40], message(0)[40:]}
		read := testing.AllocsPerRun(500, func() {
			if done, err := c.TryWriteBatch(batch); !done || err != nil {
				t.Fatal(done, err)
			}
			if _, err := s.ReadElement(); err != nil {
				t.Fatal(err)
			}
			s.Ready()
		})
		write := testing.AllocsPerRun(500, func() {
			if err := c.WriteBatch(batch); err != nil {
				t.Fatal(err)
			}
		})
		t.Logf("%s: %.1f allocations to write and read, %.1f to write", name, read, write)
		if write > 1 || read > most+write {
			t.Errorf("%s: %.1f allocations to write and read an element, %.1f to write it; want at most 1, and %.0f more", name, read, write, most)
		}
	}
}

func BenchmarkElement(b *testing.B) {
	for _, encrypted := range []bool{false, true} {
		b.Run(map[bool]string{false: "tcp", true: "tls"}[encrypted], func(b *testing.B) {
			s, c := pair(loopback(b))
			if encrypted {
				secure(b, s, c, 0)
			}
			open(b, s, c)
			batch := [][]byte{message(0)}
			b.ReportAllocs()
			for b.Loop() {
				c.TryWriteBatch(batch)
				s.ReadElement()
				s.Ready()
			}
		})
	}
}
