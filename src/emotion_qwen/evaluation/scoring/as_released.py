"""The arithmetic of the authors' release, reproduced so that published numbers can be compared. Not our scores.

What is described here is what their scripts do at commit 8c52bf3, its faults included; every docstring names the
fault. Functions take plain texts and return plain numbers, never `Score` or `Result`, so that nothing of this can be
mixed with ours by mistake. Clips whose file was missing are skipped by the scripts and so leave the denominator: pass
only those that were answered.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from emotion_qwen.extras import optional

NONE, OTHER, UNKNOWN = "none", "other", "Unknown"
MER_LABELS = ("happy", "sad", "neutral", "angry", "surprise", "worried")
MER_FALLBACK = "worried"


def dfew_reading(reply: str, gold: str) -> str:
    """Return the gold label if it stands anywhere in the reply, also inside a word or denied, else "none"."""
    return gold if gold in reply.lower() else NONE


def dfew_scores(replies: Sequence[str], gold: Sequence[str]) -> dict[str, float]:
    """Return WAR and UAR of Emotion-Qwen's own script.

    UAR averages over the labels that occur among truth and predictions, so "none" is an eighth class with recall 0 as
    soon as one reply misses: the true mean times 7/8.
    """
    metrics = optional("sklearn.metrics", "eval")
    given = [dfew_reading(reply, label) for reply, label in zip(replies, gold, strict=True)]
    return {
        "WAR": float(metrics.recall_score(gold, given, average="weighted", zero_division=0)),
        "UAR": float(metrics.recall_score(gold, given, average="macro", zero_division=0)),
    }


def dfew_baseline_scores(replies: Sequence[str], gold: Sequence[str]) -> dict[str, float]:
    """Return WAR and UAR of the scripts for the baselines.

    Truth is 1 everywhere and a miss is 0, so UAR is the mean of the hit rate and of a class without items: WAR / 2,
    unless every reply is right.
    """
    metrics = optional("sklearn.metrics", "eval")
    hits = [int(label in reply.lower()) for reply, label in zip(replies, gold, strict=True)]
    truth = [1] * len(hits)
    return {
        "WAR": float(metrics.recall_score(truth, hits, average="weighted", zero_division=0)),
        "UAR": float(metrics.recall_score(truth, hits, average="macro", zero_division=0)),
    }


def mer_reading(reply: str) -> str:
    """Return the alphabetically last of the six labels that stand in the reply, or "worried" if none does."""
    return max((label for label in MER_LABELS if label in reply.lower()), default=MER_FALLBACK)


def mer_scores(replies: Sequence[str], gold: Sequence[str]) -> dict[str, float]:
    """Return accuracy and weighted F1 over those readings."""
    metrics = optional("sklearn.metrics", "eval")
    given = [mer_reading(reply) for reply in replies]
    return {
        "accuracy": float(metrics.accuracy_score(gold, given)),
        "WAF": float(metrics.f1_score(gold, given, average="weighted", zero_division=0)),
    }


def emer_mark(reply: str) -> float | None:
    """Return the first number of a judge's reply as its mark, so that "1. ..." is a mark of 1; None without one.

    Where the scripts would stop with an error (no number, or one such as "3..5") this returns None.
    """
    match = re.search(r"\d\.*\d*", reply)
    try:
        return float(match.group()) if match else None
    except ValueError:
        return None


def pope_reading(reply: str) -> str:
    """Return "no" if the first sentence has the word "no" or "not", else "yes", whatever it says."""
    words = reply.partition(".")[0].replace(",", "").lower().split(" ")
    return "no" if {"no", "not"} & set(words) else "yes"


def pope_scores(replies: Sequence[str], gold: Sequence[str]) -> dict[str, float]:
    """Return POPE's measures; "yes_ratio" is that of the right answers, not of the predictions."""
    given = [pope_reading(reply) for reply in replies]
    pairs = list(zip(given, gold, strict=True))
    tp, fp, fn = pairs.count(("yes", "yes")), pairs.count(("yes", "no")), pairs.count(("no", "yes"))
    precision, recall = tp / (tp + fp) if tp + fp else 0.0, tp / (tp + fn) if tp + fn else 0.0
    return {
        "accuracy": sum(reply == right for reply, right in pairs) / len(pairs),
        "precision": precision,
        "recall": recall,
        "F1": 2 * precision * recall / (precision + recall) if precision + recall else 0.0,
        "yes_ratio": list(gold).count("yes") / len(gold),
    }


def mme_reading(reply: str) -> str:
    """Return "yes" or "no" if the reply is that or has it in its first four characters, else "other"."""
    plain = reply.lower().strip().replace(".", "")
    if plain in ("yes", "no"):
        return plain
    return next((word for word in ("yes", "no") if word in plain[:4]), OTHER)


def mmbench_right(reply: str, gold: str) -> bool:
    """Say whether the gold letter begins the reply ("An apple" begins with A) or is all of it."""
    return reply.strip().upper().startswith(gold.upper()) or reply == gold


def scienceqa_reading(reply: str, options: Sequence[str], letters: Sequence[str] | None = None) -> str:
    """Return the letter behind "The answer is"; else of the first option that stands in it; else a letter in it.

    Options are compared without case and outer blanks. The script walks through the letters of the options in the order
    of a Python set, which changes from run to run. `letters` is the order of one such run; None for the alphabet's.
    """
    letters = [chr(ord("A") + place) for place in range(len(options))] if letters is None else letters
    match = re.search(r"The answer is ([A-D])", reply)
    if match:
        return match.group(1)
    for place, option in enumerate(options):
        if option.strip().upper() in reply.upper():
            return chr(ord("A") + place)
    for text in (reply, reply.upper()):
        for letter in letters:
            if letter in text:
                return letter
    return OTHER


def seed_reading(reply: str) -> str:
    """Return a letter that is the reply or begins it, else the first of a, b, c, d among its first ten characters.

    "The answer is B" has an "a" there, in "answer", and is read as A.
    """
    plain = reply.strip().lower()
    if plain in tuple("abcd") or re.match(r"[a-d][.:) ]", plain):
        return plain[0].upper()
    return next((letter.upper() for letter in "abcd" if letter in plain[:10]), UNKNOWN)


def vqa_right(reply: str, annotators: Sequence[str]) -> bool:
    """Say whether any annotator's answer stands in the reply, also inside a word; "a" stands in nearly all.

    Both are compared without case and outer blanks. A miss is called "other", so an annotator's "other" makes it right.
    """
    return OTHER in annotators or any(answer.strip().lower() in reply.strip().lower() for answer in annotators)


def emoset_right(reply: str, gold: str) -> bool:
    """Say whether the gold label stands anywhere in the reply."""
    return gold in reply.lower()


def share(right: Collection[bool]) -> float:
    """Return the share of right answers of those that were answered."""
    return sum(right) / len(right)
