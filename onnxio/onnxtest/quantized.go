package onnxtest

// Quantized are graphs in the ways in which quantised models are written. Of all of them the space
// of 16 channels behind the first layer can be narrowed, and all run in onnxruntime.
func Quantized() []Form {
	return []Form{
		{"weights behind DequantizeLinear", `
			x: N 6
			wa = DequantizeLinear(int8_a[6 16], var_a[16]) axis=1
			a = MatMul(x, wa)
			b = Relu(a)
			wc = DequantizeLinear(int8_c[16 5], s<0.02>)
			y = MatMul(b, wc)`},
		{"weights scaled after a Cast", `
			x: N 6
			fa = Cast(int8_a[6 16]) to=1
			wa = Mul(fa, var_a[1 16])
			a = MatMul(x, wa)
			b = Relu(a)
			fc = Cast(uint8_c[5 16]) to=1
			wc = Mul(var_c[5 1], fc)
			y = Gemm(b, wc, bias[5]) transB=1`},
		{"kernels scaled after a Cast", `
			x: N 3 5 5
			fa = Cast(int8_a[16 3 3 3]) to=1
			wa = Mul(fa, var_a[16 1 1 1])
			a = Conv(x, wa)
			b = Relu(a)
			fc = Cast(int8_c[5 16 1 1]) to=1
			wc = Mul(fc, s<0.02>)
			y = Conv(b, wc)`},
		{"products of integers", `
			x: N 6
			xq xs xz = DynamicQuantizeLinear(x)
			p = MatMulInteger(xq, int8_a[6 16], xz, int8_az<3>)
			pf = Cast(p) to=1
			ps = Mul(xs, sa<0.02>)
			pm = Mul(pf, ps)
			a = Add(pm, bias[16])
			b = Relu(a)
			bq bs bz = DynamicQuantizeLinear(b)
			q = MatMulInteger(bq, int8_c[16 5], bz)
			qf = Cast(q) to=1
			qs = Mul(bs, var_c[5])
			y = Mul(qs, qf)`},
		{"convolutions of integers", `
			x: N 3 5 5
			xq xs xz = DynamicQuantizeLinear(x)
			p = ConvInteger(xq, uint8_a[16 3 3 3], xz, uint8_az<128>) pads=1,1,1,1
			pf = Cast(p) to=1
			ps = Mul(xs, sa<0.02>)
			pm = Mul(pf, ps)
			k = Reshape(bias[16], shape{1 -1 1 1})
			a = Add(pm, k)
			b = Relu(a)
			bq bs bz = DynamicQuantizeLinear(b)
			q = ConvInteger(bq, uint8_c[5 16 1 1], bz, uint8_cz<120>)
			qf = Cast(q) to=1
			qs = Mul(bs, sc<0.02>)
			y = Mul(qf, qs)`},
		{"convolutions of integers with biases of integers", `
			x: N 3 5 5
			xq xs xz = DynamicQuantizeLinear(x)
			bs1 = Mul(xs, sa<0.02>)
			bt = Div(bias[16], bs1)
			bf = Floor(bt)
			bi = Cast(bf) to=6
			br = Reshape(bi, shape{1 -1 1 1})
			p = ConvInteger(xq, uint8_a[16 3 3 3], xz, uint8_az<128>) pads=1,1,1,1
			pb = Add(p, br)
			pf = Cast(pb) to=1
			ps = Mul(xs, sa)
			pm = Mul(pf, ps)
			b = Relu(pm)
			bq bs bz = DynamicQuantizeLinear(b)
			q = ConvInteger(bq, uint8_c[5 16 1 1], bz, uint8_cz<120>)
			qf = Cast(q) to=1
			qs = Mul(bs, sc<0.02>)
			y = Mul(qf, qs)`},
		{"between QuantizeLinear and DequantizeLinear", `
			x: N 3 5 5
			xq = QuantizeLinear(x, sx<0.03>, uint8_zx<128>)
			xd = DequantizeLinear(xq, sx, uint8_zx)
			wa = DequantizeLinear(int8_a[16 3 3 3], s<0.02>, int8_z<0>)
			ba = DequantizeLinear(int32_b[16], sb<0.0006>)
			a = Conv(xd, wa, ba)
			b = Relu(a)
			bq = QuantizeLinear(b, s2<0.05>, uint8_z2<0>)
			bd = DequantizeLinear(bq, s2, uint8_z2)
			wc = DequantizeLinear(int8_c[5 16 1 1], var_c[5]) axis=0
			y = Conv(bd, wc)`},
		{"operators on integers", `
			x: N 3 5 5
			xq = QuantizeLinear(x, sx<0.03>, uint8_zx<128>)
			a = QLinearConv(xq, sx, uint8_zx, int8_a[16 3 3 3], sa<0.02>, int8_za<0>, s1<0.05>, uint8_z1<10>, int32_b[16]) pads=1,1,1,1
			c = QLinearConv(a, s1, uint8_z1, int8_c[16 16 1 1], sc<0.02>, int8_za, s2<0.05>, uint8_z2<128>)
			d = com.microsoft.QLinearAdd(a, s1, uint8_z1, c, s2, uint8_z2, s3<0.09>, uint8_z3<100>)
			e = com.microsoft.QLinearGlobalAveragePool(d, s3, uint8_z3, s4<0.05>, uint8_z4<120>)
			f = Reshape(e, shape{-1 16})
			g = QLinearMatMul(f, s4, uint8_z4, int8_g[16 5], sg<0.02>, int8_zg<1>, s5<0.05>, uint8_z5<128>)
			y = DequantizeLinear(g, s5, uint8_z5)`},
		{"operators of onnxruntime on integers", `
			x: N 6
			xq = QuantizeLinear(x, sx<0.03>, uint8_zx<128>)
			a = com.microsoft.QGemm(xq, sx, uint8_zx, int8_a[16 6], sa<0.02>, int8_za<0>, int32_b[16], s1<0.05>, uint8_z1<60>) transB=1 alpha=1.0
			b = com.microsoft.QLinearLeakyRelu(a, s1, uint8_z1, s2<0.05>, uint8_z2<20>) alpha=0.1
			c = com.microsoft.QLinearSigmoid(a, s1, uint8_z1, s3<0.004>, uint8_z3<0>)
			d = com.microsoft.QLinearMul(b, s2, uint8_z2, c, s3, uint8_z3, s4<0.05>, uint8_z4<20>)
			y = com.microsoft.QGemm(d, s4, uint8_z4, int8_c[16 5], sc<0.02>, int8_zc<2>) alpha=1.0`},
		{"shares of integers", `
			x: N 4 6
			xq = QuantizeLinear(x, sx<0.03>, uint8_zx<128>)
			a = QLinearMatMul(xq, sx, uint8_zx, int8_a[6 16], sa<0.02>, int8_za<0>, s1<0.05>, uint8_z1<128>)
			m = com.microsoft.QLinearSoftmax(a, s1, uint8_z1, s2<0.00390625>, uint8_z2<0>) opset=17 axis=1
			b = com.microsoft.QLinearMul(a, s1, uint8_z1, m, s2, uint8_z2, s1, uint8_z1)
			g = QLinearMatMul(b, s1, uint8_z1, int8_g[16 5], sg<0.02>, int8_zg<1>, s3<0.05>, uint8_z3<128>)
			y = DequantizeLinear(g, s3, uint8_z3)`},
		{"an LSTM of integers", `
			x: N 4 6
			t = Transpose(x) perm=1,0,2
			h last = com.microsoft.DynamicQuantizeLSTM(t, int8_w[2 6 32], int8_r[2 8 32], b[2 64], _, _, _, _, sw<0.004 0.005>, int8_zw<0 0>, sr<0.003 0.004>, int8_zr<0 0>) hidden_size=8 direction=bidirectional
			u = Transpose(last) perm=1,0,2
			f = Reshape(u, shape{-1 16})
			y = Gemm(f, wc[16 5])`},
		{"weights rounded when the model runs", `
			x: N 6
			qa = QuantizeLinear(wa[6 16], var_a[16], int8_za[16]) axis=1
			da = DequantizeLinear(qa, var_a, int8_za) axis=1
			a = MatMul(x, da)
			kq = QuantizeLinear(k[16], s<0.02>, int8_z<0>)
			kd = DequantizeLinear(kq, s, int8_z)
			h = Add(a, kd)
			b = Relu(h)
			qc = QuantizeLinear(wc[16 5], s, int8_z)
			dc = DequantizeLinear(qc, s, int8_z)
			y = MatMul(b, dc)`},
	}
}
