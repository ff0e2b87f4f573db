#!/usr/bin/env bash
# Checks the codec on Debian's ONNX test models, on those of testdata, and on the
# folders given as arguments. Installs libonnx-testdata if it is missing.
set -euo pipefail
cd "$(dirname "$0")/../.."

if ! dpkg -s libonnx-testdata >/dev/null 2>&1; then
  root=()
  ((EUID == 0)) || root=(sudo)
  "${root[@]}" apt-get update
  "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends libonnx-testdata
fi
debian=/usr/share/libonnx-testdata/data
mkdir -p bench/out
exec "${GO:-go}" run ./bench/conformance --quiet --compress 0.5 --json bench/out/conformance.json \
  testdata "$debian"/{node,simple,pytorch-converted,pytorch-operator} "$@"
