"""Paraphrased questions and answers about labelled pictures, in English and Chinese.

Many phrasings of questions about the same labels teach a model to answer with text. Question, phrasing and language are
drawn from the given generator, so the same seed gives the same conversation. The closed question is asked in the exact
wording of inference (`questions.label_question`) and in paraphrases.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from emotion_qwen.evaluation.tasks.prompts import OBJECT_QUESTION, OBJECT_SET, OBJECTS
from emotion_qwen.questions import LANGUAGES, QUESTIONS, TOLD, label_question
from emotion_qwen.taxonomy import LabelSet, concept, label_set

TRAINED_SETS = ("dfew7", "fer7", "ekman")
"""Label sets of which every label has training pictures here."""

# Adjectives and their Chinese counterparts, for sentences.
FEELINGS = {
    "happiness": (("happy", "joyful", "cheerful"), ("高兴", "开心", "快乐")),
    "sadness": (("sad", "unhappy", "sorrowful"), ("悲伤", "难过", "伤心")),
    "neutral": (("neutral", "calm"), ("平静", "中性")),
    "anger": (("angry", "furious"), ("愤怒", "生气")),
    "surprise": (("surprised", "astonished"), ("惊讶", "吃惊")),
    "disgust": (("disgusted", "repulsed"), ("厌恶", "反感")),
    "fear": (("afraid", "scared", "fearful"), ("害怕", "恐惧")),
}
VOICE_FEELINGS = {**FEELINGS, "boredom": (("bored", "weary"), ("无聊", "厌倦"))}
VOICE_SET = "emodb7"

FIRST_WORD = 0.85

CLOSED = {
    "en": (
        "What does this person feel? Options: {labels}.",
        "Pick the emotion on this face from {labels}.",
        "Choose one of {labels} for the emotion shown here.",
        "Emotion? One word from: {labels}.",
    ),
    "zh": (
        "这个人有什么感受？选项：{labels}。",
        "从{labels}中选出这张脸的情绪。",
        "图中是哪种情绪？从{labels}里选一个。",
        "情绪是什么？用一个词回答：{labels}。",
    ),
}
OPEN = {
    "en": (
        "Describe the person's feelings.",
        "How does this person feel?",
        "What emotion can you see?",
        "What is this person's mood?",
        "What does the face express?",
    ),
    "zh": (
        "描述这个人的情绪。",
        "这个人感觉怎么样？",
        "你能看出什么情绪？",
        "这个人的心情如何？",
        "这张脸表达了什么？",
    ),
}
SENTENCES = {
    "en": (
        "The person looks {word}.",
        "This person seems {word}.",
        "The face looks {word}.",
        "I think the person feels {word}.",
    ),
    "zh": ("这个人看起来很{word}。", "这个人似乎感到{word}。", "这张脸显得很{word}。", "我觉得这个人很{word}。"),
}
OBJECT_OPEN = {
    "en": ("What is in the picture?", "Name the main object.", "What do you see?", "What does the picture show?"),
    "zh": ("图片里有什么？", "说出主要的物体。", "你看到了什么？", "这张图显示了什么？"),
}
OBJECT_CLOSED = {
    "en": (OBJECT_QUESTION["en"], "Pick the object from {labels}."),
    "zh": (OBJECT_QUESTION["zh"], "从{labels}中选出物体。"),
}
OBJECT_SENTENCES = {
    "en": ("The picture shows {article} {word}.", "I see {article} {word}.", "It is {article} {word}."),
    "zh": ("图中是{word}。", "我看到了{word}。", "这是{word}。"),
}
TEXT_CLOSED = {
    "en": ("Somebody writes: {text}\nWhich emotion is it? Choose one: {labels}.", "{text}\nEmotion? One of: {labels}."),
    "zh": ("有人写道：{text}\n这是哪种情绪？请选择一个：{labels}。", "{text}\n情绪是什么？从{labels}中选。"),
}
TEXT_OPEN = {
    "en": ("{text}\nHow does the writer feel?", "Somebody writes: {text}\nDescribe the person's feelings."),
    "zh": ("{text}\n作者感觉怎么样？", "有人写道：{text}\n描述这个人的情绪。"),
}
VOICE_OPEN = {
    "en": ("How does the speaker feel?", "What does the voice express?", "Describe the speaker's mood."),
    "zh": ("说话人感觉怎么样？", "这个声音表达了什么？", "描述说话人的心情。"),
}
VOICE_SENTENCES = {
    "en": ("The voice sounds {word}.", "The speaker seems {word}.", "The person sounds {word}."),
    "zh": ("声音听起来很{word}。", "说话人似乎感到{word}。", "这个人听起来很{word}。"),
}
NO_PERSON = {"en": "No person can be seen.", "zh": "看不到人。"}
YES_NO = {"en": ("Yes.", "No."), "zh": ("是的。", "不是。")}


@dataclass(frozen=True)
class Exchange:
    """One question about a picture and its answer."""

    question: str
    answer: str
    language: str
    kind: str


def ask_face(label: str, rng: random.Random, closed: bool) -> Exchange:
    """Ask about a face whose emotion is `label` (a label of any set); a closed question names the labels."""
    language = rng.choice(LANGUAGES)
    kind = "closed" if closed else rng.choices(("describe", "yes_no"), weights=(0.8, 0.2))[0]
    meaning = concept(label)
    if kind == "closed":
        labels = label_set(rng.choice(TRAINED_SETS))
        return Exchange(_closed(labels, language, CLOSED, rng), _answer(meaning, labels, language), language, kind)
    if kind == "describe":
        question = QUESTIONS["describe"][language] if rng.random() < 0.5 else rng.choice(OPEN[language])
        return Exchange(question, _sentence(meaning, language, rng), language, kind)
    asked_for = meaning if rng.random() < 0.5 else rng.choice([c for c in FEELINGS if c != meaning])
    word = FEELINGS[asked_for][LANGUAGES.index(language)][0]
    question = f"Is the person {word}?" if language == "en" else f"这个人{word}吗？"
    return Exchange(question, YES_NO[language][asked_for != meaning], language, kind)


def ask_object(name: str, rng: random.Random, closed: bool) -> Exchange:
    """Ask about a picture of an object of `OBJECTS`; sometimes about the emotion of a person who is not there."""
    language = rng.choice(LANGUAGES)
    kind = "object_closed" if closed else rng.choices(("object", "describe"), weights=(0.8, 0.2))[0]
    if kind == "object_closed":
        question = _closed(OBJECT_SET, language, OBJECT_CLOSED, rng)
        return Exchange(question, name if language == "en" else OBJECTS[name], language, kind)
    if kind == "describe":
        return Exchange(QUESTIONS["describe"][language], NO_PERSON[language], language, kind)
    word = name if language == "en" else OBJECTS[name]
    article = "an" if word[0] in "aeiou" else "a"
    answer = rng.choice(OBJECT_SENTENCES[language]).format(word=word, article=article)
    return Exchange(rng.choice(OBJECT_OPEN[language]), answer, language, kind)


def ask_text(text: str, label: str, rng: random.Random) -> Exchange:
    """Ask which of the emotions of `FEELINGS` the writer of a text shows."""
    language, meaning = rng.choice(LANGUAGES), concept(label)
    if rng.random() < 0.5:
        labels = label_set(rng.choice(TRAINED_SETS))
        joined = (", " if language == "en" else "、").join(labels.names(language))
        question = rng.choice(TEXT_CLOSED[language]).format(text=text, labels=joined)
        return Exchange(question, _answer(meaning, labels, language), language, "text_closed")
    question = rng.choice(TEXT_OPEN[language]).format(text=text)
    return Exchange(question, _sentence(meaning, language, rng), language, "text_open")


def ask_texts(rows: Sequence[tuple[str, str]], rng: random.Random) -> list[Exchange]:
    """Ask about several (text, label) pairs in turn: the closed question is asked once, with the first pair."""
    language, labels = rng.choice(LANGUAGES), label_set(rng.choice(TRAINED_SETS))
    joined = (", " if language == "en" else "、").join(labels.names(language))
    spoken, question = (("{text}", rng.choice(TEXT_CLOSED[language])), (TOLD["words"][language], None))[
        rng.random() < 0.5
    ]
    first = question.format(text=rows[0][0], labels=joined) if question else spoken.format(text=rows[0][0])
    first += "" if question else label_question(labels, language)
    questions = [first, *(spoken.format(text=text) for text, _ in rows[1:])]
    answers = [_answer(concept(label), labels, language) for _, label in rows]
    return [Exchange(q, a, language, "text_closed") for q, a in zip(questions, answers, strict=True)]


def ask_voice(label: str, rng: random.Random, closed: bool) -> Exchange:
    """Ask how the speaker of a voice feels; `label` is one of `VOICE_SET`. A closed question names a set's labels."""
    language, meaning = rng.choice(LANGUAGES), concept(label)
    if not closed:
        question = QUESTIONS["describe"][language] if rng.random() < 0.5 else rng.choice(VOICE_OPEN[language])
        return Exchange(
            question, _sentence(meaning, language, rng, VOICE_SENTENCES, VOICE_FEELINGS), language, "describe"
        )
    fitting = [name for name in TRAINED_SETS if meaning in map(concept, label_set(name).labels)]
    name = VOICE_SET if not fitting or rng.random() < 0.5 else rng.choice(fitting)
    labels = label_set(name)
    return Exchange(_closed(labels, language, CLOSED, rng), _answer(meaning, labels, language), language, "closed")


def ask_blank(rng: random.Random) -> Exchange:
    """Ask a closed question about an empty picture; every label is an equally good answer.

    This makes the likelihoods of the labels with a blank visual equal, so that subtracting them (see `analysis.reader`)
    removes only the preferences of the wording.
    """
    language = rng.choice(LANGUAGES)
    ways: Mapping[str, tuple[str, ...]] = OBJECT_CLOSED if rng.random() < 0.3 else CLOSED
    labels = OBJECT_SET if ways is OBJECT_CLOSED else label_set(rng.choice(TRAINED_SETS))
    return Exchange(_closed(labels, language, ways, rng), rng.choice(labels.names(language)), language, "blank")


def ask_bare(rng: random.Random) -> Exchange:
    """Ask a closed question without any medium; every label is an equally good answer, as in `ask_blank`."""
    language, labels = rng.choice(LANGUAGES), label_set(rng.choice((*TRAINED_SETS, VOICE_SET)))
    return Exchange(_closed(labels, language, CLOSED, rng), rng.choice(labels.names(language)), language, "blank")


def _closed(labels: LabelSet, language: str, ways: Mapping[str, tuple[str, ...]], rng: random.Random) -> str:
    if ways is CLOSED and rng.random() < 0.6:
        return label_question(labels, language)
    joined = (", " if language == "en" else "、").join(labels.names(language))
    return rng.choice(ways[language]).format(labels=joined)


def _answer(meaning: str, labels: LabelSet, language: str) -> str:
    place = [concept(name) for name in labels.labels].index(meaning)
    return labels.names(language)[place]


def _sentence(
    meaning: str,
    language: str,
    rng: random.Random,
    ways: Mapping[str, tuple[str, ...]] = SENTENCES,
    feelings: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = FEELINGS,
) -> str:
    words = feelings[meaning][LANGUAGES.index(language)]
    # The first word of every emotion has the same share: otherwise greedy decoding prefers emotions with few synonyms.
    word = words[0] if rng.random() < FIRST_WORD else rng.choice(words[1:])
    return rng.choice(ways[language]).format(word=word)
