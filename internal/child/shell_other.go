//go:build !unix

package child

import (
	"context"
	"os/exec"
	"strconv"
)

func shell(ctx context.Context, line string) *exec.Cmd {
	return exec.CommandContext(ctx, "cmd", "/C", line)
}

// endAll ends the command with what it has started.
func endAll(cmd *exec.Cmd) error {
	if err := exec.Command("taskkill", "/T", "/F", "/PID", strconv.Itoa(cmd.Process.Pid)).Run(); err != nil {
		return cmd.Process.Kill()
	}
	return nil
}

// Quote writes an argument as the shell takes it.
func Quote(s string) string { return `"` + s + `"` }
