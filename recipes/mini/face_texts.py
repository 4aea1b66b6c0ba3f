"""Descriptions of a face, and questions about it, written from its measurements.

Every sentence about the face contains only claims of `faces.face_claims`, so a trained model's sentences can be checked
claim by claim. The emotion comes from people's votes: where they disagree, the description says so. Content, order,
phrasing and language are drawn from the generator that is passed in, so the same seed gives the same text.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emotion_qwen.faces.face_claims import NAMES, PHRASES, PLAIN, SCALES, FaceClaim, face_claims, face_word
from emotion_qwen.questions import LANGUAGES
from recipes.nano.questions import FEELINGS, Exchange

MOUTH = ("smile", "mouth corners", "jaw", "upper lip", "lower lip", "pressed lips", "pucker", "stretched mouth")
EYES = ("lowered brows", "inner brows", "outer brows", "eyelids", "narrowed eyes", "wide eyes")
GAZE = ("lowered gaze", "raised gaze", "yaw", "pitch", "roll")
CLEAR, MOST = 0.7, 0.5
"""Shares of the likeliest emotion above which it is stated, and above which it is called the likeliest."""

ASK = {
    "en": (
        "Describe the face and say what it shows.",
        "What does the face do, and what does that say about the feelings?",
        "Describe the person's expression in two or three sentences.",
        "What can you see in this face?",
    ),
    "zh": (
        "描述这张脸，并说明它表现了什么。",
        "这张脸有哪些动作？这说明了什么感受？",
        "请用两三句话描述这个人的表情。",
        "从这张脸上能看出什么？",
    ),
}
ASK_PART = {
    "mouth": {"en": ("What does the mouth do?", "Describe the mouth."), "zh": ("嘴部有什么动作？", "描述一下嘴部。")},
    "eyes": {
        "en": ("What do the brows and eyes do?", "Describe the brows and the eyes."),
        "zh": ("眉毛和眼睛有什么动作？", "描述一下眉眼。"),
    },
    "head": {"en": ("Where is the head turned?", "How is the head held?"), "zh": ("头朝向哪里？", "头部姿态如何？")},
}
PARTS = {"mouth": MOUTH, "eyes": EYES, "head": ("yaw", "pitch", "roll")}
NOTHING = {
    "mouth": {"en": "Nothing stands out about the mouth.", "zh": "嘴部没有明显的动作。"},
    "eyes": {"en": "Nothing stands out about the brows and eyes.", "zh": "眉眼没有明显的动作。"},
    "head": {"en": "The head is held straight.", "zh": "头部端正。"},
}
ASK_WHY = {
    "en": ("Why {word}?", "What speaks for {word}?", "What makes the person look {word}?"),
    "zh": ("为什么说是{word}？", "哪些迹象说明是{word}？", "这个人为什么看起来{word}？"),
}
ASK_CLAIM = {"en": ("Is it true that {phrase}?", "Would you say that {phrase}?"), "zh": ("{phrase}，对吗？",)}
YES_NO = {"en": ("Yes, {phrase}.", "No."), "zh": ("对，{phrase}。", "不对。")}
FORMS: dict[str, dict[int, tuple[str, ...]]] = {
    "en": {
        1: ("{0}.",),
        2: ("{0}, and {1}.", "{0} and {1}.", "{0}; {1}.", "While {0}, {1}."),
        3: ("{0}, {1}, and {2}.", "{0} and {1}; {2}.", "{0}, while {1} and {2}."),
    },
    "zh": {
        1: ("{0}。",),
        2: ("{0}，{1}。", "{0}，同时{1}。", "{0}，而且{1}。"),
        3: ("{0}，{1}，{2}。", "{0}，{1}，同时{2}。"),
    },
}
CONCLUSIONS: dict[str, dict[str, tuple[str, ...]]] = {
    "clear": {
        "en": (
            "The person looks {first}.",
            "This speaks for {first_noun}.",
            "Taken together, the expression is {first}.",
            "All of this points to {first_noun}.",
        ),
        "zh": (
            "这个人看起来{first}。",
            "这些迹象指向{first}。",
            "综合来看，表情是{first}的。",
            "种种迹象表明这个人{first}。",
        ),
    },
    "likely": {
        "en": (
            "The person is most likely {first}; {second} is possible.",
            "This speaks for {first_noun} rather than {second_noun}.",
            "Probably {first_noun}, perhaps {second_noun}.",
        ),
        "zh": (
            "这个人很可能{first}，也可能{second}。",
            "这更像{first}，而不是{second}。",
            "大概是{first}，或许是{second}。",
        ),
    },
    "open": {
        "en": (
            "It is hard to tell: {first_noun} is a little likelier than {second_noun}.",
            "The face is ambiguous: both {first_noun} and {second_noun} are possible, {first_noun} a little more.",
        ),
        "zh": ("很难断定：{first}比{second}略有可能。", "表情不明确，{first}和{second}都有可能，前者稍多。"),
    },
}


@dataclass(frozen=True)
class FaceFacts:
    """Known data of one face.

    Attributes:
        values: measurement -> value, as of `face_claims.measurements`; empty where none was measured.
        votes: emotion, a key of `recipes.nano.questions.FEELINGS` -> share of the people who chose it.
    """

    values: Mapping[str, float]
    votes: Mapping[str, float]


def ask_face(facts: FaceFacts, rng: random.Random, language: str | None = None) -> Exchange:
    """Write one question about a face, and its answer from the facts; the language is drawn unless it is given."""
    language = language or rng.choice(LANGUAGES)
    if not facts.values:
        return Exchange(rng.choice(ASK[language]), conclusion(facts.votes, language, rng), language, "describe")
    kind = rng.choices(("describe", "part", "why", "claim"), weights=(0.55, 0.2, 0.1, 0.15))[0]
    if kind == "describe":
        return Exchange(rng.choice(ASK[language]), describe_face(facts, language, rng), language, kind)
    if kind == "part":
        part = rng.choice(list(PARTS))
        claims = [claim for claim in face_claims(facts.values) if claim.name in PARTS[part]]
        answer = sentence(claims[:3], language, rng) if claims else NOTHING[part][language]
        return Exchange(rng.choice(ASK_PART[part][language]), answer, language, kind)
    if kind == "why":
        word = _word(likeliest(facts.votes)[0], language)
        claims = mentioned(face_claims(facts.values), rng, most=3)
        answer = sentence(claims, language, rng) if claims else conclusion(facts.votes, language, rng)
        return Exchange(rng.choice(ASK_WHY[language]).format(word=word), answer, language, kind)
    return ask_claim(facts.values, language, rng)


def ask_claim(values: Mapping[str, float], language: str, rng: random.Random) -> Exchange:
    """Ask whether a claim is true; half of the claims are, and a false one is far from its bound."""
    truth = rng.random() < 0.5
    if truth:
        claim = rng.choice(face_claims(values))
        word = claim.word
    else:
        absent = [word for word in PHRASES if NAMES[word] in values and _contradicts(word, values)]
        word = rng.choice(absent)
    phrase = rng.choice(PHRASES[word][LANGUAGES.index(language)])
    answer = YES_NO[language][not truth].format(phrase=phrase)
    return Exchange(rng.choice(ASK_CLAIM[language]).format(phrase=phrase), answer, language, "claim")


def describe_face(facts: FaceFacts, language: str, rng: random.Random) -> str:
    """Write two to four sentences: the movements of the face, clearest first, and the emotion that they indicate."""
    claims = mentioned(face_claims(facts.values), rng, most=rng.choice((2, 3, 3, 4)))
    sentences = [sentence(claims[:2], language, rng)] if claims else []
    if len(claims) > 2:
        sentences.append(sentence(claims[2:], language, rng))
    return (" " if language == "en" else "").join([*sentences, conclusion(facts.votes, language, rng)])


def mentioned(claims: Sequence[FaceClaim], rng: random.Random, most: int) -> list[FaceClaim]:
    """Choose the claims of a description: clear ones first, and both mouth and eyes if both have claims."""
    telling = [claim for claim in claims if claim.word not in PLAIN]
    ranked = sorted(telling, key=lambda claim: claim.strength + 0.3 * rng.random(), reverse=True)
    chosen = [next((claim for claim in ranked if claim.name in part), None) for part in (MOUTH, EYES)]
    kept = [claim for claim in chosen if claim is not None]
    kept += [claim for claim in ranked if claim not in kept]
    if len(kept) < 2:
        plain = [claim for claim in claims if claim.word in PLAIN]
        kept += rng.sample(plain, min(len(plain), 2 - len(kept)))
    return kept[:most]


def sentence(claims: Sequence[FaceClaim], language: str, rng: random.Random) -> str:
    """Put one to three claims into a sentence."""
    phrases = [rng.choice(PHRASES[claim.word][LANGUAGES.index(language)]) for claim in claims]
    text = rng.choice(FORMS[language][len(phrases)]).format(*phrases)
    return text[0].upper() + text[1:]


def conclusion(votes: Mapping[str, float], language: str, rng: random.Random) -> str:
    """State the emotion indicated by the votes, and how clearly."""
    first, second = likeliest(votes)
    kind = "clear" if votes[first] >= CLEAR else "likely" if votes[first] >= MOST else "open"
    form = rng.choice(CONCLUSIONS[kind][language])
    return form.format(
        first=_word(first, language), second=_word(second, language), first_noun=_noun(first), second_noun=_noun(second)
    )


def likeliest(votes: Mapping[str, float]) -> tuple[str, str]:
    """Return the two emotions with the largest shares, the larger first."""
    first, second, *_ = sorted(votes, key=lambda name: -votes[name])
    return first, second


def _word(emotion: str, language: str) -> str:
    return FEELINGS[emotion][LANGUAGES.index(language)][0]


def _noun(emotion: str) -> str:
    return "a neutral mood" if emotion == "neutral" else emotion


def _contradicts(word: str, values: Mapping[str, float]) -> bool:
    """Return whether a face shows something else by the same measurement, or clearly not this."""
    name = NAMES[word]
    other = face_word(name, values[name])
    if other is not None:
        return other != word
    scale = SCALES[name]
    return len(scale) == 2 and values[name] < scale[0][0] / 2  # a word without an opposite, of which nothing is there
