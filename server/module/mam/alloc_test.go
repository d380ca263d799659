//go:build !race

package mam_test

import (
	"testing"

	"kith/server/archive"
	"kith/server/storage/storagetest"
)

// TestPageAllocations bounds what a page of 50 messages costs: a third of it is the
// driver's, for the rows.
func TestPageAllocations(t *testing.T) {
	answer := filled(t, storagetest.SQLite(t), 200)
	f, p := archive.Filter{Owner: 1}, archive.Page{Rows: 50, Bytes: 128 << 10, After: (began + 100_000) << 20}
	got := testing.AllocsPerRun(100, func() {
		if n := answer(f, p); n != 51 {
			t.Fatalf("%d stanzas, want 50 results and an end", n)
		}
	})
	t.Logf("%.0f allocations", got)
	if most := 400.0; got > most {
		t.Errorf("%.0f allocations for a page of 50, want at most %.0f", got, most)
	}
}
