package bench

import (
	"math/bits"
	"sync/atomic"
	"time"
)

const (
	subBits    = 6 // 64 buckets for each power of two: a value is off by at most 1/64
	subBuckets = 1 << subBits
	buckets    = (64 - subBits) * subBuckets
)

// histogram counts durations. Any goroutine may add.
type histogram struct {
	counts [buckets]atomic.Int64
	total  atomic.Int64
	most   atomic.Int64 // nanoseconds
}

// bucket returns where a value of v nanoseconds is counted.
func bucket(v int64) int {
	if v < subBuckets {
		return int(max(v, 0))
	}
	shift := bits.Len64(uint64(v)) - subBits - 1
	return (shift+1)*subBuckets + int(v>>shift) - subBuckets
}

// middle returns the value that stands for a bucket.
func middle(i int) int64 {
	if i < subBuckets {
		return int64(i)
	}
	shift := i/subBuckets - 1
	low := int64(subBuckets+i%subBuckets) << shift
	return low + (int64(1)<<shift)/2
}

func (h *histogram) add(d time.Duration) {
	h.counts[bucket(int64(d))].Add(1)
	h.total.Add(1)
	for {
		most := h.most.Load()
		if int64(d) <= most || h.most.CompareAndSwap(most, int64(d)) {
			return
		}
	}
}

// reset forgets everything. What is added meanwhile may or may not count.
func (h *histogram) reset() {
	for i := range h.counts {
		h.counts[i].Store(0)
	}
	h.total.Store(0)
	h.most.Store(0)
}

// quantile returns the duration that the share q of all did not exceed, to about
// one per cent; 0 if there are none.
func (h *histogram) quantile(q float64) time.Duration {
	rank := int64(q * float64(h.total.Load()))
	seen := int64(0)
	for i := range h.counts {
		if seen += h.counts[i].Load(); seen > rank {
			return min(time.Duration(middle(i)), h.max())
		}
	}
	return h.max()
}

func (h *histogram) max() time.Duration { return time.Duration(h.most.Load()) }

// figures tells the latencies in milliseconds.
func (h *histogram) figures(f *Figures) {
	f.add("latency_p50_ms", "latency p50, ms", millis(h.quantile(0.5)))
	f.add("latency_p90_ms", "latency p90, ms", millis(h.quantile(0.9)))
	f.add("latency_p99_ms", "latency p99, ms", millis(h.quantile(0.99)))
	f.add("latency_max_ms", "latency max, ms", millis(h.max()))
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
