package main

const rootHelp = `Monge makes ONNX models smaller and merges them by optimal transport. It reads an
ONNX graph, finds which channels belong together (spaces), moves channels onto
channels, and writes an ordinary ONNX model, narrower or fused. No training
framework is needed; onnxruntime runs the models where data is used.

A session, from a look at the model to the verdict:

  monge inspect model.onnx
  monge compress model.onnx -o half.onnx --macs 0.5 \
      --data images.npz --scale 1/255
  monge eval model.onnx half.onnx --data images.npz --scale 1/255

and two models into one:

  monge fuse a.onnx b.onnx -o ab.onnx --data images.npz --scale 1/255

Data (--data) is one of
  .npz    arrays named like the model's inputs, first axis the sample; labels, if
          any, in an integer array "labels". One unlabelled array feeds a model
          with one input, whatever its name.
  .npy    one array for a model with one input
  folder  of images (PNG, JPEG, WebP, GIF, BMP, TIFF), its folders being the
          classes; or of onnxruntime's test_data_set_* folders
Inputs become (x·scale − mean)/std; --preset gives all three, for pixels of 0…255:
  0..1      1/255
  -1..1     1/255, mean 0.5, std 0.5
  imagenet  1/255, mean 0.485,0.456,0.406, std 0.229,0.224,0.225
  cifar10   1/255, mean 0.4914,0.4822,0.4465, std 0.2470,0.2435,0.2616
  mnist     1/255, mean 0.1307, std 0.3081
Where none is given, pixels become what the model says that it takes, if it does so.
Without data compress works on made-up inputs (noise), fuse on weights alone; without
onnxruntime both do the latter, and --data is an error.

` + definitions + `
Exit codes: 0 done, 1 failed, 2 mistake in the command line, 130 interrupted
(diff --exit-code: 0 identical, 1 different, 2 failed).
A command that fails or is interrupted leaves no file behind.`

const definitions = `Definitions
  space             a set of channels that must be changed together: a layer's
                    outputs, or all layers that add into a residual stream
  frozen            a space that may not change: it reaches an input or output of
                    the graph, or an operator without a rule
  params            elements of floating-point tensors and of integers of at most 16 bits
  MACs              multiply-accumulates of Conv, ConvTranspose, Gemm, MatMul and
                    recurrent layers, batch 1, at --input-shape or static dims
  narrowable share  parameters in weights with at least one axis in a space that
                    can be narrowed, over all weights of those operators
  top-1, top-5      share of samples whose label has the highest score, or is
                    among the five highest
  agreement         with the first model, by what the output is for. Class
                    scores: share of rows with the same arg-max; where a sample
                    has several rows (pixels, words, boxes), of those that not
                    both give to the first model's commonest class. Embeddings:
                    mean cosine between y and y₀. Plain numbers: one minus the
                    relative error, 1 − ‖y − y₀‖/‖y₀ − ȳ₀‖, ȳ₀ the mean of y₀
                    over the samples
  cosine, max diff  ⟨y, y₀⟩/(‖y‖·‖y₀‖) and largest |y − y₀|, over all samples
  latency           median of at least 30 runs, batch 1, after warm-up, with the
                    number of threads printed; models take turns
  peak memory       the process's high-water mark, onnxruntime included
`

const inspectHelp = `Show what a model is made of: its layers, its spaces with their widths, what can
be narrowed, and what is frozen and why.

A space is named after the first node that makes it. Its width may be changed by
compress unless it is frozen or can only be permuted. A block is a residual branch,
which compress may drop. With --data it says in how many directions 99 % of what a
layer computes lies: a layer with few of them can become two.`

const latencyHelp = `Measure how long the operators of a model take on this machine, as it is and at
other widths, by onnxruntime's own profile: the model is narrowed in some ways,
without regard to what it computes, and each result is profiled, and timed by turns
with the model. Printed are the operators by their time, and what the model would
take with a share of the channels of every space.

--save writes the table, which compress --latency --latency-table reads, perhaps on
another machine. Such a table may also be a CSV that another tool has measured, with
the columns op, inputs, outputs, ms and perhaps node:

  op,inputs,outputs,ms
  Conv,1x16x32x32;32x16x3x3,1x32x16x16,0.021

Inputs are those of the ONNX operator, weights included. What takes no time of its
own, since it is fused into another operator, is left out. Times of the same
operator at several widths tell on which multiples of channels it is fast.`

const fuseHelp = `Make one model out of several of the same architecture. The channels of every
model are moved onto those of one of them (--onto) by optimal transport, and the
weights are averaged (Singh & Jaggi, Model Fusion via Optimal Transport, 2020).
Widths may differ; the result has those of --onto. Names of inputs and outputs are
those of that model.

With --data channels are matched by their activations, which needs onnxruntime;
without, by their weights. Every layer is then refitted so that the result computes
what the models compute, in the mean, and distilled from them where that is cheap
(--tune); no labels are needed. Without --weights their
shares are chosen so that the predictions come nearest to the models' mean
prediction on inputs that were not used for fitting.

  ot     layers aim at the mean of matched channels
  union  all models' channels compete for the places, also of other widths
         (--keep, --into); without --weights also beside all channels of one model

Unused nodes and initializers, and subnormal weights, are left out of the result
(--no-lossless: not); channels stay, for widths are those of a model.`

const sensitivityHelp = `Tell which spaces of a model can be narrowed at what cost. Every space is narrowed
alone, to 75 % and to 50 % of its channels; those stay that explain most of what the
layers behind compute. How far the model's predictions move then is measured on
samples that no channel was chosen by, in the measure that the task of an output asks
for (--task). Spaces are listed with the most sensitive first: --exclude keeps those
whole under compress. What is saved is of all layers that make or read the space; the
share of the time is what these take now, by onnxruntime's profile (--no-latency: not).

These are the numbers that compress allocates widths by under a budget. They do not
add up: monge compress makes and judges whole models. Of very deep models some spaces
are measured, and the others taken to be like those beside them.`

const exploreHelp = `Make models of several shares of a model's multiply-accumulates (--at), and tell what
each costs: parameters, bytes, measured latency, accuracy where there are labels, and
agreement with the original, on samples that nothing else is done with. What the data
say is found once, so that each further model costs little more than its refit.

The folder has a model for each share, MODEL-0.5.onnx, and explore.json, which says
what --json says. Models that are there already, of the same model, data and
settings, are not made again, so that what was stopped goes on. --merge makes one
table of several folders, as of jobs on several machines that had a share each.

With --metric a command of your own judges every model. A model is on the front if no other one, the original included, is
as good with no more multiply-accumulates; the knee is the point of the front that
lies furthest above the line between its ends. Nothing is distilled: once a share is
chosen, monge compress --macs makes the model that is.`

const compressHelp = `Make a model narrower. Every space that can change keeps some of its channels; the
layers behind them are refitted in closed form so that the narrow model computes what
the wide one does.

  --keep F       every space keeps max(1, round(F·n)) of its n channels
  --macs F       widths with at most this share of the multiply-accumulates
  --params F     widths with at most this share of the parameters
  --size BYTES   widths for a file of at most this size: 5MB, 500kB, 2MiB
  --latency L    widths with at most this share of the time that a run takes, or a
                 time (8ms) on this machine, by a table of what operators take
                 (monge latency --help); the result is timed by turns with the
                 original
  --max-drop F   the cheapest model whose accuracy, or agreement with the original
                 where there are no labels, falls by at most F (0.01: one sample in a
                 hundred), found by halving; what was tried is printed. With --metric
                 a command of your own judges, and F is a share of the original's number
  --floor F      with these five, the share that every space keeps (1/8; 0: one channel)
  --into NARROW  the widths of a narrow model of the same architecture
  --plan FILE    widths and channels as --save-plan writes them, edited by hand
  --lossless     nothing but the lossless pass
  --dtype TYPE   numbers of fewer bits (fp16, bf16, int8), beside one of these or alone

With none of them it does what loses nothing much. With --data that is --max-drop 0.01
where it can be done in the time that a compression usually takes (100 seconds, five
minutes from a million parameters on, or --time); else three budgets are named, with
the time that each takes, and nothing is written. Without data that is the lossless
pass.

Under --macs, --params, --size, --latency and --max-drop residual blocks may be dropped
and linear operators split in two, of a lower rank or for the rows and the columns of a
kernel, where that serves predictions better (--moves).

The lossless pass runs first (--no-lossless: not at all). It removes channels that do
not depend on the input, that repeat another one or that nobody reads, unused nodes
and initializers, and sets subnormal weights to zero, on which CPUs are slow. Shares
and budgets are of the model as it came.

With --data, which needs onnxruntime and no labels, those channels stay that explain
most of what the layers behind them compute, the layers are refitted, and the result
is distilled from the original where that is cheap (--tune). Without --data samples
are made up out of noise for both: better than nothing, but a few hundred real ones
are better by far. --data none, or no onnxruntime: channels are merged by their
weights alone.

The result is judged beside the original on samples of --data that nothing else is
done with (a fifth; a tenth, at most 200, where the rest is all needed; none of less
than 100), or on --eval-data, which is read with the same --scale, --mean and so on,
and by --metric, if you have a measure of your own.`

const compressExamples = `  monge compress model.onnx -o small.onnx --data photos/
  monge compress model.onnx -o half.onnx --macs 0.5 \
      --data images.npz --scale 1/255
  monge compress model.onnx -o narrow.onnx --keep 0.75 --exclude 'head*'
  monge compress model.onnx -o tiny.onnx --max-drop 0.01 \
      --data images.npz --eval-data labelled.npz
  monge compress model.onnx -o clean.onnx --lossless
  monge compress wide.onnx -o squeezed.onnx --into narrow.onnx`

const evalHelp = `Run models over a data set and print one table: accuracy where there are labels,
agreement with the first model, parameters, MACs, size and latency.

` + definitions

const evalExamples = `  monge eval model.onnx half.onnx --data images.npz --scale 1/255
  monge eval model.onnx half.onnx --data folder/ --preset imagenet`

const diffHelp = `Show what a tool did to a model: one line that says it, then sizes, nodes that were
removed, added or changed, widths, and how much the weights of each layer differ.
Nothing is run.

Nodes are paired by the weights that they read, by their names and outputs, by what
they read and by their places, so that tensors may have other names and nodes another
order. Quantised weights are compared by the numbers that they stand for, and
normalisations that one model alone has are folded first. Widths that differ are in
the table of spaces; where shapes differ weights cannot be compared.

Tables show what differs most, --all everything. The exit code is 0 if the models
could be compared. With --exit-code it is that of diff(1): 0 if they are identical
(weights may be stored inside or outside of the file), 1 if not, 2 if there was an
error; with --quiet nothing is printed.`

const convertHelp = `Rewrite a model file without changing what it means: nodes, names, weights, types,
metadata and what Monge does not know stay as they are, and nothing is added. Large
models keep their weights in a data file beside the model file.

  --external-data  weights of 1 KiB and more go to a data file, which is called after
                   OUT and its content (out.onnx.0123456789abcdef.data); small ones,
                   among them shapes that onnxruntime needs when it loads the graph,
                   stay
  --inline         all weights go into the model file, which can hold 2 GiB
  neither          weights stay where they are, inside or outside

With --force OUT may be the input itself. A data file that Monge has made goes with
the model that is replaced, unless another model in the folder reads it.`

const runtimeHelp = `Show which onnxruntime library models run on, and every place where one was looked
for: MONGE_ONNXRUNTIME, beside the program, the user's cache, the system's library
folders, and Python environments; never in the working directory. A library in the
cache is used only if nobody else can have written it, and if its hash is that of a
release that "monge runtime install" fetches. Fails if there is none, or if
MONGE_ONNXRUNTIME is set and names none that can be used.`
