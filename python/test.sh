#!/usr/bin/env bash
# test.sh WHEEL: installs the wheel in a fresh environment, where Go is not on the PATH, and tests it
# and the example in Python.
set -euo pipefail
wheel=$(realpath "$1")
python=$(realpath "$(dirname "$0")")

env=$(mktemp -d)
trap 'rm -rf "$env"' EXIT
"${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet "$wheel" numpy mypy

cd "$env"
PATH=$env/bin "$env/bin/python" "$python/tests/test_monge.py" "${@:2}"
PATH=$env/bin "$env/bin/python" "$python/../examples/notebook.py"
"$env/bin/mypy" --strict -p monge
