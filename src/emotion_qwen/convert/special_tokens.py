"""Our special tokens in the tokenizer of a text-only model, and the embedding rows assigned to them.

A token that the tokenizer lacks gets, in this order: an unused row of the embedding, the id of a special token that is
reserved or marks source code, or a new row at the end.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from emotion_qwen.convert.shards import ReadableTensor
from emotion_qwen.errors import CheckpointError, DataError
from emotion_qwen.processing.chat import SPECIAL_TOKENS

END_OF_TEXT, END_OF_TURN = SPECIAL_TOKENS[0], SPECIAL_TOKENS[2]
UNUSED = re.compile(
    r"<?\|?\[?(.*(reserved|unused|control)[ _-]?.*\d+.*|repo_?name|file_sep|filename|gh_stars|issue_\w+|jupyter_\w+"
    r"|empty_output|commit_\w+)\]?\|?>?",
    re.IGNORECASE,
)
"""Names of special tokens that no conversation needs: reserved ones, and marks between files of source code."""


@dataclass(frozen=True)
class PlacedTokens:
    """A tokenizer that contains our tokens.

    Attributes:
        tokenizer: with `<|im_end|>` as end and `<|endoftext|>` as padding.
        rows: embedding rows that it needs.
        reused: our token -> name that its id had before.
        pieces: (token id, ids of its former pieces), for every token with a new meaning.
    """

    tokenizer: PreTrainedTokenizerFast
    rows: int
    reused: dict[str, str]
    pieces: tuple[tuple[int, tuple[int, ...]], ...]


def place_tokens(
    tokenizer: PreTrainedTokenizerBase, rows: int, context: int, further: Sequence[str] = ()
) -> PlacedTokens:
    """Assign an id to every token of this package.

    Args:
        tokenizer: of the source; not changed.
        rows: of the source's embedding.
        context: longest text of the model, in tokens.
        further: plain tokens to add, such as frequent Chinese characters; those that already exist are unchanged.

    Raises:
        CheckpointError: the tokenizer has more tokens than the embedding has rows.
        DataError: the tokenizer would not reproduce a further token.
    """
    if len(tokenizer) > rows:
        raise CheckpointError(
            f"a tokenizer of {len(tokenizer)} tokens for an embedding of {rows} rows; take both from the same "
            "checkpoint"
        )
    backend: Any = tokenizer.backend_tokenizer  # type: ignore[attr-defined]
    state = json.loads(backend.to_str())
    state["post_processor"] = None  # the chat template writes every special token itself
    known = set(tokenizer.get_vocab())
    missing = [token for token in SPECIAL_TOKENS if token not in known]
    spare = max(rows - len(tokenizer), 0)
    names = iter(
        [token["content"] for token in state["added_tokens"] if token["special"] and _unused(token["content"])]
    )
    reused = dict(zip(missing[spare:], names, strict=False))
    renamed = {old: new for new, old in reused.items()}
    for token in state["added_tokens"]:
        token["content"] = renamed.get(token["content"], token["content"])
    vocabulary = state["model"].get("vocab")
    if isinstance(vocabulary, dict):
        state["model"]["vocab"] = {renamed.get(token, token): number for token, number in vocabulary.items()}
    placed = Tokenizer.from_str(json.dumps(state))
    placed.add_special_tokens([AddedToken(token, normalized=False, special=True) for token in SPECIAL_TOKENS])
    plain = [token for token in dict.fromkeys(further) if placed.token_to_id(token) is None]
    placed.add_tokens([AddedToken(token, normalized=False, special=False) for token in plain])
    ids = placed.get_vocab()
    for token in further:
        if placed.decode([ids[token]]) != token:
            raise DataError(f"the token {token!r} cannot be added: it would be decoded differently; leave it out")
    pieces = tuple(
        (ids[token], tuple(backend.encode(token, add_special_tokens=False).ids)) for token in (*missing, *plain)
    )
    ours = PreTrainedTokenizerFast(
        tokenizer_object=placed,
        eos_token=END_OF_TURN,
        pad_token=END_OF_TEXT,
        model_max_length=context,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )
    return PlacedTokens(ours, max(rows, len(ours)), reused, pieces)


def _unused(name: str) -> bool:
    return name not in SPECIAL_TOKENS and UNUSED.fullmatch(name) is not None


@dataclass(frozen=True, eq=False)
class GrownTensor:
    """An embedding or output projection with further rows, each the mean of the rows of its token's pieces.

    Attributes:
        source: (rows, hidden) as the checkpoint has it.
        rows: that the result has.
        pieces: as of `PlacedTokens`; only rows behind those of the source are set, so that ids which a token of ours
            reuses keep their row.
    """

    source: ReadableTensor
    rows: int
    pieces: tuple[tuple[int, tuple[int, ...]], ...]

    @property
    def dtype(self) -> torch.dtype:
        """The source's."""
        return self.source.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        """(rows, hidden) of the result."""
        return (self.rows, *self.source.shape[1:])

    def read(self) -> torch.Tensor:
        """Read the source's rows and compute the further ones; a row without a token is the mean of all."""
        values = self.source.read()
        before = len(values)
        if before == self.rows:
            return values
        grown = values.new_empty(self.rows, *values.shape[1:])
        grown[:before] = values
        grown[before:] = values.mean(dim=0, dtype=torch.float32).to(values.dtype)
        for number, parts in self.pieces:
            if number >= before and parts:
                grown[number] = values[list(parts)].float().mean(dim=0).to(values.dtype)
        return grown
