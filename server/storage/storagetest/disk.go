package storagetest

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"

	"github.com/jackc/pgx/v5"
)

// Disk is the small disk of a database.
type Disk struct {
	dir     string
	missing error // why there is none
}

// SmallDatabase is like Database, on a disk of its own with room for that many bytes. What
// PostgreSQL writes ahead is on another disk. Only root can make one: without the right to,
// the database is where all are, and whoever wants to fill the disk is skipped.
func (s *Server) SmallDatabase(t testing.TB, size int) (string, *Disk) {
	t.Helper()
	name := fmt.Sprintf("small%d", databases.Add(1))
	d := &Disk{dir: filepath.Join(s.dir, name)}
	fi, err := os.Stat(s.dir)
	if err == nil {
		err = os.Mkdir(d.dir, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	owner := fi.Sys().(*syscall.Stat_t)
	o := "mode=700,size=" + strconv.Itoa(size) + ",uid=" + strconv.Itoa(int(owner.Uid)) + ",gid=" + strconv.Itoa(int(owner.Gid))
	err = syscall.Mount("tmpfs", d.dir, "tmpfs", 0, o)
	if errors.Is(err, os.ErrPermission) {
		return s.Database(t), &Disk{missing: err}
	}
	if err != nil {
		t.Fatalf("mount a small disk: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(d.dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	place := pgx.Identifier{name}
	if err := s.admin(place, "CREATE TABLESPACE %s LOCATION '"+d.dir+"'"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.admin(place, "DROP TABLESPACE %s"); err != nil {
			t.Error(err)
		}
	})
	return s.Database(t) + "&default_tablespace=" + url.QueryEscape(name), d
}

// ballast is the file that fills a disk.
func (d *Disk) ballast() string { return filepath.Join(d.dir, "ballast") }

// Fill leaves no room on the disk.
func (d *Disk) Fill(t testing.TB) {
	t.Helper()
	if d.missing != nil {
		t.Skipf("no right to mount a small disk: %v", d.missing)
	}
	f, err := os.Create(d.ballast())
	if err != nil {
		t.Fatal(err)
	}
	for err == nil {
		_, err = f.Write(make([]byte, 4096))
	}
	if cerr := f.Close(); !errors.Is(err, syscall.ENOSPC) || cerr != nil {
		t.Fatal(err, cerr)
	}
}

// Clear makes room again.
func (d *Disk) Clear(t testing.TB) {
	t.Helper()
	if err := os.Remove(d.ballast()); err != nil {
		t.Fatal(err)
	}
}
