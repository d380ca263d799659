package main

import (
	"context"
	"os"
	"runtime"
	"syscall"
	"time"
)

// processors chooses how many processors run Go code at a time. What passes through
// several goroutines, as a message does, is handed from one processor to the next when
// there are others without work: they are woken for it, and at low rates waking costs
// more than the work. A server with little to do therefore uses one, and more from the
// next look on when they are needed. What it costs: behind a system call, as a sync of the
// disk, the only processor is given to others after 10 ms at the latest, not at once.
type processors struct {
	most   int // that there are
	now    int // in use
	wanted int // the most that would have been enough, at any look of this calm
	looks  int // since more were in use than enough
}

const (
	lookEvery = 250 * time.Millisecond
	// restEvery is the same while nearly nothing is to be done, restShare of one
	// processor: a look wakes the machine.
	restEvery = time.Second
	restShare = 0.05
	// fullShare is the part of the processors in use that is work, at which more are taken.
	fullShare = 0.5
	// idleShare is the part of fewer processors that the work may be, for these to be
	// enough. It is less than fullShare, since work on fewer costs less.
	idleShare = 0.4
	// calmLooks is for how many looks in turn fewer would have been enough.
	calmLooks = 12
)

// next tells how many there shall be, after so many were kept busy since the last look.
func (p *processors) next(busy float64) int {
	if busy >= fullShare*float64(p.now) {
		p.now, p.looks, p.wanted = min(p.most, max(2*p.now, enough(busy))), 0, 0
		return p.now
	}
	p.wanted = max(p.wanted, enough(busy))
	if p.wanted >= p.now {
		p.looks, p.wanted = 0, 0
		return p.now
	}
	if p.looks++; p.looks >= calmLooks {
		p.now, p.looks, p.wanted = p.wanted, 0, 0
	}
	return p.now
}

// enough is the least number of which no more than idleShare is busy.
func enough(busy float64) int { return int(busy/idleShare) + 1 }

// adaptProcessors does so until ctx ends. Who has set GOMAXPROCS has chosen.
func adaptProcessors(ctx context.Context) {
	most := runtime.GOMAXPROCS(0)
	if _, set := os.LookupEnv("GOMAXPROCS"); set || most == 1 {
		return
	}
	defer runtime.SetDefaultGOMAXPROCS()
	p := processors{most: most, now: most}
	look := time.NewTimer(lookEvery)
	defer look.Stop()
	last, used := time.Now(), cpuTime()
	for {
		select {
		case <-ctx.Done():
			return
		case <-look.C:
		}
		t, cpu, before := time.Now(), cpuTime(), p.now
		busy := float64(cpu-used) / float64(t.Sub(last))
		n := p.next(busy)
		last, used = t, cpu
		if n == 1 && busy < restShare {
			look.Reset(restEvery)
		} else {
			look.Reset(lookEvery)
		}
		switch {
		case n == before:
		case n == p.most: // what a container may use changes
			runtime.SetDefaultGOMAXPROCS()
			p.most = runtime.GOMAXPROCS(0)
			p.now = p.most
		default:
			runtime.GOMAXPROCS(n)
		}
	}
}

// cpuTime is what this process has used.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
