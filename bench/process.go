package bench

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// tick is what /proc counts CPU time in: USER_HZ is 100 wherever Linux runs.
const tick = 10 * time.Millisecond

// usage is what processes have used.
type usage struct {
	cpu, system time.Duration // system is the kernel's part of cpu
	rss, peak   int64         // bytes
	processes   int
	threads     int
}

func (u *usage) add(o usage) {
	u.cpu += o.cpu
	u.system += o.system
	u.rss += o.rss
	u.peak += o.peak
	u.processes += o.processes
	u.threads += o.threads
}

// processes are those of the server under test, with what they have started.
type processes struct{ roots []int }

// ErrNoProcess says that there is no such process to measure.
var ErrNoProcess = errors.New("no such process")

func newProcesses(roots []int) (processes, error) {
	for _, pid := range roots {
		if _, err := os.Stat(procFile(pid, "stat")); err != nil {
			return processes{}, fmt.Errorf("read the CPU time of process %d: %w; --server-pid is the server's, on this machine, and needs /proc", pid, ErrNoProcess)
		}
	}
	return processes{roots}, nil
}

func procFile(pid int, name string) string {
	return filepath.Join("/proc", strconv.Itoa(pid), name)
}

// known reports whether there is something to be measured.
func (p processes) known() bool { return len(p.roots) > 0 }

// read adds up what the processes have used so far. A process that has ended
// meanwhile counts with its parent, which has waited for it.
func (p processes) read() usage {
	var u usage
	if !p.known() {
		return u
	}
	stats := map[int]stat{}
	dirs, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return u // only a wrong pattern is an error
	}
	for _, dir := range dirs {
		pid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			continue // not a process
		}
		// One that cannot be read has ended, or is none of ours.
		if b, err := os.ReadFile(procFile(pid, "stat")); err == nil {
			if s, ok := parseStat(b); ok {
				stats[pid] = s
			}
		}
	}
	for _, pid := range tree(p.roots, stats) {
		s := stats[pid]
		u.processes++
		u.threads += s.threads
		u.cpu += s.user + s.system + s.childUser + s.childSystem
		u.system += s.system + s.childSystem
		if b, err := os.ReadFile(procFile(pid, "status")); err == nil {
			u.rss += parseStatus(b, "VmRSS")
			u.peak += parseStatus(b, "VmHWM")
		}
	}
	return u
}

// stat is what /proc/PID/stat tells, see proc_pid_stat(5).
type stat struct {
	parent, threads        int
	user, system           time.Duration
	childUser, childSystem time.Duration // of children that have ended and been waited for
}

// parseStat reads the line. The name of the program, in parentheses, may hold
// anything.
func parseStat(b []byte) (stat, bool) {
	i := bytes.LastIndexByte(b, ')')
	if i < 0 {
		return stat{}, false
	}
	const first = 3 // the number that the manual gives the field behind the name
	fields := strings.Fields(string(b[i+1:]))
	ok := true
	number := func(n int) int {
		if n-first >= len(fields) {
			ok = false
			return 0
		}
		v, err := strconv.Atoi(fields[n-first])
		ok = ok && err == nil
		return v
	}
	ticks := func(n int) time.Duration { return time.Duration(number(n)) * tick }
	s := stat{
		parent: number(4), threads: number(20),
		user: ticks(14), system: ticks(15), childUser: ticks(16), childSystem: ticks(17),
	}
	return s, ok
}

// parseStatus returns a size that /proc/PID/status tells, in bytes; 0 if it does
// not, as of a process that has ended.
func parseStatus(b []byte, name string) int64 {
	for line := range strings.Lines(string(b)) {
		rest, ok := strings.CutPrefix(line, name+":")
		if !ok {
			continue
		}
		v, err := strconv.ParseInt(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(rest), "kB")), 10, 64)
		if err != nil {
			return 0
		}
		return v * 1024
	}
	return 0
}

// tree returns the processes among stats that are roots or descend from one,
// each once.
func tree(roots []int, stats map[int]stat) []int {
	children := map[int][]int{}
	for pid, s := range stats {
		children[s.parent] = append(children[s.parent], pid)
	}
	var out []int
	seen := map[int]bool{}
	queue := append([]int(nil), roots...)
	for len(queue) > 0 {
		pid := queue[0]
		queue = queue[1:]
		if _, alive := stats[pid]; seen[pid] || !alive {
			continue
		}
		seen[pid] = true
		out = append(out, pid)
		queue = append(queue, children[pid]...)
	}
	return out
}

// ownCPU is the CPU time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// yardstick is the time that hashing 2 MiB takes now, when nobody interrupts
// it. Other load on a shared core or cache makes CPU time dearer: where it
// differs between two runs, the machine was not equally fast.
func yardstick() time.Duration {
	const (
		pieces = 8
		tries  = 5
	)
	work := make([]byte, (2<<20)/pieces)
	total := time.Duration(0)
	for range pieces {
		best := time.Duration(0)
		for i := range tries {
			begun := time.Now()
			sum := sha256.Sum256(work)
			work[0] = sum[0] // so that the sum is needed
			if took := time.Since(begun); i == 0 || took < best {
				best = took
			}
		}
		total += best
	}
	return total
}
