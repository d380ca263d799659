package server_test

import (
	"slices"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"kith/client"
	"kith/xmpp/sasl"
	"kith/xmpptest"
)

// TestBruteForce: who guesses wrong too often has to wait, longer each time.
func TestBruteForce(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(mercutio)
		guess := func() (string, time.Duration) {
			c, err := s.Open("thief", host, true)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Cut()
			s.Settle()
			c.Received()
			begun := time.Now()
			c.MustSend(auth(sasl.Plain, "\x00mercutio\x00guess"))
			for range 40 {
				if el, ok := c.Next(); ok {
					return el.First().Name().Local, time.Since(begun)
				}
				s.Pass(time.Second)
			}
			return "nothing", time.Since(begun)
		}
		var waits []time.Duration
		for range 10 {
			what, d := guess()
			if what != "not-authorized" {
				t.Errorf("a wrong password: %s, want not-authorized", what)
			}
			waits = append(waits, d)
		}
		want := []time.Duration{0, 0, 0, 0, 0, time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second, 16 * time.Second}
		for i := range want {
			if waits[i] != want[i] {
				t.Errorf("waited %v, want %v", waits, want)
				break
			}
		}
		if what, _ := guess(); what != "temporary-auth-failure" {
			t.Errorf("a guess that would have to wait for longer than a log-in may take: %s, want temporary-auth-failure", what)
		}
		// Others are not concerned, from elsewhere.
		s.MustConnect("tybalt@" + host)
	}, xmpptest.Config("limits.login_failures = 4"))
}

// TestGuessesOfNobody: what is no name of an account counts for nobody's, whoever was
// tried before on the stream.
func TestGuessesOfNobody(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(mercutio)
		c := reach(t, s, "before login")
		for _, message := range []string{"\x00mercutio\x00guess", "\x00a@b\x00guess"} {
			c.MustSend(auth(sasl.Plain, message))
			c.Expect("<failure " + saslNS + "><not-authorized/></failure>")
		}
		c.Cut()
		begun := time.Now()
		s.MustConnect("mercutio@" + host)
		if took := time.Since(begun); took > 0 {
			t.Errorf("the owner waited %v", took)
		}
	}, xmpptest.Config("limits.login_failures = 1"))
}

// TestTokenFlood: an address that tries tokens has to wait, and so has nobody else.
func TestTokenFlood(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(mercutio)
		d := &handheld{}
		d.connect(t, s, client.Config{Password: xmpptest.Password}, sasl.ScramSHA512Plus)
		saved, _ := d.wallet.Load(mercutio)
		saved.Token = "guessed"
		guess := &wallet{}
		begun := time.Now()
		tries := 0
		for ; tries < 26; tries++ {
			guess.Save(mercutio, saved)
			if _, err := login(t, s, phone, client.Config{Tokens: guess}); condition(err) != "not-authorized" {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took < 30*time.Second {
			t.Errorf("%d guesses took %v", tries, took)
		}
		c := client.Config{JID: mercutio, DirectTLS: true, TLS: s.TLS(host), Tokens: &d.wallet}
		c.Agent.ID = phone
		begun = time.Now()
		cl, err := client.NewOnConn(t.Context(), s.DialFrom("198.51.100.1", true), c)
		if err != nil {
			t.Fatal(err)
		}
		if took := time.Since(begun); took > 0 {
			t.Errorf("the owner of the token waited %v", took)
		}
		cl.Close()
	})
}

// together has n clients log in at the same time, each as change has it, and returns
// when those were refused who were told that it was wrong, and how many were let in.
func together(t *testing.T, s *xmpptest.Server, n int, change func(i int, c *client.Config) (from string)) (wrong []time.Duration, in int) {
	t.Helper()
	var mu sync.Mutex
	var wg sync.WaitGroup
	begun := time.Now()
	for i := range n {
		c := client.Config{JID: mercutio, DirectTLS: true, TLS: s.TLS(host)}
		conn := s.DialFrom(change(i, &c), true)
		wg.Go(func() {
			cl, err := client.NewOnConn(t.Context(), conn, c)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				in++
				cl.Close()
			case condition(err) == sasl.NotAuthorized:
				wrong = append(wrong, time.Since(begun))
			}
		})
	}
	wg.Wait()
	slices.Sort(wrong)
	return wrong, in
}

// elsewhere is an address that nobody else has.
func elsewhere(i int) string { return "198.51.100." + strconv.Itoa(i+1) }

// TestParallelGuesses: who guesses many times at once learns no more than who does so
// once after the other: of a password from however many addresses, of a token, and
// of the code of a second factor.
func TestParallelGuesses(t *testing.T) {
	first := []time.Duration{0, 0, 0, 0, 0, time.Second, 3 * time.Second, 7 * time.Second, 15 * time.Second}
	for _, m := range []string{sasl.Plain, sasl.ScramSHA256Plus} {
		for _, classic := range []bool{true, false} {
			t.Run(m, func(t *testing.T) {
				secure(t, func(t *testing.T, s *xmpptest.Server) {
					s.Account(mercutio)
					wrong, in := together(t, s, 40, func(i int, c *client.Config) string {
						c.Password, c.Mechanisms, c.Classic = "guess", []string{m}, classic
						return elsewhere(i)
					})
					if !slices.Equal(wrong, first) || in > 0 {
						t.Errorf("RFC 6120 %v: refused after %v, %d are in; want %v", classic, wrong, in, first)
					}
				}, xmpptest.Config("limits.login_failures = 4"))
			})
		}
	}
	t.Run("tokens", func(t *testing.T) {
		secure(t, func(t *testing.T, s *xmpptest.Server) {
			s.Account(mercutio)
			d := &handheld{}
			d.connect(t, s, client.Config{Password: xmpptest.Password}, sasl.ScramSHA512Plus)
			saved, _ := d.wallet.Load(mercutio)
			saved.Token = "guessed"
			wrong, in := together(t, s, 40, func(_ int, c *client.Config) string {
				guess := &wallet{}
				guess.Save(mercutio, saved)
				c.Tokens, c.Agent.ID = guess, phone
				return elsewhere(0)
			})
			// An address is forgiven four times as much.
			if want := append(make([]time.Duration, 12), first...); !slices.Equal(wrong, want) || in > 0 {
				t.Errorf("refused after %v, %d are in; want %v", wrong, in, want)
			}
		}, xmpptest.Config("limits.login_failures = 4"))
	})
	t.Run("codes", func(t *testing.T) {
		secure(t, func(t *testing.T, s *xmpptest.Server) {
			enrol(t, s)
			wrong, in := together(t, s, 40, func(i int, c *client.Config) string {
				c.Password = xmpptest.Password
				c.Code = func() (string, error) { return "000000", nil }
				return elsewhere(i)
			})
			if at := slices.Index(wrong, time.Second); at > 5 || at < 0 && len(wrong) > 5 || in > 0 {
				t.Errorf("refused after %v, %d are in; want no more than 5 at once", wrong, in)
			}
		}, xmpptest.Config("limits.login_failures = 4"))
	})
}

// TestParallelLogins: who has the password waits for nobody, with as many devices as
// he has, from one address or many.
func TestParallelLogins(t *testing.T) {
	for name, from := range map[string]func(int) string{"one address": func(int) string { return elsewhere(0) }, "many": elsewhere} {
		t.Run(name, func(t *testing.T) {
			secure(t, func(t *testing.T, s *xmpptest.Server) {
				s.Account(mercutio)
				begun := time.Now()
				wrong, in := together(t, s, 20, func(i int, c *client.Config) string {
					c.Password, c.Classic = xmpptest.Password, i%2 == 0
					return from(i)
				})
				if took := time.Since(begun); took > 0 || in != 20 || len(wrong) > 0 {
					t.Errorf("%d are in after %v", in, took)
				}
			}, xmpptest.Config("limits.login_failures = 1"))
		})
	}
}

// TestHeldExchanges: who begins to log in and goes no further is not in anybody's way
// once he is gone.
func TestHeldExchanges(t *testing.T) {
	secure(t, func(t *testing.T, s *xmpptest.Server) {
		s.Account(mercutio)
		var open []*xmpptest.Client
		for range 3 {
			for _, p := range profiles {
				c := reach(t, s, "before login")
				c.MustSend(p.begin(sasl.ScramSHA256, "n,,n=mercutio,r=rOprNGfwEbeRWgbNEkqO", ""))
				s.Settle()
				open = append(open, c)
			}
		}
		for _, c := range open {
			c.Cut()
		}
		s.Settle()
		begun := time.Now()
		s.MustConnect("mercutio@" + host)
		if took := time.Since(begun); took > 0 {
			t.Errorf("the owner waited %v", took)
		}
	}, xmpptest.Config("limits.login_failures = 4"))
}

// TestStopBesideGuesses: who waits for his next guess does not keep the server from
// stopping.
func TestStopBesideGuesses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := xmpptest.New(t, xmpptest.Config("limits.login_failures = 1"))
		s.Account(mercutio)
		for range 8 {
			c := reach(t, s, "before login")
			c.MustSend(auth(sasl.Plain, "\x00mercutio\x00guess"))
			s.Settle()
			if _, answered := c.Next(); !answered {
				begun := time.Now()
				s.Restart()
				if took := time.Since(begun); took > 5*time.Second {
					t.Errorf("it took %v", took)
				}
				return
			}
			c.Cut()
			s.Pass(10 * time.Second)
		}
		t.Error("nobody has to wait")
	})
}
