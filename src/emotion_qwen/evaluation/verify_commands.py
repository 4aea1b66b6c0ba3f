"""The commands `verify` (measure explanations) and `verify train` (train a verifier)."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from emotion_qwen.console import WithDefault

_FILE = click.Path(path_type=Path)


class ScoreByDefault(WithDefault):
    """A group whose default command is `score`."""

    default = "score"


@click.group("verify", cls=ScoreByDefault)
def verify() -> None:
    """Check whether explanations are true to their labels and clips.

    `emotion-qwen verify REPORTS...` prints for each measure its value, the value with the explanations of other clips
    (floor), the difference (gain), and the best that one explanation for all clips can reach (constant).
    `emotion-qwen verify train --help` shows how to train a verifier of your own.
    """


@verify.command("score")
@click.argument("paths", nargs=-1, required=True, type=_FILE, metavar="REPORTS_OR_RUN...")
@click.option("--verifier", "folder", type=_FILE, default=None, help="Folder of a verifier; default: the shipped one.")
@click.option(
    "--references", type=_FILE, default=None,
    help="CSV, JSON lines or Parquet with clip, and label or text: what is correct for the clips of reports.",
)  # fmt: skip
@click.option(
    "--draws", type=click.IntRange(min=1), default=20, show_default=True,
    help="Times that explanations are moved to other clips.",
)  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Random seed of draws and intervals.")
@click.option("--output", type=_FILE, default=None, help="Write the figures to this JSON file.")
def score(
    paths: tuple[Path, ...], folder: Path | None, references: Path | None, draws: int, seed: int, output: Path | None
) -> None:
    """Measure the explanations in stored reports, or in the replies of an `eval` run.

    EEA: share of explanations that express the correct emotion. EPC: share that express the model's own answer. FCR:
    share of answers that are correct and have an explanation that expresses them. Reports need --references for EEA and
    FCR. Intervals: 95 %, bootstrap over clips.
    """
    from rich.console import Console

    from emotion_qwen.evaluation.pages.explanation_table import print_explanations
    from emotion_qwen.evaluation.run.explanations import read_references, score_sources
    from emotion_qwen.files import json_line, write_whole
    from emotion_qwen.verify.verifier import Verifier

    verifier = Verifier.load(folder)
    right = None if references is None else read_references(references)
    scores = score_sources(paths, verifier, right, draws, seed)
    print_explanations(scores, Console())
    if output:
        write_whole(output, json_line([source.to_dict() for source in scores]))


@verify.command("train")
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="DATA...")
@click.option("--to", "folder", type=_FILE, required=True, help="Folder of the verifier.")
@click.option("--text", default="text", show_default=True, help="Name of the column of texts.")
@click.option("--label", default=None, help="Name of the column of labels; default: ekman, label, emotion or labels.")
def train(files: tuple[Path, ...], folder: Path, text: str, label: str | None) -> None:
    """Train a verifier from labelled sentences in English, Chinese or both.

    DATA: CSV, TSV, JSON lines or Parquet with a text and one label or several per row. Labels are names of anger,
    disgust, fear, happiness, neutral, sadness and surprise, or other words for them. A column split may say train,
    validation or test; without validation rows a tenth is left out to measure the verifier.
    """
    from emotion_qwen.evaluation.run.verifier import train_verifier

    trained = train_verifier(files, text, label)
    trained.verifier.save(folder)
    for language, result in trained.results.items():
        macro, accuracy = result["macro F1"], result["WAR"]
        print(
            f"{language}: macro F1 {macro.value:.3f} ({macro.low:.3f} to {macro.high:.3f}), accuracy "
            f"{accuracy.value:.3f}, on {result.tally.items} validation sentences"
        )
    for note in trained.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"written to {folder}")
