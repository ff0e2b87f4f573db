package guard_test

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/monge-ml/monge/internal/guard"
)

func fails(f func()) (err error) {
	defer guard.Recover(&err)
	f()
	return nil
}

func TestRecover(t *testing.T) {
	if err := fails(func() {}); err != nil {
		t.Errorf("no panic: %v", err)
	}
	for want, f := range map[string]func(){
		"index out of range": func() { var v []int; i := 3; v[i] = 1 },
		"nil pointer":        func() { var p *guard.Panic; p.Value = 1 },
		"boom":               func() { panic("boom") },
		"EOF":                func() { panic(io.EOF) },
		"elsewhere": func() {
			var g guard.Group
			g.Go(func() { panic("elsewhere") })
			g.Go(func() {})
			g.Wait()
		},
	} {
		err := fails(f)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: error %v", want, err)
		}
		var p *guard.Panic
		if !errors.As(err, &p) || !strings.Contains(string(p.Stack), "guard_test") {
			t.Errorf("%s: the stack does not say where: %s", want, p.Stack)
		}
	}
	if err := fails(func() { panic(io.EOF) }); !errors.Is(err, io.EOF) {
		t.Errorf("error %v", err)
	}
}
