"""Read what a question asks of the measurements of a clip: who, when, what at a time, which first, how it changes."""

from __future__ import annotations

import re

from emotion_qwen.faces.face_claims import PHRASES, claims_in
from emotion_qwen.matching.grammar import chinese, english
from emotion_qwen.matching.statements import plain
from emotion_qwen.taxonomy import concept_of_word

OFFER = re.compile(
    r"(?:choose one(?: of)?|options?|pick one)\s*:?|请?(?:从中)?选择一个\s*[:：]?|选项\s*[:：]?", re.IGNORECASE
)
_LEFT = re.compile(
    r"\bwhy\b|\bspeaks? (?:for|against)\b|\bevidence\b|\b(?:sure|certain|likely|probab\w+)\b|\bname\b|\bsay|\bsaid\b"
    r"|为什么|为何|依据|迹象|确定|可能|名字|说了|说的"
)
"""Questions that the model answers: reasons, doubt, names, words."""
_COUNT = re.compile(r"\bhow many (?:people|persons|faces)\b|(?:几|多少)(?:个|名|位|张)?(?:人|脸)")
_WHO = re.compile(r"\bwho\b|\bwhich (?:person|one|of)\b|谁|哪个人|哪一个人|哪位|哪一位|哪个人物")
_WHEN = re.compile(
    r"\bwhen\b|\b(?:at|in|during) (?:what|which)\b|\bwhat time\b|\bhow long\b|\bwhich (?:part|section|seconds?)\b"
    r"|什么时候|何时|什么时间|哪段时间|哪个时间|哪一段|哪一秒|第?几秒|多久"
)
_TIME = re.compile(
    r"(?<![\d.])(\d+(?:\.\d+)?) ?(?:s|sec|secs|seconds?)\b|\bsecond (\d+(?:\.\d+)?)|第?(\d+(?:\.\d+)?) ?秒"
)
EARLIER, LATER = re.compile(r"\bbefore\b|\bearlier\b|之前|以前"), re.compile(r"\bafter\b|\blater\b|之后|以后")
_FIRST = re.compile(r"\bfirst\b|先")
_DIRECTION = re.compile(
    r"\b(?:better|worse|improv\w*|deteriorat\w*)\b|\bwhich way\b|变好|变差|更好|更差|好转|变坏|变糟"
)
_PERSON = re.compile(r"\bperson (\d+)|人物 ?(\d+)")
SAME = re.compile(r"same|neither|no change|差不多|不变|没有变化|一样")
_MOVED: tuple[tuple[re.Pattern[str], tuple[str, ...]], ...] = (
    (re.compile(r"\bsmil(?:e|es|ed|ing)\b|微笑|笑"), ("smile", "broad smile")),
    (re.compile(r"\bfrown\w*|皱眉"), ("brows lowered", "brows strongly lowered")),
    (re.compile(r"\brais\w+ (?:\w+ )?(?:eye)?brows?|扬眉|挑眉"), ("brows raised", "inner brows raised")),
    (re.compile(r"\bopen\w* (?:\w+ )?mouth|张嘴"), ("mouth open", "mouth wide open")),
    (
        re.compile(r"\b(?:clos\w+|shut\w*) (?:\w+ )?eyes\b|\beyes (?:closed|shut)\b|闭眼"),
        ("eyes closed", "eyes almost closed"),
    ),
    (re.compile(r"\blook\w* down\b|向下看|往下看"), ("gaze lowered",)),
    (re.compile(r"\blook\w* up\b|向上看|往上看"), ("gaze raised",)),
    (re.compile(r"低头"), ("head down",)),
    (re.compile(r"抬头"), ("head up",)),
)
"""What people say a face does -> words of `face_claims` for it."""

_WORDS_TEXT = (
    "a about after all an and any anybody anyone appear appears are as at be become becomes been before being better"
    " between by can change changes changing clip come comes could did do does during earlier emotion emotions end"
    " ever exactly express expresses expressing expression face faces feel feeling feelings feels felt first for from"
    " get gets go goes had has have he her him his how i in into is it later let long look looked looking looks man"
    " many me moment mood more of on one or order over part people person persons picture point s scene second seconds"
    " section see seem seems seen she should show showing shown shows so start starts state tell that the their them"
    " then there they this time times to us video visible was way what when which who whose will with woman worse you"
    " your"
)
_WORDS = frozenset(_WORDS_TEXT.split())
_CHARACTERS = frozenset(
    "这那个人物的地得看起来上去表现显示流露出什么时候刻间在哪段从到是谁一位情绪心感受觉怎样如何最先后之前以还变好差更"
    "坏糟了吗呢和与或者并且秒第钟片中里视频画面她他它们男女孩子会有没请问告诉我能状态几多少张脸名共总都处开始结束持续"
)
"""Words, and Chinese characters, of questions that are only about who shows what and when. A question with others asks
for more than was measured."""


def can_be_measured(question: str, language: str) -> bool:
    """Return whether a question is one that measurements may answer, so that it is worth measuring."""
    return bool(QuestionReading(plain(OFFER.split(question, maxsplit=1)[0]), language).kind)


class QuestionReading:
    """A question about who shows what and when, read by its words.

    Args:
        text: normalised by `statements.plain`, without options.
        language: "en" or "zh".

    Attributes:
        emotions: concepts that it names, in its order.
        movements: words of `face_claims` that it names.
        plain: whether it has no other words than those of such questions.
        numbers: of the people that it names.
        kind: "count", "at", "order", "direction", "who", "when" or "movement"; "" for any other question.
    """

    def __init__(self, text: str, language: str) -> None:
        self.text = text
        grammar = chinese() if language == "zh" else english()
        named = (concept_of_word()[match.group()] for match in grammar.mention.finditer(text))
        self.emotions = tuple(dict.fromkeys(named))
        self.movements = tuple(claims_in(text, language))
        rest = grammar.mention.sub(" ", text)
        for pattern, words in _MOVED:
            if not self.movements and pattern.search(text):
                self.movements, rest = words, pattern.sub(" ", rest)
        for word in self.movements:
            for phrase in PHRASES[word][language == "zh"]:
                rest = rest.replace(phrase, " ")
        self.plain = not any(
            word not in _WORDS if word.isascii() else not _CHARACTERS.issuperset(word)
            for word in re.findall(
                r"[a-z]+|[\u4e00-\u9fff]+", _DIRECTION.sub(" ", _PERSON.sub(" ", _TIME.sub(" ", rest)))
            )
        )
        self.numbers = [int(first or second) for first, second in _PERSON.findall(text)]
        time = _TIME.search(text)
        self.time = None if time is None else float(next(filter(None, time.groups())))
        self.kind = self._kind()

    def _kind(self) -> str:
        if _LEFT.search(self.text) or not self.plain:
            return ""
        if _COUNT.search(self.text):
            return "count"
        if self.time is not None:
            return "at"
        if len(self.emotions) == 2 and (self.earlier or self.later or _FIRST.search(self.text)):
            return "order"
        if _DIRECTION.search(self.text):
            return "" if _WHEN.search(self.text) else "direction"
        if _WHO.search(self.text) and len(self.emotions) == 1:
            return "who"
        if not _WHEN.search(self.text):
            return ""
        return "when" if len(self.emotions) == 1 else "movement" if self.movements and not self.emotions else ""

    @property
    def earlier(self) -> bool:
        """Whether it asks for "before"."""
        return bool(EARLIER.search(self.text))

    @property
    def later(self) -> bool:
        """Whether it asks for "after"."""
        return bool(LATER.search(self.text))
