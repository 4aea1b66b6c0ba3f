#!/usr/bin/env bash
# Make nano from raw data: teacher, vision transformer (pictures, then drawn scenes), tokenizer, then the
# stages 0, 1, 2, 3 and tuning, the audio side, the lesson of all senses, packing, measuring.
# Every step resumes where it stopped; a finished one is skipped.
#
#   recipes/train_nano.sh DATA [RUNS]      DATA holds the Parquet files that the model card names
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:?"give the folder of the Parquet files"} runs=${2:-runs/nano}
mkdir -p "$runs"
once() { # once NAME COMMAND...: run once, leave a mark when done
  local name=$1
  shift
  if [ ! -e "$runs/$name.done" ]; then
    "$@"
    touch "$runs/$name.done"
  fi
}
step() { once "$1" .venv/bin/python -m recipes.nano.steps "$@" --data "$data" --runs "$runs"; }
stage() { # stage NAME START: the settings stand in recipes/nano/configs/NAME.yaml
  once "$1" .venv/bin/emotion-qwen train "recipes/nano/configs/$1.yaml" --resume \
    folder="$data" start="$runs/$2" output="$runs/$1"
}
step teacher
step vision
step sight
step words
step start
stage stage0_recite start
stage stage0_copy stage0_recite/model
stage stage0 stage0_copy/model
stage stage0_names stage0/model
stage stage0_letters stage0_names/model
stage stage0_claims stage0_letters/model
stage stage0_all stage0_claims/model
stage stage1 stage0_all/model
stage stage2 stage1/model
stage stage3 stage2/model
stage tuning stage3/model
stage tuning_counts tuning/model
stage tuning_groups tuning_counts/model
stage tuning_words tuning_groups/model
stage comments tuning_words/model
step hearing
step ears --model "$runs/comments/model"
stage senses ears
once stages .venv/bin/python -m recipes.nano.stages_page --runs "$runs" --results docs/results
step pack --model "$runs/senses/model" --target src/emotion_qwen/nano
once card .venv/bin/python -m recipes.nano.card --data "$data" \
  --predictions "$runs/predictions" --results docs/results
