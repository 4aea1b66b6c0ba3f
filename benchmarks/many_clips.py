"""Does memory stay flat over thousands of clips, and does a clip that cannot be read cost only itself?

Clips of one second are invented: a photograph that is zoomed into, with a face in most of them, or noise. Some are
damaged: empty, text, cut off in the middle, or with random bytes inside. `analyze FOLDER --output` runs as a process of
its own, and the resident memory of it and of its children is read once a second and written beside the reports. A run
that is interrupted continues.

    python benchmarks/many_clips.py FOLDER [--clips 2000] [--workers 1]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections import Counter
from pathlib import Path

import av
import numpy as np
import psutil
from PIL import Image
from skimage import data

SIZE, FPS, FRAMES = 128, 5, 5
DAMAGED = 100
"""Every so many clips one is damaged, in turn in each of the ways."""
MIB = 1 << 20


def make_clip(path: Path, number: int, photograph: Image.Image) -> None:
    """Write one clip; the same number always gives the same file."""
    rng = np.random.default_rng(number)
    zoom, light, noisy = rng.uniform(0.5, 1.0), rng.uniform(0.6, 1.2), number % 5 == 0
    left, top = rng.uniform(0, 1 - zoom, 2) * (0.8, 0.2) * photograph.width
    box = (left, top, left + zoom * photograph.width, top + zoom * photograph.width)
    picture = np.asarray(photograph.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box)) * light
    picture = rng.uniform(0, 255, picture.shape) if noisy else picture
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=FPS)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        for shift in range(FRAMES):
            moved = np.roll(picture, shift, axis=1).clip(0, 255).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(moved)))
        container.mux(stream.encode())
    if number % DAMAGED == DAMAGED - 1:
        damage(path, number // DAMAGED % 4, rng)


def damage(path: Path, way: int, rng: np.random.Generator) -> None:
    """Damage a file in one of four ways."""
    content = bytearray(path.read_bytes())
    if way == 3:
        places = rng.integers(0, len(content), len(content) // 4)
        for place in places.tolist():
            content[place] = int(rng.integers(0, 256))
    path.write_bytes([b"", b"no video at all\n" * 50, bytes(content[: len(content) // 2]), bytes(content)][way])


def make_clips(folder: Path, count: int) -> None:
    """Write the clips that are missing."""
    folder.mkdir(parents=True, exist_ok=True)
    photograph = Image.fromarray(data.astronaut())
    for number in range(count):
        path = folder / f"{number:05}.mp4"
        if not path.exists():
            unfinished = path.with_suffix(".part.mp4")
            make_clip(unfinished, number, photograph)
            unfinished.rename(path)


def memory(process: psutil.Popen) -> tuple[float, float]:
    """Return the resident MiB of a process and of its children."""
    try:
        children = [child.memory_info().rss for child in process.children(recursive=True)]
        return process.memory_info().rss / MIB, sum(children) / MIB
    except psutil.NoSuchProcess:
        return 0.0, 0.0


def follow(command: list[str], output: Path, log: Path) -> list[tuple[float, int, float, float]]:
    """Run a command and return (seconds, lines in the output, MiB, MiB of children), once a second, also as CSV."""
    began, rows = time.perf_counter(), []
    with log.open("a", encoding="utf-8") as file:
        process = psutil.Popen(command)
        try:
            while process.poll() is None:
                time.sleep(1)
                lines = output.read_bytes().count(b"\n") if output.exists() else 0
                rows.append((time.perf_counter() - began, lines, *memory(process)))
                print(",".join(f"{value:.1f}" for value in rows[-1]), file=file, flush=True)
        finally:
            if process.is_running():
                process.terminate()
    if process.returncode:
        raise SystemExit(f"error: the run ended with code {process.returncode}")
    return rows


def show(rows: list[tuple[float, int, float, float]], output: Path, count: int) -> None:
    """Print failures, and memory by tenths of the clips."""
    reports = [json.loads(line) for line in output.read_text(encoding="utf-8").splitlines()]
    failed = [report for report in reports if "error" in report]
    wrong = [report["source"] for report in failed if int(Path(report["source"]).stem) % DAMAGED != DAMAGED - 1]
    print(f"{len(reports)} lines of {count} clips, {len(failed)} failed, {len(wrong)} of them not damaged {wrong[:3]}")
    print(Counter(report["error"].split(";")[0].split(": ", 1)[-1][:60] for report in failed))
    tenths: dict[int, list[tuple[float, float]]] = {}
    for _, lines, own, children in rows:
        if lines and own:
            tenths.setdefault(min(9, 10 * lines // count), []).append((own, children))
    for tenth, values in tenths.items():
        own, children = np.median(values, axis=0)
        print(
            f"{count * tenth // 10:>6} to {count * (tenth + 1) // 10:>6} clips: {own:.0f} MiB, children {children:.0f}"
        )
    print(f"{rows[-1][0]:.0f} s")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=2000)
    parser.add_argument("--workers", type=int, default=1)
    options = parser.parse_args()
    make_clips(options.folder / "clips", options.clips)
    output = options.folder / f"reports_{options.clips}.jsonl"
    files = [str(options.folder / "clips" / f"{number:05}.mp4") for number in range(options.clips)]
    arguments = [
        *files,
        "--output",
        str(output),
        "--workers",
        str(options.workers),
        "--device",
        "cpu",
        "--model",
        "nano",
    ]
    command = [sys.executable, "-m", "emotion_qwen.cli", "analyze", *arguments]
    show(follow(command, output, options.folder / "memory.csv"), output, options.clips)


if __name__ == "__main__":
    main()
