package gateway

import (
	"context"
	"sync"
	"time"

	"kith/xmpp/jid"
	"kith/xmpp/ns"
	"kith/xmpp/stanza"
	"kith/xmpp/stream"
	"kith/xmpp/xep/command"
	"kith/xmpp/xep/disco"
	"kith/xmpp/xep/form"
	"kith/xmpp/xmltree"
)

// Command is one that people can run at the component's own address (XEP-0050).
type Command struct {
	Node, Name string
	// Allowed says who may, by the full address; nil: everybody.
	Allowed func(user jid.JID) bool
	// Run does one step. Its first one has no Form.
	Run func(ctx context.Context, s *Step) (*Reply, error)
}

// Step is what somebody has said.
type Step struct {
	User   jid.JID
	Action command.Action // Execute, Next, Prev or Complete; who cancels is not asked
	Form   *form.Form     // nil if none came
	Data   any            // what Run has kept for the next step
}

// Reply is what the component says to that: with a Form it goes on, else it is
// done.
type Reply struct {
	Form    *form.Form
	Actions []command.Action // that are possible with the Form; none: Complete
	Notes   []command.Note
	Result  bool // the Form is the result, and there is no further step
}

// Bounds of what people may have begun: in all and each, and how long.
const (
	maxRuns     = 10_000
	maxRunsEach = 10
	runWithin   = 15 * time.Minute
)

// Command offers a command.
func (g *Component) Command(c Command) {
	if len(g.commands.list) == 0 {
		g.Feature(ns.Commands)
		g.HandleIQ(stanza.Set, command.Name, g.runCommand)
		g.commands.runs = make(map[string]*run)
	}
	g.commands.list = append(g.commands.list, c)
}

// commands are those that are offered, and those under way.
type commands struct {
	list []Command

	mu   sync.Mutex // guards runs
	runs map[string]*run
}

// run is a command that somebody has begun.
type run struct {
	node string
	user jid.JID // full: another device cannot go on with it
	data any
	last time.Time
}

// find returns the command of a node, nil if the user may not know of it.
func (cs *commands) find(user jid.JID, node string) *Command {
	for i := range cs.list {
		if c := &cs.list[i]; c.Node == node && (c.Allowed == nil || c.Allowed(user)) {
			return c
		}
	}
	return nil
}

// info is what a command's node is (XEP-0050 §2.1).
func (cs *commands) info(user jid.JID, node string) *disco.Info {
	if node == ns.Commands && len(cs.list) > 0 {
		return &disco.Info{Node: node, Identities: []disco.Identity{{Category: "automation", Type: "command-list"}}, Features: []string{ns.Commands}}
	}
	c := cs.find(user, node)
	if c == nil {
		return nil
	}
	return &disco.Info{Node: node, Identities: []disco.Identity{{Category: "automation", Type: "command-node", Name: c.Name}},
		Features: []string{ns.Commands, ns.DataForm}}
}

// items are the commands that somebody may run (XEP-0050 §2.2).
func (cs *commands) items(at, user jid.JID, node string) *disco.Items {
	if node != ns.Commands {
		return nil
	}
	items := &disco.Items{Node: node}
	for i := range cs.list {
		if c := &cs.list[i]; c.Allowed == nil || c.Allowed(user) {
			items.Items = append(items.Items, disco.Item{JID: at, Node: c.Node, Name: c.Name})
		}
	}
	return items
}

// errSession is a session that is not, or no more (XEP-0050 §4.4).
var (
	errSession = stanza.ErrBadRequest.WithApp(condition("bad-sessionid"))
	errExpired = stanza.ErrNotAllowed.WithApp(condition("session-expired"))
)

// condition is one of XEP-0050's own.
type condition string

// AppendXML implements xmltree.Appender.
func (c condition) AppendXML(w *xmltree.Writer) {
	w.Element(xmltree.Name{Space: ns.Commands, Local: string(c)}, "")
}

// runCommand does a step of a command.
func (g *Component) runCommand(ctx context.Context, iq *stanza.Stanza) (xmltree.Appender, error) {
	c, err := command.Parse(iq.Payload())
	if err != nil || iq.To != g.config.Domain {
		return nil, stanza.ErrBadRequest
	}
	cs := &g.commands
	cmd := cs.find(iq.From, c.Node)
	if cmd == nil {
		return nil, stanza.ErrItemNotFound
	}
	r, err := cs.session(c, iq.From)
	if err != nil {
		return nil, err
	}
	if c.Action == command.Cancel {
		cs.end(c.Session)
		return &command.Command{Node: c.Node, Session: c.Session, Status: command.Canceled}, nil
	}
	step := &Step{User: iq.From, Action: c.Action, Form: c.Form, Data: r.data}
	reply, err := cmd.Run(ctx, step)
	if err != nil {
		cs.end(c.Session)
		return nil, err
	}
	r.data = step.Data
	out := &command.Command{Node: c.Node, Session: c.Session, Status: command.Completed, Form: reply.Form, Notes: reply.Notes}
	if reply.Form == nil || reply.Result {
		cs.end(c.Session)
		return out, nil
	}
	out.Status, out.Actions = command.Executing, reply.Actions
	if len(out.Actions) == 0 {
		out.Actions = []command.Action{command.Complete}
	}
	out.Default = out.Actions[len(out.Actions)-1]
	return out, nil
}

// session returns the run that a request is of, a new one if it names none.
func (cs *commands) session(c *command.Command, user jid.JID) (*run, error) {
	now := time.Now()
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if c.Session != "" {
		r := cs.runs[c.Session]
		switch {
		case r == nil || r.user != user || r.node != c.Node:
			return nil, errSession
		case now.Sub(r.last) > runWithin:
			delete(cs.runs, c.Session)
			return nil, errExpired
		}
		r.last = now
		return r, nil
	}
	n := 0
	for id, r := range cs.runs {
		switch {
		case now.Sub(r.last) > runWithin:
			delete(cs.runs, id)
		case r.user.Bare() == user.Bare():
			n++
		}
	}
	if n >= maxRunsEach || len(cs.runs) >= maxRuns {
		return nil, stanza.ErrResourceConstraint
	}
	c.Session = stream.NewID()
	r := &run{node: c.Node, user: user.Clone(), last: now}
	cs.runs[c.Session] = r
	return r, nil
}

func (cs *commands) end(id string) {
	cs.mu.Lock()
	delete(cs.runs, id)
	cs.mu.Unlock()
}
