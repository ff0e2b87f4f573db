package ot

import (
	"encoding/binary"
	"math"
	"testing"
)

// FuzzEMD: whatever the numbers, there is a certified plan or an error.
func FuzzEMD(f *testing.F) {
	f.Add(uint8(2), uint8(3), true, []byte("some bytes that stand for numbers, eight to each of them"))
	f.Add(uint8(5), uint8(5), false, []byte{})
	f.Fuzz(func(t *testing.T, n, k uint8, masses bool, raw []byte) {
		next := func() float64 {
			var b [8]byte
			raw = raw[copy(b[:], raw):]
			return math.Float64frombits(binary.LittleEndian.Uint64(b[:]))
		}
		rows, cols := int(n%20), int(k%20)
		var a, b []float64
		if masses {
			a, b = make([]float64, rows), make([]float64, cols)
			var sa, sb float64
			for i := range a {
				a[i] = next()
				sa += a[i]
			}
			for j := range b {
				b[j] = next()
				sb += b[j]
			}
			// Most bytes make masses whose totals differ: bring them close.
			for j := range b {
				b[j] = b[j] / sb * sa
			}
		}
		c := NewCost(rows, cols, nil)
		for x := range c.Data {
			c.Data[x] = next()
		}
		for _, s := range []Solver{{}, {listed: true}} {
			r, err := s.EMD(a, b, c)
			if err != nil {
				return
			}
			if err := r.Certify(a, b, c, 0); err != nil {
				t.Fatal(err)
			}
			if len(r.Plan.Entries) > rows+cols-1 {
				t.Fatalf("%d entries in a %d×%d plan", len(r.Plan.Entries), rows, cols)
			}
		}
	})
}
