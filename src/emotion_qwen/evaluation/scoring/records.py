"""Input and output of the scorers, and the one function that matches items with their answers.

An item that has no answer, that failed, or whose answer cannot be read stays in the denominator of every score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring.bootstrap import DRAWS, SURE, resampled_sums

MISSING, FAILED, UNANSWERED, TIED = "missing", "failed", "no answer", "tied scores"
"""Why an item has no readable answer: no line with its id; an error; a stated reason; several equally likely choices.
"""


@dataclass(frozen=True)
class ScoredItem:
    """One question as a scorer needs it.

    Attributes:
        id: unique within its task.
        references: the correct answer; several if annotators or open sets give several.
        allowed: the labels or options in the order offered; empty for a free answer.
        group: unit by which scores are broken down: fold, category, subtask, dimension.
        cluster: unit that the bootstrap draws as a whole: image, video, question; empty for the item alone.
    """

    id: str
    references: tuple[str, ...]
    allowed: tuple[str, ...] = ()
    group: str = ""
    cluster: str = ""


@dataclass(frozen=True)
class Continuation:
    """Likelihood that a model assigns to a given text after its beginning.

    Attributes:
        log_likelihood: natural logarithm, summed over the tokens.
        tokens: number of scored tokens.
        greedy: whether greedy decoding produces the text.
    """

    log_likelihood: float
    tokens: int
    greedy: bool


@dataclass(frozen=True)
class Response:
    """One line of predictions.

    Attributes:
        id: of the item.
        text: the reply; not read if there are scores.
        scores: choice -> likelihood or probability; the allowed choice with the largest one is the answer.
        error: what failed, if there is no answer.
        unanswered: why there is no answer although nothing failed; the item counts as wrong.
        continuation: set if the likelihood of a text was requested.
    """

    id: str
    text: str = ""
    scores: Mapping[str, float] | None = None
    error: str = ""
    unanswered: str = ""
    continuation: Continuation | None = None


@dataclass(frozen=True)
class Read:
    """The parsed answer: `value`, or None and `why`."""

    value: str | None
    why: str = ""


@dataclass(frozen=True)
class Judged:
    """One item with its parsed answer.

    Attributes:
        item: the item.
        read: the parsed answer; None if there is none.
        why: empty, MISSING, FAILED, or why the text could not be read.
        points: what the item scores, 0 to 1; 0 without a parsed answer.
    """

    item: ScoredItem
    read: str | None
    why: str
    points: float


@dataclass(frozen=True)
class Tally:
    """Number of answers and how they were handled. Report it with every score.

    Attributes:
        items: number of all items, the denominator.
        answered: items with an answer, readable or not.
        parsed: items whose answer could be read.
        unread: reason -> number of items without a readable answer.
        duplicates: ids answered more than once; the first answer without an error counts.
        strays: ids of answers that belong to no item.
    """

    items: int
    answered: int
    parsed: int
    unread: Mapping[str, int]
    duplicates: tuple[str, ...] = ()
    strays: tuple[str, ...] = ()

    @property
    def coverage(self) -> float:
        """Share of the items that were answered."""
        return self.answered / self.items

    @property
    def parse_rate(self) -> float:
        """Share of the answers that could be read; 0 if there are none."""
        return self.parsed / self.answered if self.answered else 0.0

    @property
    def failures(self) -> int:
        """Number of items whose answer is an error."""
        return self.unread.get(FAILED, 0)

    @property
    def unanswered(self) -> int:
        """Number of items without an answer although nothing failed."""
        return self.unread.get(UNANSWERED, 0)


@dataclass(frozen=True)
class Score:
    """A named figure with its 95 % bootstrap interval.

    Attributes:
        name: of the figure.
        value: of the figure.
        low: lower end of the interval.
        high: upper end of the interval.
        items: the denominator.
        share: whether it is a share from 0 to 1; otherwise it is a number of points, marks or the like.
    """

    name: str
    value: float
    low: float
    high: float
    items: int
    share: bool = False


Statistic = Callable[[np.ndarray], np.ndarray]
"""Sums of rows (D, F) -> scores (D, S)."""


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """What the bootstrap resamples: every score is a function of sums over items.

    Attributes:
        names: of the S scores.
        items: the S denominators.
        rows: (N, F) contribution of each item.
        clusters: (N,) names; items of one cluster are drawn together.
        statistic: (D, F) sums to (D, S) scores.
        strata: (N,) names of the strata within which clusters are drawn, so that every draw contains all of them; empty
            for a single stratum.
        shares: for each of the S scores, whether it is a share from 0 to 1; empty if none is.
        classes: (N,) reference classes; empty if there are none.
        by_class: for each of the S scores, whether it is a mean over classes, so that every draw must contain all
            classes: clusters are then drawn within classes, unless a cluster has items of several; empty if none is.
    """

    names: tuple[str, ...]
    items: tuple[int, ...]
    rows: np.ndarray
    clusters: tuple[str, ...]
    statistic: Statistic
    strata: tuple[str, ...] = ()
    shares: tuple[bool, ...] = ()
    classes: tuple[str, ...] = ()
    by_class: tuple[bool, ...] = ()

    def within_classes(self) -> ScoreTable | None:
        """Return the table with classes as further strata, or None if a cluster has items of several classes."""
        if not any(self.by_class) or len(set(zip(self.clusters, self.classes, strict=True))) > len(set(self.clusters)):
            return None
        strata = self.strata or ("",) * len(self.classes)
        return replace(self, strata=tuple(f"{a}\0{b}" for a, b in zip(strata, self.classes, strict=True)), by_class=())

    def by_cluster(self) -> list[np.ndarray]:
        """Return (C, F) contributions of the C clusters of each stratum; a cluster belongs to the stratum of its first
        item.
        """
        parts: dict[str, dict[str, int]] = {}
        part_of: dict[str, str] = {}
        for cluster, stratum in zip(self.clusters, self.strata or [""] * len(self.clusters), strict=True):
            places = parts.setdefault(part_of.setdefault(cluster, stratum), {})
            places.setdefault(cluster, len(places))
        sums = {name: np.zeros((len(places), self.rows.shape[1])) for name, places in parts.items()}
        for cluster, row in zip(self.clusters, self.rows, strict=True):
            sums[part_of[cluster]][parts[part_of[cluster]][cluster]] += row
        return [sums[name] for name in parts if len(sums[name])]


@dataclass(frozen=True, eq=False)
class Result:
    """The output of a scorer.

    Attributes:
        scores: in the order of reporting.
        tally: how the answers were handled.
        judged: every item, in the order of the items.
        table: the basis of the intervals, kept for paired comparison.
        notes: what a reader must know, such as a class without items.
    """

    scores: tuple[Score, ...]
    tally: Tally
    judged: tuple[Judged, ...]
    table: ScoreTable
    notes: tuple[str, ...] = field(default=())

    def __getitem__(self, name: str) -> Score:
        """Return the score of that name.

        Raises:
            KeyError: there is none.
        """
        return {score.name: score for score in self.scores}[name]


AnswerReader = Callable[[ScoredItem, Response], Read]
Points = Callable[[ScoredItem, str], float]


def judge(
    items: Sequence[ScoredItem], answers: Iterable[Response], read: AnswerReader, points: Points
) -> tuple[tuple[Judged, ...], Tally]:
    """Match items with their answers.

    Args:
        items: all items of the task.
        answers: in any order; none, one or several per item.
        read: parses an answer that is not an error.
        points: points of a parsed answer.

    Raises:
        DataError: there are no items, two items have the same id, or an item has no reference.
    """
    check_items(items)
    given, duplicates = _first_without_error(answers)
    judged = []
    for item in items:
        answer = given.pop(item.id, None)
        if answer is None:
            understood = Read(None, MISSING)
        elif answer.error:
            understood = Read(None, FAILED)
        elif answer.unanswered:
            understood = Read(None, UNANSWERED)
        else:
            understood = read(item, answer)
        earned = 0.0 if understood.value is None else points(item, understood.value)
        judged.append(Judged(item, understood.value, understood.why, earned))
    unread = Counter(answer.why for answer in judged if answer.read is None)
    answered = len(items) - unread[MISSING] - unread[FAILED] - unread[UNANSWERED]
    parsed = sum(answer.read is not None for answer in judged)
    ids = {item.id for item in items}
    duplicates = tuple(name for name in duplicates if name in ids)
    return tuple(judged), Tally(len(items), answered, parsed, dict(unread), duplicates, tuple(given))


def check_items(items: Sequence[ScoredItem]) -> None:
    """Check that items can be scored.

    Raises:
        DataError: there are no items, two items have the same id, or an item has no reference.
    """
    if not items:
        raise DataError("got no items; a score needs at least one, check what the task selected")
    for name, times in Counter(item.id for item in items).items():
        if times > 1:
            raise DataError(f"{times} items have the id {name!r}; expected each id once, make them unique")
    for item in items:
        if not item.references:
            raise DataError(f"item {item.id!r} has no reference; expected at least one correct answer, leave it out")


def _first_without_error(answers: Iterable[Response]) -> tuple[dict[str, Response], tuple[str, ...]]:
    """Return the answer that counts for each id, and the ids with more than one answer."""
    given: dict[str, Response] = {}
    again: dict[str, None] = {}
    for answer in answers:
        earlier = given.get(answer.id)
        if earlier is None or earlier.error:
            given[answer.id] = answer  # a resumed run may have answered an item that failed before
        elif not answer.error:
            again[answer.id] = None
    return given, tuple(again)


def reply_texts(answers: Iterable[Response]) -> dict[str, str]:
    """Return the texts of replies by id; the first of several counts, and errors and likelihoods are left out."""
    texts: dict[str, str] = {}
    for answer in answers:
        if not (answer.error or answer.unanswered) and answer.scores is None:
            texts.setdefault(answer.id, answer.text)
    return texts


def likeliest(item: ScoredItem, answer: Response) -> Read | None:
    """Return the likeliest allowed choice of an answer that has scores; None if its text must be read.

    If several choices are exactly equally likely, there is no answer: taking the first of the set would favour its
    label.
    """
    if answer.scores is None:
        return None
    finite = {name: share for name, share in answer.scores.items() if np.isfinite(share)}
    allowed = [name for name in item.allowed or finite if name in finite]
    if not allowed:
        return Read(None, "no score of an allowed choice")
    best = max(finite[name] for name in allowed)
    first, *others = [name for name in allowed if finite[name] == best]
    return Read(None, TIED) if others else Read(first)


def bootstrap_scores(table: ScoreTable, draws: int = DRAWS, seed: int = 0) -> tuple[Score, ...]:
    """Estimate every score of a table with its percentile bootstrap interval, drawing clusters with replacement.

    If all items are correct, or none is, every draw is the same. Then the exact binomial bound replaces the bootstrap's
    (Clopper and Pearson 1934): with 0 of 6 correct, the true share may still be up to 46 %.
    """
    values = table.statistic(table.rows.sum(axis=0, keepdims=True))[0]
    (drawn,) = drawn_again((table,), draws, seed)
    low, high = interval(drawn)
    shares = np.array(table.shares or [False] * len(table.names))
    independent = np.minimum(table.items, len(set(table.clusters)))
    unlikely = SURE[0] ** (1 / np.maximum(independent, 1))  # the share at which so many items agree by chance
    high = np.where(shares & (values == 0) & (high == 0), 1 - unlikely, high)
    low = np.where(shares & (values == 1) & (low == 1), unlikely, low)
    columns = zip(table.names, values, low, high, table.items, shares, strict=True)
    return tuple(Score(name, float(v), float(a), float(b), n, bool(s)) for name, v, a, b, n, s in columns)


def drawn_again(tables: Sequence[ScoreTable], draws: int, seed: int) -> list[np.ndarray]:
    """Return (D, S) scores of every table in D draws; the tables contain the same items, and all get the same draws."""
    generator = np.random.default_rng(seed)
    scores = _drawn(tables, draws, generator)
    within = [table.within_classes() for table in tables]
    if all(within):
        chosen = np.array(tables[0].by_class)
        for place, inside in enumerate(_drawn([table for table in within if table], draws, generator)):
            scores[place] = np.where(chosen, inside, scores[place])
    return scores


def _drawn(tables: Sequence[ScoreTable], draws: int, generator: np.random.Generator) -> list[np.ndarray]:
    parts = zip(*(table.by_cluster() for table in tables), strict=True)
    sums = sum_of(resampled_sums(np.concatenate(same, axis=1), draws, generator) for same in parts)
    width = tables[0].rows.shape[1]
    return [table.statistic(sums[:, place * width : (place + 1) * width]) for place, table in enumerate(tables)]


def interval(drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval (S,), (S,) of (D, S) draws; nan if no draw has the score."""
    defined = np.isfinite(drawn).any(axis=0)
    low, high = np.full((2, drawn.shape[1]), np.nan)
    low[defined], high[defined] = np.nanquantile(drawn[:, defined], SURE, axis=0)
    return low, high


def sum_of(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Add up arrays of one shape."""
    return np.sum(list(parts), axis=0)


def clusters_of(judged: Sequence[Judged]) -> tuple[str, ...]:
    """Return the name of the cluster of every item."""
    # A single item and a cluster may have the same name; the prefix distinguishes them.
    return tuple(f"c {answer.item.cluster}" if answer.item.cluster else f"i {answer.item.id}" for answer in judged)


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide; the result is 0 where the whole is 0."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole != 0)
