"""The page of a leaderboard: sets, scores with intervals, coverage, parse rate, training data, authors' figures."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emotion_qwen import __version__
from emotion_qwen.evaluation.pages.blocks import (
    Block,
    Bullets,
    Heading,
    Rows,
    Text,
    as_html,
    explained_terms,
    markdown_of_blocks,
    percent,
)
from emotion_qwen.evaluation.run.contamination import TRAINED
from emotion_qwen.evaluation.run.exports import as_points, title_of
from emotion_qwen.evaluation.run.leaderboard import SKILLS, Leaderboard, Standing
from emotion_qwen.evaluation.scoring.records import Score
from emotion_qwen.files import write_whole

BOARD, BOARD_WEB = "leaderboard.md", "leaderboard.html"
LOW_COVERAGE = 0.95
"""Coverage or parse rate below which a cell of the first table is marked."""
MARK, SEEN = "*", "†"


def write_board(board: Leaderboard, folder: Path) -> list[Path]:
    """Write the page as HTML and as Markdown; return the files to read."""
    blocks = board_blocks(board)
    write_whole(folder / BOARD, markdown_of_blocks(blocks, folder))
    write_whole(folder / BOARD_WEB, as_html(blocks, f"Results of {', '.join(board.models)}"))
    return [folder / BOARD, folder / BOARD_WEB]


def board_blocks(board: Leaderboard) -> list[Block]:
    """Compose the page."""
    explained = explained_terms(standing.score.name for standing in board.standings)
    terms = f"{explained} " if explained else ""
    blocks: list[Block] = [
        Heading(f"Results of {', '.join(board.models)}", 1),
        Text(
            "One score per set, with its 95 % interval, over all items: an item without an answer, or with one that "
            'cannot be read, counts as wrong. "Chance" is the mean score of guessing among the choices, "commonest" '
            "that of giving the commonest answer to every item without looking at it; unless a model's whole interval "
            "is above both, these items do not show that it has the skill. If the intervals of two models overlap, "
            "emotion-qwen eval compare shows whether they differ, by comparing them item by item. An empty cell means "
            f"not measured, or not defined. {terms}Emotion-Qwen {__version__}."
        ),
        Bullets([_verdict(board, model) for model in board.models]),
    ]
    for skill in SKILLS:
        rows = [row for row in board.rows if _first(board, row).skill == skill]
        if rows:
            blocks += [
                Heading(skill),
                Rows(("set", "score", "chance", "commonest", *board.models), _score_rows(board, rows), (0, 1)),
            ]
    cells = [str(cell) for block in blocks if isinstance(block, Rows) for row in block.rows for cell in row]
    low = f"{100 * LOW_COVERAGE:.0f} %"
    poor = f"{MARK} Fewer than {low} of the items were answered, or fewer than {low} of the answers could be read."
    seen = f"{SEEN} The model was trained on the training part of this set; these are different items."
    legend = [text for mark, text in ((MARK, poor), (SEEN, seen)) if any(mark in cell for cell in cells)]
    blocks += [Text(" ".join(legend))] if legend else []
    if board.means:
        blocks += _mean_blocks(board)
    blocks += [Heading("Answers and training data"), Text(_explained()), _handling(board.standings)]
    released = [[title_of(s), s.model, name, _figure(v)] for s in board.standings for name, v in s.released.items()]
    if released:
        blocks += [
            Heading("As released"),
            Text(
                "The authors' own arithmetic on the same replies, only for comparison with published numbers; never in "
                "the same column as the scores above."
            ),
            Rows(("set", "model", "figure", "value"), released, (0, 1, 2)),
        ]
    if board.unscored:
        blocks += [Heading("Not scored"), Bullets([f"{name}: {why}" for name, why in board.unscored.items()])]
    return blocks


def _verdict(board: Leaderboard, model: str) -> str:
    """Name the sets on which a model is above chance and above the commonest answer, and the others."""
    standings = [standing for standing in board.standings if standing.model == model]
    shown, others = ([title_of(s) for s in standings if board.shows(s) == above] for above in (True, False))
    text = f"{model} is above chance and the commonest answer on {len(shown)} of {len(standings)} sets"
    text += f": {'; '.join(shown)}" if shown else ""
    return f"{text}. Not on: {'; '.join(others)}." if others else f"{text}."


def _explained() -> str:
    return (
        "Coverage: share of the items that were answered. Parsed: share of these answers that could be read. Training "
        "data: whether the model was trained on the set, as far as this is stated; scores on such sets do not show how "
        "it performs on new data."
    )


def _first(board: Leaderboard, row: tuple[str, str, str, str]) -> Standing:
    return next(standing for standing in board.standings if standing.row == row)


def _score_rows(board: Leaderboard, rows: Sequence[tuple[str, str, str, str]]) -> list[list[str]]:
    lines = []
    for row in rows:
        first = board.widest(row)
        cells = [board.at(row, model) for model in board.models]
        bounds = [_bound(first, first.chance), _bound(first, first.floor)]
        lines.append([title_of(first), first.score.name, *bounds, *(_cell(cell) for cell in cells)])
    return lines


def _bound(standing: Standing, value: float | None) -> str:
    if value is None or not np.isfinite(value):
        return ""
    return percent(value) if standing.score.share else f"{value:.2f}"


def _cell(standing: Standing | None) -> str:
    if standing is None:
        return ""
    poor = min(standing.coverage, standing.parse_rate) < LOW_COVERAGE
    seen = standing.trained.startswith(TRAINED)
    return shown_score(standing.score) + (MARK if poor else "") + (f" {SEEN}" if seen else "")


def shown_score(score: Score) -> str:
    """Write a score with its interval, as percentages if it is a share."""
    if not np.isfinite(score.value):
        return "none"
    value, low, high = as_points(score)
    return f"{value:.1f} % ({low:.1f} to {high:.1f})" if score.share else f"{value:.2f} ({low:.2f} to {high:.2f})"


def _mean_blocks(board: Leaderboard) -> list[Block]:
    rows = [
        [model, language, variant or "replies as they are", shown_score(score), note]
        for (model, language, variant), (score, note) in board.means.items()
    ]
    names = list(dict.fromkeys(score.name for score, _ in board.means.values()))
    return [
        Heading("MER-UniBench"),
        Text(
            f"{' and '.join(names)}: all sets have the same weight, by hit rate, weighted F1 or F1 on emotion wheels. "
            "The published mean is over words that a model extracted from the replies."
        ),
        Rows(("model", "language", "words", "mean", "note"), rows, (0, 1, 2, 4)),
    ]


def _handling(standings: Sequence[Standing]) -> Rows:
    rows = [
        [title_of(s), s.model, f"{s.items:,}", percent(s.coverage), percent(s.parse_rate), s.trained] for s in standings
    ]
    return Rows(("set", "model", "items", "coverage", "parsed", "training data"), rows, (0, 1, 5))


def _figure(value: float) -> str:
    return percent(value) if 0 <= value <= 1 else f"{value:.2f}"


def print_board(board: Leaderboard, console: Console) -> None:
    """Print the first table of the page."""
    table = Table(title="results, with 95 % intervals", padding=(0, 1, 0, 0))
    table.add_column("set", overflow="fold")
    table.add_column("score", overflow="fold")
    table.add_column("chance", justify="right")
    table.add_column("commonest", justify="right")
    for model in board.models:
        table.add_column(escape(model), justify="right", overflow="fold")
    for line in _score_rows(board, board.rows):
        table.add_row(*map(escape, line))
    for (model, _, variant), (score, note) in board.means.items():
        title = ", ".join(filter(None, (score.name, variant)))
        table.add_row(
            escape(title), "mean", "", "", *(shown_score(score) if name == model else "" for name in board.models)
        )
        if note:
            table.caption = note
    console.print(table)
