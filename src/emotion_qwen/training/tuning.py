"""Tune nano on questions about pictures: compressor, gate and language model learn; vision only if asked to.

As in `vision_start`, what stands at a place of the run is a function of the seed and the place, so that an interrupted
run goes on exactly where it stopped.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset, SequentialSampler
from transformers import BatchFeature, Trainer, TrainingArguments
from transformers.trainer_utils import get_last_checkpoint

from emotion_qwen.data.augment import augment
from emotion_qwen.data.collate import SampleBatches
from emotion_qwen.data.questions import Exchange, ask_blank, ask_face, ask_object
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.processing.patches import IMAGE_MEAN
from emotion_qwen.processing.processor import IGNORE
from emotion_qwen.records import Sample
from emotion_qwen.training.optimizer import MuonWithAdamW, split_parameters
from emotion_qwen.training.vision_start import CLASSES, EMOTIONS, SOURCES, PictureStream

BLANK_SHARE = 0.08  # of closed questions
BLANK = tuple(round(255 * mean) for mean in IMAGE_MEAN)  # zeros after normalising


class QuestionStream(Dataset):
    """Pictures in line, each with one question; a few are blank.

    A batch asks closed questions only, or open ones only: closed ones are twice as long, and padding the open ones to
    their length would waste the difference.
    """

    def __init__(self, pictures: PictureStream, batch_size: int, seed: int) -> None:
        self.pictures, self.batch_size, self.seed = pictures, batch_size, seed

    def __len__(self) -> int:
        return len(self.pictures)

    def __getitem__(self, place: int) -> dict[str, Any]:
        item = self.pictures[place]
        rng = random.Random(self.seed * 1_000_003 + place)
        name = CLASSES[int(item["labels"])]
        closed = random.Random(self.seed * 7_919 + place // self.batch_size).random() < 0.5
        if closed and rng.random() < BLANK_SHARE:
            blank = torch.tensor(BLANK, dtype=torch.uint8)[:, None, None].expand_as(item["pixels"])
            return {**item, "pixels": blank, "exchange": ask_blank(rng), "label": "blank"}
        ask = ask_face if name in EMOTIONS else ask_object
        return {**item, "exchange": ask(name, rng, closed), "label": name}


@dataclass(frozen=True)
class QuestionBatches:
    """Augment the pictures of a batch and hand it to the processor as samples."""

    processor: EmotionQwenProcessor
    strength: float
    seed: int

    def __call__(self, items: list[dict[str, Any]]) -> BatchFeature:
        """Return a padded batch; blank pictures stay as they are."""
        generator = torch.Generator().manual_seed(self.seed * 1_000_003 + items[0]["place"])
        pixels = torch.stack([item["pixels"] for item in items])
        moved = augment(pixels.float() / 255, self.strength, generator)
        shown_pixels = (moved * 255).round().byte().permute(0, 2, 3, 1).numpy()  # (B, S, S, 3)
        samples = []
        for item, picture, plain in zip(items, shown_pixels, pixels.permute(0, 2, 3, 1).numpy(), strict=True):
            shown = plain if item["label"] == "blank" else picture
            samples.append(as_sample(f"place/{item['place']}", shown, item["exchange"], item["label"]))
        return SampleBatches(self.processor)(samples)


def as_sample(name: str, picture: np.ndarray, exchange: Exchange, label: str) -> Sample:
    """Put a (S, S, 3) uint8 picture and an exchange into a conversation."""
    asked = [{"type": "image", "image": picture}, {"type": "text", "text": exchange.question}]
    messages = ({"role": "user", "content": asked}, {"role": "assistant", "content": exchange.answer})
    return Sample(name, messages, {"emotion" if label in EMOTIONS else "object": label})


class TuningTrainer(Trainer):
    """transformers' Trainer over a stream whose order is already drawn."""

    def _get_train_sampler(self, *args: Any, **kwargs: Any) -> SequentialSampler:
        return SequentialSampler(self.train_dataset)

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        """Return the mean loss of the taught tokens; only those are projected onto the vocabulary.

        An answer is a few tokens of some sixty here; projecting the rest would be work for nothing. The body is called
        without the model's own forward, so the mixed precision that accelerate hangs there has to be asked for.
        """
        targets = inputs["labels"][:, 1:]
        taught = targets != IGNORE
        seen = {key: value for key, value in inputs.items() if key != "labels"}
        with self.accelerator.autocast():
            outputs = model.model(**seen, use_cache=False)
            logits = model.lm_head(outputs.last_hidden_state[:, :-1][taught]).float()
        loss = F.cross_entropy(logits, targets[taught])
        return (loss, outputs) if return_outputs else loss


@dataclass(frozen=True)
class TuningRun:
    """One tuning run. The vision transformer has a rate of its own; 0 freezes it."""

    data: Path
    output: Path
    steps: int
    learning_rate: float = 4e-3
    vision_learning_rate: float = 0.0
    weight_decay: float = 0.05
    batch_size: int = 128
    strength: float = 0.7
    seed: int = 11


def run_tuning(
    run: TuningRun, model: EmotionQwenForConditionalGeneration, processor: EmotionQwenProcessor
) -> EmotionQwenForConditionalGeneration:
    """Train the model, going on from the last checkpoint in `run.output` if there is one."""
    model.model.visual.requires_grad_(run.vision_learning_rate > 0)
    one_pass = len(PictureStream(run.data, "train", SOURCES, passes=1, seed=run.seed))
    passes = math.ceil(run.steps * run.batch_size / one_pass)
    stream = PictureStream(run.data, "train", SOURCES, passes=passes, seed=run.seed)
    rates = {"model.visual.": run.vision_learning_rate}
    groups = split_parameters(model, rates, run.learning_rate, run.weight_decay)
    arguments = TrainingArguments(
        output_dir=str(run.output),
        max_steps=run.steps,
        per_device_train_batch_size=run.batch_size,
        learning_rate=run.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=max(run.steps // 20, 1),
        max_grad_norm=1.0,
        bf16=True,
        use_cpu=not torch.cuda.is_available(),
        logging_steps=20,
        save_strategy="steps",
        save_steps=100,
        save_total_limit=2,
        report_to=[],
        remove_unused_columns=False,
        seed=run.seed,
    )
    trainer = TuningTrainer(
        model=model,
        args=arguments,
        train_dataset=QuestionStream(stream, run.batch_size, run.seed),
        data_collator=QuestionBatches(processor, run.strength, run.seed),
        optimizers=(MuonWithAdamW(groups), None),
    )
    trainer.train(resume_from_checkpoint=get_last_checkpoint(str(run.output)) if run.output.is_dir() else None)
    return model
