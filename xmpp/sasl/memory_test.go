package sasl

import (
	"fmt"
	"reflect"
	"testing"
)

func TestMemory(t *testing.T) {
	t.Parallel()
	h, err := hashNamed("SHA-256")
	if err != nil {
		t.Fatal(err)
	}
	var m Memory
	for i := range 3 * mostRemembered {
		salt := []byte(fmt.Sprint("salt", i%(mostRemembered+1)))
		for range 2 {
			got, err := m.derive(h, "secret", salt, 4096)
			if err != nil {
				t.Fatal(err)
			}
			want, err := h.derive("secret", salt, 4096)
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("remembered %v, want %v (%v)", got, want, err)
			}
		}
		if len(m.by) > mostRemembered {
			t.Fatalf("%d are remembered", len(m.by))
		}
	}
	before := len(m.by)
	if _, err := m.derive(h, "other", []byte("salt0"), 4096); err != nil || len(m.by) == before {
		t.Errorf("another password was taken for the first (%v)", err)
	}
}
