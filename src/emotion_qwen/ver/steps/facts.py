"""Check a description against the measurements by rules for English and Chinese.

The rules deliberately use few words, so that every objection can quote what it refers to.
"""

from __future__ import annotations

import re
from functools import cache

from emotion_qwen.matching.statements import stated_concepts
from emotion_qwen.taxonomy import CONCEPTS, concept
from emotion_qwen.ver.settings import CheckSettings
from emotion_qwen.ver.store.columns import Row, speaker_of
from emotion_qwen.ver.teachers.description import Description
from emotion_qwen.ver.teachers.evidence import has_sound

_PEOPLE = r"(?:people|persons?|men|man|women|woman|boys?|girls?|children|child|faces?|figures?|speakers?|characters?)"
_SECOND = {
    "en": re.compile(
        rf"\b(?:two|three|four|five|several|many|both|another|a second|the second|the other)(?: \w+)? {_PEOPLE}\b"
        r"|\b(?:look|talk|speak|smil|fac|embrac|hug|kiss|argu|listen)\w*(?: \w+){0,2} (?:each other|one another)\b"
        r"|\bboth of them\b",
        re.IGNORECASE,
    ),
    "zh": re.compile(
        "(?:两|二|三|四|几|多|另一|另外一|第二)(?:个|位|名)[^，。；]{0,4}?(?:男人|女人|人|男|女|者|孩)|两人|二人|三人|对方|彼此(?:对视|交谈|注视|拥抱)|(?:看着|望着|面对|注视|拥抱)彼此"
    ),
}
_SMILE = {
    "en": re.compile(
        r"\b(?:smil(?:e|es|ed|ing)|laugh(?:s|ed|ing|ter)?|grin(?:s|ned|ning)?|chuckl\w+)\b", re.IGNORECASE
    ),
    "zh": re.compile("微笑|笑容|大笑|笑意|含笑|笑着|笑了|咧嘴|发笑|嬉笑"),
}
_DENIED = {
    "en": re.compile(
        r"(?:\b(?:no|not|without|never|nor|neither|hardly|barely|lacks?|absence of)\b|n't\b)"
        r"(?:(?!\b(?:but|yet|however)\b)[^.,;!?]){0,30}$",
        re.I,
    ),
    # 不禁, 不由得, 无意间 and the like are not negations: who cannot help smiling smiles
    "zh": re.compile(
        "(?:没有|没|无(?!意|奈|比|法)|(?<!忍)不(?!禁|由|住|断|停|时|自觉)|未|缺乏|并非)[^，。！？；]{0,6}$"
    ),
}
_SPEAKS = {
    "en": re.compile(r"\b(?:speaks|says|said|speaking|talks|talking|shouts|whispers)\b", re.IGNORECASE),
    "zh": re.compile("说话|说道|说着|讲话|开口|喊|低语"),
}
_QUOTED = re.compile('[“"「『][^”"」』]*[”"」』]')
_SILENT = {
    "en": re.compile(
        r"\b(?:no|any|without|cannot hear) (?:\w+ ){0,2}(?:sound|voice|audio|speech|words)\b"
        r"|\b(?:is|was|stays) silent\b|\bsilence\b|\binaudible\b|\bnothing (?:is|can be) heard\b"
        r"|^(?:none|n/a|silent|empty|no)\W*$",
        re.IGNORECASE,
    ),
    "zh": re.compile("(?:没有|没|无)(?:任何)?(?:声音|人声|语音|音频)|无声|静音|沉默|听不到|听不见|^(?:无|没有)[。.]?$"),
}
_LATIN, _HAN = re.compile("[A-Za-z]"), re.compile("[\u4e00-\u9fff]")
_WRONG_LANGUAGE = 0.15
"""Maximum share of letters in the other script, which allows quoted words and names of notes."""
AGREES = {"valence": 0.5, "arousal": 0.7}
"""Maximum difference between the numbers of the two languages."""


def language_fault(record: Description, language: str) -> str:
    """Return the objection to texts in another language, or ""."""
    other = 0
    for name in ("description", "reasoning"):
        text = getattr(record, name)
        latin, han = len(_LATIN.findall(text)) / 4, len(_HAN.findall(text))  # a Chinese character is about one word
        if latin + han == 0:
            continue
        share = (latin if language == "zh" else han) / (latin + han)
        other += share > (0.3 if language == "zh" else _WRONG_LANGUAGE)
    for text in (" ".join(record.facial_cues), record.body, record.voice, record.scene):
        wrong, right = (_LATIN, _HAN) if language == "zh" else (_HAN, _LATIN)
        other += len(wrong.findall(_unquoted(text))) > (20 if language == "zh" else 5) and not right.search(text)
    return f"language: the {language} texts are not in {'English' if language == 'en' else 'Chinese'}" if other else ""


def length_fault(record: Description, language: str, settings: CheckSettings) -> str:
    """Return the objection to a description that is too short or too long, or ""."""
    scale = 1 if language == "en" else 3
    count, least, most = len(record.description), settings.shortest // scale, settings.longest // scale
    if not least <= count <= most:
        return f"length: the description has {count} characters; expected {least} to {most}"
    return "" if record.reasoning else "length: there is no reasoning"


def people_fault(record: Description, item: Row, language: str) -> str:
    """Return the objection to people who were not measured, or ""."""
    most, tracks = item["most_people"] or 0, item["people"] or 0
    if not most <= record.people <= tracks:
        measured = str(most) if most == tracks else f"{most} to {tracks}"
        return f"people: {record.people} described, {measured} measured"
    second = _stated(_SECOND, record.texts, language) if tracks <= 1 else ""
    return f"people: {second!r}, but one face was measured" if second else ""


def speaker_fault(record: Description, item: Row, language: str) -> str:
    """Return the objection to a voice or speaker that was not measured, or ""."""
    words = bool(item["words"]) and item["words"] != "[]"
    if record.speaker > (item["people"] or 0):
        return f"speaker: person {record.speaker}, but {item['people']} measured"
    if not has_sound(item):
        if record.voice and not _SILENT[language].search(record.voice):
            return f"voice: {record.voice[:40]!r}, but the clip has no sound"
        if record.speaker and not words:
            return f"speaker: person {record.speaker}, but the clip has no sound and no words"
        spoken = _stated(_SPEAKS, record.description, language)
        return f"speaker: {spoken!r}, but the clip has no sound and no words" if spoken and not words else ""
    measured = speaker_of(item)
    if record.speaker and measured >= 0 and record.speaker != measured + 1:
        return f"speaker: person {record.speaker}, but the mouth of person {measured + 1} moves with the sound"
    return ""


def smile_fault(record: Description, item: Row, language: str, settings: CheckSettings) -> str:
    """Return the objection to a smile where none was measured, or ""."""
    if item["smile"] is None or item["smile"] >= settings.smile:
        return ""
    smile = _stated(_SMILE, record.texts, language)
    return f"smile: {smile!r}, but no smile was measured ({item['smile']:.0%})" if smile else ""


def label_fault(record: Description) -> str:
    """Return the objection to a label that contradicts the description or the numbers, or ""."""
    wanted = concept(record.emotions[0])
    stated = stated_concepts(record.description)
    named = {concept(emotion) for emotion in record.emotions}
    if stated and not stated & named:
        return f"label: {record.emotions[0]!r}, but the description says {', '.join(sorted(stated))}"
    expected = CONCEPTS[wanted].valence
    if abs(expected) >= 0.4 and record.valence * expected < -0.1:
        return f"valence: {record.valence:+.2f} contradicts {record.emotions[0]!r}"
    return ""


def languages_fault(first: Description, second: Description) -> str:
    """Return the objection to English and Chinese texts that contradict each other, or ""."""
    if concept(first.emotions[0]) != concept(second.emotions[0]):
        return f"languages: {first.emotions[0]!r} in English, {second.emotions[0]!r} in Chinese"
    for name, most in AGREES.items():
        apart = abs(getattr(first, name) - getattr(second, name))
        if apart > most:
            return f"languages: {name} differs by {apart:.2f}, at most {most:g}"
    return ""


def objections(record: Description, item: Row, language: str, settings: CheckSettings) -> list[str]:
    """Return all objections to one description."""
    faults = (
        language_fault(record, language),
        length_fault(record, language, settings),
        people_fault(record, item, language),
        speaker_fault(record, item, language),
        smile_fault(record, item, language, settings),
        label_fault(record),
    )
    return [fault for fault in faults if fault]


def without_emotions(text: str) -> str:
    """Replace the words that name emotions, in both languages, so that only the evidence remains."""
    return _emotion_words().sub("[...]", text)


@cache
def _emotion_words() -> re.Pattern[str]:
    english = sorted({word for c in CONCEPTS.values() for word in (c.name, *c.english)}, key=len, reverse=True)
    chinese = sorted({word for c in CONCEPTS.values() for word in c.chinese}, key=len, reverse=True)
    latin = rf"(?<![A-Za-z])(?:{'|'.join(map(re.escape, english))})(?![A-Za-z])"
    return re.compile(f"{latin}|{'|'.join(map(re.escape, chinese))}", re.IGNORECASE)


def _stated(words: dict[str, re.Pattern[str]], text: str, language: str) -> str:
    """Return the first of the words that a text states; quoted or negated words are not stated."""
    text = _unquoted(text)
    for match in words[language].finditer(text):
        if not _DENIED[language].search(text[: match.start()]):
            return match.group()
    return ""


def _unquoted(text: str) -> str:
    """Remove quotations: they are words from the clip, not claims of the teacher."""
    return _QUOTED.sub(" ", text)
