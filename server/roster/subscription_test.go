package roster

import (
	"fmt"
	"strings"
	"testing"

	"kith/xmpp/stanza"
)

// appendixA is RFC 6121 §A.2 and §A.3, table by table: a row has the state, M or
// S for what must and should not be routed or delivered, the new state (= for no
// change), and how the server answers.
const appendixA = `
outbound subscribe
None                  M  None + Pending Out
None + Pending Out    M  =
None + Pending In     M  None + Pending Out+In
None + Pending Out+In M  =
To                    M  =
To + Pending In       M  =
From                  M  From + Pending Out
From + Pending Out    M  =
Both                  M  =
outbound unsubscribe
None                  M  =
None + Pending Out    M  None
None + Pending In     M  =
None + Pending Out+In M  None + Pending In
To                    M  None
To + Pending In       M  None + Pending In
From                  M  =
From + Pending Out    M  From
Both                  M  From
outbound subscribed
None                  S  = approved
None + Pending Out    S  = approved
None + Pending In     M  From
None + Pending Out+In M  From + Pending Out
To                    S  = approved
To + Pending In       M  Both
From                  S  =
From + Pending Out    S  =
Both                  S  =
outbound unsubscribed
None                  S  =
None + Pending Out    S  =
None + Pending In     M  None
None + Pending Out+In M  None + Pending Out
To                    S  =
To + Pending In       M  To
From                  M  None
From + Pending Out    M  None + Pending Out
Both                  M  To
inbound subscribe
None                  M  None + Pending In
None + Pending Out    M  None + Pending Out+In
None + Pending In     S  =
None + Pending Out+In S  =
To                    M  To + Pending In
To + Pending In       S  =
From                  S  = subscribed
From + Pending Out    S  = subscribed
Both                  S  = subscribed
inbound unsubscribe
None                  S  =
None + Pending Out    S  =
None + Pending In     M  None unsubscribed
None + Pending Out+In M  None + Pending Out unsubscribed
To                    S  =
To + Pending In       M  To unsubscribed
From                  M  None unsubscribed
From + Pending Out    M  None + Pending Out unsubscribed
Both                  M  To unsubscribed
inbound subscribed
None                  S  =
None + Pending Out    M  To
None + Pending In     S  =
None + Pending Out+In M  To + Pending In
To                    S  =
To + Pending In       S  =
From                  S  =
From + Pending Out    M  Both
Both                  S  =
inbound unsubscribed
None                  S  =
None + Pending Out    M  None
None + Pending In     S  =
None + Pending Out+In M  None + Pending In
To                    M  None
To + Pending In       M  None + Pending In
From                  S  =
From + Pending Out    M  From
Both                  M  From
`

// states are the nine of RFC 6121 §A.1, by their names.
func states() map[string]State {
	all := make(map[string]State)
	for _, s := range []State{None, PendingOut, PendingIn, PendingOut | PendingIn, To, To | PendingIn, From, From | PendingOut, Both} {
		all[s.String()] = s
	}
	return all
}

func TestAppendixA(t *testing.T) {
	all := states()
	if len(all) != 9 {
		t.Fatalf("%d states, want 9", len(all))
	}
	var d Direction
	var typ string
	rows := 0
	for line := range strings.Lines(strings.TrimSpace(appendixA)) {
		line = strings.TrimSpace(line)
		if dir, rest, ok := strings.Cut(line, "bound "); ok {
			d, typ = map[string]Direction{"out": Outbound, "in": Inbound}[dir], rest
			continue
		}
		from := all[strings.TrimSpace(line[:21])]
		want := Outcome{State: from, Pass: line[22] == 'M'}
		for word := range strings.SplitSeq(line[25:], " ") {
			switch word {
			case "approved":
				want.Approved = true
			case stanza.Subscribed, stanza.Unsubscribed:
				want.Reply = word
			}
		}
		name := strings.TrimSuffix(strings.TrimSuffix(line[25:], " approved"), " "+want.Reply)
		if name != "=" {
			next, ok := all[name]
			if !ok {
				t.Fatalf("no such state: %q", name)
			}
			want.State = next
		}
		rows++
		if got := Next(from, false, d, typ); got != want {
			t.Errorf("%s, %v %s: got %+v, want %+v", from, d, typ, got, want)
		}
	}
	if rows != 8*9 {
		t.Errorf("%d rows, want 72", rows)
	}
}

// RFC 6121 §3.4: what was approved beforehand.
func TestPreApproval(t *testing.T) {
	const yes = true
	for _, tt := range []struct {
		state State
		d     Direction
		typ   string
		want  Outcome
	}{
		{None, Inbound, stanza.Subscribe, Outcome{From, yes, false, stanza.Subscribed}},
		{PendingOut, Inbound, stanza.Subscribe, Outcome{From | PendingOut, yes, false, stanza.Subscribed}},
		{To, Inbound, stanza.Subscribe, Outcome{Both, yes, false, stanza.Subscribed}},
		{From, Inbound, stanza.Subscribe, Outcome{From, yes, false, stanza.Subscribed}},
		{Both, Inbound, stanza.Unsubscribe, Outcome{To, yes, true, stanza.Unsubscribed}},
		{None, Inbound, stanza.Unsubscribe, Outcome{None, yes, false, ""}},
		{None, Inbound, stanza.Unsubscribed, Outcome{None, yes, false, ""}}, // §4.3.2, rule 1
		{To, Inbound, stanza.Unsubscribed, Outcome{None, yes, true, ""}},
		{None, Outbound, stanza.Subscribed, Outcome{None, yes, false, ""}},
		{None, Outbound, stanza.Unsubscribed, Outcome{None, false, false, ""}}, // §3.2.2, rule 2
		{To, Outbound, stanza.Unsubscribed, Outcome{To, false, false, ""}},
		{From, Outbound, stanza.Unsubscribed, Outcome{None, false, true, ""}},
		{None, Outbound, stanza.Subscribe, Outcome{PendingOut, yes, true, ""}},
		{To, Outbound, stanza.Unsubscribe, Outcome{None, yes, true, ""}},
	} {
		if got := Next(tt.state, yes, tt.d, tt.typ); got != tt.want {
			t.Errorf("approved, %s, %v %s: got %+v, want %+v", tt.state, tt.d, tt.typ, got, tt.want)
		}
	}
}

// Whatever comes, the state stays one of the nine.
func TestStatesAreClosed(t *testing.T) {
	all := states()
	for _, s := range all {
		for _, d := range []Direction{Outbound, Inbound} {
			for _, typ := range []string{stanza.Subscribe, stanza.Subscribed, stanza.Unsubscribe, stanza.Unsubscribed} {
				for _, approved := range []bool{false, true} {
					o := Next(s, approved, d, typ)
					if _, ok := all[o.State.String()]; !ok || o.Pass && o.State == s && d == Inbound {
						t.Errorf("%s, %v %s: %s", s, d, typ, fmt.Sprintf("%+v", o))
					}
				}
			}
		}
	}
}
