"""The page of mini's audio side: figures of `ears.py`, `ears_shipping.py` and `ears_words.py` as tables."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

REACH = {"EmoDB": 85, "RAVDESS": 75, "nEMO": 66, "nEMO withheld": 50}
"""Targets, percent."""
BEFORE = {"EmoDB": 48, "RAVDESS": 17, "nEMO": 15}
"""Accuracy of nano, percent."""
HEADS = {"pooled": "tokens pooled by attention", "read": "one linear layer on the mean of the tokens"}


def write_page(figures: dict[str, Any], folder: Path) -> None:
    """Write `ears.json` and `ears.md`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ears.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    (folder / "ears.md").write_text("\n".join(_lines(figures)) + "\n", encoding="utf-8")


def _lines(figures: dict[str, Any]) -> Iterator[str]:
    tower = figures["tower"]
    yield from (
        "# Accuracy of mini's audio side",
        "",
        "Made by `python -m recipes.mini.ears_steps`; the figures with all recalls are in `ears.json`. "
        f"Whisper tiny.en's first {tower['layers']} encoder layers, unchanged, in windows of {tower['seconds']:g} s; a "
        f"compressor makes {tower['tokens_per_second']:g} tokens per second.",
        "",
        "## Held-out speakers",
        "",
        f"Accuracy in percent over all speakers, each held out once ({figures['folds']} folds); in the last row, a "
        "whole language is held out. In brackets, 95 % bootstrap intervals over speakers. Both heads are discarded "
        "afterwards: they show what the tokens contain, and the linear one that it is easily accessible.",
        "",
        f"| corpus | voices | speakers | labels | {' | '.join(HEADS.values())} | target | nano |",
        "|---|---|---|---|---|---|---|---|",
    )
    for corpus, best in figures["cross_validated"]["pooled"].items():
        read = figures["cross_validated"]["read"][corpus]
        yield (
            f"| {corpus} | {best['voices']} | {best['speakers']} | {len(best['recall'])} | {_share(best)} | "
            f"{_share(read)} | {REACH.get(corpus, '')} | {BEFORE.get(corpus, '')} |"
        )
    yield from ("", "Recall by label, first head:", "")
    labels = sorted({label for part in figures["cross_validated"]["pooled"].values() for label in part["recall"]})
    yield f"| corpus | {' | '.join(labels)} |"
    yield "|---|" + "---|" * len(labels)
    for corpus, part in figures["cross_validated"]["pooled"].items():
        yield f"| {corpus} | {' | '.join(str(part['recall'].get(label, '')) for label in labels)} |"
    yield from _shipped(figures)
    yield from _words(figures["words"])


def _share(part: dict[str, Any]) -> str:
    return f"{part['accuracy']} ({part['interval'][0]}–{part['interval'][1]})"


def _shipped(figures: dict[str, Any]) -> Iterator[str]:
    shipped, levels, lengths = figures["shipped"], figures["levels"], figures["lengths"]
    yield from (
        "",
        "## The shipped compressor",
        "",
        "Trained only on the training speakers and measured on the validation speakers. URDU was not used for "
        "training.",
        "",
        "| corpus | voices | speakers | pooled by attention | mean of the tokens |",
        "|---|---|---|---|---|",
    )
    for corpus, best in shipped["pooled"].items():
        read = shipped["read"][corpus]
        yield f"| {corpus} | {best['voices']} | {best['speakers']} | {_share(best)} | {_share(read)} |"
    changed = ", ".join(f"{count} at {gain}" for gain, count in levels["changed"].items())
    after = ", ".join(f"{count} at {gain}" for gain, count in levels["right_after"].items())
    yield from (
        "",
        f"Level: of {levels['voices']} validation voices ({levels['right']} right as recorded), the label changes for "
        f"{changed}; right after the change: {after}. With nano, 17 of 60 changed at -12 dB.",
        "",
        "Length, accuracy in percent on all validation voices: "
        + ", ".join(f"{kind} {share}" for kind, share in lengths.items())
        + ".",
    )
    if windows := figures.get("windows"):
        yield from (
            "",
            "## Windows",
            "",
            "One linear layer on mean and deviation of the encoder's frames over time, on held-out speakers, and the "
            "cost of the encoder for two seconds of sound (a report's view) and for thirty.",
            "",
            "| window | EmoDB | RAVDESS | GFLOP for 2 s | for 30 s |",
            "|---|---|---|---|---|",
        )
        for row in windows:
            yield f"| {row['seconds']:g} s | {row['EmoDB']} | {row['RAVDESS']} | {row['for 2 s']} | {row['for 30 s']} |"


def _words(words: dict[str, Any]) -> Iterator[str]:
    by_label = ", ".join(f"{label} {rate}" for label, rate in words["by_label"].items())
    yield from (
        "",
        "## Recognised words",
        "",
        f"{words['recogniser']}, Whisper tiny.en, on RAVDESS's validation speakers: {words['clips']} clips, "
        f"{words['words']} words, two known sentences spoken with eight emotions. **Word error rate "
        f"{words['word_error_rate']} %** ({words['interval'][0]}–{words['interval'][1]}, bootstrap over clips); "
        f"{words['clips_without_error']} % of the clips without an error. Both sides are normalised as OpenAI does for "
        "Whisper (lower case, no punctuation, contractions and numbers written out). By emotion: "
        f"{by_label} %.",
    )
