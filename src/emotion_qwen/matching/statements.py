"""Find the emotions that a text states: named, and not denied, doubted, pretended, wished for or asked about."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from itertools import pairwise

from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.matching.grammar import Grammar, chinese, english
from emotion_qwen.taxonomy import concept_of_word

# Traditional characters in the words of the grammars, with their simplified forms.
_SIMPLIFIED = str.maketrans(
    "興憤傷驚訝厭惡懼難過開擔憂慮氣樂悅歡沒無並卻愛滿奮煩緊張釋靜躁這個慘絕愉鬱閃嚇虧顯認為覺與說還對斷識別裝讓們會嗎",
    "兴愤伤惊讶厌恶惧难过开担忧虑气乐悦欢没无并却爱满奋烦紧张释静躁这个惨绝愉郁闪吓亏显认为觉与说还对断识别装让们会吗",
)
_SENTENCE_END = re.compile(r"[.;!?。\n]")
_GUESS = re.compile(r"\s*(?:possibly|probably|maybe|perhaps|likely|可能|也许|或许|大概|应该)(?![^?]*\bor\b|[^?]*还是)")
# Quoted speech: words of a subtitle or after "says". A single quoted word ("I would say 'sad'") is not speech.
_QUOTED = (
    r"(?:[\"“「『](?=[^\"”」』]{0,400}?(?:\s\S|[^\x00-\x7f]{5}))[^\"”」』]{0,400}[\"”」』]"
    r"|[‘'](?=[^\n]{0,400}?\s)(?:[^\n’']|[’'](?=\w)){0,400}[’'](?!\w))"
)
_SPEECH = re.compile(
    r"(?<=\b)(?:says|said|saying|shouts|shouted|shouting|yells|yelling|screams|screaming|exclaims|exclaimed|exclaiming"
    r"|whispers|whispering|mutters|cries|crying|asks|asking|replies|replying|remarks|utters|tells \w+|telling \w+"
    r"|subtitles?|captions?|transcripts?|transcription|dialogue|lyrics|speech|text|utterance|spoken words|words)\b"
    rf"[^\"“‘'「『.!?;\n]{{0,30}}{_QUOTED}"
    rf"|(?:说|喊|叫|问|答|字幕|台词|文本|内容|对白|歌词|旁白|原话)[^\"“‘「『。.!?;\n]{{0,12}}{_QUOTED}"
    r"|\b(?:says|said|saying|shouts|exclaims|whispers|replies)(?:,|:)? ?:? (?=(?:i|i'm|i’m|we|you|my"
    r"|oh)\b)[^.!?\n…\"”]{0,400}"
    r"|(?<=[他她人子们])(?:说|喊)[:：]我[^。！？.!?\n；;]{0,80}?(?=[,，。！？.!?\n；;](?:但|可|然而|不过|却)"
    r"|[。！？.!?\n；;]|$)",
    re.IGNORECASE,
)
# Characters examined around a mention, so that a text without full stops is also read in linear time.
_SENTENCE, _LONGEST_NEGATOR, _LIST = 400, 40, 30


@dataclass(frozen=True)
class Mention:
    """An emotion word at `text[start:end]` and its concept."""

    concept: str
    start: int
    end: int


def check_language(language: str | None) -> None:
    """Check that a language is "en", "zh" or None (both).

    Raises:
        SettingsError: the language is unknown.
    """
    if language not in (None, "en", "zh"):
        raise SettingsError(unknown_choice("language", language, ("en", "zh")))


def plain(text: str) -> str:
    """Normalise a text for the grammars: lower case, half-width, without markup and invisible characters."""
    text = unicodedata.normalize("NFKC", text).lower().replace("’", "'").translate(_SIMPLIFIED)
    if not text.isascii():
        text = "".join(letter for letter in text if unicodedata.category(letter) != "Cf")
    text = re.sub(r"[*_`\"“”‘#]", " ", text)
    # A reply in mixed languages may negate in one language and name the emotion in the other.
    text = re.sub(r"(?:并不|并非|不|没有)是?\s*(?=[a-z])", " not ", re.sub(r"而是\s*(?=[a-z])", " but ", text))
    text = re.sub(r"\bnot\s+(?=[一-鿿])", "不", text)
    text = re.sub(r"\b(?:less|not so much) (\w+(?: \w+)?) (?:than|as)\b", r"not \1 but", text)
    return re.sub(r"[^\S\n]+", " ", text)


def stated_concepts(text: str, language: str | None = None) -> set[str]:
    """Return the names of all concepts that a text states.

    English is read at word boundaries, Chinese by the longest alias.

    Args:
        text: reply of a model or a person.
        language: "en" or "zh" to read only that language; None reads both.

    Raises:
        SettingsError: the language is unknown.
    """
    return {mention.concept for mention in stated_mentions(plain(without_speech(text)), language)}


def stated_mentions(text: str, language: str | None = None) -> list[Mention]:
    """Return the emotion words that plain text (see `plain`) states, in their order.

    Raises:
        SettingsError: the language is not "en", "zh" or None (both).
    """
    check_language(language)
    stated: list[Mention] = []
    if language != "zh":
        stated += _stated(text, english())
    if language != "en":
        stated += _stated(text, chinese())
    return sorted(stated, key=lambda mention: mention.start)


def without_speech(text: str) -> str:
    """Remove quoted speech, subtitles and transcripts: somebody who says "I am happy" need not be happy."""
    return _SPEECH.sub(" ", text)


def _stated(text: str, grammar: Grammar) -> list[Mention]:
    text = grammar.idiom.sub(lambda m: "~" * len(m.group()), text)
    words = concept_of_word()
    mentions = [Mention(words[m.group()], m.start(), m.end()) for m in grammar.mention.finditer(text)]
    inside = {place for mention in mentions for place in range(mention.start, mention.end)}
    # The 无 in 无聊 is not a denial.
    lists = [m.span() for m in grammar.denied_list.finditer(text) if m.start() not in inside]
    stated, denied = [], False
    for place, mention in enumerate(mentions):
        start = mentions[place - 1].end if place else 0
        if not (denied and _in_denied_list(text, mentions, place, grammar)):
            denied = _denied(text, start, mention, grammar)
        listed = any(begin <= mention.start and mention.end <= end for begin, end in lists)
        if not denied and not listed and not _asked(text, mention):
            stated.append(mention)
    return stated


def _asked(text: str, mention: Mention) -> bool:
    """Return whether a mention is in a question that is not a guess such as "Possibly sad?"."""
    end = _SENTENCE_END.search(text, mention.end, mention.end + _SENTENCE)
    if end is None or end.group() != "?":
        return False
    beginning = max(text.rfind(sign, max(0, mention.start - _SENTENCE), mention.start) for sign in ".;!?。\n")
    return not _GUESS.match(text, beginning + 1)


def _in_denied_list(text: str, mentions: list[Mention], place: int, grammar: Grammar) -> bool:
    """Return whether a mention continues the denied list before it, as in "not sad, angry or afraid"."""
    for before, after in pairwise(mentions[place - 1 : place + _LIST]):
        gap = text[before.end : after.start]
        if not grammar.joiner.fullmatch(gap):
            return False
        if grammar.conjunction.search(gap):
            return True
    return False


def _denied(text: str, start: int, mention: Mention, grammar: Grammar) -> bool:
    """Return whether a mention is denied by the words after it, or by words from `start` on in the same clause."""
    if grammar.denied_after.match(text, mention.end):
        return True
    start = max(start, mention.start - grammar.reach - _LONGEST_NEGATOR)
    begin = max([start, *(m.end() for m in grammar.stop.finditer(text, start, mention.start))])
    for negator in grammar.negator.finditer(text, begin, mention.start):
        between = text[negator.end() : mention.start]
        if len(between) > grammar.reach:
            continue
        verb = grammar.verb.search(between)
        # In "does not look happy" the denial passes the verb; "who does not smile is sad" starts a new statement.
        right_behind = verb is None or not between[: verb.start()].strip()
        if right_behind or grammar.far.fullmatch(negator.group()) or grammar.opinion.search(between):
            return True
    return False
