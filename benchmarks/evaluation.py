"""How many clips per minute does the runner answer and score, compared with the scripts of the release?

The release answers one clip at a time, generates freely up to 128 tokens, and computes all metrics anew after every
clip (`scoring.as_released.dfew_scores`). It runs here in plain PyTorch, without this project's way to multiply. The
runner answers in words (the same greedy tokens, in batches) and by the likelihood of the labels. These three ways read
the same frames and pixels of the same files as the release prepares them: 3 frames per second, whole frames, no faces,
and ask its question. Beside them stands our full path, which finds faces and asks about the person as `analyze` does.

Clips of 3 s are made from FER2013 stills that move. Loading is not counted. Rounds are interleaved. Seconds are those
of the processor, so that the ratio holds on a machine that others use as well; wall time stands beside. The parts of
the release's time show how far any other way could be ahead: the prompt has to be read by all.

    python benchmarks/evaluation.py --data ../shared/data --model mini [--clips 200] [--rounds 3] [--to evaluator.json]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch
from rich.console import Console

from emotion_qwen.data.pictures import read_pictures
from emotion_qwen.engine.engine import Engine
from emotion_qwen.evaluation.run.answerers.local import LocalModel, budgets
from emotion_qwen.evaluation.run.runner import Place, answer_task
from emotion_qwen.evaluation.run.score import as_answers
from emotion_qwen.evaluation.scoring.as_released import dfew_scores
from emotion_qwen.evaluation.scoring.labels import score_labels
from emotion_qwen.evaluation.task import Item, Task
from emotion_qwen.evaluation.tasks.dfew import TASK as DFEW
from emotion_qwen.evaluation.tasks.prompts import DFEW_RELEASE
from emotion_qwen.files import write_whole
from emotion_qwen.matching.answer import match_label
from emotion_qwen.media.clip import read_clip
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.questions import label_question
from emotion_qwen.taxonomy import label_set

SECONDS, FPS, SIDE, TOKENS = 3, 10, 96, 128
PROMPTS = 8
"""Clips of which the time of the prompt alone is measured."""
FILE, FRAMES, REPLY, PROMPT, METRICS = PARTS = (
    "reading the file", "encoding the frames", "reading the prompt, writing the reply", "of it, reading the prompt",
    "metrics",
)  # fmt: skip
PICTURED = label_set("fer7")
LABELS = label_set("dfew7")
SPELLED = dict(zip(PICTURED.labels, ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"), strict=True))
RELEASED = "release's scripts"
WAYS = {
    "runner, in words": ("text", False),
    "runner, likelihood": ("likelihood", False),
    "runner, our full path": ("likelihood", True),
}
"""Way -> form of the answer, and whether clips are prepared and asked about as by `analyze`."""


def make_clips(data: Path, folder: Path, count: int) -> list[tuple[Path, str]]:
    """Write clips in which a still picture moves slowly, each with its label."""
    pictures = read_pictures(data / "faces_fer_aligned.parquet", "validation", SIDE + 16)
    made = []
    for number, row in enumerate(np.arange(count) * len(pictures.labels) // count):
        path = folder / f"{number:04d}.mp4"
        shifts = np.rint(8 + 8 * np.sin(np.arange(SECONDS * FPS) / 5 + number)).astype(int)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=FPS)
            stream.height, stream.width, stream.pix_fmt, stream.bit_rate = SIDE, SIDE, "yuv420p", 600_000
            for shift in shifts:
                crop = np.ascontiguousarray(pictures.pixels[row][shift : shift + SIDE, 16 - shift : 16 - shift + SIDE])
                container.mux(stream.encode(av.VideoFrame.from_ndarray(crop, format="rgb24")))
            container.mux(stream.encode())
        made.append((path, SPELLED[pictures.labels[row]]))
    return made


@dataclass
class Clips:
    """The clips as items of a task."""

    clips: list[tuple[Path, str]]
    question: str

    def check(self, data: Path | None) -> None:
        """Nothing can be missing."""

    def items(self, data, split, languages, side, limit) -> list[Item]:
        """See `Source`."""
        return [
            Item(
                path.stem, "en", ({"type": "video", "video": path},), self.question, LABELS.labels, label, label,
                label_set=LABELS.name,
            )
            for path, label in self.clips
        ]  # fmt: skip


def task_of(clips: list[tuple[Path, str]], answered: str, whole_path: bool) -> Task:
    """Return the clips as a task, prepared by the release or as by `analyze`; see `WAYS`."""
    domain = "emotion" if whole_path else "general"  # faces are found for tasks of emotion alone
    question = label_question(LABELS, "en") if whole_path else DFEW_RELEASE
    frames = {} if whole_path else DFEW.frames
    return Task(
        "clips", "Clips", domain, Clips(clips, question), answered=answered, max_new_tokens=TOKENS, frames=frames
    )


class Timer:
    """Processor seconds by part."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the processor time of a block to a part."""
        begun = time.process_time()
        yield
        self.seconds[name] = self.seconds.get(name, 0.0) + time.process_time() - begun


def as_released(engine: Engine, clips: list[tuple[Path, str]], timer: Timer) -> list[str]:
    """Answer one clip after the other, with all metrics after every clip."""
    replies: list[str] = []
    settings = budgets(engine.processor.settings, task_of([], "text", False))
    for path, _ in clips:
        with timer.part(FILE):
            clip = read_clip(path, settings)
        with timer.part(FRAMES):
            view = engine.encoder().views([{"type": "video", "video": clip}])
        with timer.part(REPLY):
            replies += engine.write(view, DFEW_RELEASE, TOKENS)
        with timer.part(METRICS):
            dfew_scores(replies, [label for _, label in clips[: len(replies)]])
    return replies


def read_prompts(engine: Engine, clips: list[tuple[Path, str]], timer: Timer) -> None:
    """Pass every prompt through the model once, up to the first token: what no way can leave out."""
    settings = budgets(engine.processor.settings, task_of([], "text", False))
    for path, _ in clips:
        view = engine.encoder().views([{"type": "video", "video": read_clip(path, settings)}])
        with timer.part(PROMPT):
            engine.write(view, DFEW_RELEASE, 1)


class Runner:
    """The runner in several processes, each with its model loaded before anybody looks at the clock."""

    def __init__(self, engine: Engine, name: str | None, device: str, dtype: str, processes: int, batch: int) -> None:
        self.engine, self.processes, self.batch = engine, processes, batch
        context = multiprocessing.get_context("spawn")
        self.others: list[Connection] = []
        for _ in range(1, processes):
            here, there = context.Pipe()
            context.Process(target=_serve, args=(there, name, device, dtype, batch), daemon=True).start()
            self.others.append(here)
        for other in self.others:
            other.recv()

    def __call__(self, clips: list[tuple[Path, str]], way: str) -> tuple[list[str | None], float]:
        """Answer and score; return replies or likeliest labels, and the processor seconds of all processes."""
        answered, _ = WAYS[way]
        begun = time.process_time()
        with tempfile.TemporaryDirectory() as folder:
            for rank, other in enumerate(self.others, start=1):
                other.send((clips, way, folder, Place(rank, self.processes)))
            done = answer_task(
                LocalModel(self.engine, self.batch, workers=0), task_of(clips, *WAYS[way]), Path(folder),
                place=Place(0, self.processes),
            )  # fmt: skip  # waits for the others
            score_labels([item.scored() for item in done.items], as_answers(done.items, done.predictions), LABELS)
        seconds = time.process_time() - begun + sum(other.recv() for other in self.others)
        return [one.text if answered == "text" else one.predicted for one in done.predictions], seconds

    def close(self) -> None:
        """Let the other processes end."""
        for other in self.others:
            other.send(None)


def _serve(questions: Connection, name: str | None, device: str, dtype: str, batch: int) -> None:
    torch.set_num_threads(1)
    engine = Engine.load(name, device, dtype)
    questions.send("ready")
    while (asked := questions.recv()) is not None:
        clips, way, folder, place = asked
        begun = time.process_time()
        answer_task(LocalModel(engine, batch, workers=0), task_of(clips, *WAYS[way]), Path(folder), place=place)
        questions.send(time.process_time() - begun)


def plain(name: str | None, device: str, dtype: str) -> Engine:
    """Load a model as transformers does, without this project's way to multiply."""
    ours = Engine.load(name, device, dtype)
    model = EmotionQwenForConditionalGeneration.from_pretrained(ours.folder, dtype=ours.model.dtype)
    return Engine(model.to(ours.device), ours.processor, ours.name, ours.folder)


@dataclass
class Measured:
    """Seconds and replies of a way, by round."""

    processor: list[float]
    wall: list[float]
    replies: list[str | None]


def measure(
    ways: dict[str, Callable[[], tuple[list[Any], float]]], rounds: int, console: Console
) -> dict[str, Measured]:
    """Run every way in every round, turn about."""
    measured = {name: Measured([], [], []) for name in ways}
    for number in range(rounds):
        for name, way in ways.items():
            wall = time.perf_counter()
            replies, seconds = way()
            measured[name].wall.append(time.perf_counter() - wall)
            measured[name].processor.append(seconds)
            measured[name].replies = replies
            console.print(f"round {number + 1}, {name}: {seconds:.1f} s of the processor")
    return measured


def summary(measured: dict[str, Measured], clips: int) -> dict[str, dict[str, Any]]:
    """Return, by way, clips per minute of processor time, ratios to the release's, and how many labels are equal."""
    peer = measured[RELEASED]
    labels = {name: [text and match_label(text, LABELS, "en") for text in m.replies] for name, m in measured.items()}
    rows: dict[str, dict[str, Any]] = {}
    for name, one in measured.items():
        both = [(a, b) for a, b in zip(labels[RELEASED], labels[name], strict=True) if a and b]
        rows[name] = {
            "clips per minute": round(clips * 60 / statistics.median(one.processor), 2),
            "ratio": round(statistics.median(p / o for p, o in zip(peer.processor, one.processor, strict=True)), 3),
            "ratio, wall": round(statistics.median(p / o for p, o in zip(peer.wall, one.wall, strict=True)), 3),
            "both readable": len(both),
            "same label": sum(a == b for a, b in both),
        }
    return rows


def draw(facts: dict[str, Any], path: Path) -> None:
    """Draw clips per minute of every way, and the seconds of the release's way by part."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.2), layout="constrained")
    rates, parts = figure.subplots(1, 2)
    names = list(facts["ways"])
    bars = rates.barh(names, [facts["ways"][name]["clips per minute"] for name in names], color="#4477aa")
    labels = [f"{way['clips per minute']:.0f} ({way['ratio']:.1f} x)" for way in facts["ways"].values()]
    rates.bar_label(bars, labels, padding=3)
    rates.set(xmargin=0.3)
    rates.set_title(f"{facts['model']}: clips per minute of one core", loc="left")
    seconds = facts["release, seconds per clip"]
    parts.bar_label(parts.barh(list(seconds), list(seconds.values()), color="#cc6677"), fmt="%.2f", padding=3)
    parts.set(xmargin=0.2)
    parts.set_title("release: seconds per clip", loc="left")
    for axes in (rates, parts):
        axes.invert_yaxis()
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1, help="of the runner; the release takes as many threads")
    parser.add_argument("--batch", type=int, default=25)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--model", default=None)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--to", type=Path, default=None, help="JSON file for the figures, with a picture beside")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.processes)
    loading, console = (arguments.model, arguments.device, arguments.dtype), Console()
    timer, prompts = Timer(), Timer()
    peer, runner = plain(*loading), Runner(Engine.load(*loading), *loading, arguments.processes, arguments.batch)

    def released(shown: list[tuple[Path, str]], kept: Timer) -> tuple[list[str], float]:
        begun = time.process_time()
        return as_released(peer, shown, kept), time.process_time() - begun

    with tempfile.TemporaryDirectory() as folder:
        clips = make_clips(arguments.data, Path(folder), arguments.clips)
        released(clips[:2], Timer())
        for way in WAYS:
            runner(clips[:4], way)
        ways: dict[str, Callable[[], tuple[list[Any], float]]] = {RELEASED: lambda: released(clips, timer)}
        ways |= {way: lambda way=way: runner(clips, way) for way in WAYS}
        measured = measure(ways, arguments.rounds, console)
        read_prompts(peer, clips[:PROMPTS], prompts)
    runner.close()
    rows = summary(measured, arguments.clips)
    answered = arguments.rounds * len(clips)
    parts = {name: round(seconds / answered, 4) for name, seconds in timer.seconds.items()}
    parts |= {name: round(seconds / len(clips[:PROMPTS]), 4) for name, seconds in prompts.seconds.items()}
    parts = {name: parts[name] for name in PARTS}
    for name, row in rows.items():
        console.print(f"{name}: {row}")
    console.print(f"seconds of the release per clip, by part: {parts}")
    console.print(f"replies: {measured[RELEASED].replies[:5]}")
    if arguments.to:
        facts = {
            "model": peer.name, "clips": arguments.clips, "rounds": arguments.rounds,
            "processes": arguments.processes, "device": arguments.device, "ways": rows,
            "release, seconds per clip": parts,
        }  # fmt: skip
        write_whole(arguments.to, json.dumps(facts, indent=1, ensure_ascii=False) + "\n")
        draw(facts, arguments.to.with_suffix(".png"))


if __name__ == "__main__":
    main()
