package guard_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
)

// recovering are the functions whose goroutines do nothing that panics outside of what recovers by
// itself.
var recovering = map[string]string{
	"dataset/stream.go":   "batch.read recovers",
	"dataset/together.go": "Stream recovers",
}

// A panic in a goroutine that nobody recovers from ends the program with a stack and exit code 2,
// whatever its starter defers. Every go statement of the program defers Recover first of all.
func TestGoroutines(t *testing.T) {
	root := filepath.Join("..", "..")
	found := 0
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
			return err
		}
		name, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		if top, _, _ := strings.Cut(filepath.ToSlash(name), "/"); top == "bench" || top == "examples" {
			return nil
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, nil, 0)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			s, ok := n.(*ast.GoStmt)
			if !ok {
				return true
			}
			found++
			if _, known := recovering[filepath.ToSlash(name)]; !known && !recovers(s) {
				t.Errorf("%s: nobody recovers from a panic in this goroutine", files.Position(s.Pos()))
			}
			return true
		})
		return nil
	})
	if err != nil || found < 3 {
		t.Errorf("%d go statements: %v", found, err)
	}
}

// recovers reports whether the function of a go statement defers guard.Recover.
func recovers(s *ast.GoStmt) bool {
	f, ok := s.Call.Fun.(*ast.FuncLit)
	if !ok {
		return false
	}
	for _, statement := range f.Body.List {
		d, ok := statement.(*ast.DeferStmt)
		if !ok {
			continue
		}
		if call, ok := d.Call.Fun.(*ast.SelectorExpr); ok && call.Sel.Name == "Recover" {
			return true
		}
	}
	return false
}
