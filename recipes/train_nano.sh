#!/usr/bin/env bash
# Make nano from raw data: teacher, vision transformer, tokenizer, tuning twice, packing, measuring.
# Every step resumes where it stopped; a finished one is skipped. On two cores: about 25 + 17 + 1 + 8 + 6 + 1 + 2 minutes.
#
#   recipes/train_nano.sh DATA [RUNS]      DATA holds the Parquet files that the model card names
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:?"give the folder of the Parquet files"} runs=${2:-runs/nano}
mkdir -p "$runs"
step() { # step NAME [ARGUMENTS]: run once, leave a mark when done
  if [ ! -e "$runs/$1.done" ]; then
    .venv/bin/python -m emotion_qwen.training.nano "$@" --data "$data" --runs "$runs"
    touch "$runs/$1.done"
  fi
}
step teacher
step vision
step words
step tune
step refine
step pack --target src/emotion_qwen/nano
step measure --results docs/results
