"""What goes into a scorer and what comes out, and the one way in which items meet their answers.

An item that nobody answered, that failed, or whose answer cannot be read stays in the denominator of every score.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring.bootstrap import DRAWS, SURE, resampled_sums

MISSING, FAILED, UNANSWERED, TIED = "missing", "failed", "no answer", "tied scores"
"""Why an item has no readable answer: no line of that id; a line that holds an error; one that says why there is none;
several likeliest choices."""


@dataclass(frozen=True)
class ScoredItem:
    """One question as a scorer needs it.

    Attributes:
        id: unique within its task.
        references: the right answer; several where annotators or open sets have several.
        allowed: the labels or the options in the order in which they were offered; empty for a free answer.
        group: what scores are broken down by: fold, category, subtask, dimension.
        cluster: what belongs together and is drawn together by the bootstrap: image, video, question; empty for the
            item alone.
    """

    id: str
    references: tuple[str, ...]
    allowed: tuple[str, ...] = ()
    group: str = ""
    cluster: str = ""


@dataclass(frozen=True)
class Continuation:
    """How likely a model finds a given text after its beginning.

    Attributes:
        log_likelihood: natural logarithm, summed over the tokens.
        tokens: how many were scored.
        greedy: whether greedy decoding gives the text.
    """

    log_likelihood: float
    tokens: int
    greedy: bool


@dataclass(frozen=True)
class Response:
    """One line of predictions.

    Attributes:
        id: of the item.
        text: the reply; not read where there are scores.
        scores: choice -> likelihood or share; the largest of the allowed ones is the answer.
        error: what went wrong, if there is no answer.
        unanswered: why there is no answer although nothing went wrong; the item counts as wrong.
        continuation: where the likelihood of a text was asked for.
    """

    id: str
    text: str = ""
    scores: Mapping[str, float] | None = None
    error: str = ""
    unanswered: str = ""
    continuation: Continuation | None = None


@dataclass(frozen=True)
class Read:
    """What an answer was read as: `value`, or None and `why`."""

    value: str | None
    why: str = ""


@dataclass(frozen=True)
class Judged:
    """One item with its answer as it was read.

    Attributes:
        item: the item.
        read: what was understood; None if nothing.
        why: empty, MISSING, FAILED, or why the text could not be read.
        points: what the item earns, 0 to 1; 0 if nothing was understood.
    """

    item: ScoredItem
    read: str | None
    why: str
    points: float


@dataclass(frozen=True)
class Tally:
    """How many answers there were and what became of them. Belongs beside every score.

    Attributes:
        items: all that were asked, the denominator.
        answered: those with an answer, readable or not.
        parsed: those whose answer could be read.
        unread: why -> number of items without a readable answer.
        duplicates: ids that were answered more than once; the first answer without an error counts.
        strays: ids of answers to no item.
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
        """Share of the answers that could be read; 0 without answers."""
        return self.parsed / self.answered if self.answered else 0.0

    @property
    def failures(self) -> int:
        """Number of items whose answer is an error."""
        return self.unread.get(FAILED, 0)

    @property
    def unanswered(self) -> int:
        """Number of items that have no answer although nothing went wrong."""
        return self.unread.get(UNANSWERED, 0)


@dataclass(frozen=True)
class Score:
    """A named figure with its 95 % bootstrap interval.

    Attributes:
        name: of the figure.
        value: of it.
        low: lower end of the interval; `high` the upper one.
        items: the denominator.
        share: whether it is a share of 0 to 1; else it is in points, marks or numbers.
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
    """What is drawn again: every score is a function of sums over items.

    Attributes:
        names: of the S scores.
        items: the S denominators.
        rows: (N, F) what each item adds.
        clusters: (N,) names; items of one cluster are drawn together.
        statistic: (D, F) sums to (D, S) scores.
        strata: (N,) names of parts within which clusters are drawn, so that every draw holds all parts; empty for one.
        shares: of the S scores, whether each is a share of 0 to 1; empty for none.
        classes: (N,) right classes; empty where there are none.
        by_class: of the S scores, whether each is a mean over classes, so that every draw must hold all classes: their
            clusters are drawn within classes, where no cluster has items of two; empty for none.
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
        """Return the table with classes as further strata, or None where a cluster has items of several."""
        if not any(self.by_class) or len(set(zip(self.clusters, self.classes, strict=True))) > len(set(self.clusters)):
            return None
        strata = self.strata or ("",) * len(self.classes)
        return replace(self, strata=tuple(f"{a}\0{b}" for a, b in zip(strata, self.classes, strict=True)), by_class=())

    def by_cluster(self) -> list[np.ndarray]:
        """Return per stratum (C, F) what each of its C clusters adds; a cluster belongs where its first item does."""
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
    """What a scorer returns.

    Attributes:
        scores: in the order of reporting.
        tally: what became of the answers.
        judged: every item, in the order of the items.
        table: what the intervals were drawn from, for paired comparison.
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
    """Bring items and answers together.

    Args:
        items: all that were asked.
        answers: in any order; none, one or several for an item.
        read: understands an answer that is no error.
        points: what an understood answer earns.

    Raises:
        DataError: no items, two items of one id, or an item without a reference.
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
        DataError: no items, two items of one id, or an item without a reference.
    """
    if not items:
        raise DataError("no items came; a score needs at least one, check what the task selected")
    for name, times in Counter(item.id for item in items).items():
        if times > 1:
            raise DataError(f"{times} items have the id {name!r}; expected each id once, make them unique")
    for item in items:
        if not item.references:
            raise DataError(f"item {item.id!r} has no reference; expected at least one right answer, leave it out")


def _first_without_error(answers: Iterable[Response]) -> tuple[dict[str, Response], tuple[str, ...]]:
    """Return per id the answer that counts, and the ids that came more than once with an answer."""
    given: dict[str, Response] = {}
    again: dict[str, None] = {}
    for answer in answers:
        earlier = given.get(answer.id)
        if earlier is None or earlier.error:
            given[answer.id] = answer  # a resumed run may have answered an item that failed before
        elif not answer.error:
            again[answer.id] = None
    return given, tuple(again)


def likeliest(item: ScoredItem, answer: Response) -> Read | None:
    """Return the likeliest allowed choice of an answer that has scores; None where text must be read.

    Of choices that are exactly equally likely none is the answer: taking the first of the set would favour its label.
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

    Where all items are right, or none is, every draw is the same. Then the exact binomial bound stands in place of the
    bootstrap's (Clopper and Pearson 1934): 0 of 6 right may still be up to 46 %.
    """
    values = table.statistic(table.rows.sum(axis=0, keepdims=True))[0]
    (drawn,) = drawn_again((table,), draws, seed)
    low, high = interval(drawn)
    shares = np.array(table.shares or [False] * len(table.names))
    independent = np.minimum(table.items, len(set(table.clusters)))
    unlikely = SURE[0] ** (1 / np.maximum(independent, 1))  # as a share, this many times in a row by chance
    high = np.where(shares & (values == 0) & (high == 0), 1 - unlikely, high)
    low = np.where(shares & (values == 1) & (low == 1), unlikely, low)
    columns = zip(table.names, values, low, high, table.items, shares, strict=True)
    return tuple(Score(name, float(v), float(a), float(b), n, bool(s)) for name, v, a, b, n, s in columns)


def drawn_again(tables: Sequence[ScoreTable], draws: int, seed: int) -> list[np.ndarray]:
    """Return the (D, S) scores of every table in D draws, which are the same for all: tables of the same items."""
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
    """Return the 95 % interval (S,), (S,) of (D, S) draws; nan where no draw has the score."""
    defined = np.isfinite(drawn).any(axis=0)
    low, high = np.full((2, drawn.shape[1]), np.nan)
    low[defined], high[defined] = np.nanquantile(drawn[:, defined], SURE, axis=0)
    return low, high


def sum_of(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Add up arrays of one shape."""
    return np.sum(list(parts), axis=0)


def clusters_of(judged: Sequence[Judged]) -> tuple[str, ...]:
    """Return of every item the name of the cluster that it is drawn with."""
    # An item alone and a cluster may carry one name; the mark keeps them apart.
    return tuple(f"c {answer.item.cluster}" if answer.item.cluster else f"i {answer.item.id}" for answer in judged)


def ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Divide, 0 where the whole is 0."""
    part, whole = np.asarray(part, dtype=np.float64), np.asarray(whole, dtype=np.float64)
    return np.divide(part, whole, out=np.zeros(np.broadcast(part, whole).shape), where=whole != 0)
