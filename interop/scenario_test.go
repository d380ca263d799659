//go:build interop

package interop_test

import (
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"kith/server/storage/storagetest"
	"kith/xmpptest"
)

// TestScenarios plays the scenarios of all packages on PostgreSQL, each block with a
// database of its own.
func TestScenarios(t *testing.T) {
	t.Parallel()
	storagetest.PostgresURL(t) // or there is none
	folders := 0
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case !d.IsDir():
			return nil
		case d.Name() != ".." && strings.HasPrefix(d.Name(), "."), d.Name() == "node_modules":
			return fs.SkipDir
		}
		scenarios := filepath.Join(path, "testdata", "*.xmpp")
		if files, err := filepath.Glob(scenarios); err != nil || len(files) == 0 {
			return err
		}
		folders++
		t.Run(filepath.ToSlash(strings.TrimPrefix(path, "../")), func(t *testing.T) {
			t.Parallel()
			xmpptest.Run(t, scenarios, xmpptest.Databases(storagetest.PostgresURL))
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if folders < 10 {
		t.Errorf("scenarios in %d folders, want those of all packages", folders)
	}
}
