package xmpptest

import (
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/xmltree"
)

// scenario is a file: blocks, each with a server of its own.
type scenario struct {
	lines  []string
	blocks []block
}

// block is a paragraph of a file.
type block struct {
	title string
	line  int
	head
	steps []step
}

// head is what holds before the first step.
type head struct {
	config     []string
	accounts   []string
	admins     []string
	components []string
	elsewhere  []string // hosts
}

// verb is what happens in a step.
type verb int

const (
	pass verb = iota // only time passes
	online
	befriends
	connects
	opensStream
	opensSocket
	startsTLS
	authenticates
	restartsStream
	sends
	receives
	receivesAmong // in any order with what else has come
	receivesNothing
	nobodyReceives
	enablesManagement
	stopsReading
	readsAgain
	disconnects
	vanishes
	streamClosed
	connectionCut
	serverRestarts
	otherRestarts
)

// step is one statement of a block.
type step struct {
	line, count int // where it stands: the first line, and how many
	after       time.Duration
	verb        verb
	actors      []string
	text        string // what is sent, received or the condition
	host        string
	overTLS     bool
	pattern     pattern
}

// parseError says where a scenario cannot be understood.
type parseError struct {
	line int
	err  error
}

func (e *parseError) Error() string { return strconv.Itoa(e.line) + ": " + e.err.Error() }

func (e *parseError) Unwrap() error { return e.err }

// parseScenario reads a file. An empty line and a comment behind it begin a
// block.
func parseScenario(text string) (*scenario, error) {
	s := &scenario{lines: strings.Split(strings.TrimSuffix(text, "\n"), "\n")}
	var common head
	cur := block{line: 1}
	begun := false // cur is more than what the file begins with
	flush := func() {
		switch {
		case len(cur.steps) > 0:
			cur.config = slices.Concat(common.config, cur.config)
			cur.accounts = slices.Concat(common.accounts, cur.accounts)
			cur.admins = slices.Concat(common.admins, cur.admins)
			cur.components = slices.Concat(common.components, cur.components)
			cur.elsewhere = slices.Concat(common.elsewhere, cur.elsewhere)
			s.blocks = append(s.blocks, cur)
		case len(s.blocks) == 0: // the file's own head
			common.config = append(common.config, cur.config...)
			common.accounts = append(common.accounts, cur.accounts...)
			common.admins = append(common.admins, cur.admins...)
			common.components = append(common.components, cur.components...)
			common.elsewhere = append(common.elsewhere, cur.elsewhere...)
		}
	}
	for i := 0; i < len(s.lines); {
		n := i + 1
		line := strings.TrimRight(s.lines[i], " \t\r")
		empty := i == 0 || strings.TrimSpace(s.lines[i-1]) == ""
		i++
		switch {
		case line == "":
			continue
		case strings.HasPrefix(line, "#"):
			title := strings.TrimSpace(strings.TrimLeft(line, "#"))
			switch {
			case empty:
				if begun {
					flush()
				}
				cur, begun = block{title: title, line: n}, true
			case len(cur.steps) == 0 && len(cur.config) == 0 && len(cur.accounts) == 0:
				cur.title += " " + title
			}
			continue
		}
		begun = true
		for i < len(s.lines) && continues(s.lines[i]) {
			line = join(line, strings.TrimSpace(s.lines[i]))
			i++
		}
		if err := cur.add(line, n, i+1-n); err != nil {
			return nil, &parseError{n, err}
		}
	}
	flush()
	if len(s.blocks) == 0 {
		return nil, &parseError{1, errors.New("nothing happens")}
	}
	return s, nil
}

// continues tells whether a line goes on with the one above it.
func continues(line string) bool {
	return strings.TrimSpace(line) != "" && (line[0] == ' ' || line[0] == '\t')
}

func join(a, b string) string {
	if strings.HasSuffix(a, ">") && strings.HasPrefix(b, "<") {
		return a + b
	}
	return a + " " + b
}

// add understands one statement.
func (b *block) add(line string, n, count int) error {
	key, rest, ok := strings.Cut(line, ":")
	if ok && (key == "config" || key == "accounts" || key == "admins" || key == "components" || key == "elsewhere") {
		if len(b.steps) > 0 {
			return errors.New(key + ": stands before the first step")
		}
		switch key {
		case "config":
			b.config = append(b.config, strings.TrimSpace(rest))
			return nil
		case "components":
			b.components = append(b.components, components(rest)...)
			return nil
		}
		names, err := list(rest)
		switch key {
		case "admins":
			b.admins = append(b.admins, names...)
			return err
		case "elsewhere":
			b.elsewhere = append(b.elsewhere, names...)
			return err
		}
		b.accounts = append(b.accounts, names...)
		return err
	}
	st := step{line: n, count: count}
	if err := st.parse(line); err != nil {
		return err
	}
	b.steps = append(b.steps, st)
	return nil
}

var (
	reAfter   = regexp.MustCompile(`^after (\S+?)(?::\s*(.*))?$`)
	reArrow   = regexp.MustCompile(`^([^\s<>,]+) (>|<\*?) ?(.*)$`)
	reOpens   = regexp.MustCompile(`^(\S+) opens a (stream|socket)(?: to (\S+))?( over TLS)?$`)
	reClosed  = regexp.MustCompile(`^(\S+)'s stream is closed(?: with <([a-z-]+)/>)?$`)
	reCut     = regexp.MustCompile(`^(\S+)'s connection is cut$`)
	reSubject = regexp.MustCompile(`^(.+?) (is|are|connects?|starts?|authenticates?|restarts?|receives?|enables?|stops?|reads?|disconnects?|vanish(?:es)?)(?: (.*))?$`)
)

// parse understands a statement.
func (s *step) parse(line string) error {
	if m := reAfter.FindStringSubmatch(line); m != nil {
		d, err := time.ParseDuration(m[1])
		if err != nil || d <= 0 {
			return fmt.Errorf("after %s: no time", m[1])
		}
		s.after, line = d, m[2]
		if line == "" {
			return nil // pass
		}
	}
	switch line {
	case "nobody else receives anything", "nobody receives anything":
		s.verb = nobodyReceives
		return nil
	case "the server restarts":
		s.verb = serverRestarts
		return nil
	case "the other server restarts":
		s.verb = otherRestarts
		return nil
	}
	if m := reArrow.FindStringSubmatch(line); m != nil {
		return s.arrow(m[1], m[2], m[3])
	}
	if m := reOpens.FindStringSubmatch(line); m != nil {
		s.verb, s.host, s.overTLS = opensStream, m[3], m[4] != ""
		if m[2] == "socket" {
			s.verb = opensSocket
		}
		return s.by(m[1])
	}
	if m := reClosed.FindStringSubmatch(line); m != nil {
		s.verb, s.text = streamClosed, m[2]
		return s.by(m[1])
	}
	if m := reCut.FindStringSubmatch(line); m != nil {
		s.verb = connectionCut
		return s.by(m[1])
	}
	return s.sentence(line)
}

// sentence understands statements of a subject, a verb and an object.
func (s *step) sentence(line string) error {
	m := reSubject.FindStringSubmatch(line)
	if m == nil {
		return fmt.Errorf("not understood: %s", line)
	}
	forms := []struct {
		verb     string
		object   string
		means    verb
		singular bool
	}{
		{"is", "online", online, true}, {"are", "online", online, false},
		{"are", "subscribed to each other", befriends, false},
		{"connects", "", connects, true}, {"connect", "", connects, false},
		{"starts", "TLS", startsTLS, true},
		{"authenticates", "", authenticates, true},
		{"restarts", "the stream", restartsStream, true},
		{"receives", "nothing", receivesNothing, true}, {"receive", "nothing", receivesNothing, false},
		{"enables", "stream management", enablesManagement, true}, {"enable", "stream management", enablesManagement, false},
		{"stops", "reading", stopsReading, true}, {"stop", "reading", stopsReading, false},
		{"reads", "again", readsAgain, true}, {"read", "again", readsAgain, false},
		{"disconnects", "", disconnects, true}, {"disconnect", "", disconnects, false},
		{"vanishes", "", vanishes, true}, {"vanish", "", vanishes, false},
	}
	for _, f := range forms {
		if f.verb == m[2] && f.object == m[3] {
			s.verb = f.means
			return s.by(m[1])
		}
	}
	return fmt.Errorf("not understood: %s", line)
}

// by notes who acts.
func (s *step) by(subject string) error {
	names, err := list(subject)
	s.actors = names
	return err
}

// reActor: a name of the examples, or a whole address.
var reActor = regexp.MustCompile(`^[^\s,<>'"]+$`)

// list reads "a, b and c".
func list(text string) ([]string, error) {
	var out []string
	for _, name := range strings.Split(strings.ReplaceAll(strings.TrimSpace(text), " and ", ", "), ",") {
		name = strings.TrimSpace(name)
		if !reActor.MatchString(name) {
			return nil, fmt.Errorf("%q is nobody", name)
		}
		if _, err := jid.Parse(name); err != nil {
			return nil, err
		}
		out = append(out, name)
	}
	return out, nil
}

// arrow understands what is sent and received.
func (s *step) arrow(actor, arrow, text string) (err error) {
	if err := s.by(actor); err != nil {
		return err
	}
	if arrow != ">" {
		s.verb, s.text = receives, text
		if arrow == "<*" {
			s.verb = receivesAmong
		}
		s.pattern, err = parsePattern(text)
		return err
	}
	s.verb = sends
	if raw, ok := strings.CutPrefix(text, "raw:"); ok {
		s.text, err = unescape(strings.TrimPrefix(raw, " "))
		// What is sent as it is has no names in braces: doubled, they are not
		// looked for.
		s.host = "raw"
		return err
	}
	if s.text, err = encodeAll(text); err != nil {
		return err
	}
	return checkSent(s.text)
}

// checkSent makes sure that what is not marked as raw is XML.
func checkSent(text string) error {
	if isHeader(text) {
		if !strings.HasSuffix(text, ">") {
			return errors.New("stream header without an end")
		}
		return nil
	}
	d := xmltree.NewDecoder(generous)
	d.Feed([]byte("<s:stream xmlns:s='" + ns.Stream + "' xmlns:stream='" + ns.Stream + "' xmlns='" + ns.Client + "'>" + text))
	for n := 0; ; n++ {
		_, err := d.Next()
		switch {
		case errors.Is(err, xmltree.ErrIncomplete) && d.Buffered() == 0 && n > 0:
			return nil
		case errors.Is(err, xmltree.ErrIncomplete):
			return errors.New("element without an end; what is not to be well-formed is sent with the word raw")
		case err != nil:
			return fmt.Errorf("%w; what is not to be well-formed is sent with the word raw", err)
		}
	}
}

var reBase64 = regexp.MustCompile(`\{base64 ([^}]*)\}`)

// encodeAll puts the encoding in the place of {base64 text}, where \0 is a zero
// byte.
func encodeAll(text string) (string, error) {
	var failed error
	out := reBase64.ReplaceAllStringFunc(text, func(m string) string {
		plain, err := unescape(reBase64.FindStringSubmatch(m)[1])
		if err != nil {
			failed = err
		}
		return base64.StdEncoding.EncodeToString([]byte(plain))
	})
	return out, failed
}

// unescape understands \n \r \t \0 \xNN \uNNNN and \\.
func unescape(text string) (string, error) {
	var b strings.Builder
	for {
		before, rest, ok := strings.Cut(text, `\`)
		b.WriteString(before)
		if !ok {
			return b.String(), nil
		}
		if rest == "" {
			return "", errors.New(`\ at the end`)
		}
		digits := 0
		switch rest[0] {
		case 'n':
			b.WriteByte('\n')
		case 'r':
			b.WriteByte('\r')
		case 't':
			b.WriteByte('\t')
		case '0':
			b.WriteByte(0)
		case '\\':
			b.WriteByte('\\')
		case 'x':
			digits = 2
		case 'u':
			digits = 4
		default:
			return "", fmt.Errorf(`\%c is not known`, rest[0])
		}
		if len(rest) <= digits {
			return "", fmt.Errorf(`\%s is too short`, rest)
		}
		if digits > 0 {
			n, err := strconv.ParseUint(rest[1:1+digits], 16, 32)
			if err != nil {
				return "", err
			}
			if digits == 2 {
				b.WriteByte(byte(n))
			} else {
				b.WriteRune(rune(n))
			}
		}
		text = rest[1+digits:]
	}
}
