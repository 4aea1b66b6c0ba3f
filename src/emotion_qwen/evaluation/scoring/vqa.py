"""VQA soft accuracy (Antol et al., ICCV 2015) with the official normalisation, for VQAv2 and TextVQA.

The normalisation follows the public evaluation tool of VQA and is tested against it. Its peculiarities are kept,
because the published numbers depend on them: "none" is 0, and punctuation becomes a space or is removed depending on
the whole answer. The versions of that tool differ in what they normalise, see `Protocol`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from emotion_qwen.evaluation.scoring.choices import means_by_group
from emotion_qwen.evaluation.scoring.records import (
    Read,
    Response,
    Result,
    ScoredItem,
    bootstrap_scores,
    judge,
    likeliest,
)
from emotion_qwen.matching.answer import EMPTY, answer_part

ENOUGH = 3
"""Number of other annotators who must give the same answer for a full point."""


@dataclass(frozen=True)
class Protocol:
    """The differences between the public evaluation tools.

    Attributes:
        name: of the protocol.
        possessive: remove commas and question marks first, and separate "'s" from its word.
        people: how annotators' answers are normalised: like the prediction, or their punctuation alone.
        unanimous: what is normalised if all annotators wrote the same: both sides, the prediction, or neither.
        thousands: pattern that shows that commas group digits.
    """

    name: str
    possessive: bool = False
    people: Literal["whole", "punctuation"] = "whole"
    unanimous: Literal["both", "prediction", "neither"] = "both"
    thousands: re.Pattern[str] = re.compile(r"\d,\d")


VQA_V2 = Protocol("VQAv2, both sides normalised")
VQA_2016 = Protocol("VQAv2, official script of 2016 (458a8b2)", people="punctuation", unanimous="prediction")
VQA_2021 = Protocol("VQAv2, official script since 2021-03-11 (a013f00)", unanimous="neither")
TEXT_VQA = Protocol("TextVQA", possessive=True, thousands=re.compile(r"\d,+\d"))
_REMEMBERED = 1 << 16
"""Number of normalised answers in the cache: annotators repeat the same few answers."""
_PUNCTUATION = ';/[]"{}()=+\\_-><@`,?!'
_PERIOD = re.compile(r"\.(?!\d)")
_PERIODS = 32
"""The tools remove no more periods than this."""
_DIGITS = "zero one two three four five six seven eight nine ten"
_NUMBERS = {word: str(number) for number, word in enumerate(_DIGITS.split())}
_NUMBERS["none"] = "0"
_ARTICLES = ("a", "an", "the")
# An answer that lacks exactly one apostrophe of such a form has it restored; the list is that of the tools.
_FORMS = (
    "'ow's'at 'twas ain't aren't can't could've couldn't couldn't've didn't doesn't don't hadn't hadn't've "
    "hasn't haven't he'd he'd've he's how'd how'll how's isn't it'd it'd've it'll ma'am might've mightn't "
    "mightn't've must've mustn't needn't not've o'clock oughtn't shan't she'd've should've shouldn't "
    "shouldn't've somebody'd've somebody'll somebody's someone'd someone'd've someone'll someone's "
    "something'd something'd've something'll that's there'd there'd've there're there's they'd they'd've "
    "they'll they're they've wasn't we'd've we've weren't what'll what're what's what've when's where'd "
    "where's where've who'd who'd've who'll who's who've why'll why're why's won't would've wouldn't "
    "wouldn't've y'all y'all'd've y'all'll you'd you'd've you'll you're you've"
)
_CONTRACTIONS = {
    form[:place] + form[place + 1 :]: form for form in _FORMS.split() for place, sign in enumerate(form) if sign == "'"
}
_CONTRACTIONS["somebody'd"] = "somebodyd"  # the tools map this form the other way round


@lru_cache(maxsize=_REMEMBERED)
def without_punctuation(text: str, protocol: Protocol = VQA_V2) -> str:
    """Remove punctuation next to a space or in an answer with grouped digits; else replace it by a space."""
    grouped, out = bool(protocol.thousands.search(text)), text
    for sign in _PUNCTUATION:
        at_blank = f"{sign} " in text or f" {sign}" in text
        out = out.replace(sign, "" if at_blank or grouped else " ")
    return _PERIOD.sub("", out, count=_PERIODS)


def plain_words(text: str) -> str:
    """Write an answer in lower case, with digits for number words, without articles, with apostrophes restored."""
    words = [_NUMBERS.get(word, word) for word in text.lower().split()]
    return " ".join(_CONTRACTIONS.get(word, word) for word in words if word not in _ARTICLES)


@lru_cache(maxsize=_REMEMBERED)
def normalise(text: str, protocol: Protocol = VQA_V2) -> str:
    """Normalise an answer for comparison."""
    if protocol.possessive:
        text = text.lower().replace(",", "").replace("?", "").replace("'s", " 's")
    return plain_words(without_punctuation(_blanks(text), protocol))


def _blanks(text: str) -> str:
    return text.replace("\n", " ").replace("\t", " ").strip()


def soft_accuracy(answer: str, annotators: Sequence[str], protocol: Protocol = VQA_V2) -> float:
    """Return the mean, over each annotator left out, of min(1, how many of the others gave this answer / 3).

    Args:
        answer: of the model.
        annotators: the answers of all annotators, usually ten.
        protocol: which public tool to follow.
    """
    alike = len(set(annotators)) == 1
    given = _blanks(answer) if alike and protocol.unanimous == "neither" else normalise(answer, protocol)
    if alike and protocol.unanimous != "both":
        people = [_blanks(text) if protocol.unanimous == "neither" else text for text in annotators]
    elif protocol.people == "whole":
        people = [normalise(text, protocol) for text in annotators]
    else:
        people = [without_punctuation(text, protocol) for text in annotators]
    same = [text == given for text in people]
    agree = sum(same)
    return sum(min(1.0, (agree - matches) / ENOUGH) for matches in same) / len(same)


def score_vqa(
    items: Sequence[ScoredItem], answers: Iterable[Response], protocol: Protocol = VQA_V2, *, seed: int = 0
) -> Result:
    """Score free answers against those of annotators; `group` may name the type of question.

    Raises:
        DataError: see `records.judge`.
    """

    def read(item: ScoredItem, answer: Response) -> Read:
        part, why = answer_part(answer.text)
        return likeliest(item, answer) or (Read(part) if part.strip() and not why else Read(None, why or EMPTY))

    judged, tally = judge(items, answers, read, lambda item, text: soft_accuracy(text, item.references, protocol))
    table = means_by_group(judged, [answer.points for answer in judged], "VQA accuracy")
    return Result(bootstrap_scores(table, seed=seed), tally, judged, table)
