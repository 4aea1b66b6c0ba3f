"""The arithmetic of the authors' release, reproduced so that published numbers can be compared. Not our scores.

These functions do what the authors' scripts do at commit 8c52bf3, faults included; each docstring names the fault. They
take plain texts and return plain numbers, never `Score` or `Result`, so that these figures cannot be mixed with ours by
mistake. The scripts skip clips whose file is missing, which removes them from the denominator: pass only answered
clips.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from emotion_qwen.extras import optional

NONE, OTHER, UNKNOWN = "none", "other", "Unknown"
MER_LABELS = ("happy", "sad", "neutral", "angry", "surprise", "worried")
MER_FALLBACK = "worried"


def dfew_reading(reply: str, gold: str) -> str:
    """Return the gold label if it occurs anywhere in the reply, even inside another word or negated, else "none"."""
    return gold if gold in reply.lower() else NONE


def dfew_scores(replies: Sequence[str], gold: Sequence[str]) -> dict[str, float]:
    """Return WAR and UAR of Emotion-Qwen's own script.

    UAR averages over all labels that occur in the references or the predictions. As soon as one reply misses, "none"
    becomes an eighth class with recall 0, which multiplies the true mean by 7/8.
    """
    metrics = optional("sklearn.metrics", "eval")
    given = [dfew_reading(reply, label) for reply, label in zip(replies, gold, strict=True)]
    return {
        "WAR": float(metrics.recall_score(gold, given, average="weighted", zero_division=0)),
        "UAR": float(metrics.recall_score(gold, given, average="macro", zero_division=0)),
    }


def dfew_baseline_scores(replies: Sequence[str], gold: Sequence[str]) -> dict[str, float]:
    """Return WAR and UAR of the scripts for the baselines.

    The reference is always 1 and a miss is 0, so UAR is the mean of the hit rate and of a class without items: WAR / 2,
    unless every reply is correct.
    """
    metrics = optional("sklearn.metrics", "eval")
    hits = [int(label in reply.lower()) for reply, label in zip(replies, gold, strict=True)]
    truth = [1] * len(hits)
    return {
        "WAR": float(metrics.recall_score(truth, hits, average="weighted", zero_division=0)),
        "UAR": float(metrics.recall_score(truth, hits, average="macro", zero_division=0)),
    }


def mer_reading(reply: str) -> str:
    """Return the alphabetically last of the six labels that occur in the reply, or "worried" if none does."""
    return max((label for label in MER_LABELS if label in reply.lower()), default=MER_FALLBACK)


def mer_scores(replies: Sequence[str], gold: Sequence[str]) -> dict[str, float]:
    """Return accuracy and weighted F1 of the labels that `mer_reading` returns."""
    metrics = optional("sklearn.metrics", "eval")
    given = [mer_reading(reply) for reply in replies]
    return {
        "accuracy": float(metrics.accuracy_score(gold, given)),
        "WAF": float(metrics.f1_score(gold, given, average="weighted", zero_division=0)),
    }


def emer_mark(reply: str) -> float | None:
    """Return the first number of a judge's reply as its mark ("1. ..." is a mark of 1), or None without a number.

    Where the scripts would stop with an error (no number, or one such as "3..5"), this returns None.
    """
    match = re.search(r"\d\.*\d*", reply)
    try:
        return float(match.group()) if match else None
    except ValueError:
        return None


def pope_reading(reply: str) -> str:
    """Return "no" if the first sentence contains the word "no" or "not", else "yes", whatever the reply means."""
    words = reply.partition(".")[0].replace(",", "").lower().split(" ")
    return "no" if {"no", "not"} & set(words) else "yes"


def pope_scores(replies: Sequence[str], gold: Sequence[str]) -> dict[str, float]:
    """Return POPE's measures; "yes_ratio" is that of the references, not of the predictions."""
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
    """Return "yes" or "no" if the reply equals it or has it in its first four characters, else "other"."""
    plain = reply.lower().strip().replace(".", "")
    if plain in ("yes", "no"):
        return plain
    return next((word for word in ("yes", "no") if word in plain[:4]), OTHER)


def mmbench_right(reply: str, gold: str) -> bool:
    """Return whether the reply begins with the gold letter ("An apple" begins with A) or equals it."""
    return reply.strip().upper().startswith(gold.upper()) or reply == gold


def scienceqa_reading(reply: str, options: Sequence[str], letters: Sequence[str] | None = None) -> str:
    """Return the letter after "The answer is", else that of the first option in the reply, else any letter in it.

    Options are compared ignoring case and surrounding whitespace. The script iterates over the option letters in the
    order of a Python set, which changes from run to run. `letters` is the order of one such run; None means
    alphabetical order.
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
    """Return the letter that the reply consists of or begins with, else the first of a to d in its first ten
    characters.

    "The answer is B" has an "a" there (in "answer") and is read as A.
    """
    plain = reply.strip().lower()
    if plain in tuple("abcd") or re.match(r"[a-d][.:) ]", plain):
        return plain[0].upper()
    return next((letter.upper() for letter in "abcd" if letter in plain[:10]), UNKNOWN)


def vqa_right(reply: str, annotators: Sequence[str]) -> bool:
    """Return whether any annotator's answer occurs in the reply, even inside a word; "a" occurs in nearly all replies.

    Both are compared ignoring case and surrounding whitespace. A miss is called "other", so an annotator's "other"
    makes any reply correct.
    """
    return OTHER in annotators or any(answer.strip().lower() in reply.strip().lower() for answer in annotators)


def emoset_right(reply: str, gold: str) -> bool:
    """Return whether the gold label occurs anywhere in the reply."""
    return gold in reply.lower()


def share(right: Collection[bool]) -> float:
    """Return the share of correct answers among the items that were answered."""
    return sum(right) / len(right)
