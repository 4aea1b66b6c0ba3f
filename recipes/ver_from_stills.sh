#!/usr/bin/env bash
# A VER set without any endpoint: labelled stills become short moving clips, nano describes them, one tuning run learns
# from the set. Usage: recipes/ver_from_stills.sh DATA OUT [COUNT]   (DATA holds the Parquet files of the model card)
set -euo pipefail
data=$(realpath "${1:?give the folder of the Parquet files}") out=${2:?give a folder for the set} count=${3:-260}
mkdir -p "$out/videos"
out=$(realpath "$out")
cd "$(dirname "$0")/.."
PY=${PY:-python}
"$PY" - "$data" "$out" "$count" <<'PYTHON'
import json, random, sys
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from emotion_qwen.data.pictures import read_pictures
from recipes.nano.pictures import moving

data, out, count = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
pictures = read_pictures(data / "faces_fer_aligned.parquet", "train", 48)
by_label: dict[str, list[int]] = {}
for row, label in enumerate(pictures.labels):
    by_label.setdefault(label, []).append(row)
names = sorted(by_label)
lines = []
for number in range(count):
    label = names[number % len(names)]
    row = by_label[label][number // len(names)]
    still = np.asarray(Image.fromarray(pictures.pixels[row]).resize((160, 160), Image.Resampling.BICUBIC))
    clip = moving(still, random.Random(number))
    path = out / "videos" / f"still{number:04d}.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"crf": "18", "preset": "veryfast"})
        stream.height = stream.width = 160
        stream.pix_fmt = "yuv420p"
        for place, pixels in enumerate(clip.frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = place, Fraction(1, 8)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    line = {"path": f"videos/{path.name}", "license": "research use", "known": label}
    line["source"] = f"FER2013 {pictures.ids[row]}"
    lines.append(json.dumps(line))
(out / "videos.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
PYTHON
"$PY" -m emotion_qwen.cli ver build configs/ver/nano.yaml source="$out/videos.jsonl" output="$out/set"
"$PY" -m emotion_qwen.cli train recipes/nano/configs/ver.yaml folder="$data" output="$out/tuned" \
  data.0.path="$out/set" validation.0.path="$out/set"
