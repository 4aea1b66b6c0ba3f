"""The page of `forgetting.py`: the cost of every method of emotion training for the language model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emotion_qwen.evaluation.pages.blocks import Block, Bullets, Heading, Rows, Text, markdown_of_blocks
from emotion_qwen.evaluation.scoring.skills import LAST_WORD, PERPLEXITY, RIGHT, TRAINED

CARD = {
    "ifeval": ("IFEval, mean of prompts and instructions", 29.9, "zero-shot"),
    "arc": ("ARC, mean of easy and challenge", 37.3, "zero-shot"),
    "piqa_valid": ("PIQA", 66.3, "zero-shot"),
    "bbh": ("BBH", 28.2, "3 examples in the prompt; none here"),
    "gsm8k": ("GSM8K", 1.4, "5 examples in the prompt; none here"),
}
"""Suite -> what the card of SmolLM2-135M-Instruct states, percent, measured by lighteval with its own prompts."""
NUMBERS = (LAST_WORD, PERPLEXITY)
"""Figures that are not shares."""
LOSS, UPPER, RISE, FORMS, BEHIND = 0.015, 0.03, 1.15, 0.02, 0.01
"""Bounds for ours: pooled accuracy lost and the upper end of its interval, rise of the perplexity, share of trained
forms, and how far its accuracy on emotion is below that of the best method."""


def page(record: Mapping[str, Any], folder: Path) -> str:
    """Return the page as Markdown for a file in `folder`.

    Args:
        record: the content of `forgetting_mini.json`; the original model is the first row.
        folder: of the page.
    """
    rows, ways = record["rows"], record["ways"]
    names = {key: key if key == "untouched" else ways[key] for key in (row["way"] for row in rows)}
    figures, suites = list(rows[0]["figures"]), list(rows[0]["suites"])
    blocks: list[Block] = [
        Heading("Cost of emotion training for the language model", 1),
        Text(
            "Made by `recipes/forgetting_mini.sh`; all figures are in `forgetting_mini.json`. Every model answered the "
            f"same items: {_items(record)}. In brackets the paired difference from the original model with its 95 % "
            "bootstrap interval, in percentage points; for perplexities the difference itself. `trained form` is the "
            "share of replies to general prompts that are unrequested answers about a face, a voice or an emotion."
        ),
        Rows(
            ("way", "seed", *(name if name in NUMBERS else f"{name}, %" for name in figures)),
            [_row(row, names, "figures", figures) for row in rows],
        ),
        Heading("By suite, accuracy in %"),
        Rows(("way", "seed", *suites), [_row(row, names, "suites", suites) for row in rows]),
    ]
    if any(row["way"] == "ours" for row in rows):
        blocks += [Heading("Bounds for ours"), _bounds(rows)]
    blocks += [Heading("The original model compared with its card"), _card(rows[0]), Bullets(_differences_of_prompt())]
    notes = [f"{key}: {note}" for key, each in record["notes"].items() for note in each]
    if notes:
        blocks += [Heading("Notes"), Bullets(notes)]
    return markdown_of_blocks(blocks, folder)


def _items(record: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{name} {count:,}" for name, count in record["items"].items())
    each = record["items_per_suite"]
    drawn = f"; a subset, {each} per suite and kind of prompt, drawn with seed {record['seed']}" if each else ""
    return counts + drawn


def _row(row: Mapping[str, Any], names: Mapping[str, str], kind: str, columns: Sequence[str]) -> list[str]:
    first = row["way"] == "untouched"
    cells = [_cell(row[kind].get(name), name in NUMBERS, first) for name in columns]
    return [names[row["way"]], "" if first else str(row["seed"]), *cells]


def _cell(figure: Mapping[str, float | None] | None, number: bool, bare: bool) -> str:
    if figure is None or figure["value"] is None:
        return "–"
    scale = 1 if number else 100
    value, difference, low, high = (scale * (figure[name] or 0.0) for name in ("value", "difference", "low", "high"))
    return f"{value:.1f}" if bare else f"{value:.1f} ({difference:+.1f}: {low:+.1f} to {high:+.1f})"


def _bounds(rows: Sequence[Mapping[str, Any]]) -> Rows:
    """Compare every seed of ours with the bounds; perplexity by ratio, emotion with the best method's mean."""
    before = rows[0]["figures"][PERPLEXITY]["value"]
    by_way: dict[str, list[float]] = {}
    for row in rows[1:]:
        if "emotion" in row["figures"]:
            by_way.setdefault(row["way"], []).append(row["figures"]["emotion"]["value"])
    best = max((sum(values) / len(values) for values in by_way.values()), default=None)
    lines = []
    for row in (row for row in rows if row["way"] == "ours"):
        figures = row["figures"]
        lost, upper = -figures["accuracy"]["difference"], -figures["accuracy"]["low"]
        rise = figures[PERPLEXITY]["value"] / before
        checks = [
            (f"{100 * lost:.1f} points, upper bound {100 * upper:.1f}", lost <= LOSS and upper <= UPPER),
            (f"{rise:.2f} times", rise <= RISE),
            (f"{100 * figures[TRAINED]['value']:.1f} %", figures[TRAINED]["value"] <= FORMS),
        ]
        if best is not None:
            behind = best - figures["emotion"]["value"]
            checks.append((f"{100 * behind:.1f} points", behind <= BEHIND))
        lines.append([str(row["seed"]), *(f"{text}: {'reached' if good else 'missed'}" for text, good in checks)])
    head = (
        "seed",
        f"pooled accuracy lost, at most {100 * LOSS:.1f} points, upper bound {100 * UPPER:.0f}",
        f"perplexity, at most {RISE} times",
        f"trained forms, at most {100 * FORMS:.0f} %",
        f"emotion below the best method, at most {100 * BEHIND:.0f} point",
    )
    return Rows(head[: len(lines[0])], lines, tuple(range(5)))


def _card(untouched: Mapping[str, Any]) -> Rows:
    suites = {name: figure["value"] for name, figure in untouched["suites"].items()}
    arc = [suites[name] for name in ("arc_easy", "arc_challenge") if name in suites]
    measured = {
        **suites,
        "ifeval": untouched["figures"].get("IFEval", {}).get("value"),
        "arc": sum(arc) / 2 if len(arc) == 2 else None,
    }
    lines = [
        [title, "–" if measured.get(name) is None else f"{100 * measured[name]:.1f}", f"{published:.1f}", how]
        for name, (title, published, how) in CARD.items()
    ]
    return Rows(("suite", "here, %", "card, %", "how the card measured"), lines, (0, 3))


def _differences_of_prompt() -> list[str]:
    return [
        "The card's figures come from lighteval with its own prompts and the official test parts. Here, the validation "
        "parts of the data (for ARC, from the official train part) are asked with the wording of "
        "`evaluation/tasks/skills.py`, in the chat template, without examples.",
        "The weights here come from a four-bit GGUF file (Q4_1); the card's are bfloat16.",
        "IFEval's replies end after 512 tokens, so instructions to write more cannot be followed.",
        f"`{RIGHT}` counts numbers of maths problems and short references that occur in the reply.",
    ]
