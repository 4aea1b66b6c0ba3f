"""Detect replies in the form that emotion training teaches, whatever the prompt asked.

A model that forgets answers general prompts as if they were about a face or a voice: "neutral", "The sea is neutral.",
"The corners of the mouth are raised. The person looks happy." The forms are: label words alone; sentences about what a
person shows or what something indicates; sentences with claims of `face_claims` or `voice_claims`; steps of reasoning
as JSON; and statements that nobody is visible. A longer reply has such a form if at least half of its sentences do.
"""

from __future__ import annotations

import re

from emotion_qwen.evaluation.scoring.instructions import sentences_of
from emotion_qwen.taxonomy import concept_of_word

LABELS, PERSON, CLAIM, STEPS = "label words alone", "what a person shows", "claim of a face or voice", "steps as JSON"
WORDS_ALONE = 4
"""Maximum number of label words in a reply that consists of label words alone."""
_STEP_KEYS = re.compile(r"\"?(?:seen|heard|meaning|conclusion)\"?\s*[:：]", re.IGNORECASE)
_SEPARATORS = re.compile(r"\s*(?:[,;/|、，；.。!！]|\band\b|\bor\b|和|或)\s*")
_ABOUT = r"(?:the|this) (?:person|face|speaker|voice|expression|writer|man|woman)(?:'s face|'s voice)?"
_SHOWS = r"(?:looks?|seems?|sounds?|feels?|appears?|shows?|expresses|is)"
_HEDGES = r"(?:(?:to|be|like|most|likely|probably|perhaps|very|a|little|rather|somewhat|quite|mostly) )*"
_ENGLISH = (
    # the person looks WORD; an emotion word must follow, so "The person is reading" does not match
    re.compile(rf"\b{_ABOUT} {_SHOWS} {_HEDGES}(?P<word>[a-z]+(?: [a-z]+)?)"),
    re.compile(r"^(?:the|this|it|she|he|that) ?(?:[a-z]+ ){0,2}(?:is|looks|seems|sounds|feels) (?P<word>[a-z]+)$"),
    re.compile(rf"\b(?:this|all of this|it) (?:speaks for|points to) {_HEDGES}(?P<word>[a-z]+)"),
    re.compile(r"^probably (?P<word>[a-z]+), perhaps"),
    re.compile(r"^it is hard to tell: (?P<word>[a-z]+) is a little likelier"),
    re.compile(r"^the (?:emotion|feeling|label|mood)(?: shown| here)? is (?P<word>[a-z]+)"),
)
_ENGLISH_WHOLE = re.compile(
    r"^(?:no (?:person|face|voice) (?:can be|is|was) (?:seen|heard|found)|the face is ambiguous|the picture shows "
    r"|nothing stands out about the |the head is held straight|its melody is |it goes on with(?:out)? )"
)
_CHINESE = re.compile(
    r"(?:这个人|这张脸|此人|说话人|人物|声音|表情)(?:看起来|似乎|显得|听起来|很可能|可能|应该)?(?:感到|是|很|十分|非常|有些|有点)*"
    r"(?P<word>[一-鿿]{1,4}?)(?:的)?$"
)
_CHINESE_WHOLE = re.compile(
    r"^(?:这些迹象指向|种种迹象表明|综合来看，?表情是|这更像|大概是.{1,4}，或许是|很难断定：|表情不明确|看不到人|没有找到人脸|没有听到人声|图中是)"
)


def trained_form(text: str) -> str:
    """Return the kind of trained form that a reply has; empty for a general answer."""
    bare = text.strip()
    if not bare:
        return ""
    if _only_labels(bare):
        return LABELS
    if bare.startswith(("{", "```")) and len(_STEP_KEYS.findall(bare)) > 1:
        return STEPS
    pieces = (piece for line in bare.splitlines() for piece in sentences_of(line))
    sentences = [piece for piece in pieces if any(map(str.isalnum, piece))]
    kinds = [kind for kind in map(_kind, sentences) if kind]
    enough = kinds and 2 * len(kinds) >= len(sentences)
    return max(dict.fromkeys(kinds), key=kinds.count) if enough else ""


def _only_labels(text: str) -> bool:
    words = [word for word in _SEPARATORS.split(text.lower()) if word]
    return 0 < len(words) <= WORDS_ALONE and all(map(_is_emotion, words))


def _is_emotion(word: str) -> bool:
    return word in concept_of_word()


def _kind(sentence: str) -> str:
    """Return the kind of trained sentence; empty for any other sentence."""
    plain = " ".join(sentence.lower().split()).strip(" .!?\"'*-。！？")
    if _claims(plain):
        return CLAIM
    if _ENGLISH_WHOLE.match(plain) or _CHINESE_WHOLE.match(plain):
        return PERSON
    for pattern in (*_ENGLISH, _CHINESE):
        match = pattern.search(plain)
        if match and any(map(_is_emotion, (match.group("word"), match.group("word").partition(" ")[0]))):
            return PERSON
    return ""


def _claims(sentence: str) -> bool:
    """Return whether a sentence makes a claim about a face or a voice that could be measured."""
    from emotion_qwen.faces.face_claims import claims_in  # loads OpenCV and PyAV, which listing tasks does not need
    from emotion_qwen.media.voice_claims import voice_claims_in

    return any(find(sentence, language) for find in (claims_in, voice_claims_in) for language in ("en", "zh"))
