package cluster_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"kith/server/cluster"
)

// What nobody waits for shares a commit, whoever asked for it in that second.
func TestSoonTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster.Options{Lanes: 1})
		w.warm("a", "b", "c")
		var j journal
		for i, k := range []cluster.Key{"a", "b", "a"} {
			w.Send(k, do(func(turn *cluster.Turn, _ *actor) { turn.SendSoon("c", j.row(fmt.Sprint(i))) }))
			time.Sleep(100 * time.Millisecond)
		}
		j.want(t, "at first")
		before := w.Stats().Commits
		time.Sleep(700 * time.Millisecond)
		synctest.Wait()
		j.want(t, "after a second", "0 stored", "1 stored", "2 stored")
		if n := w.Stats().Commits - before; n != 1 {
			t.Errorf("%d commits, want 1", n)
		}
		w.Send("a", do(func(turn *cluster.Turn, _ *actor) { turn.SendSoon("b", j.row("3")) }))
		w.close()
		j.want(t, "after Close", "0 stored", "1 stored", "2 stored", "3 stored")
		w.close()
	})
}

// A batch that fails has asked for nothing; run again, it asks once.
func TestSoonOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster.Options{})
		w.warm("a")
		w.shelf.failWith(badRows)
		var j journal
		soon := func(row string) *item {
			return do(func(turn *cluster.Turn, self *actor) {
				self.write(turn, row)
				turn.SendSoon("a", j.row("after "+row))
			})
		}
		w.Send("a", soon("good"), soon("bad"))
		time.Sleep(2 * time.Second)
		j.want(t, "fates", "after good stored")
		w.close()
	})
}

// What a batch asks for while the cluster is being closed leaves at once.
func TestSoonWhileClosing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, cluster.Options{})
		w.warm("a")
		gate := make(chan struct{})
		w.shelf.gate = gate
		var j journal
		w.Send("a", do(func(turn *cluster.Turn, self *actor) {
			self.write(turn, "row")
			turn.SendSoon("b", j.row("late"))
		}))
		time.AfterFunc(time.Second, func() { close(gate) })
		w.close()
		j.want(t, "after Close", "late stored")
	})
}
