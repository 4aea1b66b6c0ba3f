"""Compare the tiers of annotators with reports, and with each other, at equal steps of time."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from itertools import combinations
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from emotion_qwen.errors import DataError, SettingsError, listed
from emotion_qwen.evaluation.scoring.agreement import cohen_kappa, concordance, intraclass_correlation
from emotion_qwen.export.annotations import chosen_tier, files_of_clips, labelled_spans, rated_spans, read_tiers
from emotion_qwen.export.columns import Entry
from emotion_qwen.export.tiers import clip_end, milliseconds
from emotion_qwen.records import EmotionReport, Person
from emotion_qwen.taxonomy import LABEL_SETS, LabelSet

MODEL = "model"
"""Name of the model among the raters."""
NUMBERS = ("valence", "arousal")


@dataclass(frozen=True)
class AnnotatorTiers:
    """Which tiers are compared with the model.

    Attributes:
        labels: names of tiers with labels, one per annotator.
        valence: name of a tier with numbers; None without.
        arousal: likewise.
        person: number of the person, from 1; None for the whole clip.
        step: seconds between two comparisons.
    """

    labels: tuple[str, ...] = ()
    valence: str | None = None
    arousal: str | None = None
    person: int | None = None
    step: float = 0.1

    def numbers(self) -> dict[str, str]:
        """Return "valence" and "arousal" -> tier, for those that were given."""
        return {name: tier for name in NUMBERS if (tier := getattr(self, name)) is not None}


@dataclass(frozen=True)
class PairFigures:
    """How far two raters agree.

    Attributes:
        what: "label", "valence" or "arousal".
        first: name of a rater.
        second: name of the other.
        steps: at which both say something.
        figures: names of measures -> values; nan where a measure is not defined.
    """

    what: str
    first: str
    second: str
    steps: int
    figures: dict[str, float]


@dataclass
class AnnotatorComparison:
    """The figures over all clips, and what was left out.

    Attributes:
        pairs: figures of every two raters.
        clips: number of clips that were compared.
        without: clips that have no file of tiers.
        unknown: texts of tiers that are no label, with their number.
    """

    pairs: list[PairFigures] = field(default_factory=list)
    clips: int = 0
    without: list[str] = field(default_factory=list)
    unknown: Counter[str] = field(default_factory=Counter)

    def to_dict(self) -> dict[str, Any]:
        """Return the content for JSON; measures that are not defined are None."""
        pairs = []
        for pair in self.pairs:
            figures = {name: None if math.isnan(v) else round(v, 6) for name, v in pair.figures.items()}
            pairs.append({**asdict(pair), "figures": figures})
        return {"pairs": pairs, "clips": self.clips, "without": self.without, "unknown": dict(self.unknown)}


def compare_annotators(entries: Iterable[Entry], annotations: Path, chosen: AnnotatorTiers) -> AnnotatorComparison:
    """Compare reports with the tiers of annotators; the steps of all clips count together.

    Args:
        entries: reports; failures are passed over.
        annotations: a file of tiers, or a folder with one file per clip, named like the clip.
        chosen: the tiers.

    Raises:
        DataError: no clip has a file of tiers, or a tier is not there or holds something else.
        MissingPackage: for the format of the tiers.
        SettingsError: no tier is chosen, or a report has an unknown label set.
    """
    if not chosen.labels and not chosen.numbers():
        raise SettingsError("no tier to compare; give --tier, --valence or --arousal")
    done = AnnotatorComparison()
    reports = [entry for entry in entries if isinstance(entry, EmotionReport)]
    files = files_of_clips(annotations, [PurePath(report.source).stem for report in reports])
    columns: dict[str, dict[str, list[Any]]] = {}
    for report, path in zip(reports, files, strict=True):
        if path is None:
            done.without.append(report.source)
            continue
        done.clips += 1
        for what, raters in _clip_ratings(report, path, chosen, done.unknown).items():
            for rater, values in raters.items():
                columns.setdefault(what, {}).setdefault(rater, []).extend(values)
    if not done.clips:
        raise DataError(
            f"{str(annotations)!r} has no file of tiers named like one of the {len(reports)} clips (the first: "
            f"{listed(done.without, 1) or 'none'}); name them like the clips, with the suffix .eaf or .TextGrid"
        )
    for what, raters in columns.items():
        for (first, ours), (second, theirs) in combinations(raters.items(), 2):
            done.pairs.append(_pair(what, first, second, ours, theirs))
    return done


def _clip_ratings(
    report: EmotionReport, path: Path, chosen: AnnotatorTiers, unknown: Counter[str]
) -> dict[str, dict[str, list[Any]]]:
    """Return quantity -> rater -> value at each step of a clip, None where the rater gives none."""
    tiers = read_tiers(path)
    person = _person(report, chosen.person)
    named = {name: chosen_tier(tiers, name, path) for name in (*chosen.labels, *chosen.numbers().values())}
    step = chosen.step * 1000
    count = math.ceil(clip_end(report, named.values()) / step)
    times = [(number + 0.5) * step for number in range(count)]
    ratings: dict[str, dict[str, list[Any]]] = {}
    if chosen.labels:
        episodes = person.episodes if person else report.episodes if chosen.person is None else ()
        spans = [(milliseconds(e.onset), milliseconds(e.offset), e.label) for e in episodes]
        ratings["label"] = {MODEL: _at(spans, times)}
        for name in chosen.labels:
            labels, others = labelled_spans(named[name], _label_set(report))
            unknown.update(others)
            ratings["label"][_rater(name)] = _at([(span.start, span.end, span.text) for span in labels], times)
    moments = person.timeline if person else report.timeline if chosen.person is None else ()
    for what, name in chosen.numbers().items():
        place = NUMBERS.index(what)
        windows = [(m.start * 1000, m.end * 1000, m.valence_arousal[place]) for m in moments if m.valence_arousal]
        ratings[what] = {
            MODEL: [_nearest(windows, time) for time in times],
            _rater(name): _at(rated_spans(named[name]), times),
        }
    return ratings


def _rater(tier: str) -> str:
    """Return the name of the rater of a tier, which is never that of the model."""
    return f"tier {tier}"


def _person(report: EmotionReport, number: int | None) -> Person | None:
    return next((person for person in report.people if number is not None and person.person == number), None)


def _label_set(report: EmotionReport) -> LabelSet:
    name = report.provenance.get("label_set")
    if name in LABEL_SETS:
        return LABEL_SETS[name]
    labels = tuple(report.distribution)
    return LabelSet("of the report", labels, labels, "")


def _at(spans: Sequence[tuple[float, float, Any]], times: Sequence[float]) -> list[Any]:
    """Return the value of the span that holds each time; None between spans."""
    return [next((value for start, end, value in spans if start <= time < end), None) for time in times]


def _nearest(windows: Sequence[tuple[float, float, float]], time: float) -> float | None:
    """Return the value of the window that contains a time and whose middle is nearest to it, the earlier of two.

    None if no window contains it.
    """
    holding = [(abs((start + end) / 2 - time), value) for start, end, value in windows if start <= time <= end]
    return min(holding, key=lambda pair: pair[0])[1] if holding else None


def _pair(what: str, first: str, second: str, ours: Sequence[Any], theirs: Sequence[Any]) -> PairFigures:
    both = [(a, b) for a, b in zip(ours, theirs, strict=True) if a is not None and b is not None]
    left, right = [a for a, _ in both], [b for _, b in both]
    if what == "label":
        equal = sum(a == b for a, b in both) / len(both) if both else float("nan")
        figures = {"kappa": cohen_kappa(left, right), "agreement": equal}
    else:
        numbers = np.array(both, dtype=float).reshape(-1, 2)
        figures = {"icc": intraclass_correlation(numbers), "ccc": concordance(*numbers.T)}
    return PairFigures(what, first, second, len(both), figures)
