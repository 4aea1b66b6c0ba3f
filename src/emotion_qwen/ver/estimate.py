"""What a build will take: calls, tokens, hours, disk. From what was measured where there is something, else guessed."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion_qwen.errors import DataError
from emotion_qwen.ver.settings import BuildSettings
from emotion_qwen.ver.steps.segment import KEPT
from emotion_qwen.ver.store.table import entries_of, read_rows
from emotion_qwen.ver.teachers.calls import PICTURE_TOKENS

if TYPE_CHECKING:
    from emotion_qwen.ver.pipeline import Build

PROMPT_TOKENS, READING_TOKENS = 900, 700
"""Guesses of the text of a description's request, and of a reading with its answer."""
SECONDS = 8.0
"""Guess for one answer."""
_DECODING = ("segment", "cut", "look", "listen")


@dataclass(frozen=True)
class Estimate:
    """What a number of clips will take.

    Attributes:
        clips: that are described.
        calls: to endpoints.
        tokens: read and written.
        call_hours: of the calls, side by side.
        local_hours: of the steps that decode, one process; 0 where nothing is measured yet.
        gigabytes: of clips and tables; 0 where nothing is measured yet.
        measured: on how many clips all this rests; 0 is a guess.
    """

    clips: int
    calls: int
    tokens: int
    call_hours: float
    local_hours: float
    gigabytes: float
    measured: int

    def __str__(self) -> str:
        basis = f"measured on {self.measured} clips" if self.measured else "guessed, nothing is measured yet"
        local = f", {self.local_hours:.1f} hours of decoding in one process" if self.local_hours else ""
        disk = f", {self.gigabytes:.1f} GB on disk" if self.gigabytes else ""
        return (
            f"{self.clips:,} clips to describe: {self.calls:,} calls, {self.tokens:,} tokens, "
            f"{self.call_hours:.1f} hours of calls{local}{disk} ({basis})"
        )


def calls_per_clip(settings: BuildSettings) -> float:
    """Return how many calls a clip takes when nothing is objected to."""
    languages = len(settings.describe.languages)
    found = float(languages) if settings.describe.teacher.kind == "endpoint" else 0.0
    if settings.check.reader is not None and settings.check.reader.kind == "endpoint":
        found += languages
    if settings.check.second is not None and settings.check.second.kind == "endpoint":
        found += settings.check.second_share
    return found


def guess(settings: BuildSettings, clips: int, *, calls: int = 0, tokens: int = 0, seconds: float = 0.0) -> Estimate:
    """Estimate the calls of `clips` clips; `calls`, `tokens` and `seconds` are those measured so far."""
    per_clip = calls_per_clip(settings)
    describing = (
        settings.describe.frames * PICTURE_TOKENS + PROMPT_TOKENS + settings.describe.teacher.answer_tokens // 2
    )
    reads = settings.check.reader is not None and settings.check.reader.kind == "endpoint"
    each = (describing + READING_TOKENS) / 2 if reads else describing
    latency = SECONDS
    if calls:
        each, latency = tokens / calls, seconds / calls
    wanted = round(clips * per_clip)
    side_by_side = wanted * latency / settings.calls.concurrency
    paced = 60.0 * wanted / settings.calls.per_minute if settings.calls.per_minute else 0.0
    hours = max(side_by_side, paced) / 3600
    return Estimate(clips, wanted, round(wanted * each), hours, 0.0, 0.0, 0)


def announce(build: Build) -> None:
    """Print the estimate before the first call of a build."""
    described = sum(1 for _ in build.joined("select"))
    ledger = build.ledger
    told = guess(build.settings, described, calls=ledger.calls, tokens=ledger.tokens, seconds=ledger.seconds)
    limits = [
        f"at most {most:,} {what}"
        for most, what in ((build.settings.calls.max_calls, "calls"), (build.settings.calls.max_tokens, "tokens"))
        if most
    ]
    budget = f"; budget: {', '.join(limits)}" if limits else ""
    build.console.print(f"estimate: {told}{budget}", highlight=False, soft_wrap=True)


def extrapolate(folder: Path, clips: int) -> Estimate:
    """Estimate what `clips` accepted clips will take, from a set that was built.

    Args:
        folder: of the set.
        clips: accepted clips wanted.

    Raises:
        DataError: the set is not built to its end, or accepted nothing.
    """
    work = folder / "work"
    settings = read_settings(folder)
    rows = {name: Counter(row.get("status") or KEPT for row in read_rows(work / f"{name}.parquet"))
            for name in ("segment", "cut", "look", "select", "listen", "describe", "check")}  # fmt: skip
    accepted = rows["check"][KEPT]
    if not accepted:
        raise DataError(f"set {str(folder)!r} accepted no clip; there is nothing to extrapolate from")
    factor = clips / accepted
    steps = [*_DECODING, *(["describe"] if settings.describe.teacher.kind == "local" else [])]
    items = {name: sum(counted.values()) for name, counted in rows.items()}
    items["segment"] = len({row["source_id"] for row in read_rows(work / "segment.parquet")})
    local = sum(items[name] * each for name, each in _seconds_per_item(work).items() if name in steps)
    calls, tokens, seconds = 0, 0, 0.0
    for entry in entries_of(work / "ledger.jsonl"):
        calls, tokens = calls + 1, tokens + entry["read"] + entry["written"]
        seconds += entry["seconds"]
    size = sum(path.stat().st_size for path in work.rglob("*") if path.is_file())
    hours = factor * seconds / settings.calls.concurrency / 3600
    if settings.calls.per_minute:
        hours = max(hours, factor * calls / settings.calls.per_minute / 60)
    described = sum(rows["describe"].values())
    return Estimate(
        round(factor * described), round(factor * calls), round(factor * tokens), hours, factor * local / 3600,
        factor * size / 1e9, accepted,
    )  # fmt: skip


def _seconds_per_item(work: Path) -> dict[str, float]:
    """Return step -> seconds of one process an item; a run that was killed told no time, so items count singly."""
    spent: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0])
    for entry in entries_of(work / "timing.jsonl"):
        spent[entry["step"]][0] += entry["seconds"]
        spent[entry["step"]][1] += entry["items"]
    return {name: seconds / count for name, (seconds, count) in spent.items() if count}


def read_settings(folder: Path) -> BuildSettings:
    """Read the settings that a set was built with.

    Raises:
        DataError: the folder holds no set.
    """
    path = folder / "work" / "build.json"
    if not path.is_file():
        raise DataError(f"{str(folder)!r} holds no set; give the output folder of emotion-qwen ver build")
    values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return BuildSettings.of(values, str(path))
