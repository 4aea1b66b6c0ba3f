"""Compute log-likelihoods of given answers with as few tokens through the language model as possible.

The prompts of a batch start with the same text: the system message and, if it precedes the media, the question. This
prefix is processed by the language model once, and every row continues from a copy of its cache. If several prompts
are about one visual, the prefix includes it and is processed once per visual, and its prompts and answers follow as
one tree (`prompt_trees`). Otherwise, answers of several tokens are processed together, as branches of one sequence
that do not attend to each other.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache
from transformers.cache_utils import Cache
from transformers.utils.generic import is_flash_attention_requested

from emotion_qwen.engine.encoding import VISUALS
from emotion_qwen.engine.prompt_trees import SPARE, PromptTree, TreeBatch, alike, prompt_rests
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.model.positions import AUDIO, IMAGE, TEXT, VIDEO

LEAST = 4
"""Minimum length in tokens of a shared prefix that is computed separately."""
SHORT = 512
"""Maximum number of tokens of visuals whose common text is processed separately."""
POSITIONS = 1024
"""Maximum number of positions whose logits over the whole vocabulary are in memory together."""
Tokens = Sequence[int]


@dataclass(frozen=True, eq=False)
class WordScores:
    """Scores of V views for L word sequences.

    Attributes:
        log_likelihood: (V, L) fp32, sum over the tokens of each sequence.
        tokens: (L,) number of tokens of each sequence.
        gate: (V, 2) fusion weights, general and emotion; zeros for a view without a visual.
        hidden: (V, H) fp32 last hidden states, after the final norm, of the last token before the answer.
    """

    log_likelihood: torch.Tensor
    tokens: torch.Tensor
    gate: torch.Tensor
    hidden: torch.Tensor


@dataclass(frozen=True, eq=False)
class AnswerScores:
    """Scores of one view for answers of its own.

    Attributes:
        log_likelihood: per answer, the sum over its tokens.
        tokens: per answer, their number.
        greedy: per answer, whether greedy decoding would begin with it.
        gate: fusion weights, general and emotion; zeros for a view without a visual.
    """

    log_likelihood: list[float]
    tokens: list[int]
    greedy: list[bool]
    gate: list[float]


@dataclass(frozen=True, eq=False)
class BatchScores:
    """Scores of B prompts with at most L answers each.

    Attributes:
        log_likelihood: (B, L) fp32 sums; meaningless beyond a prompt's own answers.
        greedy: (B, L) whether greedy decoding would give the answer; None where that was not asked for.
        hidden: (B, H) last hidden states of the last token of each prompt.
    """

    log_likelihood: torch.Tensor
    greedy: torch.Tensor | None
    hidden: torch.Tensor


class AnswerScorer:
    """Scores answers after prompts; prompts of several batches may share a prefix.

    Args:
        model: in evaluation mode.
    """

    def __init__(self, model: EmotionQwenForConditionalGeneration) -> None:
        self.model = model
        self._beginning: tuple[list[int], list[int], Cache] | None = None  # tokens, identities of visuals, cache

    def __call__(
        self,
        inputs: dict[str, Any],
        encoded: dict[str, Any],
        answers: Sequence[Sequence[Tokens]],
        greedy: bool = False,
        visuals: Sequence[Any] | None = None,
    ) -> BatchScores:
        """Score the answers after B prompts.

        Args:
            inputs: from the processor, padded on the left, without media.
            encoded: the media as `mm_encoder_outputs`.
            answers: per prompt its answers as token sequences; numbers may differ from prompt to prompt.
            greedy: also compare every answer with what greedy decoding would give.
            visuals: the only visual of each prompt, all with the same grid; they are then part of the prefix.
        """
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        positions, offsets = self.model.model.get_rope_index(**inputs)
        shared = self._shared(ids, mask, inputs["mm_token_type_ids"], visuals is not None)
        if shared and visuals is not None:
            cache, places = self._begun(ids, mask, shared, positions, encoded, visuals)
            starts = (mask == 0).sum(1) + shared
            sounds = () if "audio" not in encoded else encoded["audio"].pooler_output
            audio = self.model.config.audio_token_id, sounds
            trees = [PromptTree() for _ in range(max(places) + 1)]
            rests = prompt_rests(ids, starts, positions, mask.sum(1, keepdim=True) + offsets, audio)
            for row, (rest, place) in enumerate(zip(rests, places, strict=True)):
                trees[place].add(row, rest, answers[row])
            return self._score_trees(cache, trees, answers, greedy)
        cache = None
        if shared:
            beginning, places = self._begun(ids, mask, shared, positions, encoded, None)
            cache = _rows_of(beginning, places)
        begins = (mask == 0).sum(1, keepdim=True) + shared  # first column of each row that is not in the cache
        fresh = (torch.arange(ids.shape[1], device=ids.device) >= begins).to(mask.dtype)[:, shared:]
        visible = torch.cat([mask.new_ones(len(ids), shared), fresh], dim=1)
        continues = any(len(answer) > 1 for row in answers for answer in row)
        # The content of a cache copy is masked in front of shorter rows, and must not ask for a visual.
        rest = ids[:, shared:].where(fresh.bool(), ids[:, -1:])
        prompt = self.model.model(
            input_ids=rest, attention_mask=visible, position_ids=positions[:, :, shared:],
            past_key_values=cache, mm_encoder_outputs=encoded, use_cache=continues,
        )  # fmt: skip
        states = prompt.last_hidden_state[:, -1]
        # The last layers may be on another device than the first.
        first = self.model.lm_head(states).float().log_softmax(-1).to(ids.device)
        beginnings = _padded([[answer[0] for answer in row] for row in answers], ids.device)
        scores = first.gather(1, beginnings)
        same = beginnings == first.argmax(-1, keepdim=True) if greedy else None
        if continues:
            following = mask.sum(1, keepdim=True) + offsets  # (B, 1) position of the first token after the prompt
            sums, differing = self._rest(prompt.past_key_values, visible, following, answers, greedy)
            scores += sums
            same = same & (differing == 0) if same is not None else None
        return BatchScores(scores, same, states)

    def _shared(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor, visual: bool) -> int:
        """Return the length of the prefix shared by all prompts; 0 if sharing would save too little.

        It ends before the first medium, or, if it includes visuals, before the first sound.
        """
        if len(ids) < 2:
            return 0
        rows = [row[present.bool()] for row, present in zip(ids, mask, strict=True)]
        kinds = [kind[present.bool()] for kind, present in zip(types, mask, strict=True)]
        together = pad_sequence(rows, batch_first=True, padding_value=-1)
        kind = pad_sequence(kinds, batch_first=True, padding_value=TEXT)
        usable = (kind == TEXT) | (visual & (kind != AUDIO))
        same = ((together == together[0]) & usable).all(0)
        shared = int(same.long().cumprod(0).sum())
        shared = min(shared, min(map(len, rows)) - 1)  # every row keeps a token whose state predicts the answer
        shown = (kinds[0] == IMAGE) | (kinds[0] == VIDEO)
        whole = not visual or bool(shown[:shared].sum() == shown.sum())
        return shared if shared >= LEAST and whole else 0

    def _begun(
        self,
        ids: torch.Tensor,
        mask: torch.Tensor,
        shared: int,
        positions: torch.Tensor,
        encoded: dict[str, Any],
        visuals: Sequence[Any] | None,
    ) -> tuple[Cache, list[int]]:
        """Return a cache with the first `shared` tokens, a row per visual, and the row of each prompt in it."""
        start = int((mask[0] == 0).sum())
        beginning = ids[0, start : start + shared]
        shown = [None] * len(ids) if visuals is None else list(visuals)
        firsts = {id(visual): row for row, visual in reversed([*enumerate(shown)])}  # visual -> first row about it
        rows = sorted(firsts.values())
        distinct = [id(shown[row]) for row in rows]
        if self._beginning is None or self._beginning[:2] != (beginning.tolist(), distinct):
            media = {
                kind: type(features)(pooler_output=tuple(features.pooler_output[row] for row in rows))
                for kind, features in encoded.items()
                if kind in VISUALS and visuals is not None
            }
            cache, places = DynamicCache(config=self.model.config.text_config), positions[:, :1, start : start + shared]
            if text := self._text_before(beginning, len(rows)):
                self._extend(cache, beginning[None, :text], places[..., :text])
                cache = _rows_of(cache, [0] * len(rows))
            rest, after = beginning[text:].expand(len(rows), -1), places[..., text:].expand(-1, len(rows), -1)
            self._extend(cache, rest, after, media)
            self._beginning = beginning.tolist(), distinct, cache
        row_of = {visual: row for row, visual in enumerate(distinct)}
        return self._beginning[2], [row_of[id(visual)] for visual in shown]

    def _text_before(self, beginning: torch.Tensor, rows: int) -> int:
        """Return the length of the text before several short visuals if computing it once saves enough; else 0."""
        (starts,) = (beginning == self.model.config.vision_start_token_id).nonzero(as_tuple=True)
        length = int(starts[0]) if len(starts) else 0
        # Continuing a cache needs a mask, which costs more than it saves if the visual is long.
        return length if (rows - 1) * length > SPARE and len(beginning) <= SHORT else 0

    def _extend(
        self, cache: Cache, ids: torch.Tensor, positions: torch.Tensor, media: dict[str, Any] | None = None
    ) -> None:
        """Process (B, L) tokens without padding, and add them to the cache."""
        rows, length = ids.shape
        self.model.model(
            input_ids=ids, attention_mask=ids.new_ones(rows, cache.get_seq_length() + length), position_ids=positions,
            mm_encoder_outputs=media or None, use_cache=True, past_key_values=cache,
        )  # fmt: skip

    def _score_trees(
        self, cache: Cache, trees: Sequence[PromptTree], answers: Sequence[Sequence[Tokens]], greedy: bool
    ) -> BatchScores:
        """Score the answers after prompts whose visual is in a row of the cache; see `__call__`."""
        rows, most = len(answers), max(map(len, answers))
        states: list[torch.Tensor | None] = [None] * rows
        scores, same = torch.zeros(rows, most), torch.ones(rows, most, dtype=torch.bool)
        for places in alike(trees):
            hidden = self._pass_trees(_rows_of(cache, places), [trees[place] for place in places])
            for tree, output in zip((trees[place] for place in places), hidden, strict=True):
                # The state before each token of an answer, and that token.
                before, targets, owners = list[int](), list[int](), list[tuple[int, int]]()
                for (row, end), paths in zip(tree.ends, tree.answers, strict=True):
                    states[row] = output[end]
                    for number, (answer, path) in enumerate(zip(answers[row], paths, strict=True)):
                        before += [end, *path]
                        targets += answer
                        owners += [(row, number)] * len(answer)
                device = output.device
                chosen, differing = self._chosen(output[before], torch.tensor(targets, device=device), greedy)
                place_of = torch.tensor(owners).T
                scores.index_put_(tuple(place_of), chosen.cpu(), accumulate=True)
                same[tuple(place_of[:, differing.cpu() > 0])] = False
        device = self.model.device
        last = torch.stack([state for state in states if state is not None])
        return BatchScores(scores.to(device), same.to(device) if greedy else None, last)

    def _pass_trees(self, cache: Cache, trees: Sequence[PromptTree]) -> torch.Tensor:
        """Return the (T, Q, hidden) states of T trees, whose visuals are in T rows of the cache."""
        device, number = self.model.device, self.model.dtype
        batch = TreeBatch.of(trees, device)
        embeds = self.model.get_input_embeddings()(batch.ids)
        for row, tree in enumerate(trees):
            if tree.sounds:
                embeds[row, list(tree.sounds)] = torch.stack(list(tree.sounds.values())).to(embeds)
        cached = batch.visible.new_ones(*batch.ids.shape, cache.get_seq_length())
        allowed = torch.cat([cached, batch.visible], dim=2)[:, None]
        mask = torch.zeros(allowed.shape, dtype=number, device=device).masked_fill(~allowed, torch.finfo(number).min)
        with _arbitrary_masks(self.model.config.text_config):
            return self.model.model.language_model(
                inputs_embeds=embeds, attention_mask={"full_attention": mask}, position_ids=batch.positions,
                past_key_values=cache, use_cache=True,
            ).last_hidden_state  # fmt: skip

    def _rest(
        self,
        cache: Cache,
        visible: torch.Tensor,
        following: torch.Tensor,
        answers: Sequence[Sequence[Tokens]],
        greedy: bool,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Score the second and later tokens of all answers in one pass after the prompts.

        Args:
            cache: of the prompts.
            visible: (B, T) mask of the cached tokens.
            following: (B, 1) position of an answer's first token.
            answers: see `__call__`.
            greedy: see `__call__`.

        Returns:
            (B, L) fp32 sums, 0 for answers of one token, and (B, L) numbers of tokens that greedy decoding would not
            give, 0 unless they were asked for.
        """
        device, rows, most = visible.device, len(visible), max(map(len, answers))
        flat = _padded([[token for answer in row for token in answer[:-1]] for row in answers], device)
        targets = _padded([[token for answer in row for token in answer[1:]] for row in answers], device)
        depth = _padded([[place for answer in row for place in range(len(answer) - 1)] for row in answers], device)
        # Padding belongs to an answer after the last one, whose sum is discarded.
        owners = [[number for number, answer in enumerate(row) for _ in answer[1:]] for row in answers]
        owner = _padded(owners, device, most)
        branch = (owner[:, :, None] == owner[:, None]) & (depth[:, :, None] >= depth[:, None])
        allowed = torch.cat([visible.bool()[:, None].expand(-1, flat.shape[1], -1), branch], dim=2)[:, None]
        number = self.model.dtype
        mask = torch.zeros(allowed.shape, dtype=number, device=device).masked_fill(~allowed, torch.finfo(number).min)
        with _arbitrary_masks(self.model.config.text_config):
            output = self.model.model.language_model(
                input_ids=flat, attention_mask={"full_attention": mask},
                position_ids=(following + depth).expand(3, -1, -1), past_key_values=cache, use_cache=True,
            )  # fmt: skip
        real = owner < most
        chosen, differing = torch.zeros(2, *owner.shape, device=device)
        chosen[real], differing[real] = self._chosen(output.last_hidden_state.to(device)[real], targets[real], greedy)
        sums = torch.zeros(2, rows, most + 1, device=device)
        return sums[0].scatter_add(1, owner, chosen)[:, :most], sums[1].scatter_add(1, owner, differing)[:, :most]

    def _chosen(self, states: torch.Tensor, targets: torch.Tensor, greedy: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Return (M,) log-likelihoods of the tokens after M states, and (M,) 1 where another token is likelier."""
        likelihoods, others = [], []
        for part, wanted in zip(states.split(POSITIONS), targets.split(POSITIONS), strict=True):
            logits = self.model.lm_head(part).float().to(wanted.device)
            likelihoods.append(logits.gather(1, wanted[:, None])[:, 0] - logits.logsumexp(-1))
            others.append((logits.argmax(-1) != wanted).float() if greedy else torch.zeros(len(part)).to(logits))
        return torch.cat(likelihoods), torch.cat(others)


def by_row(
    rows: Sequence[int], output: BatchScores, words: Sequence[Sequence[Tokens]], gates: Sequence[list[float]]
) -> dict[int, AnswerScores]:
    """Return the scores of a batch by row, without the padding of rows with fewer answers."""
    assert output.greedy is not None
    likelihoods, greedy = output.log_likelihood.tolist(), output.greedy.tolist()
    return {
        row: AnswerScores(likelihoods[place][: len(answers)], [*map(len, answers)], greedy[place][: len(answers)], gate)
        for place, (row, answers, gate) in enumerate(zip(rows, words, gates, strict=True))
    }


def _padded(rows: Sequence[Sequence[int]], device: torch.device, value: int = 0) -> torch.Tensor:
    """Return rows of unequal lengths as one tensor, padded on the right."""
    return pad_sequence([torch.tensor(row, dtype=torch.long, device=device) for row in rows], True, value)


def _rows_of(cache: Cache, rows: Sequence[int]) -> Cache:
    """Return a cache of some rows, each possibly several times; the given one is unchanged."""
    part = copy.copy(cache)
    part.layers = [copy.copy(layer) for layer in cache.layers]  # of which new tensors replace those of the given one
    part.batch_select_indices(torch.tensor(list(rows)))  # on the CPU, as layers may be on several devices
    return part


@contextmanager
def _arbitrary_masks(config: Any) -> Iterator[None]:
    """Use PyTorch's attention kernels temporarily, because flash attention supports only causal masks."""
    chosen = config._attn_implementation
    config._attn_implementation = "sdpa" if is_flash_attention_requested(config) else chosen
    try:
        yield
    finally:
        config._attn_implementation = chosen
