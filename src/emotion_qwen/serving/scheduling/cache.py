"""Keys and values of all running requests, in pages: the memory follows the sum of what the requests hold.

Each layer keeps one pool of places, a place being the key and value of one token. A request owns whole pages of `PAGE`
places, and one more whenever it outgrows them. A pass of the model looks up the places of requests of like length
together, so that what is padded stays small. Pools grow and shrink with the number of pages in use (PagedAttention,
Kwon et al., 2023, arXiv:2309.06180).
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
SPARE = 8  # of so many pages, one more is held in reserve, so that pools do not grow at every step
LIKE = 1.25  # requests are looked up together whose lengths in pages differ by no more than this factor
_PREFIX = "emotion_qwen_paged_"


@dataclass(eq=False)
class Row:
    """A running request's share of the cache.

    Attributes:
        pages: numbers of its pages, in the order of its tokens.
        length: tokens that are in them.
    """

    pages: list[int]
    length: int


@dataclass(frozen=True)
class _Group:
    """Requests of like length: (R,) numbers in the batch, (R, L) places, (R, 1, 1, L) mask of what each sees."""

    members: torch.Tensor
    places: torch.Tensor
    mask: torch.Tensor


class PagedLayer(CacheLayerMixin):
    """Keys and values of one layer, (places, heads, size) each."""

    is_sliding = False

    def __init__(self, owner: PagedCache) -> None:
        super().__init__()
        self.owner = owner

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Make room for the pages in use, in the form of the given states (B, heads, L, size)."""
        heads, size = key_states.shape[1], key_states.shape[3]
        shape = (self.owner.pages * PAGE, heads, size)
        self.keys, self.values = key_states.new_zeros(shape), value_states.new_zeros(shape)
        self.is_initialized = True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Write one token, (B, heads, 1, size), for each row of the step; `attend` reads them, through this layer."""
        keys, values = self._pools
        keys[self.owner.written], values[self.owner.written] = key_states[:, :, 0], value_states[:, :, 0]
        return cast(torch.Tensor, self), cast(torch.Tensor, self)

    def attend(self, attention: Callable[..., Any], module: Any, query: torch.Tensor, **options: Any) -> torch.Tensor:
        """Return the (B, 1, heads, size) attention of one token for each row of the step, (B, heads, 1, size)."""
        keys, values = self._pools
        attended = torch.empty_like(query.transpose(1, 2))
        for group in self.owner.groups:
            visible = [pool[group.places].transpose(1, 2) for pool in (keys, values)]  # (R, heads, L, size)
            attended[group.members] = attention(module, query[group.members], *visible, group.mask, **options)[0]
        return attended

    def write(self, places: torch.Tensor, keys: torch.Tensor, values: torch.Tensor) -> None:
        """Write the (heads, L, size) states of a prompt to (L,) places."""
        if not self.is_initialized:
            self.lazy_initialization(keys[None], values[None])
        pools = self._pools
        pools[0][places], pools[1][places] = keys.transpose(0, 1), values.transpose(0, 1)

    def move(self, sources: torch.Tensor, targets: torch.Tensor) -> None:
        """Copy places to others, which are not among them."""
        for pool in self._pools:
            pool[targets] = pool[sources]

    def resize(self, places: int) -> None:
        """Grow or shrink to so many places; what lies behind them is lost."""
        if self.is_initialized and len(self._pools[0]) != places:
            self.keys, self.values = (_resized(pool, places) for pool in self._pools)

    def drop(self) -> None:
        """Give the memory back."""
        self.keys, self.values = None, None  # type: ignore[assignment]
        self.is_initialized = False

    @property
    def _pools(self) -> tuple[torch.Tensor, torch.Tensor]:
        assert self.keys is not None and self.values is not None  # `admit` comes before the first step
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:  # noqa: D102
        return self.get_seq_length(), 0

    def get_seq_length(self) -> int:  # noqa: D102
        return max((group.places.shape[1] for group in self.owner.groups), default=0)

    def get_max_length(self) -> int:  # noqa: D102
        return -1


def _resized(pool: torch.Tensor, places: int) -> torch.Tensor:
    kept = min(len(pool), places)
    resized = pool.new_zeros((places, *pool.shape[1:]))  # zeros: what is masked must still be a number
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
        """Copy row `source` of a prompt's cache, of which `length` tokens count, into pages of its own."""
        row = Row(self._take(-(-length // PAGE)), length)
        try:
            places = _places([row.pages], self.device)[0, :length]
            for layer, given in zip(self.layers, prompt.layers, strict=True):
                layer.write(places, given.keys[source, :, :length], given.values[source, :, :length])
        except BaseException:
            self._give_back(row.pages)
            raise
        self.rows.append(row)
        return row

    def release(self, row: Row) -> None:
        """Take a request's pages back; pools that have become too large shrink."""
        self.rows.remove(row)
        self._give_back(row.pages)

    def extend(self, row: Row) -> None:
        """Make room for one more token of a request."""
        if row.length == len(row.pages) * PAGE:
            row.pages += self._take(1)

    def begin_step(self, rows: Sequence[Row]) -> dict[str, torch.Tensor]:
        """Prepare a pass that writes one token for each of some requests that have room for it.

        Returns:
            The pass's `attention_mask`, which says nothing: `groups` hold what each request sees.
        """
        last = [row.pages[row.length // PAGE] * PAGE + row.length % PAGE for row in rows]
        self.written = torch.tensor(last, device=self.device)
        self.groups = [self._group(rows, members) for members in _alike([len(row.pages) for row in rows])]
        return {"full_attention": self.written}

    def end_step(self, rows: Sequence[Row]) -> None:
        """Count the token that a pass has written for each of these requests."""
        for row in rows:
            row.length += 1

    def _group(self, rows: Sequence[Row], members: Sequence[int]) -> _Group:
        lengths = torch.tensor([rows[member].length for member in members], device=self.device)
        places = _places([rows[member].pages for member in members], self.device)[:, : int(lengths.max()) + 1]
        mask = torch.arange(places.shape[1], device=self.device)[None] <= lengths[:, None]
        return _Group(torch.tensor(list(members), device=self.device), places, mask[:, None, None])

    def _take(self, count: int) -> list[int]:
        """Take free pages, of larger pools if need be; if there is no memory for these, nothing has changed."""
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
            with suppress(RuntimeError):  # no memory to move pages with: they are given back with the next request
                self._shrink(_with_spare(used))

    def _shrink(self, pages: int) -> None:
        """Move what lies behind so many pages before them, and give the rest back."""
        free = [page for page in self._free if page < pages]
        moved = [page for row in self.rows for page in row.pages if page >= pages]
        targets = dict(zip(moved, free, strict=False))
        if moved:
            sources = _places([moved], self.device)[0], _places([list(targets.values())], self.device)[0]
            for layer in self.layers:
                layer.move(*sources)
        for row in self.rows:
            row.pages = [targets.get(page, page) for page in row.pages]
        self._free, self.pages = free[len(moved) :], pages
        for layer in self.layers:
            layer.resize(pages * PAGE)


def _with_spare(pages: int) -> int:
    return pages + pages // SPARE


def _places(pages: Sequence[Sequence[int]], device: torch.device) -> torch.Tensor:
    """Return the (R, L) places of R lists of pages; shorter lists are filled up with page 0."""
    longest = max(map(len, pages))
    table = torch.tensor([[*numbers, *[0] * (longest - len(numbers))] for numbers in pages])
    return (table[:, :, None] * PAGE + torch.arange(PAGE)).flatten(1).to(device)


def _alike(lengths: Sequence[int]) -> list[list[int]]:
    """Cut requests of given lengths into groups in which the longest is at most `LIKE` times the shortest."""
    groups: list[list[int]] = []
    for number in sorted(range(len(lengths)), key=lambda number: lengths[number]):
        if not groups or lengths[number] > max(LIKE * lengths[groups[-1][0]], lengths[groups[-1][0]] + 2):
            groups.append([])
        groups[-1].append(number)
    return groups


def use_pages(config: Any) -> None:
    """Let the attention of a language model read from a `PagedCache`, too; everything else stays as it is.

    Args:
        config: of the text model; names the attention that does the work.
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
