"""Scores of the MER challenges and MER-UniBench besides wheel F1 (`sets`): hit rate, polarity, mixtures, preferences.

Definitions: MER-UniBench (Lian et al., ICML 2025, github.com/zeroQiaoba/AffectGPT), MER2023 and MER2025
(github.com/zeroQiaoba/MERTools), MER2026 (Lian et al., arXiv 2604.19417).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from emotion_qwen.errors import DataError, listed
from emotion_qwen.evaluation.scoring import records
from emotion_qwen.evaluation.scoring.bootstrap import DRAWS
from emotion_qwen.evaluation.scoring.combined import (
    LEFT_OUT,
    UNREAD_CLASS,
    Figures,
    class_figures,
    joined,
    number_figures,
    result_of,
    with_mixtures,
)
from emotion_qwen.evaluation.scoring.numbers import Scale, read_numbers
from emotion_qwen.evaluation.scoring.sets import LENGTH, score_open_vocabulary
from emotion_qwen.matching.answer import EMPTY, NOTHING, SEVERAL, answer_part, read_label
from emotion_qwen.matching.statements import stated_concepts
from emotion_qwen.matching.wheels import LEVELS, Wheels
from emotion_qwen.matching.word_lists import words_of
from emotion_qwen.taxonomy import CONCEPTS, LabelSet

POLARITY = ("negative", "neutral", "positive")
NEAR_NEUTRAL = 0.1
"""Mean valence up to which the emotion words of a reply count as neutral."""
_POLAR_WORDS = re.compile(
    r"\b(?P<positive>positive)\b|\b(?P<negative>negative)\b|\b(?P<neutral>neutral)\b"
    "|(?P<zh_positive>积极|正面|正向)|(?P<zh_negative>消极|负面|负向)|(?P<zh_neutral>中性|中立)",
    re.IGNORECASE,
)
VALENCE = Scale(("valence",), -5, 5)
"""MER2023's scale of valence."""
MSE_WEIGHT = 0.25
BASIC, SENTIMENT, OPEN = "hit rate", "WAF", "F1"
NINE: dict[str, str] = {
    "unibench_mer2023": BASIC,
    "unibench_mer2024": BASIC,
    "unibench_meld": BASIC,
    "unibench_iemocap": BASIC,
    "unibench_mosi": SENTIMENT,
    "unibench_mosei": SENTIMENT,
    "unibench_sims": SENTIMENT,
    "unibench_simsv2": SENTIMENT,
    "mer_unibench": OPEN,
}
"""The nine sets of MER-UniBench in the order of its table: task -> its primary score."""


def score_hit_rate(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], wheels: Wheels, *, seed: int = 0
) -> records.Result:
    """Score lists of emotion words against one label, as MER-UniBench does for its basic sets.

    On each wheel (inner ring), an item is hit if the group of its label is among the groups of the given words. The hit
    rate is the mean over items, then over wheels; an item whose label has no group on a wheel is left out for that
    wheel. "mscore" is hits / given groups that are groups of any label of the set. Because the hit rate rewards long
    lists, their mean length is given with it.

    Raises:
        DataError: see `records.judge`.
    """
    names = tuple(wheels.rings)
    labels = {reference for item in items for reference in item.references}
    candidates = {wheel: wheels.groups(labels, wheel) for wheel in names}
    judged, tally = records.judge(items, answers, read_word_list, lambda item, text: 0.0)
    rows = np.zeros((len(judged), 3 * len(names) + 2))
    for row, answer in enumerate(judged):
        given = words_of(answer.read or "", wheels.knows)
        rows[row, -2:] = len(given), 1
        for place, wheel in enumerate(names):
            right, groups = wheels.groups(answer.item.references, wheel), wheels.groups(given, wheel)
            if right:
                among = len(groups & candidates[wheel])
                hit = float(bool(right & groups))
                rows[row, 3 * place : 3 * place + 3] = 1, hit, hit / among if among else 0.0
    points = rows[:, 1:-2:3].sum(1) / np.maximum(rows[:, :-2:3].sum(1), 1)
    judged = tuple(replace(answer, points=float(value)) for answer, value in zip(judged, points, strict=True))
    several = len(names) > 1

    def statistic(sums: np.ndarray) -> np.ndarray:
        each = sums[:, :-2].reshape(len(sums), len(names), 3)
        hit, among = records.ratio(each[:, :, 1], each[:, :, 0]), records.ratio(each[:, :, 2], each[:, :, 0])
        columns = [hit.mean(1), among.mean(1), records.ratio(sums[:, -2], sums[:, -1])]
        return np.column_stack([*columns, hit] if several else columns)

    counted = [int(count) for count in rows[:, :-2:3].sum(0)]
    titles = (BASIC, "mscore", LENGTH, *(f"hit rate of {name}" for name in names if several))
    sizes = (max(counted), max(counted), len(judged), *(counted if several else ()))
    figures = Figures(titles, sizes, rows, statistic, tuple(title != LENGTH for title in titles))
    without = int((rows[:, :-2:3].sum(1) == 0).sum())
    notes = [f"emotion wheels: {len(names)}, checksum {wheels.digest}"]
    notes += [f"{without} items whose label is on no wheel are left out"] if without else []
    return result_of(judged, tally, figures, notes=tuple(notes), seed=seed)


def read_word_list(item: records.ScoredItem, answer: records.Response) -> records.Read:
    """Read a reply that should be a list of words."""
    return records.Read(answer.text) if words_of(answer.text) else records.Read(None, EMPTY)


def read_polarity(text: str) -> records.Read:
    """Read whether a reply is negative, neutral or positive.

    One of these words (English or Chinese) decides, unless the reply has several of them. Without any, the emotions
    that it states do: the sign of their mean valence (`taxonomy.CONCEPTS`), neutral up to `NEAR_NEUTRAL`.
    """
    part, why = answer_part(text)
    if why or not any(map(str.isalnum, part)):
        return records.Read(None, why or EMPTY)
    words = {name.removeprefix("zh_") for match in _POLAR_WORDS.finditer(part) if (name := match.lastgroup)}
    if words:
        return records.Read(next(iter(words))) if len(words) == 1 else records.Read(None, SEVERAL)
    valences = [CONCEPTS[name].valence for name in stated_concepts(part)]
    if not valences:
        return records.Read(None, NOTHING)
    mean = float(np.mean(valences))
    return records.Read(POLARITY[1] if abs(mean) <= NEAR_NEUTRAL else POLARITY[2 if mean > 0 else 0])


def score_polarity(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], *, seed: int = 0
) -> records.Result:
    """Score polarity as MER-UniBench does for its sentiment sets: WAF and accuracy of positive against the rest.

    Items whose reference is 0 are left out. A neutral answer counts as not positive, as in the organisers' code; there,
    an answer that is none of the three words does, too. Here it counts as wrong.

    Args:
        items: `references` hold one number, whose sign is the polarity.
        answers: texts, or scores over the three words.
        seed: of the draws.

    Raises:
        DataError: a reference is not a number, or see `records.judge`.
    """

    def read(item: records.ScoredItem, answer: records.Response) -> records.Read:
        chosen = records.likeliest(replace(item, allowed=POLARITY), answer)
        return read_polarity(answer.text) if chosen is None else chosen

    values = {item.id: _number(item) for item in items}
    judged, tally = records.judge(
        items, answers, read, lambda item, word: float((values[item.id] > 0) == (word == POLARITY[2]))
    )
    x = np.array([values[answer.item.id] for answer in judged])
    truth = np.where(x == 0, LEFT_OUT, x > 0)
    given = np.array([UNREAD_CLASS if answer.read is None else int(answer.read == POLARITY[2]) for answer in judged])
    figures = class_figures(truth, given, 2).only("WAF", "accuracy")
    left_out = int((x == 0).sum())
    notes = (f"{left_out} items with reference 0 are left out",) if left_out else ()
    return result_of(judged, tally, figures, notes=notes, seed=seed)


def organisers_polarity(items: Sequence[records.ScoredItem], answers: Iterable[records.Response]) -> dict[str, float]:
    """Compute WAF and accuracy with the organisers' rule: only a reply that is one of the three words is read.

    Everything else counts as neutral, that is, as not positive; items without a reply are left out.
    """
    texts = records.reply_texts(answers)
    pairs = [(value, texts[item.id]) for item in items if item.id in texts and (value := _number(item)) != 0]
    if not pairs:
        return {}
    truth = np.array([int(value > 0) for value, _ in pairs])
    given = np.array([int(text == POLARITY[2]) for _, text in pairs])
    figures = class_figures(truth, given, 2)
    waf, accuracy = figures.statistic(figures.rows.sum(0, keepdims=True))[0, :2]
    return {"WAF": float(waf), "accuracy": float(accuracy)}


def _number(item: records.ScoredItem) -> float:
    try:
        (value,) = map(float, item.references)
    except ValueError as error:
        raise DataError(f"item {item.id!r} has the references {item.references}; expected one number") from error
    return value


def score_both_levels(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], wheels: Wheels, *, seed: int = 0
) -> records.Result:
    """Score MER2025's track 2: the mean of wheel F1 with the inner and with the middle rings.

    Raises:
        DataError: see `records.judge`.
    """
    answers = list(answers)
    levels = [score_open_vocabulary(items, answers, wheels, level=level, seed=seed) for level in LEVELS]
    tables = [result.table for result in levels]
    parts = [
        Figures(table.names, table.items, table.rows, table.statistic, table.shares).named(f", {level}")
        for table, level in zip(tables, LEVELS, strict=True)
    ]
    kept = [part.only(*(n for n in part.names if not n.startswith(LENGTH) and " of " not in n)) for part in parts]
    both = joined(kept)
    at = [both.names.index(f"F1, {level}") for level in LEVELS]
    figures = with_mixtures(("track 2",), both, lambda values: values[:, at].mean(1), share=True)
    length = parts[0].only(f"{LENGTH}, {LEVELS[0]}")
    figures = joined([figures, replace(length, names=(LENGTH,))])
    first = levels[0]
    return result_of(first.judged, first.tally, figures, notes=first.notes, seed=seed)


def score_multi(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], labels: LabelSet, *, seed: int = 0
) -> records.Result:
    """Score MER2023-MULTI: WAF of the emotion minus 0.25 x mean squared error of the valence.

    A reply gives both, such as "emotion: sad, valence: -2.5". A missing emotion is wrong; a missing valence counts as
    the end of the scale (-5 to 5) that is farther from the reference.

    Args:
        items: `references` hold the label and the valence.
        answers: texts.
        labels: the six emotions.
        seed: of the draws.

    Raises:
        DataError: an item has no label of the set or no valence, or see `records.judge`.
    """
    values: dict[str, float] = {}
    for item in items:
        if len(item.references) != 2 or item.references[0] not in labels.labels:
            raise DataError(f"item {item.id!r} has the references {item.references}; expected a label and a valence")
        values[item.id] = _number(replace(item, references=item.references[1:]))
    at = {name: place for place, name in enumerate(labels.labels)}

    def read(item: records.ScoredItem, answer: records.Response) -> records.Read:
        label, number = read_label(answer.text, labels), read_numbers(answer.text, VALENCE)
        if label.label is None and number.value is None:
            return records.Read(None, label.why)
        return records.Read(f"{label.label or ''} {number.value or ''}".rstrip() or None)

    def points(item: records.ScoredItem, answer: str) -> float:
        return float(answer.split(" ")[0] == item.references[0])

    judged, tally = records.judge(items, answers, read, points)
    truth = np.array([at[answer.item.references[0]] for answer in judged])
    x = np.array([values[answer.item.id] for answer in judged])
    given, y = np.full(len(judged), UNREAD_CLASS), np.where(x > 0, VALENCE.low, VALENCE.high).astype(float)
    for row, answer in enumerate(judged):
        label, _, number = (answer.read or "").partition(" ")
        given[row] = at.get(label, UNREAD_CLASS)
        y[row] = float(number) if number else y[row]
    parts = joined([class_figures(truth, given, len(at)).only("WAF", "accuracy"), _squared(x, y)])
    figures = with_mixtures(("MER2023 score",), parts, lambda values: values[:, 0] - MSE_WEIGHT * values[:, 2])
    return result_of(judged, tally, figures, seed=seed)


def _squared(truth: np.ndarray, given: np.ndarray) -> Figures:
    """Return the mean squared error."""
    root = number_figures(truth, given).only("RMSE")
    return replace(root, names=("MSE of valence",), statistic=lambda sums: root.statistic(sums) ** 2)


PREFERENCES = ("a1", "a2")
SAME = "same"
_PREFERENCE = re.compile(r"(?<![a-z0-9])(a1|a2|same)(?![a-z0-9])|(相同|一样)", re.IGNORECASE)


def read_preference(text: str) -> records.Read:
    """Read which of two descriptions a reply prefers: the only one of a1, a2 and same in its answer part."""
    part, why = answer_part(text)
    if why or not part.strip():
        return records.Read(None, why or EMPTY)
    named = {SAME if match[2] else match[1].lower() for match in _PREFERENCE.finditer(part)}
    if len(named) == 1:
        return records.Read(named.pop())
    return records.Read(None, SEVERAL if named else NOTHING)


def organisers_preference(text: str) -> str:
    """Read a preference as MERTools does: the first of a1, a2 and same that occurs; without any, "same"."""
    low = text.lower()
    places = {name: low.find(name) for name in (*PREFERENCES, SAME)}
    there = {name: place for name, place in places.items() if place != -1}
    return min(there, key=lambda name: there[name]) if there else SAME


def score_preference(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], *, seed: int = 0
) -> records.Result:
    """Score MER2026's MER-Prefer: WAF and accuracy of which description people prefer.

    Items that people found equal are left out; an answer "same" counts as a1, as in the organisers' code. An answer
    that names neither is wrong; there, it counts as a1, too (`organisers_preferences`).

    Raises:
        DataError: a reference is none of a1, a2 and same, or see `records.judge`.
    """
    for item in items:
        if item.references[:1] not in ((*PREFERENCES, SAME)[k : k + 1] for k in range(3)):
            raise DataError(f"item {item.id!r} has the references {item.references}; expected a1, a2 or same")
    judged, tally = records.judge(
        items,
        answers,
        lambda item, answer: read_preference(answer.text),
        lambda item, name: float(item.references[0] in (name, _strict(name))),
    )
    truth = np.array([_preference_class(answer.item.references[0]) for answer in judged])
    given = np.array([UNREAD_CLASS if a.read is None else PREFERENCES.index(_strict(a.read)) for a in judged])
    left_out = int((truth == LEFT_OUT).sum())
    notes = (f"{left_out} items with the reference same are left out",) if left_out else ()
    figures = class_figures(truth, given, 2).only("WAF", "accuracy")
    return result_of(judged, tally, figures, notes=notes, seed=seed)


def organisers_preferences(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response]
) -> dict[str, float]:
    """Compute WAF and accuracy of MER-Prefer with the organisers' reading; items without a reply are left out."""
    texts = records.reply_texts(answers)
    pairs = [(item.references[0], texts[item.id]) for item in items if item.id in texts]
    pairs = [(right, text) for right, text in pairs if right != SAME]
    if not pairs:
        return {}
    truth = np.array([PREFERENCES.index(right) for right, _ in pairs])
    given = np.array([PREFERENCES.index(_strict(organisers_preference(text))) for _, text in pairs])
    figures = class_figures(truth, given, 2)
    waf, accuracy = figures.statistic(figures.rows.sum(0, keepdims=True))[0, :2]
    return {"WAF": float(waf), "accuracy": float(accuracy)}


def _strict(name: str) -> str:
    return PREFERENCES[0] if name == SAME else name


def _preference_class(name: str) -> int:
    return LEFT_OUT if name == SAME else PREFERENCES.index(name)


def unibench_mean(results: Mapping[str, records.Result], seed: int = 0) -> tuple[records.Score, tuple[str, ...]] | None:
    """Return MER-UniBench's mean over the sets that are there, with its interval, and the names of missing sets.

    Every set counts the same, by its primary score (`NINE`). The sets are drawn independently.

    Returns:
        None if there is none of the nine sets.
    """
    present = [name for name in NINE if name in results]
    if not present:
        return None
    drawn, values = [], []
    for place, name in enumerate(present):
        result = results[name]
        at = result.table.names.index(NINE[name])
        (table,) = records.drawn_again((result.table,), DRAWS, seed + place)
        drawn.append(table[:, at])
        values.append(result[NINE[name]].value)
    low, high = records.interval(np.mean(drawn, axis=0)[:, None])
    missing = tuple(name for name in NINE if name not in results)
    title = "MER-UniBench mean" if not missing else f"MER-UniBench mean of {len(present)} of {len(NINE)} sets"
    items = sum(results[name].tally.items for name in present)
    return records.Score(title, float(np.mean(values)), float(low[0]), float(high[0]), items, True), missing


def missing_note(missing: Sequence[str]) -> str:
    """Describe which of the nine sets are missing; empty for none."""
    return f"without {listed(missing, len(NINE))}; not comparable with a published mean" if missing else ""
