"""Print the scores of explanations, each with its floor and its constant."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from emotion_qwen.errors import listed
from emotion_qwen.evaluation.run.explanations import ExplanationScores
from emotion_qwen.evaluation.scoring.records import Score


def print_explanations(scores: Sequence[ExplanationScores], console: Console) -> None:
    """Print one table per source, and what was left out."""
    for source in scores:
        table = Table(title=f"{escape(source.name)}, {source.items} answers", box=None, padding=(0, 1, 0, 0))
        table.add_column("measure", no_wrap=True)
        for title in ("value", "95 %", "floor", "gain", "95 %", "constant", "items"):
            table.add_column(title, justify="right", no_wrap=True)
        for score, floor, gain, constant in source.rows:
            table.add_row(
                score.name, f"{score.value:.3f}", _interval(score), f"{floor.value:.3f}", f"{gain.value:+.3f}",
                _interval(gain), "" if constant is None else f"{constant:.3f}", str(score.items),
            )  # fmt: skip
        console.print(table)
        notes = [*source.notes]
        if source.empty:
            notes.append(f"{source.empty} of {source.items} answers have no explanation and count as wrong")
        if source.unknown:
            names = listed((f"{name} {count}" for name, count in source.unknown.items()), 8)
            notes.append(f"labels that the verifier does not know, left out of EEA, EPC and FCR: {names}")
        for note in notes:
            console.print(f"note: {source.name}: {note}", markup=False, highlight=False, soft_wrap=True)


def _interval(score: Score) -> str:
    return f"{score.low:.2f} to {score.high:.2f}"
