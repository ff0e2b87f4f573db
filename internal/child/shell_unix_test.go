//go:build unix

package child_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/monge-ml/monge/internal/child"
)

// A command's output is kept apart, its end where there is much, and how it ended is told.
func TestShell(t *testing.T) {
	said, err := child.Shell(t.Context(), "echo one; echo two >&2; cat; exit 0")
	if err != nil || said.Out != "one\n" || said.Err != "two\n" {
		t.Errorf("%+v, %v", said, err)
	}
	said, err = child.Shell(t.Context(), "echo no >&2; exit 3")
	if err == nil || !strings.Contains(err.Error(), "exit status 3") || said.Err != "no\n" {
		t.Errorf("%+v, %v", said, err)
	}
	said, err = child.Shell(t.Context(), "i=0; while [ $i -lt 30000 ]; do echo 0123456789; i=$((i+1)); done; echo end")
	if err != nil || len(said.Out) > 1<<18 || !strings.HasSuffix(said.Out, "\nend\n") {
		t.Errorf("%d bytes, %v", len(said.Out), err)
	}
	name := "a b'c$d\"e"
	if said, err = child.Shell(t.Context(), "printf %s "+child.Quote(name)); err != nil || said.Out != name {
		t.Errorf("%+v, %v", said, err)
	}
}

// What a command has started ends with it: when it is told to, and when it leaves something behind.
func TestShellEndsAll(t *testing.T) {
	for what, line := range map[string]string{
		"told to":     "sleep 300 & echo $! > PID; wait",
		"left behind": "sleep 300 & echo $! > PID",
	} {
		pid := filepath.Join(t.TempDir(), "pid")
		ctx, stop := context.WithCancelCause(t.Context())
		enough := errors.New("enough")
		if what == "told to" {
			go func() {
				defer stop(enough)
				for range 500 {
					if text, err := os.ReadFile(pid); err == nil && strings.HasSuffix(string(text), "\n") {
						return
					}
					time.Sleep(10 * time.Millisecond)
				}
			}()
		}
		_, err := child.Shell(ctx, strings.ReplaceAll(line, "PID", child.Quote(pid)))
		stop(nil)
		if what == "told to" && !errors.Is(err, enough) || what != "told to" && err != nil {
			t.Errorf("%s: %v", what, err)
		}
		text, err := os.ReadFile(pid)
		if err != nil {
			t.Fatal(err)
		}
		n, err := strconv.Atoi(strings.TrimSpace(string(text)))
		if err != nil {
			t.Fatal(err)
		}
		lives := true
		for range 200 {
			if lives = alive(n); !lives {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		if lives {
			t.Errorf("%s: process %d lives on", what, n)
		}
	}
}

// alive reports whether a process is there, and no mere entry that nobody has waited for.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	text, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	return err != nil || !strings.Contains(string(text), ") Z ")
}
