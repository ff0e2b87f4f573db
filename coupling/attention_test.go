package coupling_test

func init() { rules = append(rules, attention...) }

// attention holds what transformers are made of, as exporters write it, and attention in one
// operator. Heads are removed whole; their dimensions may be permuted, head by head; nothing else
// of a transformer stays fixed but its inputs and outputs.
var attention = []rule{
	{"a pre-norm encoder layer", `
		x: N 5 7
		a = MatMul(x, w0[7 12])
		b = Add(a, pos[5 12])
		n = LayerNormalization(b, g1[12], e1[12])
		q = MatMul(n, wq[12 12])
		q1 = Add(q, bq[12])
		k = MatMul(n, wk[12 12])
		k1 = Add(k, bk[12])
		v = MatMul(n, wv[12 12])
		v1 = Add(v, bv[12])
		q2 = Reshape(q1, s1{0 0 3 4})
		k2 = Reshape(k1, s2{0 0 3 4})
		v2 = Reshape(v1, s3{0 0 3 4})
		q3 = Transpose(q2) perm=0,2,1,3
		k3 = Transpose(k2) perm=0,2,3,1
		v3 = Transpose(v2) perm=0,2,1,3
		s = MatMul(q3, k3)
		t = Mul(s, half<0.5>)
		p = Softmax(t)
		o = MatMul(p, v3)
		o1 = Transpose(o) perm=0,2,1,3
		o2 = Reshape(o1, s4{0 0 12})
		u = MatMul(o2, wo[12 12])
		u1 = Add(u, bo[12])
		r = Add(u1, b)
		m = LayerNormalization(r, g2[12], e2[12])
		f = MatMul(m, w1[12 10])
		f1 = Add(f, b1[10])
		f2 = Relu(f1)
		h = MatMul(f2, w2[10 12])
		h1 = Add(h, b2[12])
		c = Add(h1, r)
		y = MatMul(c, w3[12 3])`, `
		MatMul_a (in): 7, frozen: graph input "x"
		MatMul_a: 12, residual, rigid: LayerNormalization "LayerNormalization_n" takes all channels together
		MatMul_q[0:12]: 3
		MatMul_q: 4 in 3 groups, rigid: the dimensions of an attention head stay together
		MatMul_v: 4 in 3 groups, linear, rigid: the dimensions of an attention head stay together
		MatMul_f: 10
		MatMul_y: 3, frozen: graph output "y"`},
	{"heads beside the batch, as PyTorch's MultiheadAttention has them", `
		x: N 5 12
		a = Transpose(x) perm=1,0,2
		b = MatMul(a, w0[12 12])
		c = MatMul(b, w1[12 36])
		d = Add(c, b1[36])
		sa = Shape(b)
		tgt = Gather(sa, i0{=0})
		bsz = Gather(sa, i1{=1})
		emb = Gather(sa, i2{=2})
		dim = Div(emb, three{=3})
		q = Slice(d, st0{0}, en0{12}, ax0{2})
		k = Slice(d, st1{12}, en1{24}, ax1{2})
		v = Slice(d, st2{24}, en2{36}, ax2{2})
		bh = Mul(bsz, heads{=3})
		u0 = Unsqueeze(tgt, z0{0})
		u1 = Unsqueeze(bh, z1{0})
		u2 = Unsqueeze(dim, z2{0})
		sh = Concat(u0, u1, u2) axis=0
		q1 = Reshape(q, sh)
		k1 = Reshape(k, sh)
		v1 = Reshape(v, sh)
		q2 = Transpose(q1) perm=1,0,2
		k2 = Transpose(k1) perm=1,2,0
		v2 = Transpose(v1) perm=1,0,2
		s = MatMul(q2, k2)
		p = Softmax(s)
		o = MatMul(p, v2)
		o1 = Transpose(o) perm=1,0,2
		tn = Mul(tgt, bsz)
		u3 = Unsqueeze(tn, z3{0})
		u4 = Unsqueeze(emb, z4{0})
		sh2 = Concat(u3, u4) axis=0
		o2 = Reshape(o1, sh2)
		r = Gemm(o2, w2[12 12], b2[12])
		u5 = Unsqueeze(bsz, z5{0})
		sh3 = Concat(u0, u5, u4) axis=0
		r1 = Reshape(r, sh3)
		r2 = Add(r1, b)
		y = MatMul(r2, w3[12 3])`, `
		MatMul_b (in): 12, frozen: graph input "x"
		MatMul_b: 12, residual, linear
		MatMul_c[0:12,12:24,24:36]: 3
		MatMul_c[0:12,12:24]: 4 in 3 groups, rigid: the dimensions of an attention head stay together
		MatMul_c[24:36]: 4 in 3 groups, linear, rigid: the dimensions of an attention head stay together
		MatMul_y: 3, frozen: graph output "y"`},
	{"Attention with heads on an axis", `
		opset 23
		x: N 5 12
		q = MatMul(x, wq[12 12])
		k = MatMul(x, wk[12 12])
		v = MatMul(x, wv[12 6])
		q2 = Reshape(q, s1{0 0 3 4})
		k2 = Reshape(k, s2{0 0 3 4})
		v2 = Reshape(v, s3{0 0 3 2})
		q3 = Transpose(q2) perm=0,2,1,3
		k3 = Transpose(k2) perm=0,2,1,3
		v3 = Transpose(v2) perm=0,2,1,3
		o = Attention(q3, k3, v3)
		o1 = Transpose(o) perm=0,2,1,3
		o2 = Reshape(o1, s4{0 0 6})
		y = MatMul(o2, w4[6 7])`, `
		MatMul_q (in): 12, frozen: graph input "x"
		MatMul_q[0:12]: 3
		MatMul_q: 4 in 3 groups, rigid: Attention "Attention_o" scales by its size
		MatMul_v: 2 in 3 groups, rigid: the dimensions of an attention head stay together
		MatMul_y: 7, frozen: graph output "y"`},
	{"Attention with heads inside, and a mask", `
		opset 23
		x: N 5 12
		q = MatMul(x, wq[12 12])
		k = MatMul(x, wk[12 12])
		v = MatMul(x, wv[12 6])
		o = Attention(q, k, v, mask[3 5 5]) q_num_heads=3 kv_num_heads=3 scale=0.3
		y = MatMul(o, w4[6 7])`, `
		MatMul_q (in): 12, frozen: graph input "x"
		MatMul_q[0:12]: 3
		MatMul_q: 4 in 3 groups, rigid: the dimensions of an attention head stay together
		MatMul_v: 2 in 3 groups, rigid: the dimensions of an attention head stay together
		MatMul_y: 7, frozen: graph output "y"`},
	{"Attention with grouped queries", `
		opset 23
		x: N 5 12
		q = MatMul(x, wq[12 24])
		k = MatMul(x, wk[12 12])
		v = MatMul(x, wv[12 6])
		o = Attention(q, k, v) q_num_heads=6 kv_num_heads=3
		y = MatMul(o, w4[12 7])`, `
		MatMul_q (in): 12, frozen: graph input "x"
		MatMul_q[0:24]: 3
		MatMul_q[0:24]#2: 2 in 3 groups, rigid: the dimensions of an attention head stay together
		MatMul_q[0:24]#3: 4 in 3 groups, rigid: Attention "Attention_o" scales by its size
		MatMul_v: 2 in 3 groups, rigid: the dimensions of an attention head stay together
		MatMul_y: 7, frozen: graph output "y"`},
	{"Attention with a cache", `
		opset 23
		x: N 5 12
		c: N 3 2 4
		q = MatMul(x, wq[12 12])
		k = MatMul(x, wk[12 12])
		v = MatMul(x, wv[12 12])
		o pk pv = Attention(q, k, v, _, c, c) q_num_heads=3 kv_num_heads=3
		y = MatMul(o, w4[12 7])
		-> y pk pv`, `
		MatMul_q (in): 12, frozen: graph input "x"
		MatMul_q: 12, frozen: Attention "Attention_o" keeps keys and values of earlier calls
		MatMul_k: 12, frozen: Attention "Attention_o" keeps keys and values of earlier calls
		MatMul_v: 12, frozen: Attention "Attention_o" keeps keys and values of earlier calls`},
	{"Attention of onnxruntime", `
		x: N 5 12
		a = MatMul(x, w0[12 8])
		o = com.microsoft.Attention(a, w1[8 36], b1[36]) num_heads=3
		y = MatMul(o, w2[12 7])`, `
		MatMul_a (in): 12, frozen: graph input "x"
		MatMul_a: 8, linear
		Attention_o[0:12,12:24,24:36]: 3
		Attention_o[24:36]: 4 in 3 groups, rigid: the dimensions of an attention head stay together
		MatMul_y: 7, frozen: graph output "y"`},
	{"Attention of onnxruntime, values narrower", `
		x: N 5 12
		a = MatMul(x, w0[12 8])
		o = com.microsoft.Attention(a, w1[8 30], b1[30]) num_heads=3 qkv_hidden_sizes=12,12,6
		y = MatMul(o, w2[6 7])`, `
		MatMul_a (in): 12, frozen: graph input "x"
		MatMul_a: 8, linear
		Attention_o[0:12,12:24,24:30]: 3
		Attention_o[24:30]: 2 in 3 groups, rigid: the dimensions of an attention head stay together
		MatMul_y: 7, frozen: graph output "y"`},
	{"MultiHeadAttention of onnxruntime", `
		x: N 5 12
		q = MatMul(x, wq[12 12])
		k = MatMul(x, wk[12 12])
		v = MatMul(x, wv[12 6])
		o = com.microsoft.MultiHeadAttention(q, k, v, b[30]) num_heads=3
		y = MatMul(o, w4[6 7])`, `
		MatMul_q (in): 12, frozen: graph input "x"
		MatMul_q[0:12]: 3
		MatMul_q: 4 in 3 groups, rigid: MultiHeadAttention "MultiHeadAttention_o" scales by its size
		MatMul_v: 2 in 3 groups, rigid: the dimensions of an attention head stay together
		MatMul_y: 7, frozen: graph output "y"`},
	{"MultiHeadAttention of onnxruntime without a bias", `
		x: N 5 12
		q = MatMul(x, wq[12 12])
		k = MatMul(x, wk[12 12])
		v = MatMul(x, wv[12 12])
		o = com.microsoft.MultiHeadAttention(q, k, v) num_heads=3 scale=0.4
		y = MatMul(o, w4[12 7])`, `
		MatMul_q (in): 12, frozen: graph input "x"
		MatMul_q[0:12]: 3
		MatMul_q: 4 in 3 groups, rigid: the dimensions of an attention head stay together
		MatMul_v: 4 in 3 groups, rigid: the dimensions of an attention head stay together
		MatMul_y: 7, frozen: graph output "y"`},
	{"RotaryEmbedding", `
		opset 23
		x: 2 5 12
		q = MatMul(x, wq[12 12])
		qr = RotaryEmbedding(q, cosq[2 5 2], sinq[2 5 2]) num_heads=3
		y = MatMul(qr, w4[12 7])`, `
		MatMul_q (in): 12, frozen: graph input "x"
		MatMul_q[0:12]: 3, linear
		MatMul_q[0:12]#2: 4, frozen: RotaryEmbedding "RotaryEmbedding_qr" rotates pairs of it
		MatMul_y: 7, frozen: graph output "y"`},
	{"RotaryEmbedding of onnxruntime", `
		x: 2 5 12
		q = MatMul(x, wq[12 12])
		k = MatMul(x, wk[12 12])
		v = MatMul(x, wv[12 12])
		qr = com.microsoft.RotaryEmbedding(q, pos{0}, cos[8 2], sin[8 2]) num_heads=3
		kr = com.microsoft.RotaryEmbedding(k, pos, cos, sin) num_heads=3
		o = com.microsoft.MultiHeadAttention(qr, kr, v) num_heads=3
		y = MatMul(o, w4[12 7])`, `
		MatMul_q (in): 12, frozen: graph input "x"
		MatMul_q[0:12]: 3
		MatMul_q[0:12]#2: 4, frozen: RotaryEmbedding "RotaryEmbedding_kr" rotates pairs of it
		MatMul_v: 4 in 3 groups, rigid: the dimensions of an attention head stay together
		MatMul_y: 7, frozen: graph output "y"`},
}
