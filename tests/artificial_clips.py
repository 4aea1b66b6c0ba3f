"""Artificial clips with known changes, made from labelled faces, voices and sentences; nobody was filmed.

A clip shows one validation face after another (LFW or FER+ photographs that drift a little and fade into the next),
with a voice (RAVDESS) from a known time on, and a sentence (GoEmotions) as subtitles. Everything is drawn from a seed.

    python tests/artificial_clips.py DATA OUT [COUNT] [SEED]
"""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from emotion_qwen.media.sound import SAMPLE_RATE, SoundBytes, read_sound

FPS, SIDE, FACE = 10, 240, 176
FADE = 0.5  # seconds
VOTED = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear")


@dataclass(frozen=True)
class ArtificialClip:
    """A clip and what is true of it: `spans` are (from, until, label of the face) in seconds."""

    path: Path
    spans: tuple[tuple[float, float, str], ...]
    voice: str
    voice_start: float
    words: str
    artificial: bool = True


def make_clips(data: Path, folder: Path, count: int, seed: int = 0) -> list[ArtificialClip]:
    """Write `count` clips (Matroska, MPEG-4 and PCM) with their subtitles, and `clips.jsonl` about them."""
    import pyarrow.parquet as pq

    def rows(name: str, columns: Sequence[str]) -> list[dict]:
        table = pq.read_table(data / name, columns=[*columns, "split"]).to_pylist()
        return [row for row in table if row["split"] == "validation"]

    faces: dict[str, list[bytes]] = {}
    for row in rows("faces_lfw_expressions.parquet", ("image", "label")):
        faces.setdefault(row["label"], []).append(row["image"])
    for row in rows("faces_ferplus.parquet", ("image", "votes")):
        label = VOTED[int(np.argmax(row["votes"][:7]))]
        if max(row["votes"][:7]) >= 8:
            faces.setdefault(label, []).append(row["image"])
    voices = rows("speech_ravdess.parquet", ("audio", "label"))
    texts = rows("text_goemotions.parquet", ("text",))
    folder.mkdir(parents=True, exist_ok=True)
    made = []
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        labels = [str(label) for label in rng.permutation(VOTED)[: 1 + number % 3]]
        lengths = [float(rng.uniform(1.5, 3.0)) for _ in labels]
        pictures = [_face(faces[label][rng.integers(len(faces[label]))]) for label in labels]
        edges = np.concatenate([[0], np.cumsum(lengths)]).round(1)
        voice, words, voice_start = voices[rng.integers(len(voices))], str(texts[rng.integers(len(texts))]["text"]), 0.0
        wave = np.zeros(round(edges[-1] * SAMPLE_RATE), np.float32)
        if number % 2:  # every second clip is heard and read, the others are only seen
            heard = read_sound(SoundBytes(voice["audio"], "voice")).wave[: len(wave)]
            voice_start = float(rng.uniform(0, (len(wave) - len(heard)) / SAMPLE_RATE))
            first = round(voice_start * SAMPLE_RATE)
            wave[first : first + len(heard)] = heard
        path = folder / f"artificial{number:02d}.mkv"
        _write(path, list(_frames(pictures, edges, rng)), wave)
        if number % 2:
            end = min(voice_start + 2.0, float(edges[-1]))
            path.with_suffix(".srt").write_text(f"1\n{_stamp(voice_start)} --> {_stamp(end)}\n{words}\n", "utf-8")
        spans = tuple((float(a), float(b), label) for a, b, label in zip(edges, edges[1:], labels, strict=False))
        made.append(
            ArtificialClip(path, spans, voice["label"] if number % 2 else "", voice_start, words if number % 2 else "")
        )
    lines = [json.dumps({**asdict(clip), "path": clip.path.name}, ensure_ascii=False) for clip in made]
    (folder / "clips.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return made


def _face(encoded: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(encoded)).convert("RGB").resize((FACE, FACE), Image.Resampling.BICUBIC)
    return np.asarray(image, np.float32)


def _frames(pictures: Sequence[np.ndarray], edges: np.ndarray, rng: np.random.Generator):
    """Give frames (SIDE, SIDE, 3) uint8: a face on a plain ground, which drifts, and fades into the next one."""
    ground, drift = rng.uniform(60, 190, 3), rng.uniform(-8, 8, 2)
    for time in np.arange(0, edges[-1], 1 / FPS):
        now = min(int(np.searchsorted(edges, time, side="right")) - 1, len(pictures) - 1)
        face = pictures[now]
        left = edges[now + 1] - time
        if now + 1 < len(pictures) and left < FADE:
            face = face * (left / FADE) + pictures[now + 1] * (1 - left / FADE)
        frame = np.tile(ground, (SIDE, SIDE, 1))
        x, y = ((SIDE - FACE) / 2 + drift * np.sin(time)).round().astype(int)
        frame[y : y + FACE, x : x + FACE] = face
        yield np.clip(frame, 0, 255).astype(np.uint8)


def _write(path: Path, frames: Sequence[np.ndarray], wave: np.ndarray) -> None:
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=FPS, options={"qscale": "2"})
        video.width = video.height = SIDE
        video.pix_fmt = "yuv420p"
        sound = container.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        for place, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = place, Fraction(1, FPS)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        heard = av.AudioFrame.from_ndarray((wave * 32767).astype(np.int16)[None], format="s16", layout="mono")
        heard.sample_rate = SAMPLE_RATE
        container.mux(sound.encode(heard))
        container.mux(sound.encode())


def _stamp(seconds: float) -> str:
    return f"00:00:{int(seconds):02d},{round(seconds % 1 * 1000) % 1000:03d}"


if __name__ == "__main__":
    make_clips(Path(sys.argv[1]), Path(sys.argv[2]), *map(int, sys.argv[3:] or ["14"]))
