#!/usr/bin/env bash
# Fuses two MLPs, squeezes a wide MLP into a narrow one's shape, halves the multiply-accumulates
# of a residual network, and prints how all of them do on 1,000 MNIST test images.
# Run by `make demo`, which builds bin/monge and fetches onnxruntime first.
set -euo pipefail
cd "$(dirname "$0")"

nets=testdata out=demo
norm=(--scale 0.00392156862745098 --mean 0.1307 --std 0.3081)
calib=(--data "$nets/mnist_calib.npz" "${norm[@]}" --quiet)

mkdir -p "$out"
bin/monge fuse "$nets/mlp_a.onnx" "$nets/mlp_b.onnx" -o "$out/mlp_average.onnx" --align none --quiet
bin/monge fuse "$nets/mlp_a.onnx" "$nets/mlp_b.onnx" -o "$out/mlp_moved.onnx" --align activations "${calib[@]}"
bin/monge fuse "$nets/mlp_a.onnx" "$nets/mlp_b.onnx" -o "$out/mlp_fused.onnx" "${calib[@]}"
bin/monge compress "$nets/mlp_wide.onnx" --into "$nets/mlp_a.onnx" -o "$out/mlp_squeezed.onnx" "${calib[@]}"
bin/monge compress "$nets/resnet_a.onnx" --macs 0.5 -o "$out/resnet_half.onnx" "${calib[@]}"

cat <<'TEXT'

mlp_average   the plain average of mlp_a and mlp_b, for comparison
mlp_moved     their average after mlp_a was moved onto mlp_b by optimal transport
mlp_fused     what monge fuse makes of the two with 500 unlabelled images
mlp_squeezed  mlp_wide moved into the widths of mlp_a
resnet_half   resnet_a with half of its multiply-accumulates
TEXT
bin/monge eval "$nets/mlp_a.onnx" "$nets/mlp_b.onnx" \
  "$out/mlp_average.onnx" "$out/mlp_moved.onnx" "$out/mlp_fused.onnx" \
  "$nets/mlp_wide.onnx" "$out/mlp_squeezed.onnx" \
  "$nets/resnet_a.onnx" "$out/resnet_half.onnx" \
  --data "$nets/mnist_test.npz" "${norm[@]}" --quiet

cat <<'TEXT'

Next, with a model of your own and photographs of the kind that it sees:
  bin/monge inspect MODEL.onnx
  bin/monge compress MODEL.onnx -o small.onnx --data PHOTOS/ --macs 0.75
TEXT
