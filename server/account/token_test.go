package account_test

import (
	"testing"

	"kith/xmpp/negotiate"
	"kith/xmpp/sasl"
)

// TestTokenTwiceAtOnce: a client whose connection was lost before the answer came,
// and who comes again while the server is still at it, is let in both times. What
// has been given out meanwhile goes on being valid.
func TestTokenTwiceAtOnce(t *testing.T) {
	for _, counts := range [][2]uint64{{0, 0}, {1, 2}} {
		s, _ := open(t)
		create(t, s, romeo, password)
		agent := negotiate.UserAgent{ID: "d4565fa7-4d72-4749-b3d3-740edbf87770"}
		issue := func() string {
			token, _, err := s.IssueToken(t.Context(), romeo, agent, sasl.TokenUnbound)
			if err != nil {
				t.Fatal(err)
			}
			return token
		}
		use := func(token string, count uint64, meanwhile func()) error {
			u := negotiate.TokenUse{Agent: agent, Mechanism: sasl.TokenUnbound, Count: count}
			_, err := s.UseToken(t.Context(), romeo, u, func(of []byte) bool {
				if meanwhile != nil {
					meanwhile()
				}
				meanwhile = nil
				return string(of) == token
			})
			return err
		}
		token := issue()
		var next string
		err := use(token, counts[1], func() {
			if err := use(token, counts[0], nil); err != nil {
				t.Errorf("counts %v, the first: %v", counts, err)
			}
			next = issue()
		})
		if err != nil {
			t.Errorf("counts %v, the second: %v", counts, err)
		}
		if err := use(token, counts[1], nil); (err != nil) != (counts[1] > 0) {
			t.Errorf("counts %v, once more: %v", counts, err)
		}
		if err := use(next, 0, nil); err != nil {
			t.Errorf("counts %v, the one that was given meanwhile: %v", counts, err)
		}
		if err := use(token, counts[1]+1, nil); err == nil {
			t.Errorf("counts %v: the old one is valid behind the use of the new one", counts)
		}
	}
}
