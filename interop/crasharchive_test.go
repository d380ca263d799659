//go:build interop

package interop_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// archives compares the archives of both sides with what was acknowledged, and
// with what the recipients were told that their messages are stored as.
func (w *crashWorld) archives(t *testing.T, run *flow, recipients []*crashRecipient, stored map[string][]string) {
	t.Helper()
	var received, sent []archived
	for _, r := range recipients {
		if r.archive == nil {
			r.archive = w.archive(t, r.user, "")
		}
		inOrder(t, "the archive of "+r.user+" has", idsOf(r.archive))
		received = append(received, r.archive...)
	}
	for i := range crashSenders {
		user := "sender" + strconv.Itoa(i)
		list := w.archive(t, user, w.seen[user])
		if len(list) > 0 {
			w.seen[user] = list[len(list)-1].name
		}
		inOrder(t, "the archive of "+user+" has", idsOf(list))
		sent = append(sent, list...)
	}
	run.check(t, "in the archive of the recipient", namesOf(received))
	run.check(t, "in the archive of the sender", namesOf(sent))
	for _, m := range received {
		if _, _, ours := strings.Cut(m.id, "-"); ours && (len(stored[m.id]) != 1 || stored[m.id][0] != m.name) {
			t.Errorf("%s is archived as %s, and stored as %v", m.id, m.name, stored[m.id])
		}
	}
}

// archive reads what a user's archive has behind a message.
func (w *crashWorld) archive(t *testing.T, user, after string) []archived {
	t.Helper()
	c := login(t, w.server, user, "reader", false)
	defer c.conn.Close()
	return readArchive(t, c, c.read, after)
}

func idsOf(list []archived) (ids []string) {
	for _, m := range list {
		ids = append(ids, m.id)
	}
	return ids
}

// inOrder reports an error where a message stands behind a later one of its
// sender's. Others than those of the flow are left out.
func inOrder(t *testing.T, what string, ids []string) {
	t.Helper()
	last := make(map[string]int)
	for _, id := range ids {
		i := strings.LastIndexByte(id, '-')
		if i < 0 {
			continue
		}
		n, err := strconv.Atoi(id[i+1:])
		if err != nil {
			t.Errorf("%s %q: %v", what, id, err)
			continue
		}
		if before, ok := last[id[:i]]; ok && n <= before {
			t.Errorf("%s %s behind %s", what, id, fmt.Sprint(id[:i], "-", before))
		}
		last[id[:i]] = n
	}
}
