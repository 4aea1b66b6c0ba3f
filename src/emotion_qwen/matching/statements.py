"""Which emotions a text states: named, and not denied, doubted, pretended, wished for or asked about."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise

from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.matching.grammar import Grammar, chinese, english
from emotion_qwen.taxonomy import concept_of_word

# Traditional characters of the words that the grammars know, each with its simplified form.
_SIMPLIFIED = str.maketrans(
    "興憤傷驚訝厭惡懼難過開擔憂慮氣樂悅歡沒無並卻愛滿奮煩緊張釋靜躁這個慘絕愉鬱閃嚇虧顯認為覺與說還對斷識別裝讓們會嗎",
    "兴愤伤惊讶厌恶惧难过开担忧虑气乐悦欢没无并却爱满奋烦紧张释静躁这个惨绝愉郁闪吓亏显认为觉与说还对断识别装让们会吗",
)
_SENTENCE_END = re.compile(r"[.;!?。\n]")
# How far one mention looks around, so that a text without a full stop is read in linear time too.
_SENTENCE, _LONGEST_NEGATOR, _LIST = 400, 40, 30


@dataclass(frozen=True)
class _Mention:
    concept: str
    start: int
    end: int


def check_language(language: str | None) -> None:
    """Refuse another language than "en", "zh" or None (both).

    Raises:
        SettingsError: another language.
    """
    if language not in (None, "en", "zh"):
        raise SettingsError(unknown_choice("language", language, ("en", "zh")))


def plain(text: str) -> str:
    """Write a text as the grammars read it: without case, marks of emphasis, invisible characters and wide forms."""
    text = unicodedata.normalize("NFKC", text).lower().replace("’", "'").translate(_SIMPLIFIED)
    if not text.isascii():
        text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    text = re.sub(r"[*_`\"“”‘#]", " ", text)
    # A reply that mixes both languages denies in one what it names in the other.
    text = re.sub(r"(?:并不|并非|不|没有)是?\s*(?=[a-z])", " not ", re.sub(r"而是\s*(?=[a-z])", " but ", text))
    text = re.sub(r"\bnot\s+(?=[一-鿿])", "不", text)
    return re.sub(r"[^\S\n]+", " ", text)


def stated_concepts(text: str, language: str | None = None) -> set[str]:
    """Return the names of all concepts that a text states.

    English is read at word boundaries, Chinese by the longest alias.

    Args:
        text: of a model or a person.
        language: "en" or "zh" to read only that language; None reads both.

    Raises:
        SettingsError: another language.
    """
    check_language(language)
    written = plain(text)
    stated: set[str] = set()
    if language != "zh":
        stated |= _stated(written, english())
    if language != "en":
        stated |= _stated(written, chinese())
    return stated


def _stated(text: str, grammar: Grammar) -> set[str]:
    text = grammar.idiom.sub(lambda m: "~" * len(m.group()), text)
    words = concept_of_word()
    mentions = [_Mention(words[m.group()], m.start(), m.end()) for m in grammar.mention.finditer(text)]
    stated, denied = set(), False
    for place, mention in enumerate(mentions):
        start = mentions[place - 1].end if place else 0
        if not (denied and _in_denied_list(text, mentions, place, grammar)):
            denied = _denied(text, start, mention, grammar)
        if not denied and not _asked(text, mention):
            stated.add(mention.concept)
    return stated


def _asked(text: str, mention: _Mention) -> bool:
    """Say whether the sentence of a mention is a question."""
    end = _SENTENCE_END.search(text, mention.end, mention.end + _SENTENCE)
    return end is not None and end.group() == "?"


def _in_denied_list(text: str, mentions: list[_Mention], place: int, grammar: Grammar) -> bool:
    """Say whether a mention goes on with the denied list before it, as in "not sad, angry or afraid"."""
    for before, after in pairwise(mentions[place - 1 : place + _LIST]):
        gap = text[before.end : after.start]
        if not grammar.joiner.fullmatch(gap):
            return False
        if grammar.conjunction.search(gap):
            return True
    return False


def _denied(text: str, start: int, mention: _Mention, grammar: Grammar) -> bool:
    """Say whether a mention is denied by the words behind it, or before it since `start` in the same clause."""
    if grammar.denied_after.match(text, mention.end):
        return True
    start = max(start, mention.start - grammar.reach - _LONGEST_NEGATOR)
    begin = max([start, *(m.end() for m in grammar.stop.finditer(text, start, mention.start))])
    for negator in grammar.negator.finditer(text, begin, mention.start):
        between = text[negator.end() : mention.start]
        if len(between) > grammar.reach:
            continue
        verb = grammar.verb.search(between)
        # "does not look happy" denies through its verb; "who does not smile is sad" has begun a new statement.
        right_behind = verb is None or not between[: verb.start()].strip()
        if right_behind or grammar.far.fullmatch(negator.group()) or grammar.opinion.search(between):
            return True
    return False
