// Package engine runs ONNX models with onnxruntime: a model and input tensors go in, output tensors
// come out.
//
// onnxruntime is opened when it is first needed: [Find] says where it was looked for and what was
// found, [Install] fetches a pinned version into the user's cache. Without it, or in a program
// built without cgo, whatever runs a model returns an error that says what to install.
//
// [Open] checks and loads a model, [Session.Run] runs it on [Value]s. Any tensor of the model's
// main graph may be asked for ([Options]).
package engine
