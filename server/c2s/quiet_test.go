package c2s

import (
	"runtime"
	"testing"
)

// The percentage of a wave depends on what lives: among little it is high enough for
// the garbage of many log-ins, among much it is what keeps sessions small.
func TestPercent(t *testing.T) {
	runtime.GC()
	if p := percent(); p <= wavePercent || p > mostPercent {
		t.Errorf("%d %% where little lives, want more than %d and at most %d", p, wavePercent, mostPercent)
	}
	much := make([]byte, 64<<20)
	runtime.GC()
	if p := percent(); p != wavePercent {
		t.Errorf("%d %% where much lives, want %d", p, wavePercent)
	}
	runtime.KeepAlive(much)
}
