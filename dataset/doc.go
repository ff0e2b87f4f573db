// Package dataset reads the data that models are run on: a file or folder goes in, batches of input
// tensors come out, in the shape and element type that a model wants.
//
// [Open] reads .npz, .npy, folders of images and onnxruntime's test_data_set folders; [Synthetic]
// makes inputs up where there are none. Samples are converted when a batch asks for them, after
// [Preprocess]; [Examine] says where preprocessing does not fit the model. [Stream] runs a model
// over a data set and hands over chosen tensors.
//
// Memory does not grow with the number of samples that are streamed: arrays stay as they are stored
// (uint8 stays uint8, images stay files), and at most two batches exist at a time.
package dataset
