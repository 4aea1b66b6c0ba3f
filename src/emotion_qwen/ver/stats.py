"""Figures of a set: clips per step, reasons of rejections, contents, agreement, and cost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import combinations
from typing import Any

from rich.console import Console
from rich.table import Table

from emotion_qwen.errors import SettingsError
from emotion_qwen.taxonomy import concept
from emotion_qwen.ver.store.columns import KEPT
from emotion_qwen.ver.store.decisions import FILE, Decision, Decisions, counting
from emotion_qwen.ver.store.entries import entries
from emotion_qwen.ver.store.folder import SetFolder

STEPS = ("segment", "cut", "look", "select", "describe", "check", "critic")


def figures(folder: SetFolder) -> dict[str, Any]:
    """Return all figures of a built set, as JSON values.

    Raises:
        DataError: a step is not done.
    """
    funnel, reasons = _funnel(folder)
    counts: dict[str, Counter[str]] = {name: Counter() for name in ("emotion", "split", "license")}
    seconds, groups, sources, corrected, restored = 0.0, set(), set(), 0, 0
    languages = folder.settings.describe.languages
    for entry in entries(folder):
        row = entry.row
        seconds += row["end"] - row["start"]
        groups.add(row["group"])
        sources.add(row["source_id"])
        counts["emotion"][entry.texts[languages[0]]["emotions"][0]] += 1
        counts["split"][entry.split] += 1
        counts["license"][row["license"] or "not stated"] += 1
        corrected += bool(entry.corrected)
        restored += bool(entry.restored)
    clips, cost, path = counts["split"].total(), folder.cost(), folder.output / FILE
    return {
        "clips": clips,
        "conversations": clips * len(languages),
        "hours": seconds / 3600,
        "languages": list(languages),
        "sources": len(sources),
        "groups": len(groups),
        **{name: dict(counter.most_common()) for name, counter in counts.items()},
        "steps": funnel,
        "rejections": dict(reasons.most_common()),
        "critic": _criticism(folder) if "critic" in folder.tables else None,
        "corrected": corrected,
        "restored": restored,
        "agreement": _teacher_agreement(folder),
        "cost": {"calls": cost.calls, "tokens": cost.tokens, "call_hours": cost.seconds / 3600},
        "reviews": reviewer_agreement(Decisions(path).history()) if path.is_file() else None,
    }


def print_figures(values: dict[str, Any], console: Console) -> None:
    """Print what `figures` returned: a sentence, tables of counts, and how far judges agree."""
    console.print(
        f"{values['clips']:,} clips of {values['sources']:,} videos, {values['hours']:.2f} hours, "
        f"{' and '.join(values['languages'])}; {values['cost']['calls']:,} calls, {values['cost']['tokens']:,} tokens",
        highlight=False,
    )
    tables: list[tuple[tuple[str, ...], list[tuple[Any, ...]]]] = [
        (("step", "clips", "kept"), [(name, *step.values()) for name, step in values["steps"].items()]),
        *(((name, "clips"), list(values[name].items())) for name in ("emotion", "split", "license", "rejections")),
    ]
    for name, counts in (values["critic"] or {}).items():
        tables.append(((f"critic: {name}", "clips"), list(counts.items())))
    for columns, rows in tables:
        table = Table(*columns, box=None)
        for name, *numbers in rows:
            table.add_row(str(name), *(f"{number:,}" for number in numbers))
        console.print(table)
    for name, pair in values["agreement"].items():
        if name != "check":
            text = f"teacher and {name}: {pair['agree']:.1%} of {pair['labels']:,}, kappa {kappa_text(pair['kappa'])}"
            console.print(text, highlight=False)


def kappa_text(value: float | None) -> str:
    """Format Cohen's kappa."""
    return "not defined" if value is None else f"{value:.2f}"


def kind_of(reason: str) -> str:
    """Return the kind of a rejection: its words before figures and names."""
    head = reason.split(":")[0].split(";")[0]
    if head in ("en", "zh"):
        return reason.split(":")[1].strip()
    for start in ("no face", "near duplicate", "shows the same as benchmark", "shorter than"):
        if head.startswith(start):
            return start
    return head


def _funnel(folder: SetFolder) -> tuple[dict[str, dict[str, int]], Counter[str]]:
    funnel, reasons = {}, Counter[str]()
    for name in (step for step in STEPS if step in folder.tables):
        clips = kept = 0
        for row in folder.tables[name].rows():
            clips += 1
            kept += row["status"] == KEPT
            # the look table only measures; its rejections are repeated in the select table
            if row["status"] != KEPT and name != "look":
                reasons[kind_of(row["reason"] or "")] += 1
        funnel[name] = {"clips": clips, "kept": kept}
    return funnel, reasons


def _criticism(folder: SetFolder) -> dict[str, dict[str, int]]:
    """Count the critic's verdicts, and the kinds of its objections."""
    verdicts, kinds = Counter[str](), Counter[str]()
    for row in folder.tables["critic"].rows():
        verdict = row["verdict"] or "lost"
        verdicts["revise, revised" if verdict == "revise" and row["status"] == KEPT else verdict] += 1
        kinds.update({objection["kind"] for objection in json.loads(row["criticism"] or "[]")})
    return {"verdicts": dict(verdicts.most_common()), "objections": dict(kinds.most_common())}


def _teacher_agreement(folder: SetFolder) -> dict[str, dict[str, Any]]:
    """Compare the teacher's labels with those of the reader, the second teacher and the ones known beforehand."""
    pairs: dict[str, list[tuple[str, str]]] = {"reader": [], "second teacher": [], "known label": []}
    checked = first = revised = 0
    for row in folder.joined_all("segment", "check"):
        checked += 1
        rounds = json.loads(row["objections"] or "[]")
        first += not (rounds and rounds[0])
        revised += row["status"] == KEPT and row["rounds"] > 0
        others = {"reader": json.loads(row["read"] or "{}").values(), "second teacher": [row["second"]],
                  "known label": [row["known"]]}  # fmt: skip
        for name, labels in others.items():
            pairs[name] += [(_concept(row["label"]), _concept(label)) for label in labels if label]
    return {
        **{name: {"labels": len(both), **_compared(both)} for name, both in pairs.items() if both},
        "check": {"clips": checked, "without objection": first, "accepted after a revision": revised},
    }


def _concept(label: str) -> str:
    try:
        return concept(label)
    except SettingsError:
        return label  # "unclear", or a word of the manifest that no label set has


def reviewer_agreement(history: dict[str, list[Decision]]) -> dict[str, Any]:
    """Return the agreement of reviewers on keeping clips: per pair the common clips, share of agreement and kappa.

    Only decisions that were made before either reviewer could see the other's count; a later change of mind changes the
    set but not the agreement.

    Args:
        history: clip -> all decisions, the oldest first.
    """
    counted = {clip: decisions for clip, made in history.items() if (decisions := counting(made))}
    names = sorted({name for decisions in counted.values() for name in decisions})
    pairs = []
    for both in combinations(names, 2):
        kept = [unseen for decisions in history.values() if (unseen := _unseen(decisions, *both))]
        if kept:
            pairs.append({"reviewers": list(both), "clips": len(kept), **_compared(kept)})
    return {"reviewers": names, "clips": len(counted), "pairs": pairs}


def _unseen(decisions: list[Decision], first: str, second: str) -> tuple[bool, bool] | None:
    """Return the last decisions of two reviewers before they could see each other's; None if either has not decided."""
    for end in range(2, len(decisions) + 1):
        latest = counting(decisions[:end])
        if first in latest and second in latest:
            return latest[first].keeps, latest[second].keeps
    return None


def _compared(pairs: Sequence[tuple[Hashable, Hashable]]) -> dict[str, float | None]:
    """Return the share of pairs that agree, and Cohen's kappa."""
    left, right = zip(*pairs, strict=True)
    return {"agree": sum(a == b for a, b in pairs) / len(pairs), "kappa": cohens_kappa(left, right)}


def cohens_kappa(first: Sequence[Hashable], second: Sequence[Hashable]) -> float | None:
    """Return Cohen's kappa of two raters of the same items; None without items or where chance alone agrees fully.

    Source: Cohen, A coefficient of agreement for nominal scales, 1960.
    """
    if not first:
        return None
    count = len(first)
    observed = sum(a == b for a, b in zip(first, second, strict=True)) / count
    left, right = Counter(first), Counter(second)
    chance = sum(left[name] * right[name] for name in left) / count**2
    return None if chance == 1 else (observed - chance) / (1 - chance)
