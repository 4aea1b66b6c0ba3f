#!/usr/bin/env bash
# Make mini from SmolLM2, Whisper and raw data: eyes, ears, the stages 1 and 2 (`start`: experts learn words), 3, tuning,
# packing, two lessons on labels, measuring.
# Every step resumes where it stopped; a finished one is skipped.
#
#   recipes/train_mini.sh DATA WHEELS      DATA holds the Parquet files that the model card names; WHEELS the unpacked
#                                          files of the wheels that docs/guides/parts.md names. Runs are in runs/mini.
set -euo pipefail
cd "$(dirname "$0")/.."
data=${1:?"give the folder of the Parquet files"} wheels=${2:?"give the folder of the unpacked wheels"}
runs=runs/mini
python=.venv/bin/python
mkdir -p "$runs"
once() { # once NAME COMMAND...: run once, leave a mark when done
  local name=$1
  shift
  if [ ! -e "$runs/$name.done" ]; then
    "$@"
    touch "$runs/$name.done"
  fi
}
eyes() { once "eyes_$1" $python -m recipes.mini.steps "eyes-$1" --data "$data" --runs "$runs/eyes" "${@:2}"; }
ears() { once "ears_$1" $python -m recipes.mini.ears_steps "$1" "${@:2}"; }
language() { once "$1" $python -m recipes.mini.language_steps "$1" --runs "$runs" "${@:2}"; }
stage() { # stage NAME: the settings stand in recipes/mini/configs/NAME.yaml
  once "$1" .venv/bin/emotion-qwen train "recipes/mini/configs/$1.yaml" --resume folder="$data"
}
merge() { # merge NAME BASE: put the adapters of a stage into the model that it began with
  once "$1_merged" .venv/bin/emotion-qwen merge "$runs/$1/model" "$2" "$runs/$1/merged"
}
heard=(--data "$data" --runs "$runs/ears" --whisper "$wheels/tiny.en")

# `landmarker.py` needs MediaPipe in an environment of its own; see recipes/mini/steps.py.
once landmarks "${MEDIAPIPE_PYTHON:?"give the Python of an environment with mediapipe"}" recipes/mini/landmarker.py \
  --data "$data" --model "$wheels/face_landmarker.task" --output runs/blendshapes
eyes teacher --imagenet "$wheels/efficientnet-lite0-57934424.pth"
eyes student --landmarks runs/blendshapes --start src/emotion_qwen/nano
eyes results --landmarks runs/blendshapes --peer "$wheels/emotion_model.hdf5" --results docs/results
cp docs/results/eyes.json "$runs/eyes/"
ears frames "${heard[@]}"
ears validate "${heard[@]}"
ears train "${heard[@]}"
ears words "${heard[@]}"
ears page --runs "$runs/ears" --results docs/results

once tokens bash -c "$python -m recipes.mini.chinese_tokens --data '$data' --source '$wheels/SmolLM2-135M-Instruct.Q4_1.gguf' > $runs/tokens.txt"
once words .venv/bin/emotion-qwen convert "$wheels/SmolLM2-135M-Instruct.Q4_1.gguf" "$runs/words" \
  --vision nano --tokens "$runs/tokens.txt" --dtype float32
once base .venv/bin/emotion-qwen convert "$runs/words" "$runs/base" --whisper "$wheels/tiny.en" --whisper-layers 2 \
  --whisper-seconds 2 --frames-per-token 20 --group-features statistics
language start --data "$data" --landmarks runs/blendshapes
language answers --data "$data"
stage hybrid
stage tuning
merge tuning "$runs/hybrid/model"
stage accounts
merge accounts "$runs/tuning/merged"
language pack --base "$wheels/SmolLM2-135M-Instruct.Q4_1.gguf" --target src/emotion_qwen/mini
# The overlay is assembled as users get it, measured beside nano, calibrated, and assembled again with its calibration.
assemble() { .venv/bin/emotion-qwen fetch mini --from "$wheels/SmolLM2-135M-Instruct.Q4_1.gguf" --again; }
assemble
# The first of the two lessons of the shipped weights was made by an earlier version of its recipe (commit 78e8064); the
# first 40 steps of the second ran on the schedule of 205 steps.
labels() { # labels NAME STEPS SEED
  once "$1" $python -m recipes.mini.label_lesson --data "$data" --runs "$runs" --overlay src/emotion_qwen/mini \
    --name "$1" --steps "$2" --seed "$3"
  once "$1_shipped" cp "$runs/$1"/overlay/* src/emotion_qwen/mini/
  assemble
}
labels labels 159 10
labels labels_again 172 11
once card $python -m recipes.mini.card --data "$data" --predictions "$runs/predictions" --results docs/results \
  --model mini --model nano --limit 300 --calibration src/emotion_qwen/mini
assemble
