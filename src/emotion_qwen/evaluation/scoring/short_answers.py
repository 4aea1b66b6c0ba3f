"""Questions with lettered options or a short answer in one set: MathVista, RealWorldQA."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from emotion_qwen.evaluation.scoring import records
from emotion_qwen.evaluation.scoring.choices import means_by_group, read_lettered
from emotion_qwen.evaluation.scoring.final_answers import final_answer, final_number, plain_answer, plain_number

INTEGER, FLOAT, TEXT = "integer", "float", "text"


def score_short_answers(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], *, seed: int = 0
) -> records.Result:
    """Score accuracy, over all items and by group.

    MathVista's owners have a language model extract the answer from the reply (Lu et al., ICLR 2024); here it is read
    by rule: an option by its letter or text, a number after "answer is" or the last one, other answers from the first
    line. An integer is compared after cutting the decimals of the reply, a decimal number after rounding both to the
    decimals of the reference.

    Args:
        items: with options, `references` hold the letter; without, the answer and its kind: "integer", "float" followed
            by the number of decimals, or "text".
        answers: texts, or scores over letters.
        seed: of the draws.

    Raises:
        DataError: see `records.judge`.
    """

    def read(item: records.ScoredItem, answer: records.Response) -> records.Read:
        if item.allowed:
            return read_lettered(item, answer)
        if item.references[-1] == TEXT:
            return final_answer(answer.text, item.references[0])
        return final_number(answer.text)

    judged, tally = records.judge(items, answers, read, lambda item, given: float(short_answer_equals(item, given)))
    table = means_by_group(judged, [answer.points for answer in judged], "accuracy")
    return records.Result(records.bootstrap_scores(table, seed=seed), tally, judged, table)


def short_answer_equals(item: records.ScoredItem, given: str) -> bool:
    """Return whether a read answer equals the reference of an item; see `score_short_answers`."""
    right, kind = item.references[0], item.references[-1]
    if item.allowed:
        return given == right
    if kind == TEXT:
        return given == plain_answer(right)
    try:
        value, wanted = float(given.replace(",", "")), float(plain_number(right))
    except ValueError:
        return False
    if kind == INTEGER:
        return int(value) == int(wanted)
    decimals = int(kind.removeprefix(FLOAT) or 0)
    return round(value, decimals) == round(wanted, decimals)
