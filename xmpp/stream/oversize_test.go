package stream

import (
	"errors"
	"strings"
	"testing"

	"kith/xmpp/xmltree"
)

// TestOversize: an element that is skipped is told of, and is not the end.
func TestOversize(t *testing.T) {
	for name, make := range kinds {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, c := make(t)
			open(t, s, c)
			s.SetLimits(xmltree.Limits{Bytes: 1000, Skip: 1 << 20})
			large := []byte("<message id='large'><body>" + strings.Repeat("x", 300<<10) + "</body></message>")
			const rounds = 3
			go func() {
				for range rounds {
					if err := c.WriteBatch([][]byte{message(1), large, message(2)}); err != nil {
						t.Errorf("WriteBatch: %v", err)
					}
				}
				c.Close(nil)
			}()
			for round := range rounds {
				for _, want := range []string{"1", "large", "2"} {
					for round == 1 && !s.Ready() {
						if err := s.fill(); err != nil {
							t.Fatal(err)
						}
					}
					el, err := s.ReadElement()
					var o *xmltree.OversizeError
					if errors.As(err, &o) {
						if o.Size != len(large) || o.Limit != 1000 {
							t.Errorf("%v, want %d bytes", o, len(large))
						}
						el, err = o.Start, nil
					}
					if err != nil || el.Attr("id") != want || (o != nil) != (want == "large") {
						t.Fatalf("round %d: got %q, %v; want id %s", round, el.Raw(), err, want)
					}
				}
			}
			if s.buf != nil {
				t.Error("a buffer is held")
			}
		})
	}
}
