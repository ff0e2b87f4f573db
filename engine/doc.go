// Package engine runs ONNX models with onnxruntime and reads the data they are run on.
//
// It has five rooms:
//
//   - The library. onnxruntime is opened at run time: [Find] says where it was looked for and what was found,
//     [Install] fetches a pinned version into the user's cache. Without it, or in a program built without cgo,
//     everything here that runs a model returns an error that says what to install.
//   - The session. [Open] checks and loads a model, [Session.Run] runs it on [Value]s. [Tap] makes a copy of a model
//     whose inner tensors are outputs.
//   - The data set. [OpenData] reads .npz, .npy, folders of images and onnxruntime's test_data_set folders; samples are
//     converted batch by batch, in the element type of the model's input, after [Preprocess].
//   - What is built on both. [Stream] runs a model over a data set and hands over chosen tensors batch by batch;
//     [Evaluate] compares models by accuracy, agreement, size and [Latency].
//   - Statistics. A [Flow] walks along a model piece by piece and keeps the activations at its frontier, so that a visit to
//     every layer costs about one forward pass. [CollectMoments] has onnxruntime sum up the second moments of what an
//     operator reads and should compute; [ChannelMoments] gives means and variances.
//
// Memory does not grow with the number of samples that are streamed: a data set keeps its arrays as they are stored
// (uint8 stays uint8, images stay files) and at most two batches exist at a time. A Flow keeps whole activations, in memory up
// to a cap and in temporary files beyond it.
package engine
