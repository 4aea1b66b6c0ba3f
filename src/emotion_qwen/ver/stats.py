"""Figures of a set: what came in, what fell out where and why, what is in it, how far judges agree, what it cost."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from emotion_qwen.errors import SettingsError
from emotion_qwen.taxonomy import concept
from emotion_qwen.ver.agreement import cohens_kappa
from emotion_qwen.ver.export import entries
from emotion_qwen.ver.review.decisions import FILE, Decisions, agreement
from emotion_qwen.ver.steps.segment import KEPT

if TYPE_CHECKING:
    from emotion_qwen.ver.pipeline import Build

STEPS = ("segment", "cut", "look", "select", "describe", "check")


def figures(build: Build) -> dict[str, Any]:
    """Return all figures of a built set, as JSON values.

    Raises:
        DataError: a step is not done.
    """
    funnel, reasons = _funnel(build)
    inside: dict[str, Counter[str]] = {name: Counter() for name in ("emotion", "split", "license", "source")}
    seconds, groups = 0.0, set()
    for entry in entries(build):
        row = entry.row
        seconds += row["end"] - row["start"]
        groups.add(row["group"])
        inside["emotion"][entry.texts[build.settings.describe.languages[0]]["emotions"][0]] += 1
        inside["split"][entry.split] += 1
        inside["license"][row["license"] or "not stated"] += 1
        inside["source"][row["source_id"]] += 1
    sources = inside.pop("source")
    ledger = build.ledger
    path = build.output / FILE
    return {
        "clips": sum(inside["split"].values()),
        "conversations": sum(inside["split"].values()) * len(build.settings.describe.languages),
        "hours": seconds / 3600,
        "languages": list(build.settings.describe.languages),
        "sources": len(sources),
        "groups": len(groups),
        **{name: dict(tally.most_common()) for name, tally in inside.items()},
        "steps": funnel,
        "rejections": dict(reasons.most_common()),
        "agreement": _agreements(build),
        "cost": {"calls": ledger.calls, "tokens": ledger.tokens, "call_hours": ledger.seconds / 3600},
        "reviews": agreement(Decisions(path).history()) if path.is_file() else None,
    }


def kind_of(reason: str) -> str:
    """Return the kind of a rejection: its words before figures and names."""
    head = reason.split(":")[0].split(";")[0]
    if head in ("en", "zh"):
        return reason.split(":")[1].strip()
    for start in ("no face", "near duplicate", "shows what benchmark", "shorter than"):
        if head.startswith(start):
            return start
    return head


def _funnel(build: Build) -> tuple[dict[str, dict[str, int]], Counter[str]]:
    funnel, reasons = {}, Counter[str]()
    for name in STEPS:
        rows = kept = 0
        for row in build.tables[name].rows():
            rows += 1
            kept += row["status"] == KEPT
            # the look table only measures; its rejections come again in the select table
            if row["status"] != KEPT and name != "look":
                reasons[kind_of(row["reason"] or "")] += 1
        funnel[name] = {"clips": rows, "kept": kept}
    return funnel, reasons


def _agreements(build: Build) -> dict[str, dict[str, Any]]:
    """Compare the teacher's labels with those of the reader, the second teacher and the ones known beforehand."""
    pairs: dict[str, list[tuple[str, str]]] = {"reader": [], "second teacher": [], "known label": []}
    checked = first = revised = 0
    for row in build.joined_all("segment", "check"):
        checked += 1
        rounds = json.loads(row["objections"] or "[]")
        first += not (rounds and rounds[0])
        revised += row["status"] == KEPT and row["rounds"] > 0
        for told in json.loads(row["read"] or "{}").values():
            pairs["reader"].append((row["label"], told))
        if row["second"]:
            pairs["second teacher"].append((row["label"], row["second"]))
        if row["known"]:
            pairs["known label"].append((row["label"], row["known"]))
    found: dict[str, dict[str, Any]] = {name: _compared(values) for name, values in pairs.items() if values}
    found["check"] = {"clips": checked, "without objection": first, "accepted after a revision": revised}
    return found


def _compared(values: Iterable[tuple[str, str]]) -> dict[str, Any]:
    both = [(_concept(a), _concept(b)) for a, b in values]
    same = sum(a == b for a, b in both)
    kappa = cohens_kappa([a for a, _ in both], [b for _, b in both])
    return {"labels": len(both), "agree": same / len(both), "kappa": kappa}


def _concept(label: str) -> str:
    try:
        return concept(label)
    except SettingsError:
        return label  # "unclear", or a word of the manifest that no label set has
