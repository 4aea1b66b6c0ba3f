#!/usr/bin/env bash
# What did each way of emotion training cost the language model? One table: docs/results/forgetting_mini.md.
# MODELS holds WAY-SEED/model for every trained way (whole, lora, replay, expert, ours); UNTOUCHED is the model before.
# All answers are kept in RUNS; run it again to go on. A full pass takes hours on two cores: EACH=50 draws 50 items per
# suite and kind of prompt, LIMIT=300 takes that many items of every task with pictures or sound.
#
#   recipes/forgetting_mini.sh DATA UNTOUCHED MODELS [RUNS]
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:?"give the folder of the Parquet files"} untouched=${2:?"give the model before training"}
models=${3:?"give the folder of the trained models"} runs=${4:-runs/forgetting_mini}
given=()
for folder in "$models"/*-*/model; do
  [ -d "$folder" ] || continue
  name=$(basename "$(dirname "$folder")")
  given+=(--model "${name%-*}/${name##*-}=$folder")
done
[ -z "${EACH:-}" ] || given+=(--items-per-suite "$EACH")
[ -z "${LIMIT:-}" ] || given+=(--limit "$LIMIT")
.venv/bin/python -m recipes.mini.forgetting --data "$data" --runs "$runs" --results docs/results \
  --untouched "$untouched" "${given[@]}"
