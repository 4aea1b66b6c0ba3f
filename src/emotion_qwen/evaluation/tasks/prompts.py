"""How tasks ask: the words that training uses too, and those of the benchmarks.

`processing.chat` loads torch, which scoring does without; so what stands there is imported when it is asked for.
"""

from __future__ import annotations

from emotion_qwen.taxonomy import LabelSet


def emotion_question(labels: LabelSet, language: str) -> str:
    """Compose the closed question about a person, in the words that training uses too."""
    from emotion_qwen.processing.chat import label_question

    return label_question(labels, language)


def object_question(labels: LabelSet, language: str) -> str:
    """Compose the closed question about the object of a picture, in the words that training uses too."""
    from emotion_qwen.data.questions import OBJECT_CLOSED

    joined = (", " if language == "en" else "、").join(labels.names(language))
    return OBJECT_CLOSED[language][0].format(labels=joined)


def spoken(language: str, text: str) -> str:
    """Tell what a person says, in the words that training uses too."""
    from emotion_qwen.processing.chat import TOLD

    return TOLD["words"][language].format(text=text)
