"""Find which of several stated labels a text ranks first, by shares, order, or words such as "mostly".

Each rule removes some labels or none. If more than one label remains after all rules, the text has no answer.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class LabelMention:
    """A stated label at `text[start:end]`."""

    label: str
    start: int
    end: int


# Matches from a label to its share: punctuation and a name of the share.
_SHARE_NAME = (
    r"(?:an? |about |约|占|of )*(?:scores?|confidence|probability|prob|likelihood|share|weight|level|intensity|概率"
    r"|置信度|可能性|比例|强度)"
)
_SHARE = re.compile(
    rf"(?:[\s:=(|\[\]'~*]|->|[-–—](?=\s)|,?\s*{_SHARE_NAME}\s*(?:is|of|为)?)*(?:about|approximately|around|约|占)?\s*"
    r"(?P<number>\d+(?:\.\d+)?|\.\d+)\s*(?P<percent>%)?"
    r"(?!\d|\s*(?:[-–~:]|to|至)\s*\d|\s*(?:s|secs?|seconds?|frames?|秒|帧|个)(?![a-z]))"
)
_SHARE_BEFORE = re.compile(r"(?P<number>\d+(?:\.\d+)?)\s*(?P<percent>%)\s*(?:of\s+|的)?(?:the )?$")
_LEVELS = ("very low", "low", "medium", "high", "very high")
_LEVEL = re.compile(
    r"\s*[:=(|-]+\s*(?P<level>very low|very high|low|medium|moderate|high|极低|极高|低|中等|中(?!性)|高(?!兴))(?![a-z])"
)
_LEVEL_OF = {"moderate": 2, "极低": 0, "低": 1, "中等": 2, "中": 2, "高": 3, "极高": 4} | {
    name: place for place, name in enumerate(_LEVELS)
}
_GREATER = re.compile(r"[\s\d.%()]*(?:(?<![-=])>+|≫|大于|多于|胜过|强于|高于|outweighs?|overshadows?)\s*(?:the )?")
_RANKED = re.compile(
    r"\b(?:rank(?:ed|ing|s)?|top|order|most to least|descending|likelihood|most likely first)\b|排序|排名|从高到低"
    r"|从强到弱|依次"
)
_FIRST = re.compile(r"(?:^|[\s:])(?:1\s*[.):、]|#1|first|1st|第一)[\s:]*$")

_MOSTLY = (
    r"mostly|mainly|primarily|predominantly|chiefly|largely|principally|overwhelmingly|above all|first and foremost"
    r"|more than anything|essentially|dominantly"
)
_STRONG_BEFORE = re.compile(
    rf"\b(?:{_MOSTLY})\b[^.,;:!?\n]{{0,30}}$"
    r"|(?:主要(?:的?(?:情绪|情感))?(?:还?是|为|表现[为出]|呈现|感到)?|(?:更多|大多|多半|主导|占主导)(?:的?(?:情绪"
    r"|情感)?)?(?:还?是|为)"
    r"|最(?:明显|强烈|突出)的?(?:情绪|情感)?[是为])[^。,;:]{0,4}$"
)
_STRONG_AFTER = re.compile(
    r"\s*\(?(?:, (?=being|which))?(?:which |is |are |was |being |as |the |clearly |obviously |definitely |still "
    r"|by far |far )*"
    r"(?:dominant|dominates?\b|dominating|predominates?\b|prevails?\b|prevailing|strongest|primary|main\b"
    r"|most prominent"
    r"|stands out|takes over|(?:better|best|correct|right) (?:label|choice|fit|match|option|answer)"
    r"|(?:emotion|feeling|label|one) (?:with|that has) the (?:highest|largest|greatest|strongest))"
    r"|[^,。;\n]{0,4}(?:为主|居多|占主导|占上风|占优|是(?:最)?(?:主要|主导|首要|突出|明显|强烈)的?(?:情绪|情感|感受)"
    r"|\(主要?\)|最为?(?:明显|强烈|突出)|更(?:多|强|明显|强烈|突出))"
)
_SLIGHT = (
    r"hints?|touch|traces?|tinges?|undertones?|undercurrents?|dash|shades?|flickers?|glimmers?|glimpses?|moments?"
    r"|bits?|sprinkling|shadow|streak"
)
_WEAK_BEFORE = re.compile(
    rf"\b(?:{_SLIGHT}) of\b[^.,;:!?\n]{{0,25}}$"
    r"|\b(?:slight(?:ly)?|mild(?:ly)?|some(?:what)?|a little|a bit|faint(?:ly)?|subtle|subtly|minor|secondary"
    r"|secondarily"
    r"|partly|fleeting(?:ly)?|lesser|underlying|occasional(?:ly)?|brief(?:ly)?|accompanied by|alongside|tinged with"
    r"|laced with|along with|to a lesser (?:extent|degree)|less so|secondly)\b,?[^.,;:!?\n]{0,20}$"
    r"|(?:一丝|一点|一些|些许|少许|几分|略带|略有|略显|略微|稍有|稍显|稍微|有点|有些|轻微|轻度|伴随|伴有|伴着|夹杂"
    r"|带有|带着|带点"
    r"|兼有|次要|其次|其次是|次之|辅以|隐约|一抹|淡淡)[^。,;:]{0,6}$"
)
_WEAK_AFTER = re.compile(
    r"\s*[(,]?\s*(?:is |as |being |only |in )*(?:secondary|to a lesser (?:extent|degree)|minor|slight(?:ly)?\b|fleeting"
    r"|briefly|less so|less prominent|weaker|in the background|the background|mild(?:ly)?\b)"
    r"|[^,。;\n]{0,4}(?:为辅|次之|只占|仅占|\(次要?\)|较弱|不太明显|较轻|其次)"
)
_LIST = re.compile(r"(?:[\s,、/&;|()\[\]'\"•+-]|\b(?:or|and|as well as|[a-k]|\d{1,2})\b[.)]?|和|或者?|与|及)*")
_OFFERED = re.compile(
    r"(?:\b(?:options?|choices|among(?:st)?|list|out of|choos\w+|select\w*|pick\w*|from|candidates?"
    r"|(?:given|provided|following|possible|available|allowed) (?:labels|emotions|categories|words|classes))\b"
    r"|选项|选择|从|在|候选|备选|可选|以下|包括)[^.。!?\n]{0,40}$"
)
_OBJECT = re.compile(
    r"\s+(?:(?:of|at|by|about|for|because of|due to|in view of)\s+(?:[\w'-]+\s+){0,3}"
    r"|(?:that|because)\s+(?:[\w'-]+\s+){1,6})"
)
_CHINESE_OBJECT = re.compile(r"(?:(?![和与而且又及或还并更])[一-鿿]){0,3}")
_NOUN_BEHIND = re.compile(r"的(?!表情|样子|情绪|神情|语气|状态|神色|感觉|目光|眼神|心情|反应|$|[,。;])")
_BECAUSE, _THEREFORE = re.compile(r"(?:因为?|由于)[^,。;\n]{0,10}$"), re.compile(r"[^,。;\n]{0,3}(?:而|才)")
_SHORTEST_OFFER = 3


def put_first(text: str, mentions: Sequence[LabelMention], count: int) -> list[str]:
    """Return the labels that remain after all rules have been applied.

    Args:
        text: normalised by `statements.plain`.
        mentions: all stated labels in their order.
        count: number of labels in the set.
    """
    left = list(mentions)
    for rule in (_without_offer, _by_share, _by_level, _by_rank, _emphasised, _without_weak, _without_objects):
        if len(_labels(left)) > 1:
            left = rule(text, left, count) or left
    return _labels(left)


def _labels(mentions: Sequence[LabelMention]) -> list[str]:
    return list(dict.fromkeys(mention.label for mention in mentions))


def _without_offer(text: str, mentions: Sequence[LabelMention], count: int) -> list[LabelMention]:
    """Drop lists that quote the choices: nearly all labels of the set, or a list announced as choices."""
    left: list[LabelMention] = []
    run: list[LabelMention] = []
    for mention in [*mentions, None]:
        if run and (mention is None or not _LIST.fullmatch(text[run[-1].end : mention.start])):
            named = len(_labels(run))
            announced = _OFFERED.search(text[max(0, run[0].start - 80) : run[0].start])
            if named < _SHORTEST_OFFER or (named < count - 1 and not announced):
                left += run
            run = []
        if mention is not None:
            run.append(mention)
    return left


def _by_share(text: str, mentions: Sequence[LabelMention], _: int) -> list[LabelMention]:
    """Keep the label with the largest number, if every label has a number or the largest is above one half."""
    behind = {m: match for m in mentions if (match := _SHARE.match(text, m.end)) and not _is_ordinal(text, match)}
    before = {m: match for m in mentions if (match := _SHARE_BEFORE.search(text[max(0, m.start - 20) : m.start]))}
    for numbers in (before, behind) if len(_labels(list(before))) == len(_labels(mentions)) else (behind,):
        shares = {m: float(n["number"]) / (100 if n["percent"] else 1) for m, n in numbers.items()}
        plain = [n["number"] for n in numbers.values() if not n["percent"]]
        if len(_labels(list(shares))) < 2 or (len(plain) == len(numbers) and _only_counted(plain)):
            continue
        largest = max(shares.values())
        if len(_labels(list(shares))) == len(_labels(mentions)) or 0.5 < largest <= 1:
            return [m for m, share in shares.items() if share == largest]
    return []


def _is_ordinal(text: str, number: re.Match[str]) -> bool:
    """Return whether a number after a label starts the next line of a numbered list."""
    alone = not number["percent"] and "." not in number["number"] and "(" not in number.group()
    return alone and bool(re.compile(r"[.)、]\s*[^\d\s]").match(text, number.end()))


def _only_counted(numbers: Sequence[str]) -> bool:
    """Return whether numbers only enumerate the labels: 0, 1, 2 or 1, 2, 3."""
    return list(numbers) in ([str(n + first) for n in range(len(numbers))] for first in (0, 1))


def _by_level(text: str, mentions: Sequence[LabelMention], _: int) -> list[LabelMention]:
    levels = {m: _LEVEL_OF[match["level"]] for m in mentions if (match := _LEVEL.match(text, m.end))}
    if len(_labels(list(levels))) < len(_labels(mentions)):
        return []
    return [m for m, level in levels.items() if level == max(levels.values())]


def _by_rank(text: str, mentions: Sequence[LabelMention], _: int) -> list[LabelMention]:
    """Keep the first of several labels that are ordered by ">", or numbered in a text that announces a ranking."""
    gaps = [text[a.end : b.start] for a, b in pairwise(mentions)]
    if (
        gaps
        and all(_GREATER.fullmatch(gap) or gap.strip() in ("=", "≈") for gap in gaps)
        and _GREATER.fullmatch(gaps[0])
    ):
        return [mentions[0]]
    numbered = [m for m in mentions if _FIRST.search(text[max(0, m.start - 12) : m.start])]
    return numbered[:1] if _RANKED.search(text) and numbered == [mentions[0]] else []


def _near(text: str, mentions: Sequence[LabelMention], before: re.Pattern, after: re.Pattern) -> list[LabelMention]:
    """Return the mentions with such words before or after them; words before a list apply to all of it."""
    marked: list[LabelMention] = []
    for place, mention in enumerate(mentions):
        last = mentions[place - 1] if place else None
        gap = text[max(last.end if last else 0, mention.start - 60) : mention.start]
        joined = last is not None and last in marked and bool(_LIST.fullmatch(gap)) and "," not in gap
        behind = mentions[place + 1].start if place + 1 < len(mentions) else len(text)
        if joined or before.search(gap) or after.match(text[:behind], mention.end):
            marked.append(mention)
    return marked


def _emphasised(text: str, mentions: Sequence[LabelMention], _: int) -> list[LabelMention]:
    strong = _near(text, mentions, _STRONG_BEFORE, _STRONG_AFTER)
    return strong if len(_labels(strong)) == 1 else []


def _without_weak(text: str, mentions: Sequence[LabelMention], _: int) -> list[LabelMention]:
    weak = _near(text, mentions, _WEAK_BEFORE, _WEAK_AFTER)
    return [mention for mention in mentions if mention not in weak]


def _without_objects(text: str, mentions: Sequence[LabelMention], _: int) -> list[LabelMention]:
    """Drop labels that describe the object or cause of a feeling: "afraid of the angry dog", 因悲伤而愤怒."""
    aside = set()
    for earlier, later in pairwise(mentions):
        gap, before = text[earlier.end : later.start], text[max(0, earlier.start - 14) : earlier.start]
        follows = _CHINESE_OBJECT.fullmatch(gap) and _NOUN_BEHIND.match(text, later.end)
        if _OBJECT.fullmatch(gap) or follows:
            aside.add(later)
        because = _BECAUSE.search(before) and _THEREFORE.match(gap)
        if because or (before[-1:] in ("对", "被", "为") and _NOUN_BEHIND.match(text, earlier.end)):
            aside.add(earlier)
    return [mention for mention in mentions if mention not in aside]
