"""Paged key-value cache of all running requests: its memory follows the sum of their lengths.

Each layer has one pool of cells; a cell contains the key and value of one token. A request owns whole pages of `PAGE`
cells and gets another page when they are full. A forward pass attends over groups of requests of similar length, which
limits padding. Pools grow and shrink with the number of pages in use (PagedAttention, Kwon et al., 2023,
arXiv:2309.06180).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, cast

import torch
from transformers.cache_utils import Cache, CacheLayerMixin
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, AttentionMaskInterface
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, AttentionInterface

PAGE = 32  # tokens
SPARE = 8  # one spare page is reserved per this many, so that pools do not grow at every step
LIKE = 1.25  # largest ratio of lengths in pages within a group of requests
_PREFIX = "emotion_qwen_paged_"


@dataclass(eq=False)
class Row:
    """A running request's share of the cache.

    Attributes:
        pages: numbers of its pages, in the order of its tokens.
        length: number of cached tokens.
    """

    pages: list[int]
    length: int


@dataclass(frozen=True)
class _Group:
    """Requests of similar length: (R,) indices in the batch, (R, L) cells, (R, 1, 1, L) attention mask."""

    members: torch.Tensor
    cells: torch.Tensor
    mask: torch.Tensor


class PagedLayer(CacheLayerMixin):
    """Keys and values of one layer, (cells, heads, size) each."""

    is_sliding = False

    def __init__(self, owner: PagedCache) -> None:
        super().__init__()
        self.owner = owner

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Allocate the pages in use, with the type and shape of the given states (B, heads, L, size)."""
        heads, size = key_states.shape[1], key_states.shape[3]
        shape = (self.owner.pages * PAGE, heads, size)
        self.keys, self.values = key_states.new_zeros(shape), value_states.new_zeros(shape)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one token, (B, heads, 1, size), per row of the step; returns this layer, from which `attend` reads."""
        keys, values = self._pools
        keys[self.owner.written], values[self.owner.written] = key_states[:, :, 0], value_states[:, :, 0]
        return cast(torch.Tensor, self), cast(torch.Tensor, self)

    def attend(self, attention: Callable[..., Any], module: Any, query: torch.Tensor, **options: Any) -> torch.Tensor:
        """Return the (B, 1, heads, size) attention output of one token per row of the step, (B, heads, 1, size)."""
        keys, values = self._pools
        attended = torch.empty_like(query.transpose(1, 2))
        for group in self.owner.groups:
            visible = [pool[group.cells].transpose(1, 2) for pool in (keys, values)]  # (R, heads, L, size)
            attended[group.members] = attention(module, query[group.members], *visible, group.mask, **options)[0]
        return attended

    def write(self, cells: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Write the (heads, L, size) states of a prompt to (L,) cells."""
        if not self.is_initialized:
            self.lazy_initialization(keys[None], values[None])
        pools = self._pools
        pools[0][cells], pools[1][cells] = keys.transpose(0, 1), values.transpose(0, 1)

    def move(self, sources: torch.Tensor, targets: torch.Tensor) -> None:
        """Copy cells to other cells; the two sets are disjoint."""
        for pool in self._pools:
            pool[targets] = pool[sources]

    def resize(self, cells: int) -> None:
        """Grow or shrink the pools; cells beyond the new size are lost."""
        if self.is_initialized and len(self._pools[0]) != cells:
            self.keys, self.values = (_resized(pool, cells) for pool in self._pools)

    def drop(self) -> None:
        """Free the memory."""
        self.keys, self.values = None, None  # type: ignore[assignment]
        self.is_initialized = False

    @property
    def _pools(self) -> tuple[torch.Tensor, torch.Tensor]:
        assert self.keys is not None and self.values is not None  # `admit` comes before the first step
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:  # noqa: D102
        return self.get_seq_length(), 0

    def get_seq_length(self) -> int:  # noqa: D102
        return max((group.cells.shape[1] for group in self.owner.groups), default=0)

    def get_max_length(self) -> int:  # noqa: D102
        return -1


def _resized(pool: torch.Tensor, cells: int) -> torch.Tensor:
    kept = min(len(pool), cells)
    resized = pool.new_zeros((cells, *pool.shape[1:]))  # zeros: masked values must be finite
    resized[:kept] = pool[:kept]
    return resized


class PagedCache(Cache):
    """The cache of all running requests.

    Args:
        layers: of the language model.
        device: of the model.
    """

    def __init__(self, layers: int, device: torch.device) -> None:
        self.device = device
        self.pages = 0
        self.rows: list[Row] = []
        self.groups: Sequence[_Group] = ()
        self.written = torch.zeros(0, dtype=torch.long)
        self._free: list[int] = []
        super().__init__(layers=[PagedLayer(self) for _ in range(layers)])

    def admit(self, prompt: Cache, source: int, length: int) -> Row:
        """Copy the first `length` tokens of row `source` of a prompt's cache into new pages."""
        row = Row(self._take(-(-length // PAGE)), length)
        try:
            cells = _cells([row.pages], self.device)[0, :length]
            for layer, given in zip(self.layers, prompt.layers, strict=True):
                layer.write(cells, given.keys[source, :, :length], given.values[source, :, :length])
        except BaseException:
            self._give_back(row.pages)
            raise
        self.rows.append(row)
        return row

    def release(self, row: Row) -> None:
        """Free a request's pages; oversized pools shrink."""
        self.rows.remove(row)
        self._give_back(row.pages)

    def extend(self, row: Row) -> None:
        """Ensure that a request has room for one more token."""
        if row.length == len(row.pages) * PAGE:
            row.pages += self._take(1)

    def begin_step(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """Prepare a forward pass that writes one token for each of the given requests, which have room for it.

        Returns:
            A placeholder for `attention_mask`; the real masks are in `groups`.
        """
        last = [row.pages[row.length // PAGE] * PAGE + row.length % PAGE for row in rows]
        self.written = torch.tensor(last, device=self.device)
        self.groups = [self._group(rows, members) for members in _alike([len(row.pages) for row in rows])]
        return {"full_attention": self.written}

    def end_step(self, rows: Sequence[Row]) -> None:
        """Count the token that the forward pass has written for each of these requests."""
        for row in rows:
            row.length += 1

    def _group(self, rows: Sequence[Row], members: Sequence[int]) -> _Group:
        lengths = torch.tensor([rows[member].length for member in members], device=self.device)
        cells = _cells([rows[member].pages for member in members], self.device)[:, : int(lengths.max()) + 1]
        mask = torch.arange(cells.shape[1], device=self.device)[None] <= lengths[:, None]
        return _Group(torch.tensor(list(members), device=self.device), cells, mask[:, None, None])

    def _take(self, count: int) -> list[int]:
        """Return free pages, after growing the pools if need be; if that runs out of memory, nothing changes."""
        if count > len(self._free):
            wanted = _with_spare(self.pages - len(self._free) + count)
            for layer in self.layers:
                layer.resize(wanted * PAGE)
            self._free += range(self.pages, wanted)
            self.pages = wanted
        taken = self._free[-count:]
        del self._free[-count:]
        return taken

    def _give_back(self, pages: list[int]) -> None:
        self._free += pages
        used = self.pages - len(self._free)
        if not used:
            self.pages, self._free = 0, []
            for layer in self.layers:
                layer.drop()
        elif _with_spare(used) * 10 < self.pages * 9:
            with suppress(RuntimeError):  # no memory to move pages: retried when the next request is released
                self._shrink(_with_spare(used))

    def _shrink(self, pages: int) -> None:
        """Move the pages from number `pages` on to free ones below, and free the rest."""
        free = [page for page in self._free if page < pages]
        moved = [page for row in self.rows for page in row.pages if page >= pages]
        targets = dict(zip(moved, free, strict=False))
        if moved:
            sources = _cells([moved], self.device)[0], _cells([list(targets.values())], self.device)[0]
            for layer in self.layers:
                layer.move(*sources)
        for row in self.rows:
            row.pages = [targets.get(page, page) for page in row.pages]
        self._free, self.pages = free[len(moved) :], pages
        for layer in self.layers:
            layer.resize(pages * PAGE)


def _with_spare(pages: int) -> int:
    return pages + pages // SPARE


def _cells(pages: Sequence[Sequence[int]], device: torch.device) -> torch.Tensor:
    """Return the (R, L) cells of R lists of pages; shorter lists are padded with page 0."""
    longest = max(map(len, pages))
    table = torch.tensor([[*numbers, *[0] * (longest - len(numbers))] for numbers in pages])
    return (table[:, :, None] * PAGE + torch.arange(PAGE)).flatten(1).to(device)


def _alike(lengths: Sequence[int]) -> list[list[int]]:
    """Group requests by length; the longest of a group is at most `LIKE` times the shortest, or 2 pages longer."""
    groups: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda number: lengths[number]):
        if not groups or lengths[number] > max(LIKE * lengths[groups[-1][0]], lengths[groups[-1][0]] + 2):
            groups.append([])
        groups[-1].append(number)
    return groups


def use_pages(config: Any) -> None:
    """Extend the attention of a language model so that it also reads from a `PagedCache`.

    Args:
        config: of the text model; names the attention implementation to extend.
    """
    chosen = config._attn_implementation
    if chosen.startswith(_PREFIX):
        return
    attention = ALL_ATTENTION_FUNCTIONS[chosen]

    def attend(module: Any, query: torch.Tensor, key: Any, value: Any, mask: Any, **options: Any) -> Any:
        if isinstance(key, PagedLayer):
            return key.attend(attention, module, query, **options), None
        return attention(module, query, key, value, mask, **options)

    AttentionInterface.register(_PREFIX + chosen, attend)
    AttentionMaskInterface.register(_PREFIX + chosen, ALL_MASK_ATTENTION_FUNCTIONS[chosen])
    config._attn_implementation = _PREFIX + chosen
