"""Find where a reply marks its answer: tags, `\\boxed{}`, JSON, ticked boxes, or words such as "Final answer:".

Marks have three ranks: "primary emotion" and "final answer" outrank "emotion", and "secondary emotion" and
"alternative label" do not mark an answer.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

_TAG = re.compile(r"<answer>(.*?)</answer>", re.DOTALL | re.IGNORECASE)
_BOX = re.compile(r"\\boxed\{((?:[^{}]|\{[^{}]*\})*)\}")
_TICKED = re.compile(r"^[\s>*+-]*(?:\[[xX✓✔√]\]|\([xX✓✔√]\)|[☑✅✔✓])[ \t]*(\S.*)$", re.MULTILINE)

_WEAK = (
    r"second(?:ary)?|third|tertiary|others?|alternat(?:e|ives?)|additional|minor|runner[- ]?up|less likely|next|also"
    r"|previous|initial|opposite|background|mixed|possible|candidate|wrong|incorrect|excluded"
    "|次要|其他|其它|备选|次选|第二|第三|辅助|附加|可能|候选|排除"
)
_STRONG = (
    r"final|primary|main|dominant|predominant|leading|overall|best|most likely|top|first|chosen|selected|predicted"
    "|主要|首要|主导|最终|首选|第一|最可能|预测"
)
_KEY = (
    "answer|label|emotion|feeling|prediction|category|class|classification|conclusion|verdict|response|output|result"
    "|choice|sentiment|答案|回答|情绪|情感|标签|结论|预测|分类|类别|输出|结果|判断|选择|答"
)
# Keys next to an answer in JSON: its reason, confidence and strength.
_BESIDE = (
    r"reason|expla|analy|descri|cue|caus|evidence|context|thought|think|intens|confiden|score|probab|valence|arousal"
    "|change|trend|histor|option|question|理由|原因|分析|描述|依据|强度|置信|概率|变化|选项|问题|思考"
)
_WEAK_KEY, _STRONG_KEY, _ANSWER_KEY, _BESIDE_KEY = map(re.compile, (_WEAK, _STRONG, _KEY, _BESIDE))
_LABEL_KEY, _SHARE_KEY = (
    re.compile(words)
    for words in ("label|emotion|name|class|category|情绪|情感|标签", "scor|conf|prob|shar|weight|likel|percent")
)
# JSON that is truncated or uses single quotes.
_PAIR = re.compile(r"[\"']([^\"'\n]{1,40})[\"']\s*:\s*(\"[^\"]*\"|'[^']*'|\[[^\]]*\])")
_JSON_STARTS, _LONGEST_JSON = 50, 100_000
"""Maximum number of braces that are tried as the start of JSON, and of characters that are searched."""

# Marks in running text, normalised by `plain`.
_MARK = re.compile(
    rf"\b(?P<quality>(?:{_WEAK}|{_STRONG}|correct|recognized|detected|the)(?: \d+| three| two)? )?"
    rf"(?:{_KEY})s?(?: (?:label|category|class|type|name|result|is))?(?: is)?\s*(?:\([^()\n]{{1,20}}\)\s*)?[:=]"
    rf"|\b(?P<bare>{_WEAK}|{_STRONG}|best guess|(?:first|second|top) choice)\s*[:=]"
    r"|\b(?:final |correct )(?:answer|label|emotion) is\b|\bthe answer is\b"
    r"|^[ \t]*(?:final |my )?(?:answer|conclusion|result|output|prediction|label|response|答案|结论|结果|回答"
    r"|最终答案)[ \t]*$"
    rf"|(?P<zh>{_WEAK}|{_STRONG})?的?(?:{_KEY})(?:类别|标签|词|识别|分类|判断"
    rf"|结果)*(?:\([^()\n]{{1,10}}\))?(?:应该?)?[是为]?\s*:"
    rf"|(?P<zhbare>{_WEAK}|{_STRONG})\s*:|答案[是为]|最终的?(?:情绪|情感)[是为]",
    re.MULTILINE,
)
_UNDECIDED = re.compile(
    r"\b(?:unknown|unclear|none|n/a|null|uncertain|undetermined|cannot|can't|not|no)\b|未知|不确定|无法|不能|没有|无"
)


def enclosed(text: str) -> str | None:
    """Return the last answer that a reply encloses in a tag, a box, JSON or ticked boxes.

    Args:
        text: the original reply, without its reasoning.

    Returns:
        The enclosed text; shares of labels as lines of the form "label: share"; None if nothing is enclosed.
    """
    for kind in (_TAG, _BOX):
        parts = kind.findall(text)
        if parts:
            return str(parts[-1])
    answers = [answer for value in _json_values(text) if (answer := _answer_of(value)) is not None]
    if answers:
        return answers[-1]
    pairs = [(_rank(key), value) for key, value in _PAIR.findall(text) if _is_answer_key(key)]
    if pairs:
        best = max(rank for rank, _ in pairs)
        if best >= 0:
            return str([value for rank, value in pairs if rank == best][-1])
    ticked = _TICKED.findall(text)
    return "\n".join(ticked) if ticked else None


def marked(text: str) -> list[str]:
    """Return the marked parts of plain text, in order of precedence; empty if no answer is marked.

    Each part extends to the next mark. Of marks with equal rank, the later takes precedence. After a part that leaves
    the answer open ("Final answer: unknown"), no further part is returned.
    """
    marks = list(_MARK.finditer(text))
    ends = [mark.start() for mark in marks[1:]] + [len(text)] * bool(marks)
    ranked = []
    for place, (mark, end) in enumerate(zip(marks, ends, strict=True)):
        quality = mark["quality"] or mark["bare"] or mark["zh"] or mark["zhbare"] or ""
        rank = _rank(quality or ("final" if "final" in mark.group() else ""))
        if rank >= 0:
            ranked.append((rank, place, text[mark.end() : end]))
    parts = []
    for _, _, part in sorted(ranked, reverse=True):
        parts.append(part)
        if _UNDECIDED.search(part.partition("\n")[0]):
            break
    return parts


def _rank(quality: str) -> int:
    """Return 1 for a primary or final answer, 0 for an answer, -1 for a secondary or alternative one."""
    quality = quality.lower().replace("_", " ")
    if _WEAK_KEY.search(quality) and not re.search(r"\b(?:final|primary)|最终|主要", quality):
        return -1
    return int(bool(_STRONG_KEY.search(quality)))


def _is_answer_key(key: str) -> bool:
    key = key.lower()
    return bool(_ANSWER_KEY.search(key) or _STRONG_KEY.fullmatch(key)) and not _BESIDE_KEY.search(key)


def _json_values(text: str) -> Iterator[Any]:
    """Yield the outermost JSON objects and lists in a text."""
    decoder, at, tried = json.JSONDecoder(), 0, 0
    text = text[:_LONGEST_JSON]
    while (start := re.compile(r"[{\[]").search(text, at)) is not None and tried < _JSON_STARTS:
        tried, at = tried + 1, start.start() + 1
        try:
            value, at = decoder.raw_decode(text, start.start())
        except (ValueError, RecursionError):
            continue
        yield value


def _answer_of(value: Any) -> str | None:
    """Return the answer in parsed JSON as text, or None if it contains none."""
    if isinstance(value, list):
        return _written(value) if value and all(isinstance(entry, str | dict) for entry in value) else None
    if not isinstance(value, dict):
        return None
    answers = [(rank, entry) for key, entry in value.items() if _is_answer_key(key) and (rank := _rank(key)) >= 0]
    texts = [(rank, text) for rank, entry in answers if (text := _written(entry)) is not None]
    if texts:
        best = max(rank for rank, _ in texts)
        return next(text for rank, text in texts if rank == best)
    if value and all(_is_share(entry) for entry in value.values()):
        return _written(value)
    return next((text for entry in value.values() if isinstance(entry, dict) and (text := _answer_of(entry))), None)


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) or (
        isinstance(value, str) and bool(re.fullmatch(r"\s*[\d.]+\s*%?\s*", value))
    )


def _written(value: Any) -> str | None:
    """Return a JSON value as a line of text, or as lines of labels with shares; None if it is not an answer."""
    if value is None or isinstance(value, str):
        return value or ""
    if isinstance(value, list):
        parts = [part for entry in value if (part := _written(entry)) is not None]
        return ("\n" if any(isinstance(entry, dict) for entry in value) else ", ").join(parts)
    if not isinstance(value, dict):
        return None
    labels = [entry for key, entry in value.items() if _LABEL_KEY.search(key.lower()) and isinstance(entry, str)]
    shares = [entry for key, entry in value.items() if _SHARE_KEY.search(key.lower()) and _is_share(entry)]
    if labels:
        return f"{labels[0]}: {shares[0]}" if shares else labels[0]
    if all(isinstance(entry, bool) for entry in value.values()):
        return "\n".join(key for key, entry in value.items() if entry)
    if all(_is_share(entry) for entry in value.values()):
        return "\n".join(f"{key}: {entry}" for key, entry in value.items())
    return _answer_of(value)
