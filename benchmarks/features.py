"""How much faster is a step of stages 1 and 2 with cached vision features? Pictures, and video clips with capture.

Forward and backward of the nano model with only one expert learning, the collator included, once with media and once
with cached features; rounds are interleaved. The loss of both is printed too: it must be the same.

    python benchmarks/features.py CLIP [--rounds 5] [--threads 2]
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from rich.console import Console

from emotion_qwen.data.collate import SampleCollator
from emotion_qwen.data.features import FeatureCache
from emotion_qwen.data.mixture import Mixture, SampleList
from emotion_qwen.engine.engine import Engine
from emotion_qwen.faces import CenterFaceDetector
from emotion_qwen.prepare import prepare_sample
from emotion_qwen.records import Sample
from emotion_qwen.training.stages import STAGES, enter_stage

PICTURES = 32


def talk(name: str, kind: str, medium) -> Sample:
    """Ask with few words: together with the answer eight tokens of text beside the chat's own."""
    asked = [{"type": kind, kind: medium}, {"type": "text", "text": "What does the person feel?"}]
    return Sample(name, ({"role": "user", "content": asked}, {"role": "assistant", "content": "happy"}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    engine = Engine.load(device="cpu")
    model, processor, detector = engine.model.train(), engine.processor, CenterFaceDetector()
    enter_stage(model, STAGES["general"])
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, 255, (PICTURES, 64, 64, 3), dtype=np.uint8)
    sets = {
        "pictures": [talk(str(n), "image", picture) for n, picture in enumerate(drawn)],
        "clips": [talk("clip", "video", str(arguments.clip))],
    }
    for name, samples in sets.items():
        with tempfile.TemporaryDirectory() as folder:

            def read(sample: Sample) -> Sample:
                return prepare_sample(sample, detector, processor)

            cache = FeatureCache(Path(folder), model.model.visual, processor, read)
            line = Mixture([SampleList(name, "general", samples)], [1.0], len(samples), seed=0)
            cache.fill(line, Console(file=io.StringIO()))
            ways = {"media": SampleCollator(processor, prepare=read)}
            ways["features"] = SampleCollator(processor, prepare=cache.prepare)
            times: dict[str, list[float]] = {way: [] for way in ways}
            losses: dict[str, float] = {}
            for number in range(arguments.rounds + 1):
                for way, collate in ways.items():
                    start = time.perf_counter()
                    loss = model(**collate(samples), supervised_only=True).loss
                    loss.backward()
                    losses[way] = loss.item()
                    if number:  # the first warms up
                        times[way].append(time.perf_counter() - start)
            ratio = statistics.median(m / f for m, f in zip(times["media"], times["features"], strict=True))
            parted = abs(losses["media"] - losses["features"])
            Console().print(
                f"{name}: {ratio:.2f}x with cached features, losses differ by {parted:.1e}", highlight=False
            )


if __name__ == "__main__":
    main()
