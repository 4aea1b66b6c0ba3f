"""The files that the recorded commands name: clips, pictures, sounds, manifests, tables and tiny models, from seeds."""

from __future__ import annotations

import io
import json
import os
import shutil
import wave
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from PIL import Image

RATE = 16_000
CHANGED = 1_700_000_000  # seconds since 1970
SUBTITLES = "1\n00:00:00,100 --> 00:00:00,900\nI got the place!\n\n2\n00:00:01,000 --> 00:00:01,900\nThank you.\n"
CHINESE = "1\n00:00:00,100 --> 00:00:01,500\n我今天真的很高兴，谢谢你！\n"
RECIPES = Path(__file__).parents[2] / "recipes" / "nano"
OBJECTS = ("cat", "dog", "ship", "bird")


def lay_out(folder: Path, nano: Path) -> None:
    """Write every input.

    Args:
        folder: to write into; made here.
        nano: folder of the shipped model.
    """
    folder.mkdir(parents=True)
    _clips(folder)
    _words(folder)
    _pictures(folder)
    _manifests(folder)
    _tables(folder)
    for name in ("before", "after"):
        shutil.copytree(nano, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    _tiny_qwen(folder / "qwen", nano)
    _tiny_whisper(folder / "whisper")
    for path in folder.rglob("*"):
        os.utime(path, (CHANGED, CHANGED))  # reports in files tell when their input was changed


def _astronaut() -> np.ndarray:
    from skimage import data

    return data.astronaut()


def _face(count: int) -> np.ndarray:
    """Give (count, 192, 192, 3) uint8: a face that moves a little."""
    photograph = _astronaut()
    return np.stack([photograph[4 * n : 192 + 4 * n, 128 + 2 * n : 320 + 2 * n] for n in range(count)])


def _hum(seconds: float) -> np.ndarray:
    times = np.arange(round(seconds * RATE)) / RATE
    return sum(np.sin(2 * np.pi * 140 * k * times) / k for k in range(1, 12)) * (0.1 + 0.1 * np.sin(9 * times))


def write_clip(path: Path, frames: np.ndarray, fps: int = 5, sound: np.ndarray | None = None) -> None:
    """Encode (T, H, W, 3) uint8 frames as MPEG-4, with (S,) sound at 16 kHz if given."""
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=fps, options={"qscale": "2", "threads": "1"})
        video.height, video.width, video.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        track = container.add_stream("aac", rate=RATE, layout="mono") if sound is not None else None
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, fps)
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if track is not None:
            whole = av.AudioFrame.from_ndarray(np.float32(sound)[None], format="fltp", layout="mono")
            whole.sample_rate = RATE
            container.mux(track.encode(whole))
            container.mux(track.encode())


def _clips(folder: Path) -> None:
    face, gray = _face(10), np.full((10, 96, 96, 3), 120, np.uint8)
    write_clip(folder / "one.mp4", face, sound=_hum(2.0))
    write_clip(folder / "silent.mp4", face)
    write_clip(folder / "gray.mp4", gray)
    write_clip(folder / "a b 工.mp4", face[:5])
    with wave.open(str(folder / "voice.wav"), "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(RATE)
        sound.writeframes((_hum(2.0) * 20_000).astype(np.int16).tobytes())
    (folder / "broken.mp4").write_bytes(b"not a film at all" * 100)
    (folder / "cut.mp4").write_bytes((folder / "silent.mp4").read_bytes()[:9_000])
    (folder / "empty.mp4").touch()
    (folder / "empty").mkdir()
    for place in ("clips", "mixed"):
        (folder / place).mkdir()
        write_clip(folder / place / "small.mp4", face[:4], fps=4)
    shutil.copy(folder / "broken.mp4", folder / "mixed" / "broken.mp4")
    (folder / "films").mkdir()
    for number in range(2):
        shots = [face[number : number + 8, 16:176, 16:176], np.full((8, 160, 160, 3), 120, np.uint8)]
        write_clip(folder / "films" / f"film{number}.mp4", np.concatenate(shots))


def _words(folder: Path) -> None:
    (folder / "words.srt").write_text(SUBTITLES, encoding="utf-8")
    (folder / "words.vtt").write_text("WEBVTT\n\n00:00.100 --> 00:01.500\nI am so angry with you.\n", encoding="utf-8")
    (folder / "words.txt").write_text("I am sad and I miss her.\n", encoding="utf-8")
    (folder / "chinese.srt").write_text(CHINESE, encoding="utf-8")
    (folder / "gb.srt").write_bytes(CHINESE.encode("gb18030"))
    (folder / "key.txt").write_text("secret\n", encoding="utf-8")
    (folder / "blank.txt").write_text("\n", encoding="utf-8")


def _pictures(folder: Path) -> None:
    photograph = Image.fromarray(_astronaut()[:256, 96:352])
    photograph.save(folder / "photo.jpg")
    shutil.copy(folder / "photo.jpg", folder / "clips" / "photo.jpg")
    Image.new("RGB", (96, 96), (120, 120, 120)).save(folder / "gray.png")
    for label in ("happiness", "sadness"):
        place = folder / "faces" / label
        place.mkdir(parents=True)
        for number in range(2):
            photograph.rotate(number).save(place / f"{number}.jpg")
    noise = np.random.default_rng(0)
    (folder / "coco" / "val2014").mkdir(parents=True)
    for number in range(2):
        pixels = noise.integers(0, 255, (48, 48, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / "coco" / "val2014" / f"COCO_val2014_00000000000{number}.jpg")


def _lines(path: Path, rows: list[Any]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def _manifests(folder: Path) -> None:
    def sample(name: str, picture: str | None, answer: str, **known: Any) -> dict[str, Any]:
        shown = [{"type": "image", "image": picture}] if picture else []
        content = [*shown, {"type": "text", "text": f"How does this person feel? ({name})"}]
        turns = [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
        return {"id": name, "messages": turns, **known}

    good = [sample(f"s{n}", "photo.jpg", "happy", labels={"emotion": "happy"}, license="CC0") for n in range(4)]
    _lines(folder / "train.jsonl", good)
    _lines(folder / "faulty.jsonl", [good[0], sample("gone", "gone.png", "sad"), {"id": "bare"}, good[0]])
    (folder / "not.jsonl").write_text("{\n", encoding="utf-8")
    (folder / "nothing.jsonl").touch()
    turns = [{"from": "human", "value": "<image>\nWho is it?"}, {"from": "gpt", "value": "A smiling woman."}]
    (folder / "llava.json").write_text(json.dumps([{"id": "1", "image": "photo.jpg", "conversations": turns}]))
    talk = [{"from": "human", "value": "Good morning."}, {"from": "gpt", "value": "Good morning to you."}]
    (folder / "talks.json").write_text(json.dumps([{"id": "1", "conversations": talk}]))
    asked = [{"role": "user", "content": "<video>\nHow does she feel?"}, {"role": "assistant", "content": "Happy."}]
    (folder / "release.json").write_text(json.dumps([{"conversations": asked, "video": "one.mp4"}]))
    names = [f"{label}/{number}.jpg" for label in ("happiness", "sadness") for number in range(2)]
    _lines(folder / "replies.jsonl", [{"id": name, "text": f"{name.split('/')[0]}!"} for name in names])
    _lines(folder / "yes.jsonl", [{"id": f"random/{n}", "text": "Yes, there is."} for n in range(1, 5)])
    questions = [
        {"question_id": n + 1, "image": f"COCO_val2014_00000000000{n % 2}.jpg", "text": f"Is there a {thing}?",
         "label": ("yes", "no")[n % 2]}
        for n, thing in enumerate(OBJECTS)
    ]  # fmt: skip
    for kind in ("random", "popular", "adversarial"):
        _lines(folder / "coco" / f"coco_pope_{kind}.json", questions)
    tuning = f"""
stage: tuning
start: nano
output: tuned
data:
  - {{name: faces, kind: manifest, domain: emotion, path: train.jsonl, weight: 0.5}}
  - {{name: shapes, kind: {RECIPES}/parts.py:shapes, domain: general, weight: 0.5,
     options: {{size: 40, questions: 1}}}}
batch: {{samples: 2, pack: 384}}
optim: {{learning_rate: 1.0e-3, steps: 2}}
capture: false
log_every: 1
seed: 7
"""
    (folder / "tuning.yaml").write_text(tuning)
    (folder / "lora.yaml").write_text(tuning + "adapter: {rank: 4, alpha: 4}\n")
    (folder / "wrong.yaml").write_text("stage: nowhere\ncolour: red\n")
    (folder / "serve.yaml").write_text("slots: 2\nqueue: 0\nhost: 0.0.0.0\n")
    (folder / "eval.yaml").write_text(
        f"tasks: [cifar, {RECIPES}/tasks.py:shapes]\n"
        "models: [nano]\ndata: tables\noutput: run\nlanguages: [en]\nsplit: validation\n"
    )


def _tables(folder: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    noise = np.random.default_rng(1)

    def pictures(labels: list[str]) -> list[bytes]:
        written = []
        for _ in labels:
            data = io.BytesIO()
            Image.fromarray(noise.integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(data, "PNG")
            written.append(data.getvalue())
        return written

    place = folder / "tables"
    place.mkdir()
    for name, labels in {
        "pictures_cifar10": [*OBJECTS] * 2,
        "faces_fer_aligned": ["fear", "anger", "happiness", "sadness"] * 2,
        "faces_lfw_expressions": ["happiness", "neutral"] * 2,
    }.items():
        splits = ["train" if n % 2 else "validation" for n in range(len(labels))]
        ids = [f"{name}/{n}" for n in range(len(labels))]
        columns = {"id": ids, "image": pictures(labels), "label": labels, "split": splits}
        pq.write_table(pa.table(columns), place / f"{name}.parquet")
    (folder / "dataset").mkdir()
    images = [{"bytes": data, "path": None} for data in pictures(["cat", "dog"])]
    hub = pa.table({"image": images, "label": ["happy", "sad"]})
    pq.write_table(hub, folder / "dataset" / "train-00000.parquet")


def _tiny_qwen(folder: Path, nano: Path) -> None:
    """Save a random Qwen2.5-VL of a few thousand weights with nano's tokenizer."""
    import torch
    from transformers import AutoTokenizer, Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    tokenizer = AutoTokenizer.from_pretrained(nano)
    tokenizer.save_pretrained(folder)
    image = {"image_processor_type": "Qwen2VLImageProcessor", "patch_size": 4, "temporal_patch_size": 2}
    (folder / "preprocessor_config.json").write_text(json.dumps({**image, "merge_size": 2}), encoding="utf-8")
    text = {
        "hidden_size": 48, "intermediate_size": 56, "num_hidden_layers": 1, "num_attention_heads": 4,
        "num_key_value_heads": 2, "vocab_size": len(tokenizer) + 8,
        "rope_parameters": {"rope_type": "default", "rope_theta": 1e4, "mrope_section": [2, 2, 2]},
    }  # fmt: skip
    vision = {
        "depth": 1, "hidden_size": 32, "intermediate_size": 40, "num_heads": 4, "out_hidden_size": 48, "patch_size": 4,
        "window_size": 16, "fullatt_block_indexes": [0],
    }  # fmt: skip
    marks = ("image", "video", "vision_start", "vision_end")
    words = ("<|image_pad|>", "<|video_pad|>", "<|vision_start|>", "<|vision_end|>")
    tokens = {f"{m}_token_id": tokenizer.convert_tokens_to_ids(w) for m, w in zip(marks, words, strict=True)}
    torch.manual_seed(0)
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, **tokens)
    Qwen2_5_VLForConditionalGeneration(config).save_pretrained(folder)


def _tiny_whisper(folder: Path) -> None:
    """Save a random Whisper of a few thousand weights."""
    import torch
    from transformers import WhisperConfig, WhisperFeatureExtractor, WhisperForConditionalGeneration

    torch.manual_seed(0)
    config = WhisperConfig(
        d_model=16, encoder_layers=1, decoder_layers=1, encoder_attention_heads=2, decoder_attention_heads=2,
        encoder_ffn_dim=24, decoder_ffn_dim=24, num_mel_bins=16, vocab_size=64, pad_token_id=0, bos_token_id=1,
        eos_token_id=2, decoder_start_token_id=1, suppress_tokens=None, begin_suppress_tokens=None,
    )  # fmt: skip
    WhisperForConditionalGeneration(config).save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=16).save_pretrained(folder)


def link(source: Path, target: Path) -> None:
    """Lay the inputs out once more without a copy of their bytes."""
    shutil.copytree(source, target, copy_function=os.link)
