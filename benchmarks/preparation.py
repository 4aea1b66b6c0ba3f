"""How fast, and in how much memory, does a video become patches?

The peer is the plain way: decode and convert every frame to RGB with PyAV, then give the sampled frames as pictures to
transformers' `Qwen2VLImageProcessorPil`. Ours: `read_video` and `video_patches`. Ratios are medians over interleaved
pairs, in wall time and, because other processes may be running, in processor time.

    python benchmarks/preparation.py ../shared/data/clips/WolfgangLanger_Pexels.mp4
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
from transformers.models.qwen2_vl.image_processing_pil_qwen2_vl import Qwen2VLImageProcessorPil

from emotion_qwen.media import read_video
from emotion_qwen.processing.patches import video_frame_budget, video_patches
from emotion_qwen.settings import ClipSettings

CACHE = Path(tempfile.gettempdir()) / "emotion_qwen_benchmarks"
PEAK = """
import sys
from emotion_qwen.media import read_video
from emotion_qwen.settings import ClipSettings
clip = read_video(sys.argv[1], ClipSettings(max_frames=32))
assert len(clip.frames) == 32
# not ru_maxrss: that of a child begins with the size of the parent that started it
status = open("/proc/self/status").read()
print(int(status.split("VmHWM:")[1].split()[0]) / 1024)
"""


def ours(path: Path, settings: ClipSettings) -> tuple[float, int]:
    begun = time.perf_counter()
    clip = read_video(path, settings)
    decoded = time.perf_counter() - begun
    video_patches(clip.frames, settings, 14, 2, 2)
    return decoded, len(clip.frames)


def plain(path: Path, settings: ClipSettings, count: int) -> tuple[float, int]:
    begun = time.perf_counter()
    with av.open(str(path)) as container:
        total = container.streams.video[0].frames
        chosen = set(np.rint(np.linspace(0, total - 1, count)).astype(int).tolist())
        pictures = []
        for number, frame in enumerate(container.decode(video=0)):
            picture = frame.to_ndarray(format="rgb24")  # every frame; only the sampled ones are kept
            if number in chosen:
                pictures.append(picture)
    decoded = time.perf_counter() - begun
    processor = Qwen2VLImageProcessorPil(
        min_pixels=settings.video_min_pixels, max_pixels=video_frame_budget(count, settings)
    )
    processor(pictures, return_tensors="pt")
    return decoded, count


def timed(work: Callable[[], tuple[float, int]]) -> tuple[float, float, float]:
    """Return seconds of (wall, processor, wall of decoding)."""
    wall, processor = time.perf_counter(), time.process_time()
    decoded, _ = work()
    return time.perf_counter() - wall, time.process_time() - processor, decoded


def compare(name: str, path: Path, settings: ClipSettings, pairs: int, goal: float) -> None:
    _, count = ours(path, settings)  # warms both the file cache and the weights of the resize
    rows = [(timed(lambda: plain(path, settings, count)), timed(lambda: ours(path, settings))) for _ in range(pairs)]
    wall = statistics.median(a[0] / b[0] for a, b in rows)
    processor = statistics.median(a[1] / b[1] for a, b in rows)
    seconds = [statistics.median(row[side][0] for row in rows) for side in (0, 1)]
    decode = [statistics.median(row[side][2] for row in rows) for side in (0, 1)]
    print(
        f"{name:<28}{count:>7}{seconds[0]:>9.2f}{seconds[1]:>9.2f}{decode[0]:>12.2f}{decode[1]:>9.2f}"
        f"{wall:>8.2f}{processor:>8.2f}{goal:>7.1f}",
        flush=True,
    )


def generate(minutes: int, size: tuple[int, int], rate: int, preset: str) -> Path:
    """Encode a square that moves over noise, a keyframe every 250 frames, once per machine."""
    path = CACHE / f"{minutes}min_{size[0]}x{size[1]}_{rate}_{preset}.mp4"
    if path.exists():
        return path
    CACHE.mkdir(exist_ok=True)
    unfinished = path.with_suffix(".part.mp4")
    ground = np.random.default_rng(0).integers(90, 130, (size[1], size[0], 3), dtype=np.uint8)
    with av.open(str(unfinished), "w") as container:
        stream = container.add_stream("libx264", rate=rate, options={"preset": preset, "x264-params": "keyint=250"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(minutes * 60 * rate):
            picture = ground.copy()
            left, top = number * 2 % (size[0] - 32), number % (size[1] - 32)
            picture[top : top + 32, left : left + 32] = (number % 256, 200, 40)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture)))
        container.mux(stream.encode())
    unfinished.rename(path)
    return path


def peak(path: Path) -> float:
    """Read 32 frames in a process of its own and return its peak memory, MiB."""
    return float(subprocess.run([sys.executable, "-c", PEAK, path], check=True, capture_output=True, text=True).stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video", type=Path, nargs="?", help="a real clip, read at 2 frames a second")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--long-pairs", type=int, default=3, help="pairs on the 10-minute clip; 0 leaves it out")
    parser.add_argument("--no-memory", action="store_true")
    options = parser.parse_args()
    heads = ("plain s", "ours s", "decoding: p.", "ours", "ratio", "cpu", "goal")
    print(f"{'':<28}{'frames':>7}{heads[0]:>9}{heads[1]:>9}{heads[2]:>12}{heads[3]:>9}", end="")
    print(f"{heads[4]:>8}{heads[5]:>8}{heads[6]:>7}")
    if options.video:
        compare(options.video.name, options.video, ClipSettings(), options.pairs, 1.8)
    if options.long_pairs:
        long = generate(10, (320, 240), 25, "veryfast")
        compare("10 minutes, 32 frames", long, ClipSettings(max_frames=32), options.long_pairs, 5.0)
    if not options.no_memory:
        short, half_hour = (peak(generate(minutes, (160, 120), 10, "ultrafast")) for minutes in (1, 30))
        print(
            f"peak memory, 1 and 30 minutes: {short:.0f} and {half_hour:.0f} MiB, x{half_hour / short:.2f} (goal 1.2)"
        )


if __name__ == "__main__":
    main()
