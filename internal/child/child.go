// Package child runs other programs that do not outlive this one.
package child

import "os/exec"

// Run is cmd.Run, of a program that ends when this one is killed, where the system can do that
// (Linux).
func Run(cmd *exec.Cmd) error { return run(cmd) }
