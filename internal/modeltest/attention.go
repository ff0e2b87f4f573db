package modeltest

// Attentions are forms of attention with four heads of three dimensions, as onnxtest.Parse reads them.
func Attentions() map[string]string {
	return map[string]string{
		"MatMul": `
		x: N 4 6
		q = MatMul(x, wq[6 12])
		k = MatMul(x, wk[6 12])
		v = MatMul(x, wv[6 12])
		q2 = Reshape(q, s1{0 0 4 3})
		k2 = Reshape(k, s2{0 0 4 3})
		v2 = Reshape(v, s3{0 0 4 3})
		q3 = Transpose(q2) perm=0,2,1,3
		k3 = Transpose(k2) perm=0,2,3,1
		v3 = Transpose(v2) perm=0,2,1,3
		s = MatMul(q3, k3)
		p = Softmax(s) axis=-1
		a = MatMul(p, v3)
		at = Transpose(a) perm=0,2,1,3
		ar = Reshape(at, s4{0 0 12})
		y = MatMul(ar, wo[12 5])`,
		"separate": `
		x: N 4 6
		q0 = MatMul(x, wq[6 12])
		q = Add(q0, bq[12])
		k0 = MatMul(x, wk[6 12])
		k = Add(k0, bk[12])
		v0 = MatMul(x, wv[6 12])
		v = Add(v0, bv[12])
		q2 = Reshape(q, s1{0 0 4 3})
		k2 = Reshape(k, s2{0 0 4 3})
		v2 = Reshape(v, s3{0 0 4 3})
		q3 = Transpose(q2) perm=0,2,1,3
		k3 = Transpose(k2) perm=0,2,3,1
		v3 = Transpose(v2) perm=0,2,1,3
		s0 = MatMul(q3, k3)
		s = Mul(s0, third<0.3>)
		p = Softmax(s) axis=-1
		a = MatMul(p, v3)
		at = Transpose(a) perm=0,2,1,3
		ar = Reshape(at, s4{0 0 12})
		y = MatMul(ar, wo[12 5])`,
		"packed": `
		x: N 4 6
		qkv = MatMul(x, wqkv[6 36])
		q k v = Split(qkv, parts{12 12 12}) axis=-1
		q2 = Reshape(q, s1{0 0 4 3})
		k2 = Reshape(k, s2{0 0 4 3})
		v2 = Reshape(v, s3{0 0 4 3})
		q3 = Transpose(q2) perm=0,2,1,3
		k3 = Transpose(k2) perm=0,2,3,1
		v3 = Transpose(v2) perm=0,2,1,3
		s = MatMul(q3, k3)
		p = Softmax(s) axis=-1
		a = MatMul(p, v3)
		at = Transpose(a) perm=0,2,1,3
		ar = Reshape(at, s4{0 0 12})
		y = MatMul(ar, wo[12 5])`,
		"stacked": `
		x: N 4 6
		qkv0 = MatMul(x, wqkv[6 36])
		qkv = Add(qkv0, bqkv[36])
		r = Reshape(qkv, s1{0 0 3 4 3})
		t = Transpose(r) perm=2,0,3,1,4
		q = Gather(t, i0{=0}) axis=0
		k = Gather(t, i1{=1}) axis=0
		v = Gather(t, i2{=2}) axis=0
		kt = Transpose(k) perm=0,1,3,2
		s = MatMul(q, kt)
		p = Softmax(s) axis=-1
		a = MatMul(p, v)
		at = Transpose(a) perm=0,2,1,3
		ar = Reshape(at, s4{0 0 12})
		y = MatMul(ar, wo[12 5])`,
		"Einsum": `
		x: N 4 6
		q = Einsum(x, wq[6 4 3]) equation=btd,dhe->bthe
		k = Einsum(x, wk[6 4 3]) equation=btd,dhe->bthe
		v = Einsum(x, wv[6 4 3]) equation=btd,dhe->bthe
		s = Einsum(q, k) equation=bthe,bshe->bhts
		p = Softmax(s) axis=-1
		a = Einsum(p, v) equation=bhts,bshe->bthe
		y = Einsum(a, wo[4 3 5]) equation=bthe,hed->btd`,
	}
}

// PreNorm is a residual stream of 12 channels that is normalised before it is read, as onnxtest.Parse
// reads it.
const PreNorm = `
	opset 23
	x: N 5 7
	a = MatMul(x, w0[7 12])
	s = Add(a, pos[5 12])
	n = LayerNormalization(s, g1[12], b1[12])
	u = MatMul(n, w1[12 10])
	v = Relu(u)
	w = MatMul(v, w2[10 12])
	r = Add(s, w)
	o = LayerNormalization(r, g2[12], b2[12])
	y = MatMul(o, w3[12 3])`
