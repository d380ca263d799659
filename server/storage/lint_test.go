package storage_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// looksLikeSQL finds statements, not sentences that begin with their verbs.
var looksLikeSQL = regexp.MustCompile(`(?is)\bselect\b.+\bfrom\b|\binsert\s+(or\s+\w+\s+)?into\b|\bupdate\s+\S+\s+set\b|\bdelete\s+from\b` +
	`|^\s*(SELECT|INSERT|UPDATE|DELETE)\s*$`)

// TestNoFormattedSQL: statement texts are constants, in the whole repository.
func TestNoFormattedSQL(t *testing.T) {
	root := repository(t)
	packages := make(map[string][]string)
	err := filepath.WalkDir(root, func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && (e.Name() == "testdata" || e.Name() == "node_modules" || e.Name() != "." && strings.HasPrefix(e.Name(), ".")):
			return fs.SkipDir
		case filepath.Ext(path) == ".go":
			packages[filepath.Dir(path)] = append(packages[filepath.Dir(path)], path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) == 0 {
		t.Fatalf("no Go files under %s", root)
	}
	for _, paths := range packages {
		set := token.NewFileSet()
		var files []*ast.File
		for _, path := range paths {
			file, err := parser.ParseFile(set, path, nil, parser.SkipObjectResolution)
			if err != nil {
				continue // the compiler says it better
			}
			files = append(files, file)
		}
		for _, found := range formattedSQL(set, files) {
			t.Error(found)
		}
	}
}

func TestFormattedSQL(t *testing.T) {
	const head = "package p\nimport \"fmt\"\nconst table = \"t\"\n"
	for _, c := range []struct {
		code string
		bad  bool
	}{
		{`var q = "SELECT a FROM t WHERE b = $1"`, false},
		{`var q = "SELECT a " + "FROM t"`, false},
		{`const q = "SELECT a FROM " + table`, false},
		{`var q = "SELECT a FROM " + name`, true},
		{`var q = "SELECT a FROM t WHERE b IN (" + marks() + ")"`, true},
		{`var q = "SELECT " + "a FROM t WHERE b = " + fmt.Sprint(1)`, true},
		{`var q = "SELECT " + columns + " FROM t"`, true},
		{`var q = fmt.Sprintf("SELECT %s FROM t", a)`, true},
		{"var q = fmt.Sprintf(`insert  into\n t (a) values (%d)`, a)", true},
		{`var q = fmt.Sprintf("UPDATE %s SET a = 1", a)`, true},
		{`var q = fmt.Sprintf("%s", "DELETE FROM t")`, true},
		{`var q = fmt.Appendf(nil, "DELETE FROM %s", a)`, true},
		{`var q = fmt.Sprint("DELETE FROM ", a)`, true},
		{`func f() { q := "DELETE FROM t"; q += name; _ = q }`, true},
		{`func f() { q := "a"; q += "DELETE FROM t"; _ = q }`, true},
		{`var e = fmt.Errorf("update roster of %s: %w", a, err)`, false},
		{`var e = fmt.Errorf("delete from archive of %s: %w", a, err)`, false},
		{`var s = "please select " + what`, false},
	} {
		set := token.NewFileSet()
		file, err := parser.ParseFile(set, "p.go", head+c.code, parser.SkipObjectResolution)
		if err != nil {
			t.Fatalf("%s: %v", c.code, err)
		}
		if found := formattedSQL(set, []*ast.File{file}); (len(found) > 0) != c.bad {
			t.Errorf("%s: found %q, bad is %v", c.code, found, c.bad)
		}
	}
}

func repository(t *testing.T) string {
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			t.Fatal("no go.mod above the test")
		}
		dir = up
	}
}

// formattedSQL reports each place in a package where SQL meets a + with something that is
// not constant, or a formatting function of fmt.
func formattedSQL(set *token.FileSet, files []*ast.File) []string {
	consts := constants(files)
	var found []string
	report := func(n ast.Node) {
		found = append(found, fmt.Sprintf("%s: SQL is built here; make it a constant with arguments $1, $2", set.Position(n.Pos())))
	}
	// Variables that hold SQL, for +=.
	holdsSQL := make(map[string]bool)
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BinaryExpr:
				if n.Op != token.ADD {
					return true
				}
				text, constant := flatten(n, consts)
				if !constant && looksLikeSQL.MatchString(text) {
					report(n)
				}
				return false
			case *ast.AssignStmt:
				for i, left := range n.Lhs {
					name, ok := left.(*ast.Ident)
					if !ok || i >= len(n.Rhs) {
						continue
					}
					text, _ := flatten(n.Rhs[i], consts)
					sql := looksLikeSQL.MatchString(text)
					if n.Tok == token.ADD_ASSIGN && (sql || holdsSQL[name.Name]) {
						report(n)
					}
					if n.Tok != token.ADD_ASSIGN {
						holdsSQL[name.Name] = sql
					}
				}
			case *ast.CallExpr:
				if formats(n.Fun) {
					for _, arg := range n.Args {
						if text, _ := flatten(arg, consts); looksLikeSQL.MatchString(text) {
							report(n)
							return false
						}
					}
				}
			}
			return true
		})
	}
	return found
}

// formats reports a function of fmt that makes text; errors and logs may speak of SQL.
func formats(fun ast.Expr) bool {
	sel, ok := fun.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	pkg, ok := sel.X.(*ast.Ident)
	return ok && pkg.Name == "fmt" && (strings.HasPrefix(sel.Sel.Name, "Sprint") ||
		strings.HasPrefix(sel.Sel.Name, "Fprint") || strings.HasPrefix(sel.Sel.Name, "Append"))
}

// flatten joins the literals of an expression, and tells whether all of it is constant.
func flatten(e ast.Expr, consts map[string]bool) (text string, constant bool) {
	switch e := e.(type) {
	case *ast.BasicLit:
		if e.Kind != token.STRING {
			return "", true
		}
		s, err := strconv.Unquote(e.Value)
		return s, err == nil
	case *ast.ParenExpr:
		return flatten(e.X, consts)
	case *ast.BinaryExpr:
		x, cx := flatten(e.X, consts)
		y, cy := flatten(e.Y, consts)
		return x + y, cx && cy && e.Op == token.ADD
	case *ast.Ident:
		return "", consts[e.Name]
	}
	return "", false
}

func constants(files []*ast.File) map[string]bool {
	names := make(map[string]bool)
	for _, file := range files {
		ast.Inspect(file, func(n ast.Node) bool {
			if d, ok := n.(*ast.GenDecl); ok && d.Tok == token.CONST {
				for _, s := range d.Specs {
					for _, name := range s.(*ast.ValueSpec).Names {
						names[name.Name] = true
					}
				}
			}
			return true
		})
	}
	return names
}
