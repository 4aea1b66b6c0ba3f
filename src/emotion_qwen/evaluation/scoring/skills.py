"""General skill of a language model: suites of different kinds, plain text, and prompts without a single correct
answer.

The points of an item depend on its suite, which is the item's group: whether the likeliest choice, the greedy last word
(LAMBADA) or the final answer of a reply (GSM8K, BIG-Bench Hard) is correct, whether all instructions are followed
strictly (IFEval), or a tenth of EQ-Bench's points. All scores of a run are in one table, so that a paired comparison
draws the same items for all of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from emotion_qwen.evaluation.scoring.final_answers import (
    emotion_rating_points,
    emotion_ratings,
    final_answer,
    final_number,
    plain_answer,
    plain_number,
    short_answer_right,
)
from emotion_qwen.evaluation.scoring.instructions import follows, follows_loosely
from emotion_qwen.evaluation.scoring.ratios import MeanOfRatios, Ratio, score_ratios
from emotion_qwen.evaluation.scoring.records import Judged, Read, Response, Result, ScoredItem, judge, likeliest
from emotion_qwen.evaluation.scoring.trained_forms import trained_form
from emotion_qwen.matching.answer import EMPTY, NOTHING

IFEVAL, GSM8K, BBH, LAMBADA, EQ_BENCH = "ifeval", "gsm8k", "bbh", "lambada_openai", "eq_bench_v2"
PERPLEXITY, TRAINED, RIGHT = "perplexity", "trained form", "right"
LAST_WORD = "perplexity of the last word"
IFEVAL_MEAN = "IFEval, mean of prompts and instructions"
FULL = 10.0
"""Points of one question of EQ-Bench."""


def score_skills(items: Sequence[ScoredItem], answers: Iterable[Response], *, seed: int = 0) -> Result:
    """Score suites of general skill.

    Args:
        items: `group` names the suite. The reference is the correct choice, word, number or answer; for IFEval the JSON
            of `instruction_id_list` and `kwargs`, for EQ-Bench the JSON of emotion -> rating.
        answers: scores for items with choices, a continuation for LAMBADA, replies for the others.
        seed: of the draws.

    Returns:
        "accuracy" over all items, its mean over suites, and that of every suite; for the suites present, also IFEval's
        four shares and the mean of the two strict ones, the perplexity of LAMBADA's last word, and EQ-Bench's score (at
        most 100) over the replies that can be read, with their share.

    Raises:
        DataError: an instruction cannot be checked, or see `records.judge`.
    """
    judged, tally = judge(items, answers, _read, _points)
    groups = np.array([answer.item.group for answer in judged])
    points = np.array([answer.points for answer in judged])
    suites = list(dict.fromkeys(groups.tolist()))
    each = [Ratio(f"accuracy of {suite}", points * (groups == suite), groups == suite) for suite in suites]
    scores: list[Ratio | MeanOfRatios] = [Ratio("accuracy", points, np.ones(len(points)))]
    if len(suites) > 1:
        scores += [MeanOfRatios("accuracy, mean of suites", tuple(each)), *each]
    for suite, more in _MORE.items():
        if suite in suites:
            scores += more(judged, groups == suite)
    return score_ratios(judged, tally, scores, seed=seed)


def _read(item: ScoredItem, answer: Response) -> Read:
    if answer.continuation is not None:
        return _read_continuation(item, answer)
    if item.allowed:
        return likeliest(item, answer) or _named_choice(item, answer.text)
    if item.group == GSM8K:
        return final_number(answer.text)
    if item.group == BBH:
        return final_answer(answer.text, item.references[0])
    if item.group == EQ_BENCH:
        return emotion_ratings(answer.text, tuple(json.loads(item.references[0])))
    return Read(answer.text) if answer.text.strip() else Read(None, EMPTY)


def _read_continuation(item: ScoredItem, answer: Response) -> Read:
    """Read the likelihood of a text, as JSON of log-likelihood, number of tokens, and whether it is greedy."""
    if answer.continuation is None:
        return Read(None, "no likelihood")
    continuation = answer.continuation
    return Read(json.dumps([continuation.log_likelihood, continuation.tokens, continuation.greedy]))


def _named_choice(item: ScoredItem, text: str) -> Read:
    """Read the choice that a reply in words names."""
    reply = plain_answer(text)
    named = [choice for choice in item.allowed if plain_answer(choice) == reply]
    return Read(named[0]) if named else Read(None, NOTHING if reply else EMPTY)


def _points(item: ScoredItem, value: str) -> float:
    reference = item.references[0]
    if item.group == LAMBADA:
        return float(json.loads(value)[2])
    if item.group == GSM8K:
        return float(value == plain_number(reference))
    if item.group == BBH:
        return float(plain_answer(value) == plain_answer(reference))
    if item.group == IFEVAL:
        return float(all(_instructions(value, reference, follows)))
    if item.group == EQ_BENCH:
        return max(0.0, _rating_points(value, reference)) / FULL
    return float(value == reference)


def _instructions(reply: str, checks: str, check: Callable[..., list[bool]]) -> list[bool]:
    described: Mapping[str, Any] = json.loads(checks)
    return check(reply, described["instruction_id_list"], described["kwargs"])


def _rating_points(ratings: str, reference: str) -> float:
    return emotion_rating_points(json.loads(ratings), json.loads(reference))


def _instruction_scores(judged: Sequence[Judged], chosen: np.ndarray) -> list[Ratio | MeanOfRatios]:
    scores: list[Ratio | MeanOfRatios] = []
    for name, check in (("strict", follows), ("loose", follows_loosely)):
        followed = [
            _instructions(answer.read or "", answer.item.references[0], check) if inside else []
            for answer, inside in zip(judged, chosen, strict=True)
        ]
        whole = np.array([bool(results) and all(results) for results in followed])
        scores.append(Ratio(f"IFEval, prompts, {name}", whole, chosen))
        sums, counts = (np.array([function(results) for results in followed]) for function in (sum, len))
        scores.append(Ratio(f"IFEval, instructions, {name}", sums, counts))
    strict = tuple(score for score in scores[:2] if isinstance(score, Ratio))
    return [*scores, MeanOfRatios(IFEVAL_MEAN, strict)]


def _likelihoods(judged: Sequence[Judged], chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (N,) log-likelihoods and (N,) numbers of tokens, 0 where there are none."""
    pairs = [
        json.loads(answer.read)[:2] if inside and answer.read else [0.0, 0]
        for answer, inside in zip(judged, chosen, strict=True)
    ]
    likelihoods, tokens = np.array(pairs, dtype=float).T
    return likelihoods, tokens


def _perplexity(values: np.ndarray) -> np.ndarray:
    return np.exp(-values)


def _last_word_scores(judged: Sequence[Judged], chosen: np.ndarray) -> list[Ratio | MeanOfRatios]:
    likelihoods, tokens = _likelihoods(judged, chosen)
    return [Ratio(LAST_WORD, likelihoods, tokens > 0, _perplexity, share=False)]


def _rating_scores(judged: Sequence[Judged], chosen: np.ndarray) -> list[Ratio | MeanOfRatios]:
    readable = np.array([bool(inside and answer.read) for answer, inside in zip(judged, chosen, strict=True)])
    points = [
        _rating_points(answer.read, answer.item.references[0]) if answer.read and inside else 0.0
        for answer, inside in zip(judged, readable, strict=True)
    ]
    return [
        Ratio("EQ-Bench score", 100 / FULL * np.array(points), readable, share=False),
        Ratio("EQ-Bench, replies read", readable, chosen),
    ]


_MORE: dict[str, Callable[[Sequence[Judged], np.ndarray], list[Ratio | MeanOfRatios]]] = {
    IFEVAL: _instruction_scores,
    LAMBADA: _last_word_scores,
    EQ_BENCH: _rating_scores,
}
"""Suite -> its further scores, besides its accuracy."""


def score_text_perplexity(items: Sequence[ScoredItem], answers: Iterable[Response], *, seed: int = 0) -> Result:
    """Score plain texts: perplexity per token over all texts, the exponential of the mean negative log-likelihood.

    Raises:
        DataError: see `records.judge`.
    """
    judged, tally = judge(items, answers, _read_continuation, lambda item, value: float(json.loads(value)[2]))
    likelihoods, tokens = _likelihoods(judged, np.ones(len(judged), dtype=bool))
    return score_ratios(judged, tally, [Ratio(PERPLEXITY, likelihoods, tokens, _perplexity, share=False)], seed=seed)


def score_general_prompts(items: Sequence[ScoredItem], answers: Iterable[Response], *, seed: int = 0) -> Result:
    """Score free answers to general prompts: whether they are general answers, and whether they are correct where this
    can be checked.

    Args:
        items: `group` names the kind of prompt; the reference is empty if there is none. For GSM8K it is the number.
        answers: replies.
        seed: of the draws.

    Returns:
        "trained form", the share of replies about an emotion, a face or a voice, which the prompt did not ask for
        (`trained_forms`); a correct answer is never counted as one. "empty", the share of empty replies. "right", the
        share of correct replies among the items with a number or a short reference, overall and by kind.

    Raises:
        DataError: see `records.judge`.
    """

    def read(item: ScoredItem, answer: Response) -> Read:
        return Read(answer.text) if answer.text.strip() else Read(None, EMPTY)

    judged, tally = judge(items, answers, read, lambda item, text: float(_right(item, text) is not False))
    right = [_right(answer.item, answer.read or "") for answer in judged]
    checkable = np.array([verdict is not None for verdict in right])
    correct = np.array([verdict is True for verdict in right])
    forms = [trained_form(answer.read or "") for answer in judged]
    trained = np.array([bool(form) and not verdict for form, verdict in zip(forms, right, strict=True)])
    everything = np.ones(len(judged))
    scores: list[Ratio | MeanOfRatios] = [
        Ratio(TRAINED, trained, everything),
        Ratio("empty", np.array([answer.why == EMPTY for answer in judged]), everything),
    ]
    kinds = np.array([answer.item.group.partition(" ")[0] for answer in judged])
    if checkable.any():
        scores.append(Ratio(RIGHT, correct, checkable))
        named = [kind for kind in dict.fromkeys(kinds.tolist()) if checkable[kinds == kind].any()]
        scores += [
            Ratio(f"{RIGHT} of {kind}", correct & (kinds == kind), checkable & (kinds == kind)) for kind in named
        ]
    examples = {form: answer.item.id for form, answer, bad in zip(forms, judged, trained, strict=True) if bad}
    notes = tuple(f"trained form {form!r}, for example {name}" for form, name in examples.items())
    unchecked = int(np.sum(~checkable & np.array([bool(answer.item.references[0]) for answer in judged])))
    if unchecked:
        notes += (f"{unchecked} items have a reference that is too long to be searched for in a free answer",)
    return score_ratios(judged, tally, scores, notes=notes, seed=seed)


def _right(item: ScoredItem, text: str) -> bool | None:
    """Return whether a free answer is correct; None if it cannot be checked."""
    reference = item.references[0]
    if item.group.startswith("maths"):
        return final_number(text).value == plain_number(reference)
    return short_answer_right(text, reference)
