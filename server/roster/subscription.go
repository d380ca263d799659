package roster

import (
	xroster "kith/xmpp/xep/roster"

	"kith/xmpp/stanza"
)

// State is a subscription state of RFC 6121 §A.1, seen from the owner of the
// roster: one of nine unions of these.
type State uint8

// The parts of a state.
const (
	None       State = 0
	To         State = 1 << 0 // the owner is subscribed to the contact
	From       State = 1 << 1 // the contact is subscribed to the owner
	PendingOut State = 1 << 2 // the owner has asked, the contact has not answered
	PendingIn  State = 1 << 3 // the contact has asked, the owner has not answered
	Both             = To | From
)

// Has reports whether all of some parts are in the state.
func (s State) Has(parts State) bool { return s&parts == parts }

// Subscription is what clients are told of the state (RFC 6121 §2.1.2.5).
func (s State) Subscription() string {
	return [...]string{xroster.None, xroster.To, xroster.From, xroster.Both}[s&Both]
}

// String returns the name that RFC 6121 §A.1 has for the state.
func (s State) String() string {
	name := [...]string{"None", "To", "From", "Both"}[s&Both]
	switch s &^ Both {
	case PendingOut:
		return name + " + Pending Out"
	case PendingIn:
		return name + " + Pending In"
	case PendingOut | PendingIn:
		return name + " + Pending Out+In"
	}
	return name
}

// Direction says who has sent a subscription stanza.
type Direction uint8

// The directions.
const (
	Outbound Direction = iota // the owner of the roster
	Inbound                   // the contact
)

// Outcome is what becomes of a subscription stanza and of the state.
type Outcome struct {
	State    State
	Approved bool   // pre-approval, RFC 6121 §3.4
	Pass     bool   // outbound: it is routed; inbound: it is delivered
	Reply    string // the type of the stanza by which the server answers for the owner; "" for none
}

// IsSubscription reports whether a type of presence manages subscriptions.
func IsSubscription(typ string) bool {
	switch typ {
	case stanza.Subscribe, stanza.Subscribed, stanza.Unsubscribe, stanza.Unsubscribed:
		return true
	}
	return false
}

// Next returns what a subscription stanza does (RFC 6121 §A.2, §A.3, §3.4). It
// changes nothing and knows nothing but its arguments.
func Next(s State, approved bool, d Direction, typ string) Outcome {
	o := Outcome{State: s, Approved: approved}
	var m move
	switch d {
	case Outbound:
		switch typ {
		case stanza.Subscribe:
			m = outSubscribe[s]
		case stanza.Unsubscribe:
			m = outUnsubscribe[s]
		case stanza.Subscribed:
			m = outSubscribed[s]
			// §3.4.2: nobody has asked, so it is said beforehand.
			if !m.pass && !s.Has(From) {
				o.Approved = true
			}
		case stanza.Unsubscribed:
			m = outUnsubscribed[s]
			o.Approved = false // §3.4.2, the second note
		}
	case Inbound:
		switch typ {
		case stanza.Subscribe:
			m = inSubscribe[s]
			if approved && m.reply == "" { // §A.3.1 note 1, §3.4.2
				m = move{false, s&^PendingIn | From, stanza.Subscribed}
			}
		case stanza.Unsubscribe:
			m = inUnsubscribe[s]
		case stanza.Subscribed:
			m = inSubscribed[s]
		case stanza.Unsubscribed:
			m = inUnsubscribed[s]
		}
	}
	o.State, o.Pass, o.Reply = m.next, m.pass, m.reply
	return o
}

// move is a row of the tables in RFC 6121 §A: whether the stanza is routed or
// delivered, the new state, and how the server answers. What should not be done
// is not done.
type move struct {
	pass  bool
	next  State
	reply string
}

// table has a row for each state.
type table [16]move

const (
	noneOut   = PendingOut
	noneIn    = PendingIn
	noneOutIn = PendingOut | PendingIn
	toIn      = To | PendingIn
	fromOut   = From | PendingOut
)

var (
	// Table 2.
	outSubscribe = table{
		None:      {pass: true, next: noneOut},
		noneOut:   {pass: true, next: noneOut},
		noneIn:    {pass: true, next: noneOutIn},
		noneOutIn: {pass: true, next: noneOutIn},
		To:        {pass: true, next: To},
		toIn:      {pass: true, next: toIn},
		From:      {pass: true, next: fromOut},
		fromOut:   {pass: true, next: fromOut},
		Both:      {pass: true, next: Both},
	}
	// Table 3.
	outUnsubscribe = table{
		None:      {pass: true, next: None},
		noneOut:   {pass: true, next: None},
		noneIn:    {pass: true, next: noneIn},
		noneOutIn: {pass: true, next: noneIn},
		To:        {pass: true, next: None},
		toIn:      {pass: true, next: noneIn},
		From:      {pass: true, next: From},
		fromOut:   {pass: true, next: From},
		Both:      {pass: true, next: From},
	}
	// Table 4.
	outSubscribed = table{
		None:      {next: None},
		noneOut:   {next: noneOut},
		noneIn:    {pass: true, next: From},
		noneOutIn: {pass: true, next: fromOut},
		To:        {next: To},
		toIn:      {pass: true, next: Both},
		From:      {next: From},
		fromOut:   {next: fromOut},
		Both:      {next: Both},
	}
	// Table 5.
	outUnsubscribed = table{
		None:      {next: None},
		noneOut:   {next: noneOut},
		noneIn:    {pass: true, next: None},
		noneOutIn: {pass: true, next: noneOut},
		To:        {next: To},
		toIn:      {pass: true, next: To},
		From:      {pass: true, next: None},
		fromOut:   {pass: true, next: noneOut},
		Both:      {pass: true, next: To},
	}
	// Table 6.
	inSubscribe = table{
		None:      {pass: true, next: noneIn},
		noneOut:   {pass: true, next: noneOutIn},
		noneIn:    {next: noneIn},
		noneOutIn: {next: noneOutIn},
		To:        {pass: true, next: toIn},
		toIn:      {next: toIn},
		From:      {next: From, reply: stanza.Subscribed},
		fromOut:   {next: fromOut, reply: stanza.Subscribed},
		Both:      {next: Both, reply: stanza.Subscribed},
	}
	// Table 7. Where §3.3.3 would not deliver what withdraws a request, we follow
	// the table: clients take the request from the screen.
	inUnsubscribe = table{
		None:      {next: None},
		noneOut:   {next: noneOut},
		noneIn:    {pass: true, next: None, reply: stanza.Unsubscribed},
		noneOutIn: {pass: true, next: noneOut, reply: stanza.Unsubscribed},
		To:        {next: To},
		toIn:      {pass: true, next: To, reply: stanza.Unsubscribed},
		From:      {pass: true, next: None, reply: stanza.Unsubscribed},
		fromOut:   {pass: true, next: noneOut, reply: stanza.Unsubscribed},
		Both:      {pass: true, next: To, reply: stanza.Unsubscribed},
	}
	// Table 8.
	inSubscribed = table{
		None:      {next: None},
		noneOut:   {pass: true, next: To},
		noneIn:    {next: noneIn},
		noneOutIn: {pass: true, next: toIn},
		To:        {next: To},
		toIn:      {next: toIn},
		From:      {next: From},
		fromOut:   {pass: true, next: Both},
		Both:      {next: Both},
	}
	// Table 9.
	inUnsubscribed = table{
		None:      {next: None},
		noneOut:   {pass: true, next: None},
		noneIn:    {next: noneIn},
		noneOutIn: {pass: true, next: noneIn},
		To:        {pass: true, next: None},
		toIn:      {pass: true, next: noneIn},
		From:      {next: From},
		fromOut:   {pass: true, next: From},
		Both:      {pass: true, next: From},
	}
)
