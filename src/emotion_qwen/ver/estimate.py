"""Estimate the calls, tokens, hours and disk space of a build, from measurements or else by guesses."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from emotion_qwen.errors import DataError
from emotion_qwen.ver.settings import BuildSettings, CallSettings, TeacherSettings
from emotion_qwen.ver.store.columns import KEPT
from emotion_qwen.ver.store.folder import Cost, SetFolder
from emotion_qwen.ver.store.table import entries_of
from emotion_qwen.ver.teachers.calls import PICTURE_TOKENS

PROMPT_TOKENS, READING_TOKENS = 900, 700
"""Guesses of the text of a description's request, and of a reading with its answer."""
SECONDS = 8.0
"""Guess for one answer."""
_DECODING = ("segment", "cut", "look", "listen")


@dataclass(frozen=True)
class BuildEstimate:
    """The estimate for a number of clips.

    Attributes:
        clips: number of clips to describe.
        calls: to endpoints.
        tokens: input and output.
        call_hours: hours of concurrent calls.
        local_hours: hours of the decoding steps in one process; 0 if not measured yet.
        gigabytes: size of clips and tables; 0 if not measured yet.
        measured: number of clips on which the estimate is based; 0 for a guess.
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
    """Return the number of calls per clip if there are no objections."""
    languages, check = len(settings.describe.languages), settings.check
    shares = ((settings.describe.teacher, languages), (check.reader, languages), (check.second, check.second_share))
    return float(sum(share for teacher, share in shares if _is_called(teacher)))


def _is_called(teacher: TeacherSettings | None) -> bool:
    return teacher is not None and teacher.kind == "endpoint"


def _call_hours(calls: float, seconds: float, settings: CallSettings) -> float:
    """Return the hours of calls that take `seconds` in sequence when they run concurrently, within the rate limit."""
    paced = 60 * calls / settings.per_minute if settings.per_minute else 0.0
    return max(seconds / settings.concurrency, paced) / 3600


def guess(settings: BuildSettings, clips: int, cost: Cost) -> BuildEstimate:
    """Estimate the calls of `clips` clips; `cost` is what calls have cost so far."""
    describe = settings.describe
    tokens = float(describe.frames * PICTURE_TOKENS + PROMPT_TOKENS + describe.teacher.answer_tokens // 2)
    if _is_called(settings.check.reader):
        tokens = (tokens + READING_TOKENS) / 2
    seconds = SECONDS
    if cost.calls:
        tokens, seconds = cost.tokens / cost.calls, cost.seconds / cost.calls
    calls = round(clips * calls_per_clip(settings))
    hours = _call_hours(calls, calls * seconds, settings.calls)
    return BuildEstimate(clips, calls, round(calls * tokens), hours, 0.0, 0.0, 0)


def announcement(folder: SetFolder) -> str:
    """Return the estimate that is shown before the first call of a build."""
    calls = folder.settings.calls
    limits = ((calls.max_calls, "calls"), (calls.max_tokens, "tokens"))
    budget = ", ".join(f"at most {most:,} {what}" for most, what in limits if most)
    clips = sum(1 for _ in folder.joined("select"))
    return f"estimate: {guess(folder.settings, clips, folder.cost())}{budget and f'; budget: {budget}'}"


def extrapolate(folder: SetFolder, clips: int) -> BuildEstimate:
    """Estimate the cost of `clips` accepted clips from a set that was built.

    Args:
        folder: of the set.
        clips: accepted clips wanted.

    Raises:
        DataError: the set is not complete, or has no accepted clip.
    """
    settings, cost = folder.settings, folder.cost()
    counts = {name: Counter(row.get("status") or KEPT for row in folder.tables[name].rows()) for name in folder.tables}
    accepted = counts["critic" if "critic" in counts else "check"][KEPT]
    if not accepted:
        raise DataError(f"set {str(folder.output)!r} accepted no clip; there is nothing to extrapolate from")
    factor = clips / accepted
    items = {name: counter.total() for name, counter in counts.items()}
    described = items["describe"]
    items["segment"] = len({row["source_id"] for row in folder.tables["segment"].rows()})
    steps = [*_DECODING, *(["describe"] if settings.describe.teacher.kind == "local" else [])]
    local = sum(items[name] * each for name, each in _seconds_per_item(folder).items() if name in steps)
    size = sum(path.stat().st_size for path in folder.work.rglob("*") if path.is_file())
    return BuildEstimate(
        round(factor * described), round(factor * cost.calls), round(factor * cost.tokens),
        _call_hours(factor * cost.calls, factor * cost.seconds, settings.calls), factor * local / 3600,
        factor * size / 1e9, accepted,
    )  # fmt: skip


def _seconds_per_item(folder: SetFolder) -> dict[str, float]:
    """Return step -> seconds of one process per item; a run that was killed wrote no time, so items are counted."""
    seconds, items = Counter[str](), Counter[str]()
    for entry in entries_of(folder.timing_file):
        seconds[entry["step"]] += entry["seconds"]
        items[entry["step"]] += entry["items"]
    return {name: seconds[name] / count for name, count in items.items() if count}
