package xmpptest

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"kith/xmpp/ns"
	"kith/xmpp/stream"
	"kith/xmpp/xmltree"
)

// receive compares what has come with what was expected.
func (r *run) receive(st *step, c *Client) error {
	if st.verb == receivesAmong {
		for i, el := range c.waiting() {
			try := make(vars)
			copyVars(try, r.vars)
			if st.pattern.match(el, try) == nil {
				copyVars(r.vars, try)
				c.take(i)
				return nil
			}
		}
	}
	el, ok := c.Next()
	if !ok {
		if *update {
			r.edits = append(r.edits, edit{line: st.line, count: st.count})
			return nil
		}
		return r.mismatch(st, c, "nothing", nil)
	}
	try := make(vars)
	copyVars(try, r.vars)
	diff := st.pattern.match(el, try)
	if diff == nil {
		copyVars(r.vars, try)
		return nil
	}
	if *update {
		r.edits = append(r.edits, edit{st.line, st.count, r.expected(st.line, st.actors[0], el)})
		st.pattern.match(el, r.vars) // what was captured may be needed below
		return nil
	}
	return r.mismatch(st, c, raw(el), diff)
}

// expected is the line that expects an element where a step stands.
func (r *run) expected(line int, actor string, el xmltree.Element) []string {
	prefix := ""
	if m := reAfter.FindStringSubmatch(r.lines[line-1]); m != nil && m[2] != "" {
		prefix = "after " + m[1] + ": "
	}
	return []string{prefix + actor + " < " + raw(el)}
}

// mismatch says what was sent, got and wanted.
func (r *run) mismatch(st *step, c *Client, got string, diff *difference) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s did not receive what was expected", c.Name)
	if r.sent != nil {
		fmt.Fprintf(&b, "\n  sent: %s (line %d)", r.source(r.sent), r.sent.line)
	}
	fmt.Fprintf(&b, "\n  got:  %s\n  want: %s", got, st.text)
	if diff != nil {
		fmt.Fprintf(&b, "\n  %v", diff)
	}
	if ended, err := c.Ended(); ended {
		fmt.Fprintf(&b, "\n  its stream has ended: %v", err)
	}
	r.others(&b)
	return errors.New(b.String())
}

// others lists what else has come.
func (r *run) others(b *strings.Builder) {
	for _, name := range r.order {
		for _, el := range r.clients[name].waiting() {
			fmt.Fprintf(b, "\n  waiting: %s < %s", name, raw(el))
		}
	}
}

// source is a step as it stands in the file.
func (r *run) source(st *step) string {
	return strings.Join(r.lines[st.line-1:st.line-1+st.count], "\n        ")
}

func raw(el xmltree.Element) string {
	if !el.Exists() {
		return "nothing"
	}
	return string(el.Raw())
}

// nothing makes sure that these have received nothing that was not expected.
func (r *run) nothing(st *step, actors []string) error {
	var wrong []string
	for _, name := range actors {
		c, err := r.client(name)
		if err != nil {
			return err
		}
		for _, el := range c.Received() {
			wrong = append(wrong, name+" < "+raw(el))
		}
		if ended, err := c.Ended(); ended && !c.over && !*update {
			wrong = append(wrong, fmt.Sprintf("%s's stream has ended: %v", name, err))
		}
	}
	if len(wrong) == 0 {
		return nil
	}
	if *update {
		r.edits = append(r.edits, edit{line: st.line, lines: wrong})
		return nil
	}
	sent := ""
	if r.sent != nil {
		sent = fmt.Sprintf("\n  sent: %s (line %d)", r.source(r.sent), r.sent.line)
	}
	return fmt.Errorf("received what was not expected%s\n  got:  %s\n  want: nothing", sent, strings.Join(wrong, "\n        "))
}

// closed makes sure that a stream has ended as it should.
func (r *run) closed(st *step, c *Client) error {
	want := "the end of the stream"
	if st.text != "" {
		want = "a stream error with <" + st.text + "/>"
	} else if st.verb == connectionCut {
		want = "the end of the connection"
	}
	c.over = true
	c.listen()
	el, ok := c.Next()
	if ok && st.text != "" && stream.IsError(el) && el.Child(xmltree.Name{Space: ns.Streams, Local: st.text}).Exists() {
		el, ok = c.Next()
	} else if st.text != "" {
		return fmt.Errorf("%s\n  got:  %s\n  want: %s", c.Name, raw(el), want)
	}
	if ok {
		return fmt.Errorf("%s\n  got:  %s\n  want: %s", c.Name, raw(el), want)
	}
	ended, err := c.Ended()
	var peer *stream.PeerError
	orderly := errors.Is(err, io.EOF) || errors.As(err, &peer)
	if !ended || orderly == (st.verb == connectionCut) {
		return fmt.Errorf("%s\n  got:  stream ended: %v (%v)\n  want: %s", c.Name, ended, err, want)
	}
	return nil
}
