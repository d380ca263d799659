package c2s

import (
	"runtime/debug"
	"runtime/metrics"
	"sync"
	"time"
)

// quiet keeps memory small over a wave of log-ins. Each leaves a lot of garbage
// among what its session keeps for long; while they last, garbage is collected
// sooner, so that it does not spread, and once the number of sessions has settled
// what is free goes back to the system.
type quiet struct {
	mu      sync.Mutex // guards what follows
	timer   *time.Timer
	wave    bool
	usual   int // GC percentage without a wave
	percent int // in this one
	changes int // log-ins and log-outs in this one
	off     bool
}

const (
	// quietAfter is longer than restAfter: stacks that readers leave behind go back too.
	quietAfter = 4 * time.Second
	// wavePercent is the GC percentage in a wave. 50 makes an idle session of 1,000
	// 10 % smaller than 100 does, for 10 % more CPU in each log-in.
	wavePercent = 50
	// leastGarbage is what is let lie in a wave before it is collected: among few
	// sessions half of what lives is so little that collecting is most of the work.
	leastGarbage = 6 << 20
	// mostPercent bounds the percentage that this comes to.
	mostPercent = 300
	// weighEvery is how many log-ins and log-outs there are before it is looked at
	// anew how much lives.
	weighEvery = 32
)

func (q *quiet) changed() {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.off {
		return
	}
	q.weigh()
	if q.timer == nil {
		q.timer = time.AfterFunc(quietAfter, q.settled)
		return
	}
	q.timer.Reset(quietAfter)
}

// weigh sets the GC percentage of a wave, at its beginning and when what lives has
// become another: that stops the world.
func (q *quiet) weigh() {
	switch q.changes++; {
	case !q.wave:
		q.wave, q.changes, q.percent = true, 0, percent()
		q.usual = debug.SetGCPercent(q.percent)
	case q.changes%weighEvery == 0:
		if p := percent(); p < q.percent*7/8 || p > q.percent*9/8 {
			q.percent = p
			debug.SetGCPercent(p)
		}
	}
}

// percent returns the GC percentage that is right for what lives.
func percent() int {
	rooted := []metrics.Sample{{Name: "/gc/heap/live:bytes"}, {Name: "/gc/scan/stack:bytes"}, {Name: "/gc/scan/globals:bytes"}}
	metrics.Read(rooted)
	sum := uint64(1)
	for _, s := range rooted {
		if s.Value.Kind() == metrics.KindUint64 {
			sum += s.Value.Uint64()
		}
	}
	return max(wavePercent, int(min(leastGarbage*100/sum, mostPercent)))
}

func (q *quiet) settled() {
	debug.FreeOSMemory()
	q.mu.Lock()
	defer q.mu.Unlock()
	q.calm()
}

func (q *quiet) calm() {
	if q.wave {
		q.wave = false
		debug.SetGCPercent(q.usual)
	}
}

func (q *quiet) stop() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.off = true
	q.calm()
	if q.timer != nil {
		q.timer.Stop()
	}
}
