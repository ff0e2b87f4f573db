#!/usr/bin/env bash
# test.sh WHEEL: installs the wheel in a fresh environment, where Go is not on the PATH, and tests it.
set -euo pipefail
wheel=$(realpath "$1")
tests=$(realpath "$(dirname "$0")")/tests

env=$(mktemp -d)
trap 'rm -rf "$env"' EXIT
"${PYTHON:-python3}" -m venv "$env"
"$env/bin/pip" install --quiet "$wheel" numpy mypy

cd "$env"
PATH=$env/bin "$env/bin/python" "$tests/test_monge.py" "${@:2}"
"$env/bin/mypy" --strict -p monge
