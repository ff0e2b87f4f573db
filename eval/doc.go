// Package eval compares models: models and data go in, accuracy, agreement of their outputs, size
// and latency come out.
//
// [FindTasks] says what each output is for (classes, numbers, boxes, ...), and so how two models'
// outputs are compared; [Models] runs the comparison; [Latency] times one model.
package eval
