package s2s_test

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"kith/xmpptest"
)

// BenchmarkStream is messages from a user of one server to one of another, over one
// federated stream on sockets with TLS, with everything that is done on both ends: two
// archives, delivery. Beside the time there is the CPU for each message, of both
// servers and both clients.
func BenchmarkStream(b *testing.B) {
	for _, window := range []int{1, 64} {
		b.Run(fmt.Sprintf("window=%d", window), func(b *testing.B) { benchStream(b, window) })
	}
}

func benchStream(b *testing.B, window int) {
	n := xmpptest.NewNetwork()
	n.Sockets = true
	config := xmpptest.Config("limits.stanza_rate = 0\nlimits.byte_rate = 0")
	here := xmpptest.New(b, xmpptest.Join(n), config, xmpptest.Config("hosts = [\"montague.example\"]"))
	there := xmpptest.New(b, xmpptest.Join(n), config, xmpptest.Config("hosts = [\"capulet.example\"]"))
	romeo := here.MustConnect("romeo@montague.example/home")
	juliet := there.MustBeOnline("juliet@capulet.example/balcony")[0]
	message := "<message to='juliet@capulet.example/balcony' type='chat'><body>But soft, what light through yonder window breaks?</body></message>"
	romeo.MustSend(message)
	if _, ok := juliet.Next(); !ok {
		b.Fatal("there is no stream")
	}
	begun := cpu()
	b.ResetTimer()
	sent, got := 0, 0
	for got < b.N {
		for sent < b.N && sent-got < window {
			romeo.MustSend(message)
			sent++
		}
		if _, ok := juliet.Next(); !ok {
			b.Fatalf("message %d did not arrive", got)
		}
		got++
	}
	b.StopTimer()
	b.ReportMetric(float64((cpu()-begun).Microseconds())/float64(b.N), "cpu-µs/op")
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "msg/s")
	romeo.Close()
	juliet.Close()
}

// cpu is what this process has used.
func cpu() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
