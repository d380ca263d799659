package bench

import (
	"context"
	"time"
)

// due returns when the n-th of a steady row is due, n counted from 0, at a rate
// a second.
func due(begun time.Time, n int64, rate float64) time.Time {
	return begun.Add(time.Duration(float64(n) / rate * float64(time.Second)))
}

// pace calls send for each stanza of an open loop until the context ends. One
// that is late is sent at once, and none is left out: its latency counts from
// when it was due.
func (m *meter) pace(ctx context.Context, rate float64, send func(n int64, due time.Time)) {
	begun := time.Now()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for n := int64(0); ctx.Err() == nil; n++ {
		at := due(begun, n, rate)
		if early := time.Until(at); early > 0 {
			timer.Reset(early)
			select {
			case <-timer.C:
			case <-ctx.Done():
				return
			}
		}
		m.late(time.Since(at))
		send(n, at)
		m.sent.Add(1)
	}
}

// late keeps the worst delay of the generator itself.
func (m *meter) late(d time.Duration) {
	for {
		worst := m.lag.Load()
		if int64(d) <= worst || m.lag.CompareAndSwap(worst, int64(d)) {
			return
		}
	}
}
