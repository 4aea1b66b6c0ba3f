"""The fixed questions that the model is asked, in English and Chinese; needs no torch."""

from __future__ import annotations

from emotion_qwen.records import EVOKED, PEOPLE
from emotion_qwen.taxonomy import LabelSet

QUESTIONS = {
    "label": {
        "en": "Which emotion does the person show? Choose one: {labels}.",
        "zh": "这个人表现出哪种情绪？请选择一个：{labels}。",
    },
    "describe": {
        "en": "Say in one sentence how the person feels.",
        "zh": "请用一句话说明这个人的感受。",
    },
    "account": {
        "en": "Describe what is seen and heard, and what it says about the feelings.",
        "zh": "描述看到和听到的内容，并说明这反映了怎样的感受。",
    },
    "label_evoked": {
        "en": "Which emotion does the picture evoke? Choose one: {labels}.",
        "zh": "这张图片会引起哪种情绪？请选择一个：{labels}。",
    },
    "describe_evoked": {
        "en": "Say in one sentence which feeling the picture evokes.",
        "zh": "请用一句话说明这张图片引起的感受。",
    },
}
TOLD = {
    "words": {"en": 'The person says: "{text}" ', "zh": "这个人说：“{text}”"},
    "context": {"en": "Context: {text} ", "zh": "背景：{text} "},
}
"""How words and context are told, by channel and language; they stand between the media and the question."""
REFLECTION = {
    "label": {
        "en": "Somebody describes a person: {text}\nWhich emotion does the person show? Choose one: {labels}.",
        "zh": "有人这样描述一个人：{text}\n这个人表现出哪种情绪？请选择一个：{labels}。",
    },
    "describes": {
        "en": "Does this describe what is shown: {text}\nAnswer yes or no.",
        "zh": "下面的描述符合所展示的内容吗：{text}\n请回答是或不是。",
    },
}
"""The questions that ask a model again from its own reasoning; see `verify.reflection`."""
LANGUAGES = ("en", "zh")


def label_question(labels: LabelSet, language: str, about: str = PEOPLE) -> str:
    """Compose the closed question over a label set, in "en" or "zh": what is shown, or evoked (`records.ABOUT`)."""
    joined = (", " if language == "en" else "、").join(labels.names(language))
    return QUESTIONS["label_evoked" if about == EVOKED else "label"][language].format(labels=joined)


def describe_question(language: str, about: str = PEOPLE) -> str:
    """Return the question for a sentence about a clip, in "en" or "zh"; see `label_question`."""
    return QUESTIONS["describe_evoked" if about == EVOKED else "describe"][language]


def account_question(language: str) -> str:
    """Return the question for several sentences about a clip whose facts the model knows, in "en" or "zh"."""
    return QUESTIONS["account"][language]
