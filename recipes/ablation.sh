#!/usr/bin/env bash
# Which method preserves general skill? Six methods of emotion training, three seeds, one table: docs/results/ablation.md.
# Needs the general model of recipes/train_nano.sh (its stage 1). Every finished piece is kept; run it again to resume.
#
#   recipes/ablation.sh DATA [BASE] [RUNS]
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:?"give the folder of the Parquet files"} base=${2:-runs/nano/stage1/model} runs=${3:-runs/ablation}
.venv/bin/python -m recipes.nano.ablation --base "$base" --data "$data" --runs "$runs" --results docs/results --jobs "$(nproc)"
