package limit

import (
	"context"
	"errors"
	"testing"
)

func TestGate(t *testing.T) {
	var g Gate
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	g.Resize(1)
	leave, err := g.Enter(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := g.Enter(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("a second one: %v, want it to wait", err)
	}
	g.Resize(1) // no other
	if _, err := g.Enter(ended); !errors.Is(err, context.Canceled) {
		t.Errorf("behind the same size: %v, want it to wait", err)
	}
	leave()
	if leave, err = g.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.Resize(2)
	if _, err := g.Enter(t.Context()); err != nil {
		t.Fatal(err)
	}
	leave() // to where it came from
}
