"""Measure whether a model speaks with the feeling that it is asked for. The grid of AI with Emotions (2025), with
other questions.

Twelve states of valence and arousal are on a circle, 30 degrees apart. In each state the model answers the same
questions. The verifier reads the emotions of an answer; their shares, with the coordinates of the taxonomy, give a
point, and the score is the cosine between it and the state. Control: the same answers with states drawn at random
(about 0 if the answers follow the states). Refusals count as 0.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from emotion_qwen.evaluation.run.asking import Asker
from emotion_qwen.evaluation.scoring.bootstrap import IntervalEstimate, mean_over_tasks
from emotion_qwen.questions import role_text
from emotion_qwen.taxonomy import CONCEPTS
from emotion_qwen.verify.explanations import read_explanations
from emotion_qwen.verify.verifier import EMOTIONS, Verifier

STATES = tuple((math.cos(math.radians(angle)), math.sin(math.radians(angle))) for angle in range(0, 360, 30))
"""Valence and arousal of the twelve states, from (1, 0) on."""
TOKENS = 128
DRAWS = 200
"""Number of random assignments of states."""
QUESTIONS = {
    "en": (
        "How was your morning?", "What do you think of the weather today?", "Tell me about the last meal that you had.",
        "A neighbour knocks at your door. What do you say?", "What will you do this weekend?",
        "How do you like your work?", "Describe the room that you are in.", "A friend is late. What do you think?",
        "What did you dream last night?", "Tell me about a person whom you met this week.",
        "How do you feel about the coming year?", "You hear music from the street. What do you think?",
        "What is it like to be you at this moment?", "Someone gives you a letter. What do you expect in it?",
        "How was the journey home?", "What would you like to tell your family?", "What do you see in the mirror?",
        "What happened at the last party that you went to?", "How do you get on with your colleagues?",
        "Tell me about something that you own.",
    ),
    "zh": (
        "今天早上过得怎么样？", "你觉得今天的天气如何？", "说说你最近吃的一顿饭。", "邻居来敲门，你会说什么？",
        "这个周末你打算做什么？", "你喜欢你的工作吗？", "描述一下你所在的房间。", "朋友迟到了，你心里在想什么？",
        "你昨晚梦见了什么？", "说说这周你遇到的一个人。", "你怎么看即将到来的一年？", "街上传来音乐，你想到什么？",
        "此刻做你自己是什么感觉？", "有人递给你一封信，你觉得里面写了什么？", "回家的路上怎么样？",
        "你想对家人说什么？", "你照镜子时看到了什么？", "上次聚会发生了什么？", "你和同事相处得怎么样？",
        "说说你拥有的一件东西。",
    ),
}  # fmt: skip
_REFUSALS = re.compile(
    r"\b(?:as an? (?:ai|artificial|language model|assistant)"
    r"|i(?:'m| am) (?:just |only )?an? (?:ai|language model|assistant)"
    r"|i (?:can(?:no|')t|am unable to|won't) (?:role.?play|pretend|play a|play the|take on|assume|adopt|comply|assist)"
    r"|i (?:do not|don't) (?:have|experience) (?:feelings|emotions))"
    r"|作为(?:一个|一名)?(?:AI|人工智能|语言模型|智能助手)|我(?:是|只是)(?:一个)?(?:AI|人工智能|语言模型)"
    r"|我(?:不能|无法)(?:扮演|假装)|我没有(?:情感|感情|感觉|情绪)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class SpokenAnswer:
    """An answer in a state.

    Attributes:
        valence: of the state, -1 to 1.
        arousal: of the state, -1 to 1.
        question: as asked.
        text: the answer.
        refused: whether the answer is empty or refuses to take the state.
        read: valence and arousal that were read in it; (0, 0) for a refusal.
        cosine: between state and reading; 0 for a refusal or a reading without direction.
    """

    valence: float
    arousal: float
    question: str
    text: str
    refused: bool
    read: tuple[float, float]
    cosine: float


@dataclass(frozen=True)
class SpeakingScores:
    """Scores of a model over all answers.

    Attributes:
        cosine: mean with its interval over answers.
        shuffled: mean with the same answers and randomly drawn states: mean, lowest and highest of the middle 95 %
            of `DRAWS` assignments.
        refused: share of refusals.
        valence: correlation between requested and read valence; None if one is constant.
        arousal: the same of arousal.
        by_state: degrees -> mean cosine.
        distinct: number of different answers.
        answers: number of answers.
    """

    cosine: IntervalEstimate
    shuffled: IntervalEstimate
    refused: float
    valence: float | None
    arousal: float | None
    by_state: dict[int, float]
    distinct: int
    answers: int

    def to_dict(self) -> dict[str, Any]:
        """Return the scores as JSON values."""
        return asdict(self)


def is_refusal(text: str) -> bool:
    """Return whether an answer is empty or refuses to speak in a state."""
    return not any(map(str.isalnum, text)) or bool(_REFUSALS.search(text))


def read_points(texts: Sequence[str], verifier: Verifier) -> np.ndarray:
    """Return (N, 2) valence and arousal that the verifier reads in N texts; (0, 0) without a word."""
    places = np.array([[CONCEPTS[name].valence, CONCEPTS[name].arousal] for name in EMOTIONS])
    shares = [[reading.shares[name] for name in EMOTIONS] for reading in read_explanations(texts, verifier)]
    return np.array(shares).reshape(-1, len(EMOTIONS)) @ places


def cosines(points: np.ndarray, states: np.ndarray) -> np.ndarray:
    """Return the (N,) cosines of (N, 2) points and states; 0 where one has no direction."""
    lengths = np.linalg.norm(points, axis=1) * np.linalg.norm(states, axis=1)
    return np.where(lengths > 1e-9, (points * states).sum(axis=1) / np.maximum(lengths, 1e-9), 0.0)


def speak(model: Asker, language: str, verifier: Verifier, questions: int | None = None) -> list[SpokenAnswer]:
    """Ask a model in every state, and read its answers.

    Args:
        model: the model.
        language: "en" or "zh".
        verifier: reads the answers.
        questions: number of questions; None asks all.

    Raises:
        RemoteError: the model does not answer.
    """
    prompts = [(state, question) for state in STATES for question in QUESTIONS[language][:questions]]

    def answer(pair: tuple[tuple[float, float], str]) -> str:
        (valence, arousal), question = pair
        return model.ask(question, role_text(valence, arousal, language), TOKENS, None)

    with ThreadPoolExecutor(model.at_once) as pool:
        texts = list(pool.map(answer, prompts))
    refused = np.array([is_refusal(text) for text in texts])
    points = np.where(refused[:, None], 0.0, read_points(texts, verifier))
    angles = cosines(points, np.array([state for state, _ in prompts]))
    return [
        SpokenAnswer(*state, question, text, bool(no), (float(point[0]), float(point[1])), float(cosine))
        for (state, question), text, no, point, cosine in zip(prompts, texts, refused, points, angles, strict=True)
    ]


def score_speaking(answers: Sequence[SpokenAnswer], seed: int = 0) -> SpeakingScores:
    """Score answers; `seed` is that of intervals and random states."""
    states = np.array([[answer.valence, answer.arousal] for answer in answers])
    points = np.array([answer.read for answer in answers])
    generator = np.random.default_rng(seed)
    drawn = [float(cosines(points, generator.permutation(states)).mean()) for _ in range(DRAWS)]
    values = np.array([answer.cosine for answer in answers])
    degrees = np.rint(np.degrees(np.arctan2(states[:, 1], states[:, 0]))).astype(int) % 360
    low, high = np.quantile(drawn, (0.025, 0.975))
    return SpeakingScores(
        cosine=mean_over_tasks([values], seed=seed),
        shuffled=IntervalEstimate(float(np.mean(drawn)), float(low), float(high)),
        refused=sum(answer.refused for answer in answers) / len(answers),
        valence=_correlation(states[:, 0], points[:, 0]),
        arousal=_correlation(states[:, 1], points[:, 1]),
        by_state={int(angle): float(values[degrees == angle].mean()) for angle in np.unique(degrees)},
        distinct=len({answer.text for answer in answers}),
        answers=len(answers),
    )


def _correlation(first: np.ndarray, second: np.ndarray) -> float | None:
    if first.std() < 1e-9 or second.std() < 1e-9:
        return None
    return float(np.corrcoef(first, second)[0, 1])
