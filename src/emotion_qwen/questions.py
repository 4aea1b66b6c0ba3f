"""The fixed questions that the model is asked, in English and Chinese; needs no torch."""

from __future__ import annotations

from emotion_qwen.errors import SettingsError
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
"""How words and context are presented, by channel and language; they are between the media and the question."""
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
ROLE = {
    "en": (
        "Play a person with this emotional state: valence {valence:+.2f}, from -1 (very unpleasant) to 1 (very "
        "pleasant), and arousal {arousal:+.2f}, from -1 (very calm) to 1 (very excited). Answer in the first person, "
        "in two or three sentences, so that the state can be felt in every sentence. Do not mention the numbers."
    ),
    "zh": (
        "请扮演一个处于以下情绪状态的人：效价 {valence:+.2f}（-1 为非常不愉快，1 为非常愉快），唤醒度 {arousal:+.2f}"
        "（-1 为非常平静，1 为非常激动）。用第一人称回答两三句话，让每句话都能体现这种状态。不要提到这些数字。"
    ),
}
"""The system text that asks for a feeling."""
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


def role_text(valence: float, arousal: float, language: str) -> str:
    """Return the system text that asks a model to speak with a feeling, in "en" or "zh".

    Args:
        valence: unpleasant -1 to pleasant 1.
        arousal: calm -1 to excited 1.
        language: "en" or "zh".

    Raises:
        SettingsError: a number is outside its range.
    """
    for name, value in (("valence", valence), ("arousal", arousal)):
        if not -1 <= value <= 1:
            raise SettingsError(f"{name} {value:g}; expected a number from -1 to 1")
    return ROLE[language].format(valence=valence, arousal=arousal)
