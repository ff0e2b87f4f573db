// Command asm writes the AVX2 kernel of package dense. It is a module of its own, so that the
// generator is no dependency of the package; run it with go generate ./internal/dense.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const (
	rows    = 6 // of a tile, as in the package
	vectors = 2 // of 4 columns each
)

func main() {
	ConstraintExpr("amd64")
	tile()
	Generate()
}

// tile: c += aᵀ·b for one tile of c, where a and b hold rows and columns of the tile step by step.
func tile() {
	TEXT("tileAVX2", NOSPLIT, "func(steps int, a, b, c *float64, stride int)")
	Doc("tileAVX2 adds to a 6×8 tile of c, whose rows are stride apart, the sum over steps of a[6] by b[8]. It needs AVX2 and FMA.")
	steps := Load(Param("steps"), GP64())
	a := Load(Param("a"), GP64())
	b := Load(Param("b"), GP64())
	c := Load(Param("c"), GP64())
	stride := Load(Param("stride"), GP64())
	SHLQ(U8(3), stride)
	var acc [rows][vectors]VecVirtual
	for r := range acc {
		for v := range acc[r] {
			acc[r][v] = YMM()
			VXORPD(acc[r][v], acc[r][v], acc[r][v])
		}
	}
	var col [vectors]VecVirtual
	for v := range col {
		col[v] = YMM()
	}
	x := YMM()
	Label("steps")
	for v := range col {
		VMOVUPD(Mem{Base: b}.Offset(32*v), col[v])
	}
	for r := range acc {
		VBROADCASTSD(Mem{Base: a}.Offset(8*r), x)
		for v := range col {
			VFMADD231PD(col[v], x, acc[r][v])
		}
	}
	ADDQ(U8(8*rows), a)
	ADDQ(U8(32*vectors), b)
	DECQ(steps)
	JNE(LabelRef("steps"))
	for r := range acc {
		for v := range acc[r] {
			VADDPD(Mem{Base: c}.Offset(32*v), acc[r][v], acc[r][v])
			VMOVUPD(acc[r][v], Mem{Base: c}.Offset(32*v))
		}
		if r < rows-1 {
			ADDQ(stride, c)
		}
	}
	VZEROUPPER()
	RET()
}
