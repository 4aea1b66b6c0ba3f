"""Samples with pictures, videos, sounds and texts, and rewards, for the stages that learn from answers."""

from collections.abc import Callable

from emotion_qwen.data.mixture import SampleList
from emotion_qwen.questions import label_question
from emotion_qwen.records import Sample
from emotion_qwen.taxonomy import label_set

from .training_runs import noise_clip, tone

QUESTION = label_question(label_set("fer7"), "en")
LABELS = ("anger", "happiness", "sadness")


def medium(kind: str, number: int) -> list[dict]:
    content = {
        "video": lambda: noise_clip(number),
        "image": lambda: noise_clip(number).frames[0],
        "audio": lambda: tone(150.0 + 40 * number),
        "text": lambda: f"They have won {number} times. ",
    }[kind]()
    return [{"type": kind, kind: content}]


def moments(
    name: str, domain: str, split: str, *, kinds: list[str], count: int = 6, first: int = 0, rejected: str = ""
) -> SampleList:
    """Samples of some kinds in turn; with `rejected`, pairs of answers."""
    samples = []
    for number in range(count):
        label = LABELS[number % 3]
        content = [*medium(kinds[number % len(kinds)], number + first), {"type": "text", "text": QUESTION}]
        messages = ({"role": "user", "content": content}, {"role": "assistant", "content": label})
        labels = {"emotion": label, **({"rejected": rejected} if rejected else {})}
        samples.append(Sample(f"{name}/{number}", messages, labels))
    return SampleList(name, domain, samples)


def says(*, word: str = "surprise") -> Callable:
    """Reward answers that are a word."""
    return lambda answers: [float(answer.text == word) for answer in answers]


def letters(*, wanted: str = "e") -> Callable:
    """Reward the share of a letter in an answer."""
    return lambda answers: [answer.text.count(wanted) / max(len(answer.text), 1) for answer in answers]


def place() -> Callable:
    """Reward answers by their place in the batch, whatever they are."""
    return lambda answers: [float(number % 4 == 1) for number in range(len(answers))]


def same() -> Callable:
    """Reward all answers alike."""
    return lambda answers: [0.5 for _ in answers]


def broken() -> Callable:
    """Return a value that is no number."""
    return lambda answers: [float("nan") for _ in answers]
