"""Sample several answers to each prompt, and compute the log-likelihoods of given answers with gradients.

Both work on encoded media, and the language model processes each prompt once for all of its answers: its cache is
copied for sampling, and for the log-likelihoods the answers are branches of one sequence that do not attend to each
other, as in `scoring`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.utils.rnn import pad_sequence
from torch.utils.checkpoint import checkpoint

from emotion_qwen.engine.sampling import Sampler, Sampling
from emotion_qwen.engine.scoring import POSITIONS, Tokens
from emotion_qwen.model import EmotionQwenForConditionalGeneration


@dataclass(frozen=True)
class DrawnAnswer:
    """A generated answer.

    Attributes:
        tokens: with the token that ends it, if it ended.
        finished: whether it ended by itself, before the largest number of tokens.
    """

    tokens: tuple[int, ...]
    finished: bool


@dataclass(frozen=True, eq=False)
class AnswerLikelihoods:
    """Log-likelihoods of B x G answers of at most T tokens.

    Attributes:
        tokens: (B, G, T) fp32 log-likelihood of each token, 0 where there is none.
        present: (B, G, T) True where there is a token.
        entropy: (B, G, T) fp32 entropy of the distribution that each token was drawn from, nats, without gradient.
    """

    tokens: torch.Tensor
    present: torch.Tensor
    entropy: torch.Tensor


@torch.no_grad()
def draw_answers(
    model: EmotionQwenForConditionalGeneration,
    inputs: dict[str, Any],
    encoded: dict[str, Any],
    count: int,
    sampling: Sampling,
    max_new_tokens: int,
    ends: Sequence[int],
    first: int = 0,
) -> list[list[DrawnAnswer]]:
    """Draw answers to B prompts.

    Args:
        model: generates in evaluation mode, and is put back into its own mode.
        inputs: from the processor, padded on either side, without media.
        encoded: the media as `mm_encoder_outputs`.
        count: answers per prompt.
        sampling: temperature, seed and top-p; a temperature of 0 gives the same answer `count` times.
        max_new_tokens: largest number of tokens of an answer.
        ends: tokens that end an answer.
        first: index of the first prompt among all prompts with the same seed.

    Returns:
        Per prompt `count` answers.
    """
    training = model.training
    model.eval()
    try:
        mask = inputs["attention_mask"]
        positions, offsets = model.model.get_rope_index(**inputs)
        prompt = model.model(
            input_ids=inputs["input_ids"], attention_mask=mask, position_ids=positions,
            mm_encoder_outputs=encoded or None, use_cache=True,
        )  # fmt: skip
        rows = torch.arange(len(mask), device=mask.device)
        logits = model.lm_head(prompt.last_hidden_state[rows, _last(mask)]).float().repeat_interleave(count, 0)
        cache, place = prompt.past_key_values, (mask.sum(1, keepdim=True) + offsets).repeat_interleave(count, 0)
        cache.batch_repeat_interleave(count)
        mask = mask.repeat_interleave(count, 0)
        samplers = [Sampler(sampling, row=first * count + row) for row in range(len(mask))]
        answers: list[list[int]] = [[] for _ in samplers]
        finished = [False] * len(answers)
        for step in range(max_new_tokens):
            for row, sampler in enumerate(samplers):
                if not finished[row]:
                    answers[row].append(sampler.choose(logits[row]))
                    finished[row] = answers[row][-1] in ends
            if all(finished) or step == max_new_tokens - 1:
                break
            mask = torch.cat([mask, mask.new_ones(len(mask), 1)], 1)
            output = model.model.language_model(
                input_ids=torch.tensor([[answer[-1]] for answer in answers], device=mask.device), attention_mask=mask,
                position_ids=(place + step).expand(3, -1, -1), past_key_values=cache, use_cache=True,
            )  # fmt: skip
            logits = model.lm_head(output.last_hidden_state[:, -1]).float()
    finally:
        model.train(training)
    drawn = [DrawnAnswer(tuple(tokens), ended) for tokens, ended in zip(answers, finished, strict=True)]
    return [drawn[row : row + count] for row in range(0, len(drawn), count)]


def answer_likelihoods(
    model: EmotionQwenForConditionalGeneration,
    inputs: dict[str, Any],
    encoded: dict[str, Any],
    answers: Sequence[Sequence[Tokens]],
    temperature: float = 1.0,
) -> AnswerLikelihoods:
    """Compute the log-likelihood of every token of G answers to each of B prompts, with gradients if they are enabled.

    Args:
        model: with the attention implementation "sdpa", which supports the mask of the branches.
        inputs: as for `draw_answers`.
        encoded: the media as `mm_encoder_outputs`.
        answers: B lists of G answers of at least one token.
        temperature: above 0; the logits are divided by it, so that the likelihoods are those that answers were drawn
            with at this temperature.
    """
    ids, mask = inputs["input_ids"], inputs["attention_mask"].bool()
    positions, offsets = model.model.get_rope_index(**inputs)
    lengths = mask.sum(1)
    rows, places, branches = [], [], []
    for row, group in enumerate(answers):
        following = int(lengths[row] + offsets[row, 0])
        given = [ids.new_tensor(answer[:-1]) for answer in group]  # nothing follows the last token
        rows.append(torch.cat([ids[row, mask[row]], *given]))
        steps = [torch.arange(len(part), device=ids.device) + following for part in given]
        places.append(torch.cat([positions[:, row, mask[row]], torch.cat(steps).expand(3, -1)], 1).T)
        owners = [torch.full_like(part, number) for number, part in enumerate(given)]
        branches.append(torch.cat([torch.full_like(ids[row, mask[row]], PROMPT), *owners]))
    owner, sequences = pad_sequence(branches, True, NOTHING), pad_sequence(rows, True, 0)
    output = model.model(
        # A model may draw the placeholder of a medium, which is no place for one.
        input_ids=sequences.masked_fill(owner != PROMPT, 0),
        inputs_embeds=model.get_input_embeddings()(sequences),
        attention_mask={"full_attention": _visible(owner)},
        position_ids=pad_sequence(places, True, 0).permute(2, 0, 1),
        mm_encoder_outputs=encoded or None,
        use_cache=False,
    )
    targets = [[torch.tensor(answer, device=ids.device) for answer in group] for group in answers]
    states = torch.cat([
        _before(state, int(length), group)
        for state, length, group in zip(output.last_hidden_state, lengths, answers, strict=True)
    ])  # fmt: skip
    chosen, entropy = _chosen(model, states, torch.cat([part for group in targets for part in group]), temperature)
    flat = [part for group in targets for part in group]
    present = pad_sequence([torch.ones_like(part) for part in flat], True, 0).bool()
    shape = (len(answers), -1, present.shape[1])
    empty = torch.zeros(present.shape, device=ids.device)
    return AnswerLikelihoods(
        empty.masked_scatter(present, chosen).view(shape),
        present.view(shape),
        empty.masked_scatter(present, entropy).view(shape),
    )


PROMPT, NOTHING = -1, -2
"""Branches of the tokens of a prompt, and of padding."""


def _last(mask: torch.Tensor) -> torch.Tensor:
    """Return the column of the last token of every row of a (B, L) mask."""
    return mask.shape[1] - 1 - mask.flip(1).argmax(1)


def _visible(branches: torch.Tensor) -> torch.Tensor:
    """Return the (B, 1, S, S) mask: a token attends to earlier tokens of the prompt and of its own branch."""
    causal = torch.ones(branches.shape[1], branches.shape[1], dtype=torch.bool, device=branches.device).tril()
    branch, others = branches[:, :, None], branches[:, None]
    return (causal & ((branch == others) | ((others == PROMPT) & (branch != NOTHING))))[:, None]


def _before(state: torch.Tensor, prompt: int, group: Sequence[Tokens]) -> torch.Tensor:
    """Return the states from which the tokens of the answers to one prompt follow, answer by answer."""
    places, start = [], prompt
    for answer in group:
        places += [prompt - 1, *range(start, start + len(answer) - 1)]
        start += len(answer) - 1
    return state[places]


def _chosen(
    model: EmotionQwenForConditionalGeneration, states: torch.Tensor, targets: torch.Tensor, temperature: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return (M,) log-likelihoods of the tokens after M states, and (M,) entropies of their distributions."""

    def part(hidden: torch.Tensor, wanted: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        shares = (model.lm_head(hidden).float() / temperature).log_softmax(-1)
        with torch.no_grad():
            entropy = -(shares.exp() * shares).sum(-1)
        return shares.gather(1, wanted[:, None])[:, 0], entropy

    # Logits over a large vocabulary are computed again in the backward pass rather than kept.
    again = len(states) > POSITIONS and torch.is_grad_enabled()
    pieces = [
        checkpoint(part, *pair, use_reentrant=False) if again else part(*pair)
        for pair in zip(states.split(POSITIONS), targets.split(POSITIONS), strict=True)
    ]
    chosen, entropy = zip(*pieces, strict=True)
    return torch.cat(chosen), torch.cat(entropy).detach()
