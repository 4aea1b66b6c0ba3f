"""How many useful tokens a second does packing train, against right-padded batches in random order? And length groups?

Text samples whose lengths are drawn lognormally (median 120 tokens, sigma 0.8, seeded), batches of 32, nano, forward
and backward. The three ways see the same samples; rounds are interleaved; useful tokens are those of samples, not
padding.

    python benchmarks/packing.py [--batches 6] [--rounds 3] [--threads 2]
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from rich.console import Console

from emotion_qwen.data.collate import SampleCollator
from emotion_qwen.data.mixture import LengthGrouped, Mixture, SampleList
from emotion_qwen.engine.engine import Engine
from emotion_qwen.records import Sample

BATCH, ROW, OVERHEAD = 32, 1024, 20  # OVERHEAD: tokens of the chat's own words


def draw_samples(count: int, tokenizer) -> list[Sample]:
    """Draw text samples of the wanted lengths from words of one token."""
    rng = np.random.default_rng(0)
    lengths = np.exp(rng.normal(np.log(120), 0.8, count)).round().clip(OVERHEAD + 2, 900).astype(int)
    words = [w for w in (" the", " person", " looks", " happy", " sad") if len(tokenizer(w)["input_ids"]) == 1]
    samples = []
    for number, length in enumerate(lengths.tolist()):
        text = "".join(rng.choice(words, length - OVERHEAD))
        messages = ({"role": "user", "content": text}, {"role": "assistant", "content": " happy"})
        samples.append(Sample(str(number), messages))
    return samples


def useful_per_second(model, batch) -> tuple[int, float]:
    inputs = {key: value for key, value in batch.items() if key not in ("domains", "useful")}
    start = time.perf_counter()
    model(**inputs, supervised_only=True).loss.backward()
    return batch["useful"], time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batches", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    engine = Engine.load(device="cpu")
    model, processor = engine.model.train(), engine.processor
    model.model.touch_visuals = lambda: 0.0  # text alone: no visual part to wait for
    samples = draw_samples(arguments.batches * BATCH, processor.tokenizer)
    line = Mixture([SampleList("text", "general", samples)], [1.0], len(samples), seed=0)
    padded, packed = SampleCollator(processor), SampleCollator(processor, model.model.get_rope_index, ROW)
    ways = {"padded, random order": (line, padded), "length groups": (LengthGrouped(line, BATCH), padded)}
    ways["packed"] = (line, packed)
    batches = {}
    for name, (items, collate) in ways.items():
        batches[name] = []
        for first in range(0, len(line), BATCH):
            chosen = [items[place] for place in range(first, first + BATCH)]
            useful = int(padded(chosen)["attention_mask"].sum())
            batches[name].append({**collate(chosen), "useful": useful})
    rates: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(arguments.rounds + 1):
        for name in ways:
            done = [useful_per_second(model, batch) for batch in batches[name]]
            if number:  # the first round warms up
                rates[name].append(sum(n for n, _ in done) / sum(s for _, s in done))
    base = rates["padded, random order"]
    for name, values in rates.items():
        ratio = statistics.median(v / b for v, b in zip(values, base, strict=True))
        Console().print(f"{name}: {statistics.median(values):.0f} useful tokens/s, {ratio:.2f}x", highlight=False)


if __name__ == "__main__":
    main()
