package bench

import (
	"cmp"
	"slices"
	"time"
)

// deed is what somebody does at a time of the day.
type deed uint8

const (
	comes     deed = iota // a contact's device is available, or says something else of itself
	goes                  // it is not any more
	types                 // a contact's chat state (XEP-0085)
	writes                // a contact writes a message
	receives              // a contact's device has got what the owner wrote (XEP-0184)
	reads                 // a contact has seen it (XEP-0333)
	plays                 // a contact's mood, music and the like, as headlines
	asks                  // a contact's client asks the phone something
	begs                  // a stranger asks to be a contact
	ownTypes              // the owner's chat state, from the laptop
	ownReads              // the owner has seen a message, on the laptop
	ownWrites             // the owner writes, on the laptop
	answers               // the owner writes, on the phone
	pings                 // the phone asks the server whether it is there
	looks                 // the owner takes the phone up
	pockets               // the owner puts it away
	deeds
)

// String is what a figure is called for a deed.
func (d deed) String() string {
	return [deeds]string{
		"presence", "unavailable", "chat_state", "message", "receipt", "marker", "headline", "request", "subscription",
		"own_chat_state", "own_marker", "own_message", "phone_message", "phone_ping", "phone_active", "phone_inactive",
	}[d]
}

// must reports whether the phone has to get it, whenever that is, and exactly
// once; soon, whether it must not wait.
func (d deed) must() bool {
	return d == receives || d == reads || d == ownReads || d == ownWrites || d.soon()
}

func (d deed) soon() bool { return d == writes || d == asks || d == begs }

// event is one deed. Of the same contact no two have the same time.
type event struct {
	at     time.Duration // since midnight
	deed   deed
	who    int    // the contact, or the stranger
	device int    // of a contact: 0, or 1 if it has a second one
	to     target // of what is written to the owner
	word   string // show, chat state, or what is played
}

// target is where a contact writes to: RFC 6121 §5.1 has it answer the device
// that was written from.
type target uint8

const (
	toOwner target = iota
	toLaptop
	toPhone
)

// strangers ask to be contacts in the course of a day.
const strangers = 2

// dice are the random numbers of a trace: the same for a seed wherever and
// whenever it is made. (The generator is splitmix64.)
type dice uint64

func (d *dice) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

// below returns a number from 0 to n-1.
func (d *dice) below(n int) int { return int(d.next() % uint64(n)) }

// within returns a time from a up to b, in whole milliseconds.
func (d *dice) within(a, b time.Duration) time.Duration {
	return a + time.Duration(d.below(int((b-a)/time.Millisecond)+1))*time.Millisecond
}

// wholeDay is what a trace is of.
const wholeDay = 24 * time.Hour

// day is a trace being made.
type day struct {
	dice   dice
	events []event
	busy   []stretch // when the owner has the phone in hand
}

type stretch struct{ from, to time.Duration }

// trace makes the day of a phone: a pure function of its arguments. docs/manual
// says what is in it.
func trace(seed uint64, contacts int) []event {
	d := &day{dice: dice(seed)}
	for who := range contacts {
		d.presence(who, 0)
		if second(who) {
			d.presence(who, 1)
		}
		switch {
		case who%20 == 7:
			d.music(who)
		case who%5 == 2: // a mood, a new picture
			d.add(d.dice.within(8*time.Hour, 22*time.Hour), plays, who, "mood")
		}
	}
	h := time.Hour
	for _, at := range []time.Duration{9 * h, 10 * h, 11 * h, 13 * h, 14 * h, 15 * h, 16 * h, 17 * h} {
		d.talk(d.dice.within(at, at+40*time.Minute), d.dice.below(contacts), 4+d.dice.below(5))
	}
	for _, at := range []time.Duration{8 * h, 12 * h, 18 * h, 20 * h, 22 * h} {
		d.talkOnPhone(d.dice.within(at, at+30*time.Minute), d.dice.below(contacts), 2+d.dice.below(3))
	}
	for range 15 { // messages that are not answered
		at, who := d.dice.within(7*h, 23*h), d.dice.below(contacts)
		d.add(at-d.dice.within(5*time.Second, 40*time.Second), types, who, "composing")
		d.add(at, writes, who, "")
	}
	for range 10 { // looks at the phone
		at := d.dice.within(7*h, 23*h)
		d.busy = append(d.busy, stretch{at, at + d.dice.within(time.Minute, 3*time.Minute)})
	}
	for range 6 {
		d.add(d.dice.within(7*h, 23*h), asks, d.dice.below(contacts), "")
	}
	for who := range strangers {
		d.add(d.dice.within(9*h, 21*h), begs, who, "")
	}
	for at := 20 * time.Minute; at < wholeDay; at += 30 * time.Minute {
		d.add(at, pings, 0, "")
	}
	d.pick()
	slices.SortStableFunc(d.events, func(a, b event) int { return cmp.Compare(a.at, b.at) })
	return d.events
}

func (d *day) add(at time.Duration, what deed, who int, word string) {
	d.events = append(d.events, event{at: at, deed: what, who: who, word: word})
}

// presence has a device come two to four times, and say about once an
// hour that its user is away, back, busy.
func (d *day) presence(who, device int) {
	shows := []string{"", "away", "", "away", "dnd", "", "xa"}
	times := 2 + d.dice.below(3)
	each := 18 * time.Hour / time.Duration(times)
	for i := range times {
		begin := 5*time.Hour + time.Duration(i)*each
		at, end := d.dice.within(begin, begin+each/3), d.dice.within(begin+each/2, begin+each-time.Minute)
		for n := 0; at < end; n++ {
			d.events = append(d.events, event{at: at, deed: comes, who: who, device: device, word: shows[n%len(shows)]})
			at += d.dice.within(20*time.Minute, 100*time.Minute)
		}
		d.events = append(d.events, event{at: end, deed: goes, who: who, device: device})
	}
}

// music plays for two hours, with a headline for each track.
func (d *day) music(who int) {
	begin := d.dice.within(9*time.Hour, 20*time.Hour)
	for at := begin; at < begin+2*time.Hour; at += d.dice.within(2*time.Minute, 5*time.Minute) {
		d.add(at, plays, who, "tune")
	}
}

// says has a contact type and write, and returns when it is written.
func (d *day) says(at time.Duration, who int, to target) time.Duration {
	state := func(word string, after, atMost time.Duration) {
		at += d.dice.within(after, atMost)
		d.events = append(d.events, event{at: at, deed: types, who: who, to: to, word: word})
	}
	state("composing", 5*time.Second, 30*time.Second)
	if d.dice.below(3) == 0 {
		state("paused", 5*time.Second, 10*time.Second)
		state("composing", 5*time.Second, 20*time.Second)
	}
	at += d.dice.within(10*time.Second, 40*time.Second)
	d.events = append(d.events, event{at: at, deed: writes, who: who, to: to})
	return at
}

// heard has a contact's client tell that it got a message, and that it was seen.
func (d *day) heard(at time.Duration, who int, to target) time.Duration {
	d.events = append(d.events, event{at: at + 500*time.Millisecond, deed: receives, who: who, to: to})
	at += d.dice.within(2*time.Second, 50*time.Second)
	d.events = append(d.events, event{at: at, deed: reads, who: who, to: to})
	return at
}

// talk is a conversation that the owner has on the laptop, while the phone is in
// a pocket.
func (d *day) talk(at time.Duration, who, exchanges int) {
	to := toOwner
	for range exchanges {
		at = d.says(at, who, to)
		at += d.dice.within(3*time.Second, time.Minute)
		d.add(at, ownReads, who, "")
		at += d.dice.within(time.Second, 20*time.Second)
		d.add(at, ownTypes, who, "composing")
		at += d.dice.within(10*time.Second, 50*time.Second)
		d.add(at, ownWrites, who, "")
		to = toLaptop
		at = d.heard(at, who, to)
	}
}

// talkOnPhone is one that the owner has on the phone, who takes it up for the
// first message.
func (d *day) talkOnPhone(at time.Duration, who, exchanges int) {
	at = d.says(at, who, toOwner)
	up := at + d.dice.within(20*time.Second, 3*time.Minute)
	at = up
	for range exchanges {
		at += d.dice.within(20*time.Second, time.Minute)
		d.add(at, answers, who, "")
		at = d.heard(at, who, toPhone)
		at = d.says(at, who, toPhone)
	}
	d.busy = append(d.busy, stretch{up, at + time.Minute})
}

// pick has the owner take the phone up and put it away, once where that overlaps.
func (d *day) pick() {
	slices.SortFunc(d.busy, func(a, b stretch) int { return cmp.Compare(a.from, b.from) })
	var until time.Duration
	for i, b := range d.busy {
		if i == 0 || b.from > until {
			d.add(b.from, looks, 0, "")
		}
		until = max(until, b.to)
		if i+1 == len(d.busy) || d.busy[i+1].from > until {
			d.add(until, pockets, 0, "")
		}
	}
}

// second reports whether a contact has a second device.
func second(who int) bool { return who%4 == 3 }
