//go:build !linux

package child

import "os/exec"

func run(cmd *exec.Cmd) error { return cmd.Run() }
