"""How many clips a minute does the runner answer and score, against the way of the release's scripts?

The peer does what those scripts do, in plain PyTorch on all cores: one clip at a time, free generation of up to 128
tokens, and all metrics computed anew at every clip (`scoring.as_released.dfew_scores`, their arithmetic on
scikit-learn). Ours is the runner, in words (the same greedy tokens, in batches) and by label likelihood, with one
process a core as `torchrun` would start them; both write their lines, and score once. Loading is not counted. Clips
of 3 s are made from FER2013 stills that move; both sides read the same frames and pixels of the same files with the
same model, and the model stops where it stops. Rounds are interleaved. The question is that of the release for DFEW, or
ours, to which nano answers in one word: then a reply costs little more than looking, and there is less to gain.

    python benchmarks/evaluation.py --data ../shared/data [--prompt release] [--clips 200] [--rounds 3]
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import av
import numpy as np
import torch
from rich.console import Console

from emotion_qwen.data.pictures import read_pictures
from emotion_qwen.engine.engine import NANO, Engine
from emotion_qwen.evaluation.run.answerers.local import LocalModel
from emotion_qwen.evaluation.run.runner import Place, answer_task
from emotion_qwen.evaluation.run.score import as_answers
from emotion_qwen.evaluation.scoring.as_released import dfew_scores
from emotion_qwen.evaluation.scoring.labels import score_labels
from emotion_qwen.evaluation.task import Item, Task
from emotion_qwen.evaluation.tasks.prompts import DFEW_RELEASE
from emotion_qwen.matching.answer import match_label
from emotion_qwen.media.clip import read_clip
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.questions import label_question
from emotion_qwen.taxonomy import label_set

SECONDS, FPS, SIDE, TOKENS = 3, 10, 96, 128
LABELS = label_set("fer7")
PROMPTS = {"release": DFEW_RELEASE, "ours": label_question(LABELS, "en")}
# the words that each question offers, in the order of the labels
WORDS = {
    PROMPTS["release"]: ("angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"),
    PROMPTS["ours"]: LABELS.names("en"),
}


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
        made.append((path, pictures.labels[row]))
    return made


class Clips:
    """The clips as items of a task."""

    def __init__(self, clips: list[tuple[Path, str]], question: str) -> None:
        self.clips, self.question = clips, question

    def check(self, data: Path | None) -> None:
        """Nothing can be missing."""

    def items(self, data, split, languages, side, limit) -> list[Item]:
        """See `Source`."""
        words = dict(zip(LABELS.labels, WORDS[self.question], strict=True))
        return [
            Item(
                path.stem, "en", ({"type": "video", "video": path},), self.question, tuple(words.values()),
                words[label], label, references=(label,), options=LABELS.labels,
            )
            for path, label in self.clips
        ]  # fmt: skip


def as_released(engine: Engine, clips: list[tuple[Path, str]], question: str) -> list[str]:
    """Answer one clip after the other, with all metrics at every clip."""
    replies: list[str] = []
    for path, _ in clips:
        clip = read_clip(path, engine.processor.settings)
        replies += engine.write([{"type": "video", "video": clip}], question, TOKENS)
        dfew_scores(replies, [label for _, label in clips[: len(replies)]])
    return replies


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

    def __call__(self, clips: list[tuple[Path, str]], question: str, answered: str) -> list[str | None]:
        """Answer and score; return replies or likeliest labels."""
        task = _task(clips, question, answered)
        with tempfile.TemporaryDirectory() as folder, _threads(1 if self.processes > 1 else torch.get_num_threads()):
            for rank, other in enumerate(self.others, start=1):
                other.send((clips, question, answered, folder, Place(rank, self.processes)))
            done = answer_task(
                LocalModel(self.engine, self.batch), task, Path(folder), place=Place(0, self.processes)
            )  # waits for the others
            score_labels([item.scored() for item in done.items], as_answers(done.items, done.predictions), LABELS)
        return [one.text if answered == "text" else one.predicted for one in done.predictions]

    def close(self) -> None:
        """Let the other processes end."""
        for other in self.others:
            other.send(None)


def _serve(questions: Connection, name: str | None, device: str, dtype: str, batch: int) -> None:
    torch.set_num_threads(1)
    engine = Engine.load(name, device, dtype)
    questions.send("ready")
    while (asked := questions.recv()) is not None:
        clips, question, answered, folder, place = asked
        answer_task(LocalModel(engine, batch), _task(clips, question, answered), Path(folder), place=place)


def _task(clips: list[tuple[Path, str]], question: str, answered: str) -> Task:
    # "general": faces are not captured, as the peer does not either
    return Task("clips", "Clips", "general", Clips(clips, question), answered=answered, max_new_tokens=TOKENS)


@contextmanager
def _threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


def plain(name: str | None, device: str, dtype: str) -> Engine:
    """Load a model as transformers does, without this project's way to multiply."""
    ours = Engine.load(name, device, dtype)
    model = EmotionQwenForConditionalGeneration.from_pretrained(ours.folder, dtype=ours.model.dtype)
    return Engine(model.to(ours.device), ours.processor, ours.name)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--prompt", choices=list(PROMPTS), default="release")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--processes", type=int, default=os.cpu_count(), help="of the runner; the peer takes threads")
    parser.add_argument("--batch", type=int, default=25)
    parser.add_argument("--dtype", default="auto")
    parser.add_argument("--model", default=None)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.processes)
    loading, console = (arguments.model, arguments.device, arguments.dtype), Console()
    peer_engine, runner = plain(*loading), Runner(Engine.load(*loading), *loading, arguments.processes, arguments.batch)
    asked = PROMPTS[arguments.prompt]
    with tempfile.TemporaryDirectory() as folder:
        clips = make_clips(arguments.data, Path(folder), arguments.clips)
        ways = {
            "as released": lambda: as_released(peer_engine, clips, asked),
            "runner, in words": lambda: runner(clips, asked, "text"),
            "runner, likelihood": lambda: runner(clips, asked, "likelihood"),
        }
        as_released(peer_engine, clips[:2], asked)
        runner(clips[:4], asked, "text")
        seconds: dict[str, list[float]] = {name: [] for name in ways}
        said: dict[str, list] = {}
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                wall = time.perf_counter()
                said[name] = way()
                seconds[name].append(time.perf_counter() - wall)
    runner.close()
    peer = seconds["as released"]
    for name, spent in seconds.items():
        rate = arguments.clips * 60 / statistics.median(spent)
        ratio = statistics.median(p / o for p, o in zip(peer, spent, strict=True))
        console.print(f"{name}: {rate:.0f} clips a minute, ratio {ratio:.2f}")
    labels = {name: [text and match_label(text, LABELS, "en") for text in given] for name, given in said.items()}
    for name in list(ways)[1:]:
        both = [(a, b) for a, b in zip(labels["as released"], labels[name], strict=True) if a and b]
        same = sum(a == b for a, b in both)
        console.print(f"{name}: same label on {same} of {len(both)} clips that both parse, of {arguments.clips}")
    letters = statistics.mean(len(text) for text in said["as released"])
    console.print(f"replies of the peer: {letters:.1f} letters on average, for example {said['as released'][0]!r}")


if __name__ == "__main__":
    main()
