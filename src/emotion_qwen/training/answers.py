"""Training on whole answers: code shared by the stages `reinforcement` and `preference`.

The media of a prompt are encoded once for all of its answers. Parts that are frozen encode once per step; a part that
learns encodes again for each pass that needs its gradient or its start, on cached patch features if the vision
transformer is frozen. The start of a run is the model without its adapter, or a frozen copy where all weights learn.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import BatchFeature, TrainerControl

from emotion_qwen.data.collate import SampleCollator
from emotion_qwen.data.mixture import Mixture, MixtureItem, sample_of_item
from emotion_qwen.engine.drawing import AnswerLikelihoods, answer_likelihoods
from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.files import append, json_line, read_journal, write_whole
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.model.modeling import MEDIA, SOUND
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.records import Sample
from emotion_qwen.training.plan import TrainSettings
from emotion_qwen.training.trainer import StageTrainer

VISUAL_PARTS = {"vision", "general", "emotion", "gate"}
FEATURES = {"pixel_values": ("image", "image_features"), "pixel_values_videos": ("video", "video_features")}
"""Pixels -> the kind of medium, and the name of the patch features that replace them."""


@dataclass(frozen=True, eq=False)
class Prompts:
    """The prompts of one forward pass, with their encoded media.

    Attributes:
        samples: of the data.
        inputs: text tensors and grids.
        encoded: media encoded by frozen parts, as `mm_encoder_outputs`.
        media: inputs of media that a learning part encodes.
    """

    samples: Sequence[Sample]
    inputs: dict[str, Any]
    encoded: dict[str, Any]
    media: dict[str, Any]


class PromptCollator(SampleCollator):
    """Collates the prompts of samples: everything before their last message, the reference answer."""

    def __call__(self, items: Sequence[MixtureItem | Sample]) -> Any:
        """Return `{"batch", "samples"}`.

        Raises:
            DataError: as for `SampleCollator`, or a sample does not end with an answer of the assistant.
        """
        batch = super().__call__(items)
        batch.pop("domains", None)
        rejected = {name for name, _ in self.rejected}
        samples = [sample for sample in map(sample_of_item, items) if sample.id not in rejected]
        return {"batch": batch, "samples": samples}

    def _prepared(self, items: Sequence[MixtureItem | Sample]) -> BatchFeature:
        chats = []
        for sample in map(sample_of_item, items):
            if len(sample.messages) < 2 or sample.messages[-1]["role"] != "assistant":
                raise DataError(f"sample {sample.id!r} does not end with an answer of the assistant; add the right one")
            chats.append(list((self.prepare(sample) if self.prepare else sample).messages[:-1]))
        return self.processor.apply_chat_template(
            chats, tokenize=True, add_generation_prompt=True, padding_side="right"
        )


class RepeatedSteps(Dataset):
    """A mixture whose items of one step are repeated for several optimizer steps.

    Args:
        mixture: of the run.
        per_step: items per step.
        updates: steps with the same items.
    """

    def __init__(self, mixture: Mixture, per_step: int, updates: int) -> None:
        self.mixture, self.per_step, self.updates = mixture, per_step, updates

    def __len__(self) -> int:
        return len(self.mixture) * self.updates

    def __getitem__(self, place: int) -> MixtureItem:
        step, within = divmod(place, self.per_step)
        return self.mixture[step // self.updates * self.per_step + within]


class AnswerTrainer(StageTrainer):
    """Trains on whole answers; see `prepared`, `likelihoods` and `at_start`.

    Attributes:
        processor: of the model.
        learning: parts that are trained.
        start: frozen copy of the model, where no adapter can be switched off; None if none is needed.
    """

    processor: EmotionQwenProcessor
    learning: frozenset[str]
    start: EmotionQwenForConditionalGeneration | None = None

    def configure(self, settings: TrainSettings, processor: EmotionQwenProcessor) -> None:
        """Take the stage's settings before the run.

        Raises:
            SettingsError: the attention implementation does not support the masks of several answers.
        """
        self.processor, self.learning = processor, frozenset(settings.plan.trains)
        chosen = self.base.config.text_config._attn_implementation
        if chosen != "sdpa":
            raise SettingsError(f"the stage {settings.stage} needs the attention implementation sdpa, not {chosen}")
        if settings.copies_start:
            self.start = copy.deepcopy(self.base).requires_grad_(False)

    @property
    def base(self) -> EmotionQwenForConditionalGeneration:
        """The model itself, with its adapter in place if there is one."""
        return self.whole_model

    @property
    def ends(self) -> list[int]:
        """The tokens that end an answer; the first is that of the chat template."""
        given = self.base.generation_config.eos_token_id
        others = given if isinstance(given, list) else [] if given is None else [given]
        return list(dict.fromkeys([self.processor.tokenizer.convert_tokens_to_ids("<|im_end|>"), *others]))

    @contextmanager
    def at_start(self) -> Iterator[EmotionQwenForConditionalGeneration]:
        """Yield the model as it was at the start of the run."""
        if self.start is not None:
            yield self.start.to(self.args.device).train(self.base.training)
        else:
            with self.accelerator.unwrap_model(self.model).disable_adapter():
                yield self.base

    def prepared(self, given: dict[str, Any]) -> Prompts:
        """Encode the media of a batch of `PromptCollator` with the frozen parts."""
        batch = given["batch"].to(self.args.device)
        base = self.base
        base.eval()
        with torch.no_grad(), self.compute_loss_context_manager():
            encoded = base.model.encode(batch)[0]
        media = {name: batch[name] for name in (*MEDIA, *SOUND, "image_features", "video_features") if name in batch}
        inputs = {name: value for name, value in batch.items() if name not in media}
        if "audio" not in self.learning:
            media = {name: value for name, value in media.items() if name not in SOUND}
        else:
            encoded.pop("audio", None)
        if not self.learning & VISUAL_PARTS:
            media = {name: value for name, value in media.items() if name in SOUND}
            return Prompts(given["samples"], inputs, encoded, media)
        if "vision" not in self.learning:
            for pixels, (kind, features) in FEATURES.items():
                if media.pop(pixels, None) is not None:
                    media[features] = encoded[kind].last_hidden_state
        grids = {name: inputs[name] for name in ("image_grid_thw", "video_grid_thw") if name in inputs}
        fixed = {kind: value for kind, value in encoded.items() if kind == "audio"}
        return Prompts(given["samples"], inputs, fixed, {**media, **grids} if media else {})

    def encoded(self, model: EmotionQwenForConditionalGeneration, prompts: Prompts) -> dict[str, Any]:
        """Return the encoded media of prompts, with gradients of the parts that learn if they are enabled."""
        return {**prompts.encoded, **(model.model.encode(prompts.media)[0] if prompts.media else {})}

    def likelihoods(
        self,
        model: EmotionQwenForConditionalGeneration,
        prompts: Prompts,
        answers: Sequence[Sequence[Sequence[int]]],
        temperature: float = 1.0,
    ) -> AnswerLikelihoods:
        """Compute the log-likelihoods of answers to prompts whose media the model sees."""
        return answer_likelihoods(model, prompts.inputs, self.encoded(model, prompts), answers, temperature)

    def evaluated(self, metrics: dict[str, float]) -> dict[str, float]:
        """Log the metrics of an evaluation, as `Trainer.evaluate` does, and return them."""
        self.log(metrics)
        self.control: TrainerControl = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def floating_point_ops(self, inputs: dict[str, Any]) -> int:
        """Return 0: operations are not counted, as a step has several passes of different lengths."""
        return 0


class Journal:
    """A file of JSON lines with the step of each, which a resumed run continues from its checkpoint.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def rewind(self, step: int) -> list[dict[str, Any]]:
        """Remove the lines of later steps, which a killed run wrote after its checkpoint, and return the others."""
        rows = [json.loads(line) for _, line in read_journal(self.path)]
        kept = [row for row in rows if row["step"] <= step]
        self.path.unlink(missing_ok=True)
        if kept:
            write_whole(self.path, "".join(map(json_line, kept)))
        return kept

    def write(self, row: dict[str, Any]) -> None:
        """Add a line."""
        append(self.path, json_line(row))
