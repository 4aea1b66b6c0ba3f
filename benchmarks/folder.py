"""How much faster is a folder of short clips than its clips one by one, with the model loaded? Are the results equal?

The peer is `Analyzer.analyze` called for one clip after another, in the same process. Four figures: the model's
part alone (clips prepared before; one by one against shared batches, rounds interleaved), the whole from files to
reports, the time that one real clip takes against its own duration, and the share of the time that a model waits for
clips: nano on these cores, and a stand-in for a model on a GPU, which leaves the cores free for a quarter of a second
per clip, about what 7B needs for 6,000 tokens on an H100 by its arithmetic. Clips are cut from CLIP into a folder that
is removed afterwards.

    python benchmarks/folder.py ../shared/data/clips/WolfgangLanger_Pexels.mp4 [--clips 64] [--rounds 3]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import av
import numpy as np

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.request import Request
from emotion_qwen.batch.folder import READING, TOGETHER, analyze_all
from emotion_qwen.batch.following import Following
from emotion_qwen.errors import MediaError
from emotion_qwen.records import EmotionReport

SECONDS = 2.5
ELSEWHERE = 0.25
"""Seconds per clip of a model on another device."""


def cut(source: Path, folder: Path, count: int) -> list[Path]:
    """Cut pieces of 2.5 seconds at even distances; they overlap where the clip is short."""
    with av.open(str(source)) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        rate = round(float(container.streams.video[0].average_rate))
    length = round(SECONDS * rate)
    files = []
    for number, first in enumerate(np.linspace(0, len(frames) - length, count).astype(int)):
        files.append(folder / f"{number:03}.mp4")
        with av.open(str(files[-1]), "w") as container:
            stream = container.add_stream("libx264", rate=rate, options={"preset": "veryfast"})
            stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
            for frame in frames[first : first + length]:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame)))
            container.mux(stream.encode())
    return files


def difference(one: list[EmotionReport], other: list[EmotionReport]) -> tuple[int, int, float]:
    """Count clips whose labels and whose sentences differ, and measure the largest difference of a share."""
    labels = sum(a.label != b.label for a, b in zip(one, other, strict=True))
    texts = sum(a.summary != b.summary for a, b in zip(one, other, strict=True))
    shares = [
        abs(a.distribution[k] - b.distribution[k]) for a, b in zip(one, other, strict=True) for k in a.distribution
    ]
    return labels, texts, max(shares)


def model_part(analyzer: Analyzer, files: list[Path], rounds: int) -> None:
    prepared = [analyzer.prepare(file) for file in files]
    times: dict[int, list[float]] = {1: [], TOGETHER: []}
    processor: dict[int, list[float]] = {1: [], TOGETHER: []}  # other processes may be running
    found: dict[int, list[EmotionReport]] = {}
    for _ in range(rounds):
        for size in times:
            begun, begun_here, found[size] = time.perf_counter(), time.process_time(), []
            reader = analyzer.reader(Request())
            for start in range(0, len(prepared), size):
                group = prepared[start : start + size]
                if size == 1:
                    reader = analyzer.reader(Request())  # as every call of `analyze` has its own
                found[size] += [one.report for one in analyzer.read(reader, group, Request())]
            times[size].append(time.perf_counter() - begun)
            processor[size].append(time.process_time() - begun_here)
    own = statistics.median(a / b for a, b in zip(processor[1], processor[TOGETHER], strict=True))
    ratio = statistics.median(a / b for a, b in zip(times[1], times[TOGETHER], strict=True))
    labels, texts, shares = difference(found[1], found[TOGETHER])
    print(
        f"model's part: {statistics.median(times[1]):.1f} s one by one, {statistics.median(times[TOGETHER]):.1f} s "
        f"together, {ratio:.2f}x (goal 2.0), in processor time {own:.2f}x; {labels} labels and {texts} sentences "
        f"differ, shares by {shares:.1e}",
        flush=True,
    )


def whole(analyzer: Analyzer, files: list[Path], rounds: int, workers: int | None) -> None:
    alone, together = [], []
    for _ in range(rounds):
        begun = time.perf_counter()
        one = [analyzer.analyze(file) for file in files]
        middle = time.perf_counter()
        other = [found.report for _, found in analyze_all(analyzer, files, Request(), workers)]
        times = [b - a for a, b in pairwise((begun, middle, time.perf_counter()))]
        alone.append(times[0])
        together.append(times[1])
    ratio = statistics.median(a / b for a, b in zip(alone, together, strict=True))
    labels, texts, shares = difference(one, other)
    print(
        f"whole: {statistics.median(alone):.1f} s one by one, {statistics.median(together):.1f} s as a folder, "
        f"{ratio:.2f}x (goal 1.3); {labels} labels and {texts} sentences differ, shares by {shares:.1e}",
        flush=True,
    )


def waiting(analyzer: Analyzer, files: list[Path], workers: int, seconds: float | None) -> None:
    """Print how long a model waits for clips: this one, or a stand-in that takes `seconds` per clip elsewhere."""
    shown, read = Following(len(files)), analyzer.read
    if seconds is not None:

        def stand_in(reader, clips, request):
            time.sleep(seconds * len(clips))
            return [MediaError("no answer is needed")] * len(clips)

        analyzer.read = stand_in
    try:
        list(analyze_all(analyzer, files, Request(), workers, shown.stage))
    finally:
        analyzer.read = read
    spent = shown.seconds()
    total, name = sum(spent.values()), "nano" if seconds is None else f"{seconds:g} s per clip elsewhere"
    print(f"{name}, {workers} processes: waited {spent[READING] / total:.0%} of {total:.1f} s (goal 20%)", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--clips", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=None)
    parser.add_argument("--waiting", action="store_true", help="only the last figure")
    options = parser.parse_args()
    analyzer = Analyzer.load(device="cpu")
    analyzer.analyze(options.clip)
    begun = time.perf_counter()
    report = analyzer.analyze(options.clip, context="A clip about feelings.")
    took = time.perf_counter() - begun
    with av.open(str(options.clip)) as container:
        duration = container.duration / av.time_base
    channels = ", ".join(report.provenance["channels"])
    print(f"{options.clip.name} ({channels}): {took:.2f} s for {duration:.1f} s, {took / duration:.2f} (goal 1.5)")
    with tempfile.TemporaryDirectory() as folder:
        files = cut(options.clip, Path(folder), options.clips)
        for workers in (0, 1, 2):
            for seconds in (None, ELSEWHERE):
                waiting(analyzer, files, workers, seconds)
        if options.waiting:
            return
        model_part(analyzer, files, options.rounds)
        whole(analyzer, files, options.rounds, options.workers)


if __name__ == "__main__":
    main()
