"""Pairs of emotion and cause: the baseline in which every utterance with an emotion is its own cause.

python -m recipes.causes --data DATA --output causes.json
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path

import click
import pyarrow.parquet as pq

from emotion_qwen.console import run_command
from emotion_qwen.data.dialogues import CausePair, Dialogue, Line, dialogue
from emotion_qwen.evaluation.scoring.causes import score_causes, target_itself
from emotion_qwen.files import write_whole

SETS = {"ECF": "ECF", "RECCON": "RECCON"}
"""Name -> beginning of the column `source`."""


def dialogues(data: Path, name: str, split: str) -> list[Dialogue]:
    """Return the dialogues of a set; its table has one row per utterance whose causes are annotated."""
    lines: dict[str, list[Line]] = {}
    pairs: dict[str, list[CausePair]] = {}
    for row in pq.read_table(data / "text_emotion_cause.parquet", filters=[("split", "=", split)]).to_pylist():
        if not row["source"].startswith(SETS[name]):
            continue
        identity = row["id"].rpartition("_")[0]
        lines[identity] = [Line(turn["speaker"], turn["text"], turn["emotion"]) for turn in row["turns"]]
        pairs.setdefault(identity, []).extend(
            CausePair(row["target"], row["emotion"], cause) for cause in row["causes"]
        )
    return [dialogue(identity, lines[identity], pairs[identity]) for identity in lines]


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="Folder of the Parquet files.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="JSON file to write.")
def main(data: Path, output: Path) -> None:
    """Score the baseline on the validation dialogues."""
    results = {}
    for name in SETS:
        right = dialogues(data, name, "validation")
        scores = score_causes([target_itself(whole) for whole in right], right)
        results[name] = asdict(scores)
        click.echo(
            f"{name}: pair F1 {scores.f1.value:.3f} ({scores.f1.low:.3f} to {scores.f1.high:.3f}), weighted "
            f"{scores.weighted:.3f}, {scores.pairs} pairs in {scores.dialogues} dialogues"
        )
    write_whole(output, json.dumps(results, indent=2) + "\n")


if __name__ == "__main__":
    sys.exit(run_command(main))
