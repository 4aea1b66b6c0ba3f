"""The stage `preference`: direct preference optimisation on pairs of a chosen and a rejected answer.

A sample's last message is the chosen answer; its label "rejected" is the text of the rejected one.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from emotion_qwen.errors import DataError
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.processing.chat import harmless
from emotion_qwen.records import Sample
from emotion_qwen.training.answer_settings import PreferenceSettings
from emotion_qwen.training.answers import AnswerTrainer, Prompts
from emotion_qwen.training.objectives import preference_loss, preference_margins
from emotion_qwen.training.plan import TrainSettings
from emotion_qwen.training.rewards import text_of

REJECTED_ANSWER = "rejected"


@dataclass(frozen=True, eq=False)
class Pairs:
    """Prompts with a chosen and a rejected answer each.

    Attributes:
        prompts: with their media.
        answers: tokens of both answers, per prompt.
        start: (B, 2) log-likelihoods by the start.
    """

    prompts: Prompts
    answers: Sequence[Sequence[Sequence[int]]]
    start: torch.Tensor


class PreferenceTrainer(AnswerTrainer):
    """Trains on pairs of answers."""

    beta: float

    def configure(self, settings: TrainSettings, processor: EmotionQwenProcessor) -> None:
        """See `AnswerTrainer`."""
        super().configure(settings, processor)
        self.beta = (settings.preference or PreferenceSettings.of({})).beta
        self._step_margins: list[float] = []

    def get_batch_samples(self, epoch_iterator, num_batches, device):
        """Read the pairs of a step, with their log-likelihoods by the start."""
        batches, _ = super().get_batch_samples(epoch_iterator, num_batches, device)
        pairs, self._step_margins = [self._pairs(batch) for batch in batches], []
        return [{"pairs": each} for each in pairs], sum(len(each.answers) for each in pairs)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return the loss of pairs, as a share of that of all pairs of the step."""
        margins = self._margins(inputs["pairs"])
        self._step_margins += margins.detach().tolist()
        self.latest = {
            "margin": statistics.fmean(self._step_margins),
            "preferred": statistics.fmean(margin > 0 for margin in self._step_margins),
        }
        loss = preference_loss(margins).sum() / num_items_in_batch
        return (loss, None) if return_outputs else loss

    def _margins(self, pairs: Pairs) -> torch.Tensor:
        policy = self.likelihoods(self.base, pairs.prompts, pairs.answers).tokens.sum(-1)
        return preference_margins(policy, pairs.start, self.beta)

    def _pairs(self, batch: dict[str, Any]) -> Pairs:
        prompts = self.prepared(batch)
        answers = [[self._tokens(text) for text in pair_of(sample)] for sample in prompts.samples]
        self.base.train()
        with torch.no_grad(), self.compute_loss_context_manager(), self.at_start() as model:
            return Pairs(prompts, answers, self.likelihoods(model, prompts, answers).tokens.sum(-1))

    def _tokens(self, text: str) -> list[int]:
        return [*self.processor.tokenizer(harmless(text), add_special_tokens=False)["input_ids"], self.ends[0]]

    def evaluate(self, eval_dataset=None, ignore_keys=None, metric_key_prefix="eval"):
        """Log the loss of the validation pairs of each domain, and the share in which the chosen answer gained."""
        metrics: dict[str, float] = {}
        for domain, subset in (eval_dataset or self.eval_dataset).items():
            margins = []
            for start in range(0, len(subset), self.args.eval_batch_size):
                rows = range(start, min(start + self.args.eval_batch_size, len(subset)))
                pairs = self._pairs(self.data_collator([subset[row] for row in rows]))
                with torch.no_grad(), self.compute_loss_context_manager():
                    margins += self._margins(pairs).tolist()
            metrics[f"{metric_key_prefix}_{domain}_loss"] = float(preference_loss(torch.tensor(margins)).mean())
            metrics[f"{metric_key_prefix}_{domain}_preferred"] = statistics.fmean(margin > 0 for margin in margins)
        return self.evaluated(metrics)


def pair_of(sample: Sample) -> tuple[str, str]:
    """Return the texts of the chosen and the rejected answer of a sample.

    Raises:
        DataError: there is no rejected answer, one of them is empty, or they are the same.
    """
    chosen, rejected = text_of(sample.messages[-1]["content"]), sample.labels.get(REJECTED_ANSWER)
    if rejected is None:
        raise DataError(f"sample {sample.id!r} has no label {REJECTED_ANSWER!r}; add the text of the rejected answer")
    if not chosen.strip() or not rejected.strip() or chosen == rejected:
        raise DataError(
            f"sample {sample.id!r}: chosen {chosen[:40]!r} and rejected {rejected[:40]!r}; expected two different texts"
        )
    return chosen, rejected
