"""Deterministic weighted mixtures, in which the sample at a position depends only on the position.

A mixture is a sequence of positions. Every position is assigned to a part so that any section of the sequence contains
the parts in their shares to within a few samples. Within a part, the samples are reshuffled for every pass.
There is no other state, so the number of samples seen determines the position of a run, and a resumed run sees the same
data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from emotion_qwen.errors import DataError
from emotion_qwen.records import Sample

GOLDEN = 0.6180339887498949  # its multiples modulo 1 fill every interval evenly
FIRST_POSITIONS = 65_536  # of an endless mixture; more are added as they are read


class Part(Protocol):
    """A source of samples. `identity` identifies its content; `domain` is "emotion" or "general"."""

    @property
    def name(self) -> str:
        """Name of the part."""
        ...

    @property
    def domain(self) -> str:
        """The domain, "emotion" or "general"."""
        ...

    @property
    def identity(self) -> str:
        """Identify the content, so that a resumed run can check that it is unchanged."""
        ...

    def __len__(self) -> int:
        """Return the number of samples per pass."""
        ...

    def sample(self, index: int, turn: int) -> Sample:
        """Return the sample at `index`; its question and augmentation may differ between passes."""
        ...


@dataclass(frozen=True, eq=False)
class SampleList:
    """A part with samples in memory, for example from a manifest."""

    name: str
    domain: str
    samples: Sequence[Sample]

    @property
    def identity(self) -> str:
        """A hash of the ids."""
        return hashlib.sha256("\n".join(s.id for s in self.samples).encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.samples)

    def sample(self, index: int, turn: int) -> Sample:
        """Return the sample at `index`, the same in every pass."""
        return self.samples[index]


@dataclass(frozen=True)
class MixtureItem:
    """A sample with its position in a run."""

    place: int
    sample: Sample
    domain: str


def sample_of_item(item: MixtureItem | Sample) -> Sample:
    """Return the sample of an item; a sample is returned unchanged."""
    return item.sample if isinstance(item, MixtureItem) else item


class Mixture:
    """A sequence of `length` items from parts in given shares.

    Args:
        parts: sources of samples.
        shares: one positive number per part; only their ratios matter.
        length: number of positions; None is an endless mixture, which is read with `item_at`.
        seed: of the order.

    Raises:
        DataError: there is no part, an empty part, or a share that is not positive.
    """

    def __init__(self, parts: Sequence[Part], shares: Sequence[float], length: int | None, seed: int) -> None:
        if not parts or len(parts) != len(shares):
            raise DataError(f"a mixture of {len(parts)} part(s) with {len(shares)} share(s); give one share per part")
        for part, share in zip(parts, shares, strict=True):
            if not len(part):
                raise DataError(f"part {part.name!r} of the mixture has no sample; check its file and its split")
            if not share > 0:
                raise DataError(f"part {part.name!r} has share {share}; expected a positive number, or leave it out")
        self.parts, self.seed = tuple(parts), seed
        self.shares = np.asarray(shares, dtype=np.float64) / sum(shares)
        self.length = length
        self._lay_out(FIRST_POSITIONS if length is None else length)
        self._orders: dict[tuple[int, int], np.ndarray] = {}

    def _lay_out(self, count: int) -> None:
        """Assign the first `count` positions to parts."""
        offset = np.random.default_rng(self.seed).random()
        spread = (offset + GOLDEN * np.arange(count)) % 1.0
        self.owner = np.searchsorted(self.shares.cumsum()[:-1], spread, side="right").astype(np.int16)
        self.rank = np.zeros(count, dtype=np.int64)  # number of earlier positions of the same part
        for number in range(len(self.parts)):
            mine = self.owner == number
            self.rank[mine] = np.arange(mine.sum())

    def __len__(self) -> int:
        if self.length is None:
            raise DataError("an endless mixture has no length; give it one, or read it with `item_at`")
        return self.length

    def __getitem__(self, place: int) -> MixtureItem:
        number = int(self.owner[place])
        part = self.parts[number]
        turn, within = divmod(int(self.rank[place]), len(part))
        return MixtureItem(place, part.sample(int(self._order(number, turn)[within]), turn), part.domain)

    def item_at(self, place: int) -> MixtureItem:
        """Return the item at a place; an endless mixture has an item at every place."""
        if self.length is None and place >= len(self.owner):
            self._lay_out(2 * place)
        return self[place]

    def _order(self, number: int, turn: int) -> np.ndarray:
        key = (number, turn)
        if key not in self._orders:
            for old in [k for k in self._orders if k[0] == number and k[1] < turn - 1]:
                del self._orders[old]
            self._orders[key] = np.random.default_rng([self.seed, number, turn]).permutation(len(self.parts[number]))
        return self._orders[key]

    def position(self, seen: int) -> dict[str, Any]:
        """Describe the position of a run after `seen` samples; saved with every checkpoint."""
        if self.length is None and seen > len(self.owner):
            self._lay_out(2 * seen)
        counts = np.bincount(self.owner[:seen], minlength=len(self.parts))
        return {
            "seen": seen,
            "seed": self.seed,
            "parts": [
                {"name": p.name, "identity": p.identity, "samples": len(p), "share": round(float(s), 9), "seen": int(c)}
                for p, s, c in zip(self.parts, self.shares, counts, strict=True)
            ],
        }

    def check_position(self, saved: dict[str, Any]) -> None:
        """Check that the data are those of a saved position.

        Raises:
            DataError: seed, parts, their content or their shares differ from those of the checkpoint.
        """
        now = self.position(saved["seen"])
        if now == {name: saved.get(name) for name in now}:
            return
        before, after = ({p["name"]: p for p in position["parts"]} for position in (saved, now))
        changed = [name for name in sorted({*before, *after}) if before.get(name) != after.get(name)]
        what = f"part(s) {', '.join(changed)}" if changed else f"seed {saved['seed']} -> {now['seed']}"
        raise DataError(
            f"the data differ from what the checkpoint has seen ({what}); resume with the same data, or start anew "
            "in another output folder"
        )


class OnePass:
    """Every sample of the parts once, in their order, as in the first pass over them."""

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts
        self.ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, place: int) -> Sample:
        number = int(np.searchsorted(self.ends, place, side="right"))
        return self.parts[number].sample(place - int(self.ends[number]) + len(self.parts[number]), 0)


class LengthGrouped:
    """Reorders items so that samples of similar length are batched together.

    Args:
        items: a sequence of items.
        batch: samples per batch.
        window: number of batches that are sorted together; within a window, batches are shuffled, so that length does
            not correlate with time.
        seed: of the shuffling.
    """

    def __init__(self, items: Sequence[MixtureItem] | Mixture, batch: int, window: int = 16, seed: int = 0) -> None:
        self.items, self.batch, self.window, self.seed = items, batch, batch * window, seed
        self._number = -1
        self._sorted: list[MixtureItem] = []
        self._order = np.empty(0, dtype=np.int64)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int) -> MixtureItem:
        number, within = divmod(place, self.window)
        if number != self._number:
            self._open(number)
        return self._sorted[self._order[within]]

    def _open(self, number: int) -> None:
        first = number * self.window
        self._sorted = [self.items[place] for place in range(first, min(first + self.window, len(self.items)))]
        by_length = np.argsort([rough_length(item.sample) for item in self._sorted], kind="stable")
        whole = len(self._sorted) // self.batch * self.batch
        batches = by_length[:whole].reshape(-1, self.batch)
        drawn = np.random.default_rng([self.seed, number]).permutation(len(batches))
        self._order = np.concatenate([batches[drawn].reshape(-1), by_length[whole:]])
        self._number = number


def rough_length(sample: Sample) -> int:
    """Estimate a sample's length without reading media: characters of its texts plus a constant per visual."""
    length = 0
    for message in sample.messages:
        content = message["content"]
        for part in [{"type": "text", "text": content}] if isinstance(content, str) else content:
            length += len(part["text"].encode()) if part["type"] == "text" else 64
    return length
