"""One table of results of one or several models over all sets that they answered, from stored predictions alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.run.contamination import training_note
from emotion_qwen.evaluation.run.score import Column, score_run
from emotion_qwen.evaluation.scoring.records import Response, Result, Score
from emotion_qwen.evaluation.scoring.unibench import NINE, missing_note, unibench_mean
from emotion_qwen.evaluation.task import Item, Task

SKILLS = (
    "Emotion in faces and pictures", "Emotion in voices", "Emotion in video", "Emotion in words",
    "Pictures and video in general", "Words in general",
)  # fmt: skip
"""In the order of the page."""
CORRECT_CHOICES = ("accuracy", "WAR")
"""Headline scores that are shares of correct choices, so that guessing has an expected score."""


@dataclass(frozen=True)
class Standing:
    """The headline score of one model on one set in one wording and language.

    Attributes:
        model: name in tables; different models with one name in several runs get the run as a prefix.
        task: the task, in the wording used.
        language: "en" or "zh".
        split: of the set.
        score: headline score with its interval.
        coverage: share of the items that were answered.
        parse_rate: share of the answers that could be read.
        items: number of items.
        released: figures by the authors' arithmetic; never in one column with ours.
        trained: see `contamination.training_note`.
        floor: headline score if every reply is the commonest answer of the set; None if that cannot be scored.
        chance: expected headline score of guessing among the choices; None unless it is a share of correct choices.
        skill: what the set asks about, one of `SKILLS`.
        variant: what was done to the replies before scoring, such as the extraction of words; empty for nothing.
        result: all scores.
    """

    model: str
    task: Task
    language: str
    split: str
    score: Score
    coverage: float
    parse_rate: float
    items: int
    released: Mapping[str, float]
    trained: str
    floor: float | None
    chance: float | None
    skill: str
    variant: str
    result: Result

    @property
    def row(self) -> tuple[str, str, str, str]:
        """What identifies the set in a table: column of the task, split, language, variant."""
        return self.task.column, self.split, self.language, self.variant


@dataclass(frozen=True)
class Leaderboard:
    """All standings, the mean of MER-UniBench per model, and what could not be scored, with the reason."""

    models: tuple[str, ...]
    standings: tuple[Standing, ...]
    means: Mapping[tuple[str, str, str], tuple[Score, str]] = field(default_factory=dict)
    """(model, language, variant) -> MER-UniBench's mean, and which sets are missing."""
    unscored: Mapping[str, str] = field(default_factory=dict)

    @property
    def rows(self) -> list[tuple[str, str, str, str]]:
        """The sets in the order of the table of tasks."""
        return list(dict.fromkeys(standing.row for standing in self.standings))

    def widest(self, row: tuple[str, str, str, str]) -> Standing:
        """Return the standing of a row over the most items, whose floor is the best known."""
        return max((s for s in self.standings if s.row == row), key=lambda standing: standing.items)

    def shows(self, standing: Standing) -> bool:
        """Return whether the whole interval is above guessing and above the commonest answer."""
        widest = self.widest(standing.row)
        return standing.score.low > max(widest.floor or 0.0, widest.chance or 0.0)

    def at(self, row: tuple[str, str, str, str], model: str) -> Standing | None:
        """Return the standing of a model in a row."""
        return next((s for s in self.standings if s.row == row and s.model == model), None)


def headline(task: Task, result: Result) -> Score:
    """Return the score by which a set is compared: the one that the task names, or the first."""
    return result[task.headline] if task.headline in result.table.names else result.scores[0]


def leaderboard(runs: Sequence[Path], stated: Mapping[str, Collection[str]] | None = None) -> Leaderboard:
    """Score runs again and put the headline scores of all models together.

    Args:
        runs: folders of runs, or of single models in them.
        stated: see `contamination.training_note`.

    Raises:
        DataError: a folder holds no predictions, nothing can be scored, or a model answered a set twice.
    """
    scored = [(run, score_run(run)) for run in runs]
    unscored = {f"{run}/{name}": why for run, each in scored for name, why in each.unscored.items()}
    columns = [(run, column) for run, each in scored for column in each.columns]
    if not columns:
        raise DataError(f"nothing in {', '.join(map(str, runs))} can be scored: {'; '.join(unscored.values())}")
    names = _names(columns)
    standings = [s for run, column in columns for s in _standings(names[column.folder.parent], column, stated)]
    seen: set[tuple] = set()
    for standing in standings:
        key = (standing.model, *standing.row)
        if key in seen:
            raise DataError(
                f"model {standing.model!r} answered {standing.task.column} twice; give each run once, or other names "
                "with NAME=MODEL when answering"
            )
        seen.add(key)
    order = {row: place for place, row in enumerate(dict.fromkeys(s.row[0] for s in standings))}
    standings.sort(key=lambda s: order[s.row[0]])
    models = tuple(dict.fromkeys(names.values()))
    return Leaderboard(models, tuple(standings), _means(standings), unscored)


def _names(columns: Sequence[tuple[Path, Column]]) -> dict[Path, str]:
    """Return the name of every model's folder; equal names of different weights get their run as a prefix."""
    weights: dict[str, set[str]] = {}
    for _, column in columns:
        weights.setdefault(column.model, set()).add(str(column.header.get("weights")))
    return {
        column.folder.parent: f"{column.folder.parent.parent.name}/{column.model}"
        if len(weights[column.model]) > 1 and column.header.get("scoring") != "a file of predictions"
        else column.model
        for _, column in columns
    }


def _standings(model: str, column: Column, stated: Mapping[str, Collection[str]] | None) -> list[Standing]:
    note, floor = training_note(model, column.header, column.task, stated), commonest_answer_score(column)
    skill, chance = skill_of(column.task, column.items), chance_of(column)
    results = {"": column.result, **{k: r for k, r in column.also.items() if k.startswith("extracted by")}}
    return [
        Standing(
            model,
            column.task,
            column.language,
            str(column.header.get("split", "")),
            headline(column.task, result),
            result.tally.coverage,
            result.tally.parse_rate,
            result.tally.items,
            {} if variant else column.as_released,
            note,
            floor,
            chance,
            skill,
            variant,
            result,
        )
        for variant, result in results.items()
    ]


def commonest_answer_score(column: Column) -> float | None:
    """Return the headline score if every item is answered with the commonest correct answer; None without a scorer.

    It needs no look at a picture, so a model should be clearly above it. For pairs of questions it is 0.
    """
    commonest, _ = Counter(item.answer for item in column.items).most_common(1)[0]
    if column.task.score is None:
        return None
    items = [judged.item for judged in column.result.judged]
    result = column.task.score(items, [Response(item.id, commonest) for item in items])
    return headline(column.task, result).value if result.tally.parse_rate else None


def chance_of(column: Column) -> float | None:
    """Return the expected headline score of guessing among the choices; None if it is no share of correct choices."""
    counts = [len(item.allowed or item.choices) for item in column.items]
    if headline(column.task, column.result).name not in CORRECT_CHOICES or not all(counts):
        return None
    return sum(1 / count for count in counts) / len(counts)


def skill_of(task: Task, items: Sequence[Item]) -> str:
    """Return what a set asks about: the domain of its task, and the medium that most of its items have."""
    media = Counter(next((part["type"] for part in item.parts if part["type"] != "text"), "") for item in items)
    medium = media.most_common(1)[0][0] if media else ""
    if task.domain == "emotion":
        return SKILLS[("image", "audio", "video", "").index(medium)]
    return SKILLS[4] if medium in ("image", "video") else SKILLS[5]


def _means(standings: Sequence[Standing]) -> dict[tuple[str, str, str], tuple[Score, str]]:
    """Return MER-UniBench's mean per model, language and variant; sets without extraction are not mixed in."""
    of_model: dict[tuple[str, str, str], dict[str, Result]] = {}
    for standing in standings:
        if standing.task.column in NINE:  # other wordings are columns of their own
            place = (standing.model, standing.language, standing.variant)
            of_model.setdefault(place, {}).setdefault(standing.task.name, standing.result)
    means = {}
    for place, results in of_model.items():
        mean = unibench_mean(results)
        if mean is not None:
            means[place] = (mean[0], missing_note(mean[1]))
    return means
