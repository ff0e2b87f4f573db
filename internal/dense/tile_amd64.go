package dense

import "golang.org/x/sys/cpu"

// tile returns the best kernel for this processor.
func tile() tileFunc {
	if cpu.X86.HasAVX2 && cpu.X86.HasFMA {
		return tileVector
	}
	return tileGo
}

func tileVector(steps int, a, b, c []float64, stride int) {
	_, _, _ = a[steps*tileRows-1], b[steps*tileCols-1], c[(tileRows-1)*stride+tileCols-1]
	tileAVX2(steps, &a[0], &b[0], &c[0], stride)
}
