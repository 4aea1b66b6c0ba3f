"""Samples to padded training batches, by the same processor that serves inference."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from transformers import BatchFeature

from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.records import Sample


@dataclass(frozen=True)
class SampleBatches:
    """Collate samples into what the model's forward takes, with `labels` from the chat template."""

    processor: EmotionQwenProcessor

    def __call__(self, samples: Sequence[Sample]) -> BatchFeature:
        """Return a padded batch of the samples, in their order."""
        chats = [list(sample.messages) for sample in samples]
        return self.processor.apply_chat_template(chats, tokenize=True, return_labels=True, padding_side="right")
