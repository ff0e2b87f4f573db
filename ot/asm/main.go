// Command asm writes the AVX2 kernels of package ot. It is a module of its own, so that the
// generator is no dependency of the package; run it with go generate ./ot.
package main

import (
	. "github.com/mmcloughlin/avo/build"
	. "github.com/mmcloughlin/avo/operand"
	. "github.com/mmcloughlin/avo/reg"
)

const lanes = 4 // float64 in a vector

func main() {
	ConstraintExpr("amd64")
	reduce()
	relax()
	foldRow()
	dots()
	Generate()
}

// broadcast returns a vector of four copies of a float64 with the given bits.
func broadcast(name string, bits uint64) VecVirtual {
	y := YMM()
	VBROADCASTSD(ConstData(name, U64(bits)), y)
	return y
}

// reduce: round(cost·scale) − v of every column, and the least of each lane over a block of
// vectors.
func reduce() {
	TEXT("reduceAVX2", NOSPLIT, "func(costs, v, w, mins *float64, blocks, quads int, scale float64)")
	Doc("reduceAVX2 is reduceGo for whole blocks, of quads·16 columns each. It needs AVX2 and FMA.")
	costs := Load(Param("costs"), GP64())
	v := Load(Param("v"), GP64())
	w := Load(Param("w"), GP64())
	mins := Load(Param("mins"), GP64())
	blocks := Load(Param("blocks"), GP64())
	quads := Load(Param("quads"), GP64())
	scale := YMM()
	addr, err := Param("scale").Resolve()
	if err != nil {
		panic(err)
	}
	VBROADCASTSD(addr.Addr, scale)
	magic := broadcast("roundMagic", 0x4338000000000000) // 1.5·2⁵²
	infinity := broadcast("infinity", 0x7ff0000000000000)

	Label("blocks")
	TESTQ(blocks, blocks)
	JE(LabelRef("done"))
	least, left := YMM(), GP64()
	VMOVAPD(infinity, least)
	MOVQ(quads, left)
	Label("quads")
	var y [4]VecVirtual
	for x := range y {
		at := x * lanes * 8
		y[x] = YMM()
		VMOVUPD(Mem{Base: costs}.Offset(at), y[x])
		VFMADD213PD(magic, scale, y[x]) // cost·scale + magic, exactly rounded
		VSUBPD(magic, y[x], y[x])
		VSUBPD(Mem{Base: v}.Offset(at), y[x], y[x])
		VMOVUPD(y[x], Mem{Base: w}.Offset(at))
	}
	VMINPD(y[1], y[0], y[0])
	VMINPD(y[3], y[2], y[2])
	VMINPD(y[2], y[0], y[0])
	VMINPD(y[0], least, least)
	ADDQ(U32(4*lanes*8), costs)
	ADDQ(U32(4*lanes*8), v)
	ADDQ(U32(4*lanes*8), w)
	DECQ(left)
	JNE(LabelRef("quads"))
	VMOVUPD(least, Mem{Base: mins})
	ADDQ(U8(lanes*8), mins)
	DECQ(blocks)
	JMP(LabelRef("blocks"))
	Label("done")
	VZEROUPPER()
	RET()
}

// relax: shortens distances through one row, and the least of each lane over a block of those still
// open.
func relax() {
	TEXT("relaxAVX2", NOSPLIT, "func(costs, v, dist, from, closed, mins *float64, blocks, quads int, base, row, scale float64)")
	Doc("relaxAVX2 is relaxGo for whole blocks, of quads·16 columns each. It needs AVX2 and FMA.")
	costs := Load(Param("costs"), GP64())
	v := Load(Param("v"), GP64())
	dist := Load(Param("dist"), GP64())
	from := Load(Param("from"), GP64())
	closed := Load(Param("closed"), GP64())
	mins := Load(Param("mins"), GP64())
	blocks := Load(Param("blocks"), GP64())
	quads := Load(Param("quads"), GP64())
	spread := func(name string) VecVirtual {
		addr, err := Param(name).Resolve()
		if err != nil {
			panic(err)
		}
		y := YMM()
		VBROADCASTSD(addr.Addr, y)
		return y
	}
	base, row, scale := spread("base"), spread("row"), spread("scale")
	magic := broadcast("relaxMagic", 0x4338000000000000) // 1.5·2⁵²
	infinity := broadcast("relaxInfinity", 0x7ff0000000000000)

	Label("blocks")
	TESTQ(blocks, blocks)
	JE(LabelRef("done"))
	least, left := YMM(), GP64()
	VMOVAPD(infinity, least)
	MOVQ(quads, left)
	Label("quads")
	for x := range 4 {
		at := x * lanes * 8
		d, old, nearer, source := YMM(), YMM(), YMM(), YMM()
		VMOVUPD(Mem{Base: costs}.Offset(at), d)
		VFMADD213PD(magic, scale, d) // cost·scale + magic, exactly rounded
		VSUBPD(magic, d, d)
		VSUBPD(Mem{Base: v}.Offset(at), d, d)
		VADDPD(base, d, d)
		VMOVUPD(Mem{Base: dist}.Offset(at), old)
		VCMPPD(U8(1), old, d, nearer) // d < old
		VMINPD(old, d, d)
		VMOVUPD(d, Mem{Base: dist}.Offset(at))
		VMOVUPD(Mem{Base: from}.Offset(at), source)
		VBLENDVPD(nearer, row, source, source)
		VMOVUPD(source, Mem{Base: from}.Offset(at))
		VADDPD(Mem{Base: closed}.Offset(at), d, d)
		VMINPD(d, least, least)
	}
	for _, p := range []Register{costs, v, dist, from, closed} {
		ADDQ(U32(4*lanes*8), p)
	}
	DECQ(left)
	JNE(LabelRef("quads"))
	VMOVUPD(least, Mem{Base: mins})
	ADDQ(U8(lanes*8), mins)
	DECQ(blocks)
	JMP(LabelRef("blocks"))
	Label("done")
	VZEROUPPER()
	RET()
}

// foldRow: takes a row into the running column minima, maximum and sum of zeros.
func foldRow() {
	TEXT("foldRowAVX2", NOSPLIT, "func(costs, low *float64, vectors int) (high, zero float64)")
	Doc("foldRowAVX2 is foldRowGo for whole vectors, of which there is at least one. It needs AVX2 and FMA.")
	costs := Load(Param("costs"), GP64())
	low := Load(Param("low"), GP64())
	vectors := Load(Param("vectors"), GP64())
	high, zero, null := YMM(), YMM(), YMM()
	VMOVUPD(Mem{Base: costs}, high)
	VXORPD(zero, zero, zero)
	VXORPD(null, null, null)
	Label("vectors")
	c, l := YMM(), YMM()
	VMOVUPD(Mem{Base: costs}, c)
	VMINPD(Mem{Base: low}, c, l)
	VMOVUPD(l, Mem{Base: low})
	VMAXPD(high, c, high)
	VFMADD231PD(c, null, zero) // NaN once a cost is infinite or NaN
	ADDQ(U8(lanes*8), costs)
	ADDQ(U8(lanes*8), low)
	DECQ(vectors)
	JNE(LabelRef("vectors"))
	x := XMM()
	VEXTRACTF128(U8(1), high, x)
	VMAXPD(x, high.AsX(), high.AsX())
	VPERMILPD(U8(1), high.AsX(), x)
	VMAXSD(x, high.AsX(), high.AsX())
	VEXTRACTF128(U8(1), zero, x)
	VADDPD(x, zero.AsX(), zero.AsX())
	VPERMILPD(U8(1), zero.AsX(), x)
	VADDSD(x, zero.AsX(), zero.AsX())
	VZEROUPPER()
	Store(high.AsX(), ReturnIndex(0))
	Store(zero.AsX(), ReturnIndex(1))
	RET()
}

const dotRows = 8 // rows that share one pass over x

// dots: products of one vector with many rows. Every product is summed in the same order, whether
// it belongs to a full group of rows or not.
func dots() {
	TEXT("dotsAVX2", NOSPLIT, "func(x, y, out *float64, d, vectors, rows int)")
	Doc("dotsAVX2 writes to out the products of x with rows of y, d apart, over the first vectors·4 features. It needs AVX2 and FMA.")
	x := Load(Param("x"), GP64())
	y := Load(Param("y"), GP64())
	out := Load(Param("out"), GP64())
	stride := Load(Param("d"), GP64())
	vectors := Load(Param("vectors"), GP64())
	rows := Load(Param("rows"), GP64())
	SHLQ(U8(3), stride)
	three := GP64()
	LEAQ(Mem{Base: stride, Index: stride, Scale: 2}, three)

	Label("group")
	CMPQ(rows, U8(dotRows))
	JLT(LabelRef("single"))
	var acc [dotRows]VecVirtual
	for r := range acc {
		acc[r] = YMM()
		VXORPD(acc[r], acc[r], acc[r])
	}
	px, left := GP64(), GP64()
	low, high := GP64(), GP64() // the first rows and those from the fifth on
	MOVQ(x, px)
	MOVQ(y, low)
	LEAQ(Mem{Base: y, Index: stride, Scale: 4}, high)
	MOVQ(vectors, left)
	Label("groupVectors")
	xv := YMM()
	VMOVUPD(Mem{Base: px}, xv)
	for r := range acc {
		base := low
		if r >= 4 {
			base = high
		}
		m := Mem{Base: base}
		switch r % 4 {
		case 1, 2:
			m.Index, m.Scale = stride, uint8(r%4)
		case 3:
			m.Index, m.Scale = three, 1
		}
		VFMADD231PD(m, xv, acc[r])
	}
	ADDQ(U8(lanes*8), px)
	ADDQ(U8(lanes*8), low)
	ADDQ(U8(lanes*8), high)
	DECQ(left)
	JNE(LabelRef("groupVectors"))
	for r := range acc {
		storeSum(acc[r], Mem{Base: out}.Offset(8*r))
	}
	LEAQ(Mem{Base: y, Index: stride, Scale: 8}, y)
	ADDQ(U8(dotRows*8), out)
	SUBQ(U8(dotRows), rows)
	JMP(LabelRef("group"))

	Label("single")
	TESTQ(rows, rows)
	JE(LabelRef("end"))
	one := YMM()
	VXORPD(one, one, one)
	MOVQ(x, px)
	MOVQ(y, low)
	MOVQ(vectors, left)
	Label("singleVectors")
	VMOVUPD(Mem{Base: px}, xv)
	VFMADD231PD(Mem{Base: low}, xv, one)
	ADDQ(U8(lanes*8), px)
	ADDQ(U8(lanes*8), low)
	DECQ(left)
	JNE(LabelRef("singleVectors"))
	storeSum(one, Mem{Base: out})
	ADDQ(stride, y)
	ADDQ(U8(8), out)
	DECQ(rows)
	JMP(LabelRef("single"))
	Label("end")
	VZEROUPPER()
	RET()
}

// storeSum adds up the lanes of y.
func storeSum(y VecVirtual, to Mem) {
	high := XMM()
	VEXTRACTF128(U8(1), y, high)
	VADDPD(high, y.AsX(), y.AsX())
	VPERMILPD(U8(1), y.AsX(), high)
	VADDSD(high, y.AsX(), y.AsX())
	VMOVSD(y.AsX(), to)
}
