package negotiate

import (
	"context"
	"slices"
	"strings"

	"kith/xmpp/ns"
	"kith/xmpp/sasl"
	"kith/xmpp/xmltree"
)

// Names of XEP-0388 §2.6.3.
var (
	nameContinue = xmltree.Name{Space: ns.SASL2, Local: "continue"}
	nameTasks    = xmltree.Name{Space: ns.SASL2, Local: "tasks"}
	nameTask     = xmltree.Name{Space: ns.SASL2, Local: "task"}
	nameNext     = xmltree.Name{Space: ns.SASL2, Local: "next"}
	nameTaskData = xmltree.Name{Space: ns.SASL2, Local: "task-data"}
)

// maxTasks bounds how many tasks one log-in may have.
const maxTasks = 8

// Task is something that a client has to do after it has proved itself by a
// mechanism and before it is logged in: a second factor, say (XEP-0388 §2.6.3).
// A value is for one log-in.
type Task interface {
	// Name is what the task is called, of at most 20 characters.
	Name() string
	// Next takes what the client has sent in <next/>, which is the first, or
	// <task-data/>, and returns the answer to it, nil for none. Once done, that goes
	// into <continue/> or <success/>. A *sasl.Failure refuses the log-in.
	Next(ctx context.Context, el xmltree.Element) (answer xmltree.Appender, done bool, err error)
}

// Pending is a log-in whose mechanism has succeeded.
type Pending struct {
	State   *State
	User    string // the localpart
	Request *Authenticate
	Done    []string // tasks that are done, in their order
}

// TaskFunc returns the tasks of which a client has to do one next; none lets it in.
// It is asked again whenever one is done. Who logs in with a token has no tasks
// (XEP-0484 §5.2), and nobody is asked.
type TaskFunc func(ctx context.Context, p Pending) ([]Task, error)

// InTurn asks functions one after the other: a later one when those before it have
// no tasks left.
func InTurn(list ...TaskFunc) TaskFunc {
	return func(ctx context.Context, p Pending) ([]Task, error) {
		for _, f := range list {
			if tasks, err := f(ctx, p); err != nil || len(tasks) > 0 {
				return tasks, err
			}
		}
		return nil, nil
	}
}

// continue2 says that the client has something left to do.
type continue2 struct {
	data  []byte           // of the mechanism; nil: none
	more  xmltree.Appender // of the task that has just been done; nil: none
	tasks []Task
}

// AppendXML implements xmltree.Appender.
func (c continue2) AppendXML(w *xmltree.Writer) {
	w.Open(nameContinue)
	writeData(w, nameAdditional, c.data)
	if c.more != nil {
		w.Append(c.more)
	}
	w.Open(nameTasks)
	for _, t := range c.tasks {
		w.Element(nameTask, t.Name())
	}
	w.Close()
	w.Close()
}

// taskData wraps what the ends of a task say to each other.
type taskData struct{ content xmltree.Appender }

// AppendXML implements xmltree.Appender.
func (d taskData) AppendXML(w *xmltree.Writer) {
	w.Open(nameTaskData)
	if d.content != nil {
		w.Append(d.content)
	}
	w.Close()
}

// proved goes on where the mechanism, or a task, has succeeded: with the next task,
// or by letting the client in.
func (s SASL2) proved(ctx context.Context, st *State, data []byte, more xmltree.Appender) (Outcome, error) {
	l := st.login
	if s.Tasks != nil && l.request.Token == nil {
		tasks, err := s.Tasks(ctx, Pending{State: st, User: l.user.Local(), Request: l.request, Done: l.done})
		if err != nil {
			return s.refuse(ctx, st, failureOf(err), nil)
		}
		if len(tasks) > 0 {
			if len(l.done) == maxTasks {
				return s.refuse(ctx, st, &sasl.Failure{Condition: sasl.TemporaryAuthFailure, Text: "too many tasks"}, nil)
			}
			l.tasks, l.task = tasks, nil
			return Handled, st.write(continue2{data, more, tasks})
		}
	}
	return s.finish(ctx, st, data, more)
}

// task takes a <next/> or a <task-data/>.
func (s SASL2) task(ctx context.Context, st *State, el xmltree.Element) (Outcome, error) {
	l := st.login
	if l == nil || len(l.tasks) == 0 || el.Is(nameNext) != (l.task == nil) {
		return s.refuse(ctx, st, &sasl.Failure{Condition: sasl.MalformedRequest}, nil)
	}
	if el.Is(nameNext) {
		i := slices.IndexFunc(l.tasks, func(t Task) bool { return t.Name() == el.Attr("task") })
		if i < 0 {
			return s.refuse(ctx, st, &sasl.Failure{Condition: sasl.MalformedRequest, Text: "no such task is to be done"}, nil)
		}
		l.task = l.tasks[i]
	}
	answer, done, err := l.task.Next(ctx, el)
	switch {
	case err != nil:
		return s.refuse(ctx, st, failureOf(err), nil)
	case !done:
		return Handled, st.write(taskData{answer})
	}
	l.done = append(l.done, l.task.Name())
	l.tasks, l.task = nil, nil
	return s.proved(ctx, st, nil, answer)
}

// taskNames reads the tasks of a <continue/>.
func taskNames(el xmltree.Element) (list []string) {
	for c := range el.Child(nameTasks).Children() {
		if c.Is(nameTask) {
			list = append(list, strings.Clone(strings.TrimSpace(c.Text())))
		}
	}
	return list
}
