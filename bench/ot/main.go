//go:build unix

// Command ot is the Go side of the benchmark of package ot: it reads problems from files that the
// Python side has written, one JSON request a line, and answers with the time, the objective and
// the memory of one solution.
package main

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/monge-ml/monge/ot"
)

// request names a problem by its files of little-endian float64, and a way to solve it.
type request struct {
	Costs    string // n·k numbers, row-major
	A, B     string // masses; empty for uniform
	N, K     int
	Threads  int
	Portable bool
	Certify  bool
	Number   int // solutions to take the mean time of
}

// response is what one solution took, on average.
type response struct {
	Seconds   float64  `json:"seconds"`
	CPU       float64  `json:"cpu_seconds"` // of all threads, garbage collection included
	Objective float64  `json:"objective"`
	PeakBytes int64    `json:"peak_bytes"` // memory in use at the highest point, above that before the solution
	Stats     ot.Stats `json:"stats"`
	Error     string   `json:"error,omitempty"`
}

func main() {
	if err := serve(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// serve answers requests until the input ends. The last matrix is kept for the next request.
func serve(in io.Reader, out io.Writer) error {
	lines := bufio.NewScanner(in)
	encoder := json.NewEncoder(out)
	var cost *ot.Cost
	var held string
	for lines.Scan() {
		var q request
		if err := json.Unmarshal(lines.Bytes(), &q); err != nil {
			return err
		}
		if q.Costs != held {
			cost = nil //nolint:ineffassign // lets go of the last matrix before the next one is read
			data, err := read(q.Costs, q.N*q.K)
			if err != nil {
				return err
			}
			cost, held = ot.NewCost(q.N, q.K, data), q.Costs
		}
		r, err := answer(q, cost)
		if err != nil {
			r.Error = err.Error()
		}
		if err := encoder.Encode(r); err != nil {
			return err
		}
	}
	return lines.Err()
}

// answer solves one problem.
func answer(q request, cost *ot.Cost) (r response, err error) {
	a, err := read(q.A, q.N)
	if err != nil {
		return r, err
	}
	b, err := read(q.B, q.K)
	if err != nil {
		return r, err
	}
	if q.Number == 1 {
		debug.FreeOSMemory()
	}
	before := resetPeak()
	start, busy := time.Now(), cpuTime()
	var result *ot.Result
	for range q.Number {
		result, err = ot.Solver{Threads: q.Threads, Portable: q.Portable}.EMD(a, b, cost)
		if err != nil {
			return r, err
		}
	}
	number := float64(q.Number)
	r.Seconds, r.CPU = time.Since(start).Seconds()/number, (cpuTime()-busy)/number
	r.PeakBytes = memory("VmHWM") - before
	r.Objective, r.Stats = result.Objective, result.Stats
	if q.Certify {
		err = result.Certify(a, b, cost, 0)
	}
	runtime.KeepAlive(cost)
	return r, err
}

// cpuTime returns the seconds that processors have spent on this process.
func cpuTime() float64 {
	var t unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_PROCESS_CPUTIME_ID, &t); err != nil {
		return 0
	}
	return float64(t.Nano()) / 1e9
}

// read returns the n numbers in a file, or nil where there is none.
func read(name string, n int) ([]float64, error) {
	if name == "" {
		return nil, nil
	}
	raw, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	if len(raw) != 8*n {
		return nil, fmt.Errorf("%s: %d bytes, want %d", name, len(raw), 8*n)
	}
	x := make([]float64, n)
	for i := range x {
		x[i] = math.Float64frombits(binary.LittleEndian.Uint64(raw[8*i:]))
	}
	return x, nil
}

// resetPeak makes the memory in use now the highest so far, and returns it.
func resetPeak() int64 {
	// Where this is not possible the peak is that of the whole run, which is too high, not too low.
	_ = os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)
	return memory("VmRSS")
}

// memory returns a value of /proc/self/status in bytes, zero where there is none.
func memory(key string) int64 {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, key+":"); ok {
			kb, _ := strconv.ParseInt(strings.Fields(rest)[0], 10, 64)
			return kb << 10
		}
	}
	return 0
}
