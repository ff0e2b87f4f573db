// Package onnxio reads, edits and writes ONNX models.
//
// A [Model] is the whole protobuf message, so that nothing in a file is lost between [Load] and
// [Save]: what Monge does not understand stays where it is. A [Tensor] is one constant with its
// elements decoded; arithmetic happens on float64 copies and is rounded back to the tensor's own
// type. A [Graph] is an index over the nodes: producers, consumers, constants, in topological
// order; [Graph.Linears] is the view of it as a stack of linear layers.
//
//	m, err := onnxio.Load("model.onnx")
//	g, err := m.Graph()
//	for _, layer := range g.Linears() {
//		w, err := m.Tensor(g.Constant(layer.Weight.Name))
//		v := w.Float64()
//		// change v
//		w.SetFloat64(w.Dims, v)
//		err = g.SetConstant(w)
//	}
//	err = onnxio.Save(ctx, "edited.onnx", m, onnxio.SaveOptions{})
//
// Files are not trusted. A damaged or hostile one gives an error that names the node or tensor; it
// cannot cause a panic, an allocation larger than the file, or a read outside the model's folder.
// Weights in external data files are read one tensor at a time, so that a model may be larger than
// memory; what they are changed to waits in a temporary file until the model is saved.
package onnxio
