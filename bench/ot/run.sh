#!/bin/sh
# Compares package ot with POT and scipy; see bench.py --help for the options.
set -eu
cd "$(dirname "$0")/../.."
python=/usr/bin/python3
if ! $python -c 'import ot, scipy, onnx' 2>/dev/null; then
	apt-get install -y python3-pot python3-scipy python3-onnx
fi
worker=$(mktemp)
trap 'rm -f "$worker"' EXIT
go build -o "$worker" ./bench/ot
# One thread for everybody: the libraries below numpy must not take more.
OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1 $python bench/ot/bench.py --worker "$worker" "$@"
