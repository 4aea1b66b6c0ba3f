"""Scores of emotion benchmarks with rules of their own: EmotionHallucer, EmoBench-M, MME-Emotion.

Definitions: EmotionHallucer (arXiv 2505.11405), EmoBench-M (github.com/Emo-gml/EmoBench-M, EmoBench-M-eval.py) and
MME-Emotion (github.com/FunAudioLLM/MME-Emotion, cal_metrics.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring import records
from emotion_qwen.evaluation.scoring.choices import means_by_group, score_choices
from emotion_qwen.evaluation.scoring.combined import (
    LEFT_OUT,
    UNREAD_CLASS,
    Figures,
    class_figures,
    joined,
    result_of,
    with_mixtures,
)
from emotion_qwen.evaluation.scoring.replies import read_yes_no
from emotion_qwen.evaluation.scoring.text_overlap import bleu4, rouge_l, stemmer
from emotion_qwen.matching.answer import EMPTY, NOTHING, SEVERAL, answer_part

BASIC, HALLUCINATED = "basic", "hallucinated"
NO_STEPS = "no readable <score> from the judge"
NO_BERT_SCORE = (
    "BERTScore is not computed: the package bert-score needs the weights of roberta-large, which no package brings"
)
JOINT = "_"
"""Between emotion and intent of MC-EIU, as in the owners' script."""
_EDGES = " \t\r\n.,!?;:\"'()[]{}*`。，！？；：“”‘’（）【】"


def score_pairs(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], *, seed: int = 0
) -> records.Result:
    """Score EmotionHallucer's pairs of a basic and a hallucinated question.

    "accuracy of pairs" is the share of pairs with both questions correct. Also given are the accuracy of the basic
    questions (reference yes), of the hallucinated ones (reference no) and of all, and the yes-ratio of the answers.

    Args:
        items: `references` hold yes or no, `cluster` names the pair.
        answers: texts, or scores of yes and no.
        seed: of the draws.

    Raises:
        DataError: a pair does not have exactly one question of each kind, or see `records.judge`.
    """
    pairs: dict[str, list[str]] = {}
    for item in items:
        pairs.setdefault(item.cluster, []).append(item.references[0] if item.references else "")
    for name, right_answers in pairs.items():
        if sorted(right_answers) != ["no", "yes"]:
            raise DataError(f"pair {name!r} has the answers {right_answers}; expected one yes and one no, leave it out")

    def read(item: records.ScoredItem, answer: records.Response) -> records.Read:
        chosen = records.likeliest(replace(item, allowed=("yes", "no")), answer)
        return read_yes_no(answer.text) if chosen is None else chosen

    judged, tally = records.judge(items, answers, read, lambda item, word: float(word == item.references[0]))
    right: dict[str, float] = {}
    for answer in judged:
        right[answer.item.cluster] = right.get(answer.item.cluster, 1.0) * answer.points
    rows, counted = np.zeros((len(judged), 7)), set[str]()
    for row, answer in enumerate(judged):
        name, wanted = answer.item.cluster, answer.item.references[0]
        if name not in counted:
            rows[row, :2] = 1, right[name]
            counted.add(name)
        place = 2 if wanted == "yes" else 4
        rows[row, place : place + 2] = 1, answer.points
        rows[row, 6] = answer.read == "yes"

    def statistic(sums: np.ndarray) -> np.ndarray:
        pair, basic, made_up = (records.ratio(sums[:, k + 1], sums[:, k]) for k in (0, 2, 4))
        count = sums[:, 2] + sums[:, 4]
        both = records.ratio(sums[:, 3] + sums[:, 5], count)
        return np.column_stack([pair, basic, made_up, both, records.ratio(sums[:, 6], count)])

    titles = ("accuracy of pairs", f"accuracy, {BASIC}", f"accuracy, {HALLUCINATED}", "accuracy", "yes-ratio")
    sizes = (len(pairs), len(pairs), len(pairs), len(judged), len(judged))
    return result_of(judged, tally, Figures(titles, sizes, rows, statistic, (True,) * 5), seed=seed)


def read_choice(text: str, allowed: Sequence[str]) -> records.Read:
    """Read which of some choices a reply is or names: the whole reply, or the only choice that occurs in it as words.

    Longer choices are read first, so that "weak positive" is not "positive".
    """
    part, why = answer_part(text)
    reply = " ".join(part.lower().strip(_EDGES).split())
    if why or not reply:
        return records.Read(None, why or EMPTY)
    plain = {" ".join(choice.lower().split()): choice for choice in allowed}
    if reply in plain:
        return records.Read(plain[reply])
    named: dict[str, None] = {}
    for word in sorted(plain, key=len, reverse=True):
        rest, count = re.subn(rf"(?<![^\W_]){re.escape(word)}(?![^\W_])", " ", reply)
        if count:
            named[plain[word]] = None
            reply = rest
    if len(named) == 1:
        return records.Read(next(iter(named)))
    return records.Read(None, SEVERAL if named else NOTHING)


def score_emobench_m(
    items: Sequence[records.ScoredItem],
    answers: Iterable[records.Response],
    dimensions: Mapping[str, str],
    *,
    seed: int = 0,
) -> records.Result:
    """Score EmoBench-M's classification sets: accuracy and weighted F1 of each set, and the mean of its dimensions.

    Args:
        items: `allowed` hold the labels of the set, `group` names it. An item of MC-EIU has the joint label
            "emotion_intent" as its reference and all joint labels as choices.
        answers: texts; for MC-EIU with an emotion and an intent.
        dimensions: set -> dimension, whose score is the mean of its sets; "mean of dimensions" is that of the
            leaderboard. Empty for "mean of sets".
        seed: of the draws.

    Raises:
        DataError: an item has no choices or a reference that is none of them, or see `records.judge`.
    """
    for item in items:
        if not item.references or item.references[0] not in item.allowed:
            raise DataError(f"item {item.id!r} has the references {item.references}; expected one of its choices")

    def read(item: records.ScoredItem, answer: records.Response) -> records.Read:
        chosen = records.likeliest(item, answer)
        if chosen is not None:
            return chosen
        return read_joint(answer.text, item.allowed) if is_joint(item) else read_choice(answer.text, item.allowed)

    judged, tally = records.judge(items, answers, read, lambda item, label: float(label == item.references[0]))
    names = list(dict.fromkeys(answer.item.group for answer in judged))
    whole = joined([_of_set(judged, name).named(f" of {name}") for name in names])
    of_dimension: dict[str, list[int]] = {}
    for place, name in enumerate(names):
        of_dimension.setdefault(dimensions.get(name, name), []).append(place)

    def means(values: np.ndarray) -> np.ndarray:
        accuracy = values[:, ::2]
        if not dimensions:
            return accuracy.mean(1)
        columns = np.column_stack([accuracy[:, places].mean(1) for places in of_dimension.values()])
        return np.column_stack([columns.mean(1), columns])

    titles = ("mean of dimensions", *(f"mean of {name}" for name in of_dimension)) if dimensions else ("mean of sets",)
    return result_of(judged, tally, with_mixtures(titles, whole, means, share=True), seed=seed)


def _of_set(judged: Sequence[records.Judged], name: str) -> Figures:
    # A class without items has no weight, so an answer of it is only wrong: MC-EIU has 56 joint classes.
    classes = dict.fromkeys(answer.item.references[0] for answer in judged if answer.item.group == name)
    at = {label: place for place, label in enumerate(classes)}
    truth = [at[a.item.references[0]] if a.item.group == name else LEFT_OUT for a in judged]
    given = [at.get(answer.read or "", UNREAD_CLASS) for answer in judged]
    return class_figures(np.array(truth), np.array(given), len(classes)).only("accuracy", "WAF")


def is_joint(item: records.ScoredItem) -> bool:
    """Return whether an item asks for an emotion and an intent together."""
    return bool(item.allowed) and all(JOINT in label for label in item.allowed)


def read_joint(text: str, allowed: Sequence[str]) -> records.Read:
    """Read an emotion and an intent: by these names, or as the only two words, in this order."""
    part, why = answer_part(text)
    emotions, intents = (tuple(dict.fromkeys(label.split(JOINT)[k] for label in allowed)) for k in (0, 1))
    if why or not text.strip():
        return records.Read(None, why or EMPTY)
    named = re.search(r"emotion\W+([a-z ]+?)\W.{0,40}?intent(?:ion)?\W+([a-z]+)", f"{text} ", re.IGNORECASE | re.DOTALL)
    words = list(named.groups()) if named else [w for w in re.split(r"[\W_]+|\band\b", part) if w]
    if len(words) != 2:
        return records.Read(None, NOTHING)
    emotion, intent = read_choice(words[0], emotions), read_choice(words[1], intents)
    if emotion.value is None or intent.value is None:
        return records.Read(None, NOTHING)
    return records.Read(f"{emotion.value}{JOINT}{intent.value}")


def emobench_m_as_scripted(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response]
) -> dict[str, float]:
    """Compute EmoBench-M's figures with the owners' rules: a reply that is not exactly a label is dropped.

    Only case and outer blanks are ignored. "dropped" counts the replies that the script leaves out of the denominator.
    """
    texts = records.reply_texts(answers)
    figures: dict[str, float] = {}
    for name in dict.fromkeys(item.group for item in items if item.id in texts):
        of_set = [item for item in items if item.group == name and item.id in texts]
        replies = [(item, texts[item.id].strip().lower()) for item in of_set]
        valid = [(item, reply) for item, reply in replies if reply in item.allowed]
        if valid:
            at = {label: place for place, label in enumerate(valid[0][0].allowed)}
            truth, given = (
                [at[label] for label in side] for side in zip(*((i.references[0], r) for i, r in valid), strict=False)
            )
            counted = class_figures(np.array(truth), np.array(given), len(at))
            values = counted.statistic(counted.rows.sum(0, keepdims=True))[0]
            figures |= {f"{kind} of {name}": float(v) for kind, v in zip(counted.names, values, strict=True)}
        figures[f"dropped of {name}"] = float(len(replies) - len(valid))
    return figures


def score_named_choice(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], *, seed: int = 0
) -> records.Result:
    """Score replies that name one of the item's choices, with reasons before it: accuracy overall and by group.

    The last line is read first. With several references, any of them is correct. For MME-Emotion, this is a score
    without a judge, for comparison between models; the published one is `score_steps`.

    Raises:
        DataError: see `records.judge`.
    """

    def read(item: records.ScoredItem, answer: records.Response) -> records.Read:
        chosen = records.likeliest(item, answer)
        if chosen is not None:
            return chosen
        lines = [line for line in answer.text.splitlines() if line.strip()]
        last = read_choice(lines[-1], item.allowed) if lines else records.Read(None, EMPTY)
        return last if last.value else read_choice(answer.text, item.allowed)

    judged, tally = records.judge(items, answers, read, lambda item, label: float(label in item.references))
    table = means_by_group(judged, [answer.points for answer in judged], "accuracy")
    return records.Result(records.bootstrap_scores(table, seed=seed), tally, judged, table)


def score_emobench(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], *, seed: int = 0
) -> records.Result:
    """Score EmoBench (Sabour et al., ACL 2024): EA by question, EU by scenario with emotion and cause both correct.

    The owners ask every question with several orders of its options; here it is asked once.

    Args:
        items: lettered options; `group` is "EA", "EU emotion" or "EU cause", `cluster` the scenario.
        answers: letters, or scores.
        seed: of the draws.

    Raises:
        DataError: see `choices.score_choices`.
    """
    single = score_choices(items, answers, seed=seed)
    right: dict[str, float] = {}
    for answer in single.judged:
        right[answer.item.cluster] = right.get(answer.item.cluster, 1.0) * answer.points
    groups, rows, counted = ("EA", "EU emotion", "EU cause"), np.zeros((len(items), 8)), set[str]()
    for row, answer in enumerate(single.judged):
        place = 2 * groups.index(answer.item.group)
        rows[row, place : place + 2] = 1, answer.points
        if answer.item.group != "EA" and answer.item.cluster not in counted:
            rows[row, 6:] = 1, right[answer.item.cluster]
            counted.add(answer.item.cluster)

    def statistic(sums: np.ndarray) -> np.ndarray:
        return np.column_stack([records.ratio(sums[:, k + 1], sums[:, k]) for k in (6, 0, 2, 4)])

    titles = ("EU, emotion and cause", "EA", "EU emotion", "EU cause")
    sizes = tuple(int(rows[:, k].sum()) for k in (6, 0, 2, 4))
    figures = Figures(titles, sizes, rows, statistic, (True,) * 4)
    return result_of(single.judged, single.tally, figures, seed=seed)


def score_generation(
    items: Sequence[records.ScoredItem], answers: Iterable[records.Response], *, seed: int = 0
) -> records.Result:
    """Score free texts against one reference each: BLEU-4 and ROUGE-L, means over items.

    BLEU-4 is that of NLTK's `sentence_bleu` without smoothing on words between blanks, ROUGE-L the F-measure of the
    package rouge-score with and without its stemmer. An item without a reply counts as 0; the owners' script drops it.

    Raises:
        DataError: see `records.judge`.
        MissingPackage: NLTK is not installed.
    """

    def read(item: records.ScoredItem, answer: records.Response) -> records.Read:
        return records.Read(answer.text.strip()) if answer.text.strip() else records.Read(None, EMPTY)

    stem = stemmer()
    judged, tally = records.judge(items, answers, read, lambda item, text: rouge_l(item.references[0], text, stem))
    texts = [(answer.item.references[0], answer.read or "") for answer in judged]
    columns = [
        [bleu4(*pair) for pair in texts],
        [answer.points for answer in judged],
        [rouge_l(*pair) for pair in texts],
    ]
    titles = ("BLEU-4", "ROUGE-L", "ROUGE-L, unstemmed")
    rows = np.column_stack([np.ones(len(judged)), *columns])

    def statistic(sums: np.ndarray) -> np.ndarray:
        return records.ratio(sums[:, 1:], sums[:, :1])

    figures = Figures(titles, (len(judged),) * len(titles), rows, statistic, (True,) * len(titles))
    return result_of(judged, tally, figures, notes=(NO_BERT_SCORE,), seed=seed)


def step_scores(text: str) -> list[float] | None:
    """Read a judge's "<score>Step 1: 1/1, Step 2: 0/1</score>": one share per step; None without such a part."""
    part = re.search(r"<score>(.*?)</score>", text)
    if part is None:
        return None
    pairs = re.findall(r":\s*(\d+)/(\d+)", part[1])
    return [int(above) / int(below) if int(below) else 0.0 for above, below in pairs]


def score_steps(items: Sequence[records.ScoredItem], marks: Mapping[str, str], *, seed: int = 0) -> records.Result:
    """Score MME-Emotion from a judge's stored marks of the steps of every reply.

    The last step is the recognised emotion, the others are reasoning: recognition is the mean of the last step's mark,
    reasoning the mean of the others' mean (0 if there are none), CoT half of each. As in the owners' script, items
    without a readable mark are left out; further scores count them as 0, and the tally counts them.

    Args:
        items: all items.
        marks: id -> the judge's reply.
        seed: of the draws.

    Raises:
        DataError: see `records.judge`.
    """

    def read(item: records.ScoredItem, answer: records.Response) -> records.Read:
        return records.Read(answer.text) if step_scores(answer.text) else records.Read(None, NO_STEPS)

    def points(item: records.ScoredItem, text: str) -> float:
        return (step_scores(text) or [0.0])[-1]

    replies = [records.Response(name, text) for name, text in marks.items()]
    judged, tally = records.judge(items, replies, read, points)
    rows = np.zeros((len(judged), 5))  # item, marked, recognition, reasoning, steps
    for row, answer in enumerate(judged):
        steps = step_scores(answer.read or "") or []
        before = steps[:-1]
        reasoning = sum(before) / len(before) if before else 0.0
        rows[row] = 1, bool(steps), steps[-1] if steps else 0.0, reasoning, len(steps)

    def statistic(sums: np.ndarray) -> np.ndarray:
        columns = []
        for below in (sums[:, 1], sums[:, 0]):
            recognition, reasoning = records.ratio(sums[:, 2], below), records.ratio(sums[:, 3], below)
            columns += [recognition, reasoning, (recognition + reasoning) / 2]
        return np.column_stack([*columns, records.ratio(sums[:, 4], sums[:, 1])])

    titles = ("recognition", "reasoning", "CoT")
    names = (*titles, *(f"{title}, unmarked as 0" for title in titles), "mean steps")
    marked = int(rows[:, 1].sum())
    sizes = (*(marked,) * 3, *(len(judged),) * 3, marked)
    figures = Figures(names, sizes, rows, statistic, (True,) * 6 + (False,))
    return result_of(judged, tally, figures, seed=seed)
