"""Compute log-likelihoods of given answers with as few tokens through the language model as possible.

The prompts of a batch start with the same text: the system message and, if it precedes the media, the question. This
prefix passes the language model once, and every row continues from a copy of its cache. Answers of several tokens pass
together, as branches of one sequence that do not attend to each other (SpecInfer, Miao et al., 2024,
arXiv:2305.09781, section 4).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from transformers import DynamicCache
from transformers.cache_utils import Cache
from transformers.utils.generic import is_flash_attention_requested

from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.model.positions import TEXT

LEAST = 4
"""Minimum length in tokens of a shared prefix that is computed separately."""


class AnswerScorer:
    """Scores L answers after prompts; prompts of several batches may share a prefix.

    Args:
        model: in evaluation mode.
        answers: L token sequences.
    """

    def __init__(self, model: EmotionQwenForConditionalGeneration, answers: Sequence[Sequence[int]]) -> None:
        self.model, self.answers = model, [list(answer) for answer in answers]
        self._beginning: tuple[list[int], Cache] | None = None

    def __call__(self, inputs: dict[str, Any], encoded: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
        """Score the answers after B prompts.

        Args:
            inputs: from the processor, padded on the left, without media.
            encoded: the media as `mm_encoder_outputs`.

        Returns:
            (B, L) fp32 sums of log-likelihoods, and (B, H) last hidden states of the last token of each prompt.
        """
        ids, mask = inputs["input_ids"], inputs["attention_mask"]
        positions, offsets = self.model.model.get_rope_index(**inputs)
        shared = self._shared(ids, mask, inputs["mm_token_type_ids"])
        cache = self._continued(ids, mask, shared) if shared else None
        begins = (mask == 0).sum(1, keepdim=True) + shared  # first column of each row that the cache does not hold
        fresh = (torch.arange(ids.shape[1], device=ids.device) >= begins).to(mask.dtype)[:, shared:]
        visible = torch.cat([mask.new_ones(len(ids), shared), fresh], dim=1)
        continues = any(len(answer) > 1 for answer in self.answers)
        prompt = self.model.model(
            input_ids=ids[:, shared:], attention_mask=visible, position_ids=positions[:, :, shared:],
            past_key_values=cache, mm_encoder_outputs=encoded, use_cache=continues,
        )  # fmt: skip
        states = prompt.last_hidden_state[:, -1]
        first = self.model.lm_head(states).float().log_softmax(-1)
        scores = torch.stack([first[:, answer[0]] for answer in self.answers], dim=1)
        if continues:
            following = mask.sum(1, keepdim=True) + offsets  # (B, 1) position of the first token after the prompt
            scores += self._rest(prompt.past_key_values, visible, following)
        return scores, states

    def _shared(self, ids: torch.Tensor, mask: torch.Tensor, types: torch.Tensor) -> int:
        """Return the length of the text prefix shared by all prompts; 0 if sharing would save too little."""
        if len(ids) < 2:
            return 0
        rows = [row[present.bool()] for row, present in zip(ids, mask, strict=True)]
        kinds = [kind[present.bool()] for kind, present in zip(types, mask, strict=True)]
        together = pad_sequence(rows, batch_first=True, padding_value=-1)
        text = pad_sequence(kinds, batch_first=True, padding_value=TEXT) == TEXT
        same = ((together == together[0]) & text).all(0)
        shared = int(same.long().cumprod(0).sum())
        shared = min(shared, min(map(len, rows)) - 1)  # every row keeps a token whose state predicts the answer
        return shared if shared >= LEAST else 0

    def _continued(self, ids: torch.Tensor, mask: torch.Tensor, shared: int) -> Cache:
        """Return a cache of B rows with the first `shared` tokens of the prompts."""
        start = int((mask[0] == 0).sum())
        beginning = ids[0, start : start + shared]
        if self._beginning is None or self._beginning[0] != beginning.tolist():
            place = torch.arange(shared, device=ids.device).expand(3, 1, -1)
            output = self.model.model(
                input_ids=beginning[None], attention_mask=torch.ones_like(beginning)[None], position_ids=place,
                past_key_values=DynamicCache(config=self.model.config.text_config), use_cache=True,
            )  # fmt: skip
            self._beginning = beginning.tolist(), output.past_key_values
        cache = copy.deepcopy(self._beginning[1])
        cache.batch_repeat_interleave(len(ids))
        return cache

    def _rest(self, cache: Cache, visible: torch.Tensor, following: torch.Tensor) -> torch.Tensor:
        """Score the second and later tokens of all answers in one pass after the prompts.

        Args:
            cache: of the prompts.
            visible: (B, T) mask of the cached tokens.
            following: (B, 1) position of an answer's first token.

        Returns:
            (B, L) fp32 sums; 0 for answers of one token.
        """
        device, rows = visible.device, len(visible)
        inputs = [answer[:-1] for answer in self.answers]
        flat = torch.tensor([token for tokens in inputs for token in tokens], device=device)
        owner = torch.tensor([number for number, tokens in enumerate(inputs) for _ in tokens], device=device)
        depth = torch.tensor([place for tokens in inputs for place in range(len(tokens))], device=device)
        targets = torch.tensor([token for answer in self.answers for token in answer[1:]], device=device)
        branch = (owner[:, None] == owner[None]) & (depth[:, None] >= depth[None])
        allowed = torch.cat(
            [visible.bool()[:, None].expand(-1, len(flat), -1), branch[None].expand(rows, -1, -1)], dim=2
        )[:, None]
        number = self.model.dtype
        mask = torch.zeros(allowed.shape, dtype=number, device=device).masked_fill(~allowed, torch.finfo(number).min)
        with _arbitrary_masks(self.model.config.text_config):
            output = self.model.model.language_model(
                input_ids=flat.expand(rows, -1), attention_mask={"full_attention": mask},
                position_ids=(following + depth).expand(3, -1, -1), past_key_values=cache, use_cache=True,
            )  # fmt: skip
        logits = self.model.lm_head(output.last_hidden_state).float()  # (B, N, vocabulary)
        chosen = logits.gather(2, targets.expand(rows, -1)[..., None])[..., 0] - logits.logsumexp(-1)
        return torch.zeros(rows, len(self.answers), device=device).index_add_(1, owner, chosen)


@contextmanager
def _arbitrary_masks(config: Any) -> Iterator[None]:
    """Use PyTorch's attention kernels temporarily, because flash attention supports only causal masks."""
    chosen = config._attn_implementation
    config._attn_implementation = "sdpa" if is_flash_attention_requested(config) else chosen
    try:
        yield
    finally:
        config._attn_implementation = chosen
