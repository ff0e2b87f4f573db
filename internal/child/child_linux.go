package child

import (
	"os/exec"
	"runtime"
	"syscall"
)

// run has the kernel kill the program when the thread that has started it ends, which therefore
// must not be one that Go may end earlier.
func run(cmd *exec.Cmd) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = &syscall.SysProcAttr{}
	}
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	return cmd.Run()
}
