"""How many clips a minute does the runner answer and score, against the way of the release's scripts?

The peer does what those scripts do: one clip at a time, free generation of up to 128 tokens, and all metrics computed
anew at every clip (`scoring.as_released.dfew_scores`, their arithmetic on scikit-learn). Ours is the runner, in words
(the same greedy tokens, in batches) and by label likelihood; both write their lines, and score once. Clips of 3 s are
made from FER2013 stills that move; both sides read the same frames and pixels of the same files with the same model,
and the model stops where it stops. Rounds are interleaved. The question is that of the release for DFEW, or ours, to
which nano answers in one word: then a reply costs little more than looking, and there is less to gain.

    python benchmarks/evaluation.py --data ../shared/data [--prompt release] [--clips 200] [--rounds 3]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import av
import numpy as np
import torch
from rich.console import Console

from emotion_qwen.data.pictures import read_pictures
from emotion_qwen.evaluation.answerers.local import LocalModel
from emotion_qwen.evaluation.runner import answer_task
from emotion_qwen.evaluation.score import as_answers
from emotion_qwen.evaluation.scoring.as_released import dfew_scores
from emotion_qwen.evaluation.scoring.labels import score_labels
from emotion_qwen.evaluation.task import Item, Task
from emotion_qwen.evaluation.tasks.prompts import DFEW_RELEASE
from emotion_qwen.inference.engine import Engine
from emotion_qwen.matching.answer import match_label
from emotion_qwen.media.clip import read_clip
from emotion_qwen.processing.chat import label_question
from emotion_qwen.taxonomy import label_set

SECONDS, FPS, SIDE, TOKENS = 3, 10, 96, 128
LABELS = label_set("fer7")
PROMPTS = {"release": DFEW_RELEASE, "ours": label_question(LABELS, "en")}


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
        names = LABELS.labels
        return [
            Item(path.stem, "en", ({"type": "video", "video": path},), self.question, names, label, label)
            for path, label in self.clips
        ]


def as_released(engine: Engine, clips: list[tuple[Path, str]], question: str) -> list[str]:
    """Answer one clip after the other, with all metrics at every clip."""
    replies: list[str] = []
    for path, _ in clips:
        clip = read_clip(path, engine.processor.settings)
        replies += engine.write([{"type": "video", "video": clip}], question, TOKENS)
        dfew_scores(replies, [label for _, label in clips[: len(replies)]])
    return replies


def by_runner(engine: Engine, clips: list[tuple[Path, str]], question: str, answered: str) -> list[str | None]:
    """Answer by the runner and score; return replies or likeliest labels."""
    # "general": faces are not captured, as the peer does not either
    task = Task("clips", "Clips", "general", Clips(clips, question), answered=answered, max_new_tokens=TOKENS)
    with tempfile.TemporaryDirectory() as folder:
        done = answer_task(LocalModel(engine), task, Path(folder))
        score_labels([item.scored() for item in done.items], as_answers(done.items, done.predictions), LABELS)
    return [one.text if answered == "text" else one.predicted for one in done.predictions]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--prompt", choices=list(PROMPTS), default="release")
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--model", default=None)
    parser.add_argument("--device", default="cpu")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    engine, console = Engine.load(arguments.model, arguments.device), Console()
    asked = PROMPTS[arguments.prompt]
    with tempfile.TemporaryDirectory() as folder:
        clips = make_clips(arguments.data, Path(folder), arguments.clips)
        ways = {
            "as released": lambda: as_released(engine, clips, asked),
            "runner, in words": lambda: by_runner(engine, clips, asked, "text"),
            "runner, likelihood": lambda: by_runner(engine, clips, asked, "likelihood"),
        }
        as_released(engine, clips[:2], asked)
        by_runner(engine, clips[:2], asked, "text")
        seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
        said: dict[str, list] = {}
        for _ in range(arguments.rounds):
            for name, way in ways.items():
                wall, processor = time.perf_counter(), time.process_time()
                said[name] = way()
                seconds[name].append((time.perf_counter() - wall, time.process_time() - processor))
    peer = seconds["as released"]
    for name, spent in seconds.items():
        rate = arguments.clips * 60 / statistics.median(wall for wall, _ in spent)
        ratios = [statistics.median(p[k] / o[k] for p, o in zip(peer, spent, strict=True)) for k in (0, 1)]
        console.print(
            f"{name}: {rate:.0f} clips a minute, ratio {ratios[0]:.2f} in wall time, {ratios[1]:.2f} in CPU time"
        )
    labels = {name: [text and match_label(text, LABELS, "en") for text in given] for name, given in said.items()}
    for name in list(ways)[1:]:
        both = [(a, b) for a, b in zip(labels["as released"], labels[name], strict=True) if a and b]
        same = sum(a == b for a, b in both)
        console.print(f"{name}: same label on {same} of {len(both)} clips that both parse, of {arguments.clips}")
    letters = statistics.mean(len(text) for text in said["as released"])
    console.print(f"replies of the peer: {letters:.1f} letters on average, for example {said['as released'][0]!r}")


if __name__ == "__main__":
    main()
