"""Measure whether the lips of `express` move with the loudness, whether they meet, and whether the emotion is still
read.

From the root of the repository, where the extra `lips` is installed:
`python -m recipes.express.speech --data ../shared/data --output docs/results/lips.json`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from emotion_qwen.errors import EmotionQwenError
from emotion_qwen.express.check import SIZE, peak
from emotion_qwen.express.lips import with_lips
from emotion_qwen.express.motion import held, make_track
from emotion_qwen.express.prototypes import emotion_weights
from emotion_qwen.express.readers import reader_of
from emotion_qwen.express.rigs import DrawnRig
from emotion_qwen.express.track import EMOTIONS, PLACE
from emotion_qwen.express.visemes import SEAL, Visemes, spoken_visemes
from emotion_qwen.extras import optional
from emotion_qwen.media.sound import SAMPLE_RATE, read_sound

FPS, LAG, DRAWS = 30, 2, 2000
"""Frames per second; frames by which the jaw may be early or late; draws of the bootstrap."""
PRESSED, SHUT = 0.85, 0.1
"""Share of pressed lips, and strength of `jawOpen`, from and up to which the lips meet; they do in the renderings."""
SENTENCE = "People may be moving my big piano back home by morning."


def interval(values: list[float], seed: int = 0) -> dict[str, Any]:
    """Return number, mean and 95 % bootstrap interval of values."""
    draws = np.random.default_rng(seed).choice(values, (DRAWS, len(values))).mean(1)
    low, high = np.quantile(draws, [0.025, 0.975])
    return {"n": len(values), "mean": round(float(np.mean(values)), 3), "interval": [round(low, 3), round(high, 3)]}


def level(wave: np.ndarray) -> np.ndarray:
    """Return the root mean square of each frame of a wave (S,), in a window of one frame around its time."""
    step = SAMPLE_RATE / FPS
    centres = np.arange(round(len(wave) / step)) * step
    return np.array([np.sqrt(np.mean(wave[int(max(c - step / 2, 0)) : int(c + step / 2)] ** 2)) for c in centres])


def following(jaw: np.ndarray, loudness: np.ndarray) -> float:
    """Return the largest correlation of two series at a lag of at most `LAG` frames."""
    count = min(len(jaw), len(loudness))
    pairs = (
        (jaw[max(lag, 0) : count + min(lag, 0)], loudness[max(-lag, 0) : count + min(-lag, 0)])
        for lag in range(-LAG, LAG + 1)
    )
    return float(max(np.corrcoef(a, b)[0, 1] for a, b in pairs))


def jaw_of(visemes: Visemes) -> np.ndarray:
    """Return how far the jaw is open, (T,)."""
    return visemes.shares @ visemes.poses[:, PLACE["jawOpen"]]


def measure_loudness(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how the jaw follows the loudness of recordings whose words are known."""
    values: dict[str, list[float]] = {"sound": [], "sound and text": [], "text alone, over the same time": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "voice.ogg"
        for row in rows:
            path.write_bytes(row["audio"])
            loudness = level(read_sound(path).wave)
            values["sound"].append(following(jaw_of(spoken_visemes(FPS, sound=path)), loudness))
            values["sound and text"].append(following(jaw_of(spoken_visemes(FPS, row["text"], path)), loudness))
            jaw = jaw_of(spoken_visemes(FPS, row["text"]))
            stretched = np.interp(np.linspace(0, 1, len(loudness)), np.linspace(0, 1, len(jaw)), jaw)
            values["text alone, over the same time"].append(following(stretched, loudness))
    return {name: interval(series) | {"at_least_0.6": sum(r >= 0.6 for r in series)} for name, series in values.items()}


def measure_contact(texts: list[str]) -> dict[str, int]:
    """Count the p, b and m (by spelling) for which the lips meet in some frame, with each emotion."""
    reader, counts = optional("openfacefx", "lips").G2P(), {"sounds": 0, "met": 0, "texts": 0}
    for text in texts:
        try:
            visemes = spoken_visemes(FPS, text)
        except EmotionQwenError:
            continue  # it has numbers or other letters
        counts["texts"] += 1
        wanted = sum(name in ("P", "B", "M") for name in reader.phrase(text))
        for emotion in EMOTIONS:
            track = make_track(held(emotion_weights({emotion: 1.0}), visemes.seconds), visemes.seconds, fps=FPS)
            jaw = with_lips(track, visemes).frames[:, PLACE["jawOpen"]]
            meeting = (visemes.share(SEAL) >= PRESSED) & (jaw <= SHUT)
            counts["sounds"] += wanted
            counts["met"] += int((np.diff(meeting.astype(int), prepend=0) == 1).sum())
    return counts


def measure_reading(model: str, identities: tuple[str, ...], text: str = SENTENCE) -> dict[str, Any]:
    """Return the number of pictures in which a model reads the intended emotion, silent and speaking."""
    visemes, rig, reader = spoken_visemes(FPS, text), DrawnRig(), reader_of(model)
    results: dict[str, Any] = {}
    for emotion in EMOTIONS:
        silent = make_track(held(emotion_weights({emotion: 1.0}), visemes.seconds), visemes.seconds, fps=FPS)
        for name, track in (("silent", silent), ("speaking", with_lips(silent, visemes))):
            rows = peak(track)[1]
            pictures = [
                rig.render(track.frames[row], track.head[row], who, SIZE, 1) for who in identities for row in rows
            ]
            boxes = np.array([rig.box(track.head[row], SIZE) for _ in identities for row in rows])
            answers = [shares for shares in reader(pictures, boxes) if shares]
            right = sum(max(shares, key=lambda label: shares[label]) == emotion for shares in answers)
            share = float(np.mean([shares[emotion] for shares in answers]))
            results.setdefault(emotion, {})[name] = {"n": len(answers), "right": right, "share": round(share, 3)}
    return results


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--recordings", type=int, default=24)
    parser.add_argument("--identities", default="amber,basalt")
    options = parser.parse_args()
    speech = pq.read_table(options.data / "speech_ravdess.parquet", filters=[("split", "=", "validation")]).to_pylist()
    dialogue = pq.read_table(
        options.data / "text_dialogue_en.parquet", columns=["text"], filters=[("split", "=", "validation")]
    )
    random = np.random.default_rng(1)
    rows = [speech[place] for place in random.permutation(len(speech))[: options.recordings]]
    texts = dialogue.column("text").to_pylist()
    results = {
        "package": f"openfacefx {optional('openfacefx', 'lips').__version__}",
        "jaw and loudness, RAVDESS validation": measure_loudness(rows),
        "lips meet for p, b and m, dialogue validation": measure_contact(
            [texts[n] for n in random.permutation(len(texts))[:24]]
        ),
        f"nano, drawn face, {options.identities}": measure_reading("nano", tuple(options.identities.split(","))),
    }
    options.output.write_text(json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(options.output.read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
