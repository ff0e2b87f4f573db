#!/bin/sh
# Measures time and peak memory on large models that bench/models.py has written:
#
#     python3 bench/models.py DIR
#     bench/large/peaks.sh MONGE DIR
#
# A line for each case: user seconds, peak in MB, and that relative to the models' files. It needs GNU time.
set -eu
monge=$1 dir=$2
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

run() { # NAME "MODELS" ARGUMENTS...
    name=$1 models=$2
    shift 2
    bytes=$(cat $models | wc -c)
    if ! command time -f '%U %M' -o "$out/time" "$monge" "$@" -o "$out/out.onnx" >"$out/log" 2>&1; then
        cat "$out/log" >&2
        exit 1
    fi
    tail -n 1 "$out/time" | awk -v name="$name" -v bytes="$bytes" '{printf "%-36s %8.1f s %8.0f MB %6.2f\n", name, $1, $2*1.024e-3, $2*1024/bytes}'
}

cd "$dir"
vgg="vgg11_a.onnx vgg11_b.onnx"
six="$vgg vgg11_c.onnx vgg11_d.onnx vgg11_e.onnx vgg11_f.onnx"
mlps="mlp100m.onnx mlp100m_b.onnx"
run "two VGG11, no data" "$vgg" fuse $vgg --data none
run "six VGG11, no data" "$six" fuse $six --data none
run "MLP to half, no data" mlp100m.onnx compress mlp100m.onnx --keep 0.5 --data none --no-latency
run "MLP to half, made-up inputs" mlp100m.onnx compress mlp100m.onnx --keep 0.5 --tune 0 --no-latency
run "two MLPs, no data" "$mlps" fuse $mlps --data none
