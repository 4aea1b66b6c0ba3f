"""Shares of labels from the data of services: candidates for the first token of an answer, or answers in words."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

from emotion_qwen.client import Reply

FLOOR = -30.0
"""Log-likelihood of a label that is not among the candidates."""
MIXED = 0.01
"""Largest share of candidate tokens that fit several labels."""


def first_token_scores(tokens: Mapping[str, float], answers: Sequence[str]) -> list[float] | None:
    """Return the log-shares of answers by the candidates for the first token.

    Args:
        tokens: token -> log-probability.
        answers: L texts.

    Returns:
        (L,) logarithms of the summed probabilities of the tokens that begin each answer alone, at least `FLOOR`; None
        if tokens with more than `MIXED` of all matched probability begin several answers, or none begins any.
    """
    sums, mixed = [0.0] * len(answers), 0.0
    for token, logprob in tokens.items():
        begin = token.strip().casefold()
        fitting = [row for row, answer in enumerate(answers) if begin and answer.casefold().startswith(begin)]
        if len(fitting) == 1:
            sums[fitting[0]] += math.exp(logprob)
        elif fitting:
            mixed += math.exp(logprob)
    if not sum(sums) or mixed > MIXED * (sum(sums) + mixed):
        return None
    return [max(math.log(value), FLOOR) if value else FLOOR for value in sums]


def candidates(reply: Reply) -> dict[str, float]:
    """Return the candidates for the first token of a reply; empty if the service gives none."""
    try:
        first = reply.body["choices"][0]["logprobs"]["content"][0]
        return {each["token"]: float(each["logprob"]) for each in first["top_logprobs"]}
    except (LookupError, TypeError, ValueError):
        return {}


def named_answer(text: str, answers: Sequence[str]) -> str | None:
    """Return the answer that a reply names: as JSON, or as plain text; None if it names none, or several."""
    try:
        values = json.loads(text)
        text = str(values.get("answer", "")) if isinstance(values, dict) else str(values)
    except ValueError:
        pass
    named = [answer for answer in answers if answer.casefold() in text.casefold()]
    exact = [answer for answer in answers if answer.casefold() == text.strip().casefold()]
    return next(iter(exact or (named if len(named) == 1 else ())), None)
