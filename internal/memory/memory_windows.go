package memory

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/windows"
)

// memoryCounters is PROCESS_MEMORY_COUNTERS.
type memoryCounters struct {
	size                       uint32
	pageFaultCount             uint32
	peakWorkingSetSize         uintptr
	workingSetSize             uintptr
	quotaPeakPagedPoolUsage    uintptr
	quotaPagedPoolUsage        uintptr
	quotaPeakNonPagedPoolUsage uintptr
	quotaNonPagedPoolUsage     uintptr
	pagefileUsage              uintptr
	peakPagefileUsage          uintptr
}

// Peak is the most memory that this process, onnxruntime included, has held at once so far, in
// bytes: the high-water mark of its working set.
func Peak() (int64, error) {
	c := memoryCounters{size: uint32(unsafe.Sizeof(memoryCounters{}))}
	proc := windows.NewLazySystemDLL("psapi.dll").NewProc("GetProcessMemoryInfo")
	if err := proc.Find(); err != nil {
		return 0, err
	}
	ok, _, err := proc.Call(uintptr(windows.CurrentProcess()), uintptr(unsafe.Pointer(&c)), uintptr(c.size))
	if ok == 0 {
		return 0, fmt.Errorf("GetProcessMemoryInfo: %w", err)
	}
	return int64(c.peakWorkingSetSize), nil
}

// memoryStatus is MEMORYSTATUSEX.
type memoryStatus struct {
	size, load                  uint32
	totalPhysical, freePhysical uint64
	totalPaged, freePaged       uint64
	totalVirtual, freeVirtual   uint64
	freeExtended                uint64
}

// Free is how much more memory the process could take without making the machine swap, in bytes.
func Free() (int64, error) {
	s := memoryStatus{size: uint32(unsafe.Sizeof(memoryStatus{}))}
	proc := windows.NewLazySystemDLL("kernel32.dll").NewProc("GlobalMemoryStatusEx")
	if err := proc.Find(); err != nil {
		return 0, err
	}
	ok, _, err := proc.Call(uintptr(unsafe.Pointer(&s)))
	if ok == 0 {
		return 0, fmt.Errorf("GlobalMemoryStatusEx: %w", err)
	}
	return int64(s.freePhysical), nil
}
