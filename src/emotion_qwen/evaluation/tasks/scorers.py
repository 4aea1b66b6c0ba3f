"""Scorers in the form that tasks use: for a label set, for emotion wheels, and with the arithmetic of the release."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.evaluation.scoring import as_released
from emotion_qwen.evaluation.scoring.labels import score_labels
from emotion_qwen.evaluation.scoring.records import Response, Result, ScoredItem, reply_texts
from emotion_qwen.evaluation.scoring.sets import score_clue_overlap, score_open_vocabulary
from emotion_qwen.evaluation.scoring.unibench import score_both_levels, score_hit_rate
from emotion_qwen.evaluation.scoring.yes_no import COGNITION, FULL, PERCEPTION
from emotion_qwen.matching.wheels import Wheels, read_wheels
from emotion_qwen.taxonomy import LabelSet

Figures = dict[str, float]


@dataclass(frozen=True)
class LabelScores:
    """`score_labels` for one label set; if an item has several references, the first is the label."""

    labels: LabelSet
    folds: bool = False

    def __call__(self, items: Sequence[ScoredItem], answers: Iterable[Response]) -> Result:
        """Score the answers."""
        items = [replace(item, references=item.references[:1]) for item in items]
        return score_labels(items, answers, self.labels, folds=self.folds)


@dataclass(frozen=True)
class WheelScores:
    """`score_open_vocabulary` with the wheels of a folder; empty if none is given yet."""

    wheels: str = ""
    score: ClassVar[Callable[..., Result]] = staticmethod(score_open_vocabulary)

    def __call__(self, items: Sequence[ScoredItem], answers: Iterable[Response]) -> Result:
        """Score the answers.

        Raises:
            SettingsError: no folder was given.
            DataError: it does not contain the organisers' files.
        """
        return self.score(items, answers, self._read())

    def missing(self) -> str:
        """Describe what is missing for scoring, or return an empty text; called before the answers are generated."""
        try:
            self._read()
        except (SettingsError, DataError) as error:
            return str(error)
        return ""

    def _read(self) -> Wheels:
        if not self.wheels:
            raise SettingsError(
                "no emotion wheels; give the organisers' folder with wheel*.xlsx, format.csv and synonym.xlsx "
                "as the option wheels"
            )
        return read_wheels(Path(self.wheels))


class HitRates(WheelScores):
    """`score_hit_rate` with the wheels of a folder."""

    score = staticmethod(score_hit_rate)


class BothLevels(WheelScores):
    """`score_both_levels` with the wheels of a folder."""

    score = staticmethod(score_both_levels)


def score_reasons(items: Sequence[ScoredItem], answers: Iterable[Response]) -> Result:
    """`score_clue_overlap` for items whose references are a label followed by a text.

    Raises:
        DataError: an item has no text, or see `records.judge`.
    """
    for item in items:
        if len(item.references) < 2:
            raise DataError(f"item {item.id!r} has no reference text; expected a label and a text")
    return score_clue_overlap([replace(item, references=item.references[1:2]) for item in items], answers)


def language_agreement(english: Result, chinese: Result) -> Figures:
    """Return how often the answers in both languages agree; an unread answer agrees with none."""
    read = {answer.item.id: answer.read for answer in chinese.judged}
    pairs = [(answer.read, read[answer.item.id]) for answer in english.judged if answer.item.id in read]
    same = sum(first is not None and first == second for first, second in pairs)
    both = sum(first is not None and second is not None for first, second in pairs)
    return {
        "items in both languages": float(len(pairs)),
        "same label": same / len(pairs) if pairs else 0.0,
        "same label, where both could be read": same / both if both else 0.0,
    }


def answered(items: Sequence[ScoredItem], answers: Iterable[Response]) -> list[tuple[ScoredItem, str]]:
    """Pair items with the text of their reply; items without one are left out, as in the release's scripts."""
    texts = reply_texts(answers)
    return [(item, texts[item.id]) for item in items if item.id in texts]


def _by_replies(figures: Callable[[list[str], list[str]], Figures]) -> Callable[..., Figures]:
    def released(items: Sequence[ScoredItem], answers: Iterable[Response]) -> Figures:
        pairs = answered(items, answers)
        return figures([text for _, text in pairs], [item.references[0] for item, _ in pairs]) if pairs else {}

    return released


def _dfew(replies: list[str], gold: list[str]) -> Figures:
    baseline = as_released.dfew_baseline_scores(replies, gold)
    return {**as_released.dfew_scores(replies, gold), **{f"{k}, baselines' script": v for k, v in baseline.items()}}


def _accuracy(right: Callable[[str, str], bool]) -> Callable[..., Figures]:
    return _by_replies(lambda replies, gold: {"accuracy": as_released.share(list(map(right, replies, gold)))})


released_dfew, released_mer = _by_replies(_dfew), _by_replies(as_released.mer_scores)
released_pope, released_emoset = _by_replies(as_released.pope_scores), _accuracy(as_released.emoset_right)
released_mmbench = _accuracy(as_released.mmbench_right)
released_seed = _accuracy(lambda reply, letter: as_released.seed_reading(reply) == letter)


def released_science(items: Sequence[ScoredItem], answers: Iterable[Response]) -> Figures:
    """Compute accuracy as the release does for ScienceQA."""
    pairs = answered(items, answers)
    read = [as_released.scienceqa_reading(text, item.allowed) for item, text in pairs]
    right = [letter == item.references[0] for (item, _), letter in zip(pairs, read, strict=True)]
    return {"accuracy": as_released.share(right)} if pairs else {}


def released_vqa(items: Sequence[ScoredItem], answers: Iterable[Response]) -> Figures:
    """Compute accuracy as the release does for TextVQA and VQAv2."""
    pairs = answered(items, answers)
    right = [as_released.vqa_right(text, item.references) for item, text in pairs]
    return {"accuracy": as_released.share(right)} if pairs else {}


def released_mme(items: Sequence[ScoredItem], answers: Iterable[Response]) -> Figures:
    """Compute the scores of MME's subtasks and the totals as the release does."""
    hits: dict[str, dict[str, list[bool]]] = defaultdict(lambda: defaultdict(list))
    for item, text in answered(items, answers):
        hits[item.group][item.cluster].append(as_released.mme_reading(text) == item.references[0])
    figures: Figures = {}
    for task, images in hits.items():
        right = [hit for image in images.values() for hit in image]
        both = [len(image) == 2 and all(image) for image in images.values()]
        figures[task] = FULL / 2 * (as_released.share(right) + as_released.share(both))
    for total, tasks in (("perception", PERCEPTION), ("cognition", COGNITION)):
        if any(task in figures for task in tasks):
            figures[total] = sum(figures.get(task, 0.0) for task in tasks)
    return figures
