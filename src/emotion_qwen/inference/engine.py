"""The engine: a loaded model with its processor, and the two things it can do with a visual: score words and write.

Visuals are encoded once; every label's words and every generated sentence reuse the encoded tokens. Chats of the same
question are batched. It knows nothing of emotions; that is `scoring`'s.
"""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import BatchFeature

from emotion_qwen.errors import CheckpointError, SettingsError, ShapeError, unknown_choice
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.model.modeling import check_folder
from emotion_qwen.processing import EmotionQwenProcessor

NANO = Path(__file__).parents[1] / "nano"
DTYPES = ("float32", "bfloat16", "float16")
BATCH = 32
SAMPLED = 64


@dataclass(frozen=True, eq=False)
class WordScores:
    """Scores of V visuals for L word sequences.

    Attributes:
        log_likelihood: (V, L) fp32, sum over the tokens of each sequence.
        tokens: (L,) number of tokens of each sequence.
        gate: (V, 2) fusion weights, general and emotion.
    """

    log_likelihood: torch.Tensor
    tokens: torch.Tensor
    gate: torch.Tensor


class Engine:
    """A model ready to answer.

    Args:
        model: in evaluation mode.
        processor: the model's own.
        name: how reports call the model.
    """

    def __init__(
        self, model: EmotionQwenForConditionalGeneration, processor: EmotionQwenProcessor, name: str = "in memory"
    ) -> None:
        self.model, self.processor, self.name = model.eval(), processor, name

    @classmethod
    def load(cls, name: str | Path | None = None, device: str = "auto", dtype: str = "auto") -> Engine:
        """Load a model folder or hub name; None is the shipped nano.

        Args:
            name: folder or hub name.
            device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps".
            dtype: "auto" (float32 on a CPU, bfloat16 elsewhere), "float32", "bfloat16" or "float16".

        Raises:
            CheckpointError: no model there, or one that does not fit.
            SettingsError: a device or dtype that does not exist here.
        """
        source = NANO if name is None else name
        place = _device(device)
        if dtype not in ("auto", *DTYPES):
            raise SettingsError(unknown_choice("dtype", dtype, ("auto", *DTYPES)))
        number = (
            (torch.float32 if place.type == "cpu" else torch.bfloat16) if dtype == "auto" else getattr(torch, dtype)
        )
        check_folder(source)
        try:
            processor = EmotionQwenProcessor.from_pretrained(source)
            model = EmotionQwenForConditionalGeneration.from_pretrained(source, dtype=number)
        except (OSError, ValueError) as error:
            first = str(error).strip().splitlines()[0]
            raise CheckpointError(
                f"{source}: cannot be loaded ({first}); give a folder saved by Emotion-Qwen"
            ) from error
        return cls(model.to(place), processor, "nano" if name is None else str(name))

    @property
    def device(self) -> torch.device:
        """Where the model is."""
        return self.model.device

    def provenance(self) -> dict[str, Any]:
        """Name the model, its number type, and a hash of its configuration and of a sample of every weight."""
        digest = hashlib.sha256(self.model.config.to_json_string().encode())
        for key, value in sorted(self.model.state_dict().items()):
            sample = (
                value.reshape(-1)[:: max(1, value.numel() // SAMPLED)].float().cpu()
            )  # all of 72B would take minutes
            digest.update(f"{key} {tuple(value.shape)}".encode() + sample.numpy().tobytes())
        return {"model": self.name, "weights": digest.hexdigest()[:16], "dtype": str(self.model.dtype).split(".")[1]}

    def training_facts(self) -> dict[str, Any]:
        """Read `training_facts.json` beside the weights (label sets trained for, figures); empty if there is none."""
        path = (NANO if self.name == "nano" else Path(self.name)) / "training_facts.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @torch.inference_mode()
    def score(
        self, parts: Sequence[dict[str, Any]], question: str | Sequence[str], answers: Sequence[str]
    ) -> WordScores:
        """Score how likely each answer is for each visual.

        Args:
            parts: V message parts, each an image or a video.
            question: asked about every one of them; or V questions, one for each.
            answers: L texts.

        Raises:
            ShapeError: there are more or fewer questions than visuals.
        """
        words = [self.processor.tokenizer(a, add_special_tokens=False)["input_ids"] for a in answers]
        scores, gates = [], []
        for inputs in self._batches(parts, question):
            encoded = self.model.encode_visuals(inputs)
            gates.append(next(iter(encoded.values())).gate_weights)
            scores.append(self._score_batch(inputs, encoded, words))
        lengths = torch.tensor([len(w) for w in words])
        return WordScores(torch.cat(scores), lengths, torch.cat(gates).cpu())

    def _score_batch(self, inputs: BatchFeature, encoded: dict[str, Any], words: list[list[int]]) -> torch.Tensor:
        prompt = self.model(**_without_pixels(inputs), mm_encoder_outputs=encoded, use_cache=True, logits_to_keep=1)
        first = prompt.logits[:, -1].float().log_softmax(-1)  # (B, vocabulary)
        scores = torch.stack([first[:, w[0]] for w in words], dim=1)
        longer = [i for i, w in enumerate(words) if len(w) > 1]
        for i in longer:
            scores[:, i] += self._score_rest(inputs, prompt.past_key_values, words[i])
        return scores.cpu()

    def _score_rest(self, inputs: BatchFeature, cache: Any, word: list[int]) -> torch.Tensor:
        batch = len(inputs["input_ids"])
        tail = torch.tensor(word, device=self.device).expand(batch, -1)
        mask = torch.cat([inputs["attention_mask"], torch.ones_like(tail[:, :-1])], dim=1)
        text = inputs["attention_mask"].sum(1, keepdim=True) + torch.arange(len(word) - 1, device=self.device)
        place = (text + self.model.model.rope_deltas).expand(3, -1, -1)
        after = self.model(
            input_ids=tail[:, :-1], attention_mask=mask, position_ids=place, past_key_values=copy.deepcopy(cache)
        )
        return after.logits.float().log_softmax(-1).gather(2, tail[:, 1:, None]).sum(dim=(1, 2))

    @torch.inference_mode()
    def write(self, parts: Sequence[dict[str, Any]], question: str, max_new_tokens: int = 64) -> list[str]:
        """Answer a question about each visual in the model's own words, greedily."""
        texts = []
        for inputs in self._batches(parts, question):
            texts += self._generate(inputs, max_new_tokens)
        return texts

    @torch.inference_mode()
    def chat(self, messages: Sequence[dict[str, Any]], max_new_tokens: int = 256) -> str:
        """Continue one conversation with any number of visuals and turns."""
        inputs = self.processor.apply_chat_template(list(messages), tokenize=True, add_generation_prompt=True)
        return self._generate(inputs.to(self.device), max_new_tokens)[0]

    def _generate(self, inputs: BatchFeature, max_new_tokens: int) -> list[str]:
        tokens = self.model.generate(
            **_without_pixels(inputs),
            mm_encoder_outputs=self.model.encode_visuals(inputs),
            max_new_tokens=max_new_tokens,
            do_sample=False,
        )
        tokenizer = self.processor.tokenizer
        return [t.strip() for t in tokenizer.batch_decode(tokens[:, inputs["input_ids"].shape[1] :], True)]

    def _batches(self, parts: Sequence[dict[str, Any]], question: str | Sequence[str]) -> Iterator[BatchFeature]:
        questions = [question] * len(parts) if isinstance(question, str) else question
        if len(questions) != len(parts):
            raise ShapeError(f"{len(questions)} questions for {len(parts)} visuals; give one for all, or one for each")
        for start in range(0, len(parts), BATCH):
            chats = [
                [{"role": "user", "content": [part, {"type": "text", "text": asked}]}]
                for part, asked in zip(parts[start : start + BATCH], questions[start : start + BATCH], strict=True)
            ]
            prepared = self.processor.apply_chat_template(
                chats, tokenize=True, add_generation_prompt=True, padding_side="left"
            )
            yield prepared.to(self.device)


def _without_pixels(inputs: BatchFeature) -> dict[str, Any]:
    return {key: value for key, value in inputs.items() if not key.startswith("pixel_values")}


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(name)
        torch.empty(0, device=place)
    except (RuntimeError, AssertionError) as error:
        raise SettingsError(
            f"device {name!r} cannot be used here ({str(error).splitlines()[0]}); try auto or cpu"
        ) from error
    return place
