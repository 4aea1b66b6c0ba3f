"""The engine: a loaded model with its processor, which scores given answers about views or generates its own.

A view is the input of a question; see `encoding`. Media are encoded once, and all answers reuse the encoded tokens.
Chats with the same question are batched. The engine is independent of emotions, which `analysis` adds.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import BatchFeature, LogitsProcessorList

from emotion_qwen.convert.loading import load_model
from emotion_qwen.engine.batches import SHARED, TOKENS, by_visual, fitting, per_view
from emotion_qwen.engine.calibration import Calibration
from emotion_qwen.engine.constrained import SchemaGuide
from emotion_qwen.engine.devices import BALANCED, first_device, is_divided
from emotion_qwen.engine.encoding import (
    BATCH,
    ENCODED,
    VISUALS,
    Encoder,
    Part,
    View,
    encoder_outputs,
    gate_of,
    parts_of,
    size_of,
)
from emotion_qwen.engine.products import widen
from emotion_qwen.engine.sampling import Sampler, SamplerProcessor, Sampling
from emotion_qwen.engine.scoring import AnswerScorer, AnswerScores, BatchScores, Tokens, WordScores, by_row
from emotion_qwen.engine.vocabulary import Vocabulary
from emotion_qwen.errors import CheckpointError, RequestError, SettingsError, ShapeError, unknown_choice
from emotion_qwen.model import EmotionQwenForConditionalGeneration
from emotion_qwen.model.modeling import MEDIA, SOUND
from emotion_qwen.model.source import NANO, NANO_NAME, find_model
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.processing.encoded import MediumTokens
from emotion_qwen.processing.folder import load_processor

DTYPES = ("float32", "bfloat16", "float16")
TOGETHER = 8
"""Maximum number of views with answers of their own per batch; more would mostly add padding."""
SAMPLED = 64
TEXT_INPUTS = ("input_ids", "attention_mask", "mm_token_type_ids")


class Engine:
    """A loaded model with its processor.

    Use `Engine.load` to load one; `score` compares given answers, `write` and `chat` generate text.

    Args:
        model: in evaluation mode.
        processor: the processor saved with the model.
        name: name of the model in reports.
        folder: contains its calibration and training facts; None uses the folder called `name`.

    Examples:
        >>> from emotion_qwen.engine.engine import Engine
        >>> engine = Engine.load()  # the shipped nano
        >>> view = {"type": "image", "image": "face.jpg"}
        >>> engine.score([view], "Which emotion does the person show?", ["happy", "sad"]).log_likelihood.shape
        torch.Size([1, 2])
        >>> engine.write([view], "How does the person feel?")  # a list with one text
    """

    def __init__(
        self,
        model: EmotionQwenForConditionalGeneration,
        processor: EmotionQwenProcessor,
        name: str = "in memory",
        folder: Path | None = None,
    ) -> None:
        self.model, self.processor, self.name = model.eval(), processor, name
        self.folder = folder or (NANO if name == NANO_NAME else Path(name))

    @classmethod
    def load(cls, name: str | Path | None = None, device: str = "auto", dtype: str = "auto") -> Engine:
        """Load a model by its name; None loads mini if it has been fetched, else the shipped nano.

        Args:
            name: "nano", "mini", a model folder, an adapter folder (merged into its base), or a hub name.
            device: "auto" (a GPU if there is one, all GPUs if it is too small), "cpu", "cuda", "cuda:1", "mps", or
                "balanced", which divides the layers among all GPUs.
            dtype: "auto" (float32 on a CPU, bfloat16 elsewhere), "float32", "bfloat16" or "float16".

        Raises:
            CheckpointError: there is no model of that name, or it does not fit.
            SettingsError: the device or dtype is not available.
        """
        place = first_device(device)
        if dtype not in ("auto", *DTYPES):
            raise SettingsError(unknown_choice("dtype", dtype, ("auto", *DTYPES)))
        number = (
            (torch.float32 if place.type == "cpu" else torch.bfloat16) if dtype == "auto" else getattr(torch, dtype)
        )
        source = find_model(name)
        processor = load_processor(source.processor)
        divided = is_divided(device, source.base, number)
        try:
            model = load_model(source, dtype=number, **({"device_map": BALANCED} if divided else {}))
        except (OSError, ValueError) as error:
            first = str(error).strip().splitlines()[0]
            raise CheckpointError(
                f"{source.name}: cannot be loaded ({first}); give a folder saved by Emotion-Qwen"
            ) from error
        if not divided:
            widen(model.to(place))
        return cls(model, processor, source.name, source.folder)

    has_features = True
    """Whether hidden states, gates and mean tokens of views are known."""
    written_together = BATCH
    """Maximum number of answers per batch of `write`."""
    tokens_together = TOKENS
    """Approximate number of tokens of views per batch of the language model."""

    def shares_from(self) -> str | None:
        """Return how shares of labels are measured, for a model behind a service; None for a loaded one."""
        return None

    @property
    def device(self) -> torch.device:
        """The device of the model."""
        return self.model.device

    @property
    def context(self) -> int:
        """Maximum number of tokens of question and answer together."""
        return int(self.model.config.text_config.max_position_embeddings)

    @property
    def facial_actions(self) -> tuple[str, ...]:
        """Names of the facial actions and head angles that the model measures, in order; empty if it does not."""
        return tuple(self.model.config.facial_actions or ())

    def _check_length(self, tokens: int) -> None:
        """Check the length of a prompt.

        Raises:
            RequestError: it has more tokens than the model's context.
        """
        if tokens > self.context:
            raise RequestError(
                f"{tokens:,} tokens of question; the model's context is {self.context:,} tokens, shorten the text or "
                "the medium"
            )

    def provenance(self) -> dict[str, Any]:
        """Return the model's name, dtype, and a hash of its configuration and of a sample of every weight.

        A model that measures facial actions also has `facial_actions`: the name of each, in order -> its measured error
        (`r2` and `mean_absolute_error`), by the training facts; {} where it is unknown.
        """
        digest = hashlib.sha256(self.model.config.to_json_string().encode())
        for key, value in sorted(self.model.state_dict().items()):
            sample = (
                value.reshape(-1)[:: max(1, value.numel() // SAMPLED)].float().cpu()
            )  # hashing all weights of 72B would take minutes
            digest.update(f"{key} {tuple(value.shape)}".encode() + sample.numpy().tobytes())
        dtype = str(self.model.dtype).split(".")[1]
        facts: dict[str, Any] = {"model": self.name, "weights": digest.hexdigest()[:16], "dtype": dtype}
        if self.facial_actions:
            errors = self.training_facts().get("facial_actions", {})
            facts["facial_actions"] = {name: errors.get(name, {}) for name in self.facial_actions}
        return facts

    def training_facts(self) -> dict[str, Any]:
        """Read `training_facts.json` next to the weights (label sets trained for, figures); empty if there is none."""
        path = self.folder / "training_facts.json"
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    @cached_property
    def calibration(self) -> Calibration:
        """The calibration stored next to the weights; empty if the model was never calibrated.

        Raises:
            CheckpointError: the file is damaged; see `Calibration.read`.
        """
        return Calibration.read(self.folder)

    def encoder(self) -> Encoder:
        """Return an encoder that caches media; other methods accept its encoded views in place of plain ones."""
        return Encoder(self.model, self.processor)

    @torch.inference_mode()
    def score(self, views: Sequence[View], question: str | Sequence[str], answers: Sequence[str]) -> WordScores:
        """Score the likelihood of each answer for each view.

        Args:
            views: V views.
            question: one question for all views, or V questions.
            answers: L texts.

        Raises:
            ShapeError: the number of questions differs from that of the views, or a view has several visuals.
            RequestError: a view is longer than the model's context.
        """
        words = self._tokens(answers)
        scorer = AnswerScorer(self.model)
        questions = per_view(question, len(views), "questions")
        encoded = self.encoder().views(views)
        scores, gates, hidden = [], [], []
        order: list[int] = []
        for rows, visuals in by_visual(encoded):
            order += rows
            tokens = self.tokens_together * (1 if visuals is None else SHARED)
            shown, about = [encoded[row] for row in rows], [questions[row] for row in rows]
            done = 0
            for batch, inputs in self._batches(shown, about, tokens=tokens):
                gates.append(torch.stack([gate_of(parts) for parts in batch]))
                common = None if visuals is None else visuals[done : done + len(batch)]
                done += len(batch)
                output = self._score_batch(scorer, inputs, [words] * len(batch), False, common)
                scores.append(output.log_likelihood.cpu())
                hidden.append(output.hidden.float().cpu())
        lengths = torch.tensor([len(w) for w in words])
        back = torch.tensor(order).argsort()
        return WordScores(torch.cat(scores)[back], lengths, torch.cat(gates)[back], torch.cat(hidden)[back])

    @torch.inference_mode()
    def score_each(
        self, views: Sequence[View], questions: Sequence[str], answers: Sequence[Sequence[str]]
    ) -> list[AnswerScores]:
        """Score answers that differ from view to view; views of similar length are scored together.

        Args:
            views: V views.
            questions: V questions.
            answers: per view at least one text.

        Raises:
            ShapeError: the numbers of views, questions and lists of answers differ, or a view has several visuals.
            RequestError: a view is longer than the model's context.
        """
        if len(answers) != len(views):
            raise ShapeError(f"{len(answers)} lists of answers for {len(views)} views; give one for each")
        words = [self._tokens(texts) for texts in answers]
        sizes = [
            size_of([part for part in parts_of(view) if part["type"] == "text"]) + len(question)
            for view, question in zip(views, questions, strict=True)
        ]
        order = sorted(range(len(views)), key=lambda row: (sizes[row], sum(map(len, words[row])), row))
        scorer = AnswerScorer(self.model)
        scores: dict[int, AnswerScores] = {}
        waiting = iter(order)
        batches = self._batches([views[row] for row in order], [questions[row] for row in order], together=TOGETHER)
        for batch, inputs in batches:
            rows = [row for _, row in zip(batch, waiting, strict=False)]
            output = self._score_batch(scorer, inputs, [words[row] for row in rows], True)
            gates = [gate_of(parts).tolist() for parts in batch]
            scores |= by_row(rows, output, [words[row] for row in rows], gates)
        return [scores[row] for row in range(len(views))]

    @torch.inference_mode()
    def score_texts(self, beginnings: Sequence[str], continuations: Sequence[str]) -> list[AnswerScores]:
        """Score plain texts as continuations of others, without chat template and media.

        Args:
            beginnings: V texts. Where one is empty, the first token of the continuation takes its place and is not
                scored, because nothing precedes it.
            continuations: V texts, each with the blank that separates it from its beginning.

        Raises:
            RequestError: a text has no token to score, or is longer than the model's context.
        """
        prompts, answers = self._tokens(beginnings), self._tokens(continuations)
        for row, (prompt, answer) in enumerate(zip(prompts, answers, strict=True)):
            if not prompt:
                prompts[row], answers[row] = answer[:1], answer[1:]
            if not answers[row]:
                raise RequestError(f"{continuations[row]!r} has no token to score; give a longer text")
            self._check_length(len(prompts[row]) + len(answers[row]))
        order = sorted(range(len(prompts)), key=lambda row: (len(prompts[row]), len(answers[row]), row))
        sizes = [len(prompts[row]) + len(answers[row]) for row in order]
        scorer = AnswerScorer(self.model)
        scores: dict[int, AnswerScores] = {}
        for part in fitting(sizes, TOGETHER, self.tokens_together):
            rows = order[part]
            inputs = self.processor.tokenizer.pad(
                {"input_ids": [prompts[row] for row in rows]}, padding_side="left", return_tensors="pt"
            )
            inputs["mm_token_type_ids"] = torch.zeros_like(inputs["input_ids"])
            batch = BatchFeature({name: inputs[name] for name in TEXT_INPUTS}).to(self.device)
            wanted = [[answers[row]] for row in rows]
            scores |= by_row(rows, self._score_batch(scorer, batch, wanted, True), wanted, [[0.0, 0.0]] * len(rows))
        return [scores[row] for row in range(len(prompts))]

    def _tokens(self, texts: Sequence[str]) -> list[list[int]]:
        return [self.processor.tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts]

    def _score_batch(
        self,
        scorer: AnswerScorer,
        inputs: BatchFeature,
        answers: Sequence[Sequence[Tokens]],
        greedy: bool = False,
        visuals: Sequence[MediumTokens] | None = None,
    ) -> BatchScores:
        return scorer(_without_media(inputs), self.model.encode_media(inputs), answers, greedy, visuals)

    @torch.inference_mode()
    def write(
        self,
        views: Sequence[View],
        question: str | Sequence[str],
        max_new_tokens: int = 64,
        *,
        system: str | Sequence[str] = "",
        sampling: Sampling | None = None,
        schema: Mapping[str, Any] | None = None,
    ) -> list[str]:
        """Generate an answer to a question about each view.

        Args:
            views: V views.
            question: one question for all views, or V questions.
            max_new_tokens: maximum length of an answer in tokens.
            system: one system message for all views, or V of them; an empty one uses that of the chat template.
            sampling: how tokens are sampled; greedy by default.
            schema: JSON Schema that constrains every answer; None allows free text. An answer longer than
                `max_new_tokens` is truncated, so bound the strings and lists of the schema.

        Raises:
            RequestError: the schema cannot be enforced, or a view is longer than the model's context.
        """
        texts: list[str] = []
        sampling = sampling or Sampling()
        grammar = None if schema is None else SchemaGuide(schema, self.vocabulary)
        for _, inputs in self._batches(views, question, system, self.written_together):
            texts += self._generate(inputs, max_new_tokens, sampling, grammar, first=len(texts))
        return texts

    @torch.inference_mode()
    def score_continuation(self, messages: Sequence[dict[str, Any]], answer: str) -> tuple[int, list[int], list[float]]:
        """Score an answer token by token as the continuation of a conversation with any number of visuals and turns.

        Returns:
            The number of tokens of the prompt, the tokens of the answer and their log-likelihoods.

        Raises:
            RequestError: the answer has no token, or prompt and answer are longer than the model's context.
        """
        (tokens,) = self._tokens([answer])
        inputs = self._prompt(messages)
        length = inputs["input_ids"].shape[1]
        if not tokens:
            raise RequestError(f"{answer!r} has no token to score; give a longer text")
        self._check_length(length + len(tokens))
        beginnings = [tokens[: place + 1] for place in range(len(tokens))]
        (sums,) = self._score_batch(AnswerScorer(self.model), inputs, [beginnings]).log_likelihood.tolist()
        return length, tokens, [after - before for before, after in zip([0.0, *sums], sums, strict=False)]

    @torch.inference_mode()
    def chat(self, messages: Sequence[dict[str, Any]], max_new_tokens: int = 256) -> str:
        """Continue a conversation with any number of visuals and turns."""
        return self._generate(self._prompt(messages), max_new_tokens, Sampling())[0]

    def _prompt(self, messages: Sequence[dict[str, Any]]) -> BatchFeature:
        return self.processor.apply_chat_template(
            list(messages), tokenize=True, add_generation_prompt=True, device=self.device
        ).to(self.device)

    def _generate(
        self,
        inputs: BatchFeature,
        max_new_tokens: int,
        sampling: Sampling,
        grammar: SchemaGuide | None = None,
        first: int = 0,
    ) -> list[str]:
        prompt = inputs["input_ids"].shape[1]
        greedy = Sampler(sampling).greedy and grammar is None
        tokens = self.model.generate(
            **_without_media(inputs),
            mm_encoder_outputs=self.model.encode_media(inputs),
            max_new_tokens=max_new_tokens,
            logits_processor=LogitsProcessorList([] if greedy else [SamplerProcessor(sampling, grammar, first)]),
            do_sample=False,
        )
        return [t.strip() for t in self.processor.tokenizer.batch_decode(tokens[:, prompt:], skip_special_tokens=True)]

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """The model's tokens as bytes."""
        return Vocabulary(self.processor.tokenizer, self.model.config.text_config.vocab_size, self.ends)

    @property
    def ends(self) -> list[int]:
        """The tokens that end a reply."""
        ends = self.model.generation_config.eos_token_id
        return ends if isinstance(ends, list) else [self.processor.tokenizer.eos_token_id if ends is None else ends]

    def _batches(
        self,
        views: Sequence[View],
        question: str | Sequence[str],
        system: str | Sequence[str] = "",
        together: int = BATCH,
        tokens: int = 0,
    ) -> Iterator[tuple[list[list[Part]], BatchFeature]]:
        questions = per_view(question, len(views), "questions")
        systems = per_view(system, len(views), "system messages")
        encoded = self.encoder().views(views)
        if any(sum(part["type"] in VISUALS for part in parts) > 1 for parts in encoded):
            raise ShapeError("a view holds several visuals, expected at most one; score them one by one")
        sizes = [size_of(p) + len(q) + len(s) for p, q, s in zip(encoded, questions, systems, strict=True)]
        for rows in fitting(sizes, together, tokens or self.tokens_together):
            batch = encoded[rows]
            chats = [
                ([{"role": "system", "content": before}] if before else [])
                + [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]
                for parts, text, before in zip(batch, questions[rows], systems[rows], strict=True)
            ]
            prepared = self.processor.apply_chat_template(
                chats, tokenize=True, add_generation_prompt=True, padding_side="left"
            ).to(self.device)
            self._check_length(prepared["input_ids"].shape[1])
            prepared[ENCODED] = encoder_outputs(batch)
            yield batch, prepared


def _without_media(inputs: BatchFeature) -> dict[str, Any]:
    encoded = (*MEDIA, *SOUND, ENCODED)
    return {key: value for key, value in inputs.items() if key not in encoded}
