#!/bin/bash
# One piece of a sweep: a model at one share of its multiply-accumulates. Pieces are numbered
# from 0, model by model; the number is what Slurm (an array) or Kubernetes (an indexed Job) says.
#
#   MODELS=models/ DATA=photos/ OUT=sweep/ FLAGS='--preset imagenet' sbatch --array=0-7 examples/cluster/piece.sh
#
# A piece that is done is left alone, so that a sweep that was interrupted is started again as it
# was. When all are done, monge explore --merge puts those of a model together.
#
#SBATCH --job-name=monge
#SBATCH --cpus-per-task=4
#SBATCH --mem=8G
#SBATCH --time=02:00:00
#SBATCH --requeue
set -euo pipefail

read -ra shares <<<"${SHARES:-0.9 0.75 0.5 0.25}"
models=("${MODELS:?a folder of models}"/*.onnx)
piece=${SLURM_ARRAY_TASK_ID:-${JOB_COMPLETION_INDEX:?the number of the piece}}
if ((piece >= ${#models[@]} * ${#shares[@]})); then
    echo "piece $piece of ${#models[@]} models at ${#shares[@]} shares: there is none" >&2
    exit 2
fi
model=${models[piece / ${#shares[@]}]}
share=${shares[piece % ${#shares[@]}]}
name=$(basename "$model" .onnx)
out=${OUT:?a folder for the results}/$name/$share
if [ -e "$out/explore.json" ]; then # it is written last
    echo "$out is done"
    exit 0
fi
mkdir -p "$(dirname "$out")"
# Latency is not measured: others may work on the same machine.
# shellcheck disable=SC2086 # FLAGS are several words
exec "${MONGE:-monge}" explore "$model" --data "${DATA:?a data set}" --at "$share" --no-latency \
    --threads "${SLURM_CPUS_PER_TASK:-${THREADS:-0}}" ${FLAGS:-} -o "$out"
