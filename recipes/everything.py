"""The page of nano and mini on all shared data, from stored answers.

    emotion-qwen eval --tasks fer,lfw,... --model nano --model mini --data DATA --split validation --limit 240 \\
        --output RUN
    python -m recipes.everything RUN --results docs/results

Several runs, such as one per model and one in Chinese, are put on one page.
"""

from __future__ import annotations

import sys
from pathlib import Path

import click
from rich.console import Console

from emotion_qwen.console import run_command
from emotion_qwen.evaluation.pages.blocks import Block, Heading, Rows, Text, markdown_of_blocks
from emotion_qwen.evaluation.pages.leaderboard_page import board_blocks
from emotion_qwen.evaluation.run.exports import export_board
from emotion_qwen.evaluation.run.leaderboard import Leaderboard, leaderboard
from emotion_qwen.evaluation.tasks import load_tasks
from emotion_qwen.files import write_whole

OWN = Path(__file__).parent / "mini" / "tasks.py"
"""Defines the tasks for files that the package's tasks do not read."""
FILES: dict[str, tuple[tuple[str, ...], str]] = {
    "faces_fer_aligned.parquet": (("fer",), ""),
    "faces_ferplus.parquet": (("ferplus_votes",), ""),
    "faces_lfw_expressions.parquet": (("lfw",), ""),
    "faces_rafdb.parquet": (("rafdb_aligned",), ""),
    "pictures_cifar10.parquet": (("cifar",), ""),
    "speech_emodb.parquet": (("emodb",), ""),
    "speech_ravdess.parquet": (("ravdess_voices",), ""),
    "speech_more.parquet": (("nemo6", "emotiontts", "urdu", "taiwan"), ""),
    "text_goemotions.parquet": (("goemotions",), ""),
    "text_dialogue_en.parquet": (("meld_lines", "emorynlp_lines", "dailydialog_lines"), ""),
    "text_emotion_zh.parquet": (("clue", "weibo", "cped_lines"), ""),
    "text_isear.parquet": (("isear",), ""),
    "text_vad_emobank.parquet": (("emobank_texts",), ""),
    "text_emotion_cause.parquet": (("emotion_causes",), "targets with one cause"),
    "text_support_esconv.parquet": (("support_strategies",), ""),
    "skills.parquet": (("skills", "text_perplexity"), ""),
    "text_instructions.parquet": (("general_prompts",), ""),
    "text_mer_descriptions.parquet": ((), "no test: only 13 of its 44 English descriptions have a label"),
    "pope_coco_questions.parquet": ((), "no test: its pictures are missing"),
    "clips, photos, trials": ((), "no test: they have no labels"),
    "face_rig_ict.npz": ((), "no test: a mesh for drawing faces"),
}
"""File -> the tasks that read it, and a note for the reader."""


def files_table(board: Leaderboard) -> list[Block]:
    """Return a table of the task that reads each file and the number of its items that each model answered."""
    items: dict[tuple[str, str], int] = {}
    for standing in board.standings:  # one per language
        place = standing.model, standing.task.name
        items[place] = items.get(place, 0) + standing.items
    rows = []
    for file, (tasks, note) in FILES.items():
        for name in tasks or ("",):
            counts = [f"{items[model, name]:,}" if (model, name) in items else "" for model in board.models]
            missing = "" if any(counts) or not name else "not measured"
            rows.append([file, name, *counts, "; ".join(filter(None, (note, missing)))])
    return [
        Heading("Files and tasks"),
        Text("Every file of the shared data, the task that reads it, and the number of its items that were answered."),
        Rows(("file", "task", *board.models, "note"), rows, (0, 1, 2 + len(board.models))),
    ]


@click.command()
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--results", type=click.Path(path_type=Path), required=True, help="Folder of the page.")
def everything(runs: tuple[Path, ...], results: Path) -> None:
    """Write everything.md and everything.json from the answers in RUNS."""
    load_tasks(str(OWN))
    board = leaderboard(runs)
    _, *blocks = board_blocks(board)
    title = f"What {' and '.join(sorted(board.models, reverse=True))} can do, on every available set"
    made = Text(
        "Made by `python -m recipes.everything`: validation parts only, evenly spaced items; each model is asked as in "
        "`analyze`. The table of answers below gives the number of items; the fewer, the wider the interval. FER+ "
        "labels the pictures of FER2013, and both models were trained on the training part of FER2013."
    )
    page = [Heading(title, 1), made, *blocks, *files_table(board)]
    write_whole(results / "everything.md", markdown_of_blocks(page, results))
    export_board(board, results / "everything.json")
    Console(stderr=True).print(f"read {results / 'everything.md'}")


if __name__ == "__main__":
    sys.exit(run_command(everything))
