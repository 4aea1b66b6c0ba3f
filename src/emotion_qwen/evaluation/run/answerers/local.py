"""Answers from a local model, by the likelihood of given answers or with generated text.

Emotion tasks use the steps of `analyze`: worker processes prepare an item like a file, and the label comes from
`Analyzer.conclude`. Without a face, a voice or words there is no answer, and the prediction states why. General
questions are asked about whole pictures, in the wording of the task.
"""

from __future__ import annotations

import dataclasses
import time
from collections import OrderedDict
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.reader import ViewReader, plain_likelihood
from emotion_qwen.analysis.reading import ClipReading
from emotion_qwen.analysis.report import Conclusion, unanswered
from emotion_qwen.analysis.request import Request
from emotion_qwen.batch.preparation import prepare_all, spare_workers
from emotion_qwen.engine.encoding import VISUALS, View
from emotion_qwen.engine.engine import Engine
from emotion_qwen.errors import MediaError
from emotion_qwen.evaluation.run.answerers.preparation import ItemPreparation, context_of, still
from emotion_qwen.evaluation.run.predictions import Prediction, medium_name, part_span, prediction, text_digest
from emotion_qwen.evaluation.run.stored import Stored
from emotion_qwen.evaluation.task import Item, Task
from emotion_qwen.faces import FaceDetector
from emotion_qwen.media.clip import Sources, read_clip
from emotion_qwen.prepare import PreparedClip, crop_side
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.questions import label_question
from emotion_qwen.records import CHANNELS, EVOKED, Clip
from emotion_qwen.settings import ClipSettings
from emotion_qwen.taxonomy import LABEL_SETS, LabelSet, label_set

BATCH = 64
"""Number of items that are answered and written together; an interruption loses at most that many."""
TEXTS = 32
"""Maximum number of replies generated together, because the longest delays the others."""
DIGITS = 5
KEPT = 8
"""Number of decoded files that are cached for further questions about them."""
SOUND = Sources(sound=True)
CAPPED = frozenset(["max_frames", "video_max_pixels", "video_total_pixels", "image_max_pixels"])
"""Settings in which a general task never exceeds the model's own value."""
FEWEST = 16
"""Number of items below which starting processes takes longer than it saves."""


class LocalModel:
    """See `Answerer`.

    Args:
        engine: the model.
        batch: number of items that are answered together.
        detector: face detector; None is the default one.
        workers: processes that prepare items of emotion tasks in advance; None chooses by cores and device.
        replies: answer emotion tasks that ask for text with generated text, even if `analyze` has a label for them.
    """

    whole_batches = True

    def __init__(
        self,
        engine: Engine,
        batch: int = BATCH,
        detector: FaceDetector | None = None,
        workers: int | None = None,
        replies: bool = False,
    ) -> None:
        self.engine, self.batch, self.name, self.replies = engine, batch, engine.name, replies
        self.analyzer = Analyzer(engine, detector)
        self.workers = spare_workers(engine.device.type) if workers is None else workers
        self._clips = OrderedDict[tuple, Clip]()
        self._readers: dict[tuple[str, ...], ViewReader] = {}
        self._ahead: Generator[tuple[Item, PreparedClip | MediaError], None, None] | None = None

    def side_of(self, task: Task) -> int | None:
        """See `Answerer`; emotion tasks use pictures in their original size, as `analyze` does."""
        return None if task.domain == "emotion" else picture_side(self.engine)

    def header(self, task: Task, split: str) -> dict[str, Any]:
        """Return what affects an answer: model, number type, chat template, budgets, method of answering."""
        engine = self.engine
        emotion = task.domain == "emotion"
        settings = engine.processor.settings if emotion else budgets(engine.processor.settings, task)
        shared = {
            **engine.provenance(),
            "prompt": text_digest(engine.processor.chat_template),
            "settings": settings.model_dump(),
            "trained_on": engine.training_facts().get("data", []),
        }
        less_blank = (emotion or task.less_blank) and not plain_likelihood(engine)
        scoring = "likelihood less blank per token" if less_blank else "likelihood"
        if emotion:
            shared |= {"about": task.about, "reads": "as analyze", "calibration": text_digest(repr(engine.calibration))}
            scoring = f"as analyze: {scoring}, pooled"
        if task.answered != "likelihood":
            shared["system"] = text_digest(task.system)
            text = f"text, greedy, at most {task.max_new_tokens} tokens"
            scoring = f"{scoring}; other questions: {text}" if emotion and not self.replies else text
        if task.answered == "item":
            scoring = f"as each item says: likelihood of choices or of plain text, or {text} unless it says otherwise"
        return {"task": task.column, "split": split, "scoring": scoring, **shared}

    def batches(self, task: Task, items: Sequence[Item]) -> list[list[Item]]:
        """Group items that are scored together: by question and choices, or by group; texts by length."""
        if task.answered == "text":
            return _in_buckets(items, min(self.batch, TEXTS))
        if task.answered == "item":
            kinds: dict[tuple, list[Item]] = {}
            for item in sorted(items, key=_text_length):
                kinds.setdefault((item.answered, item.group, item.max_new_tokens), []).append(item)
            size = min(self.batch, TEXTS)
            return [same[start : start + size] for same in kinds.values() for start in range(0, len(same), size)]
        alike: dict[tuple[str, ...], list[Item]] = {}
        for item in items:
            key = (item.question, *item.choices) if task.less_blank else (item.language, item.group)
            alike.setdefault(key, []).append(item)
        return [
            group[start : start + self.batch] for group in alike.values() for start in range(0, len(group), self.batch)
        ]

    @contextmanager
    def ahead(self, task: Task, items: Sequence[Item]) -> Iterator[None]:
        """See `Answerer`: prepares items of emotion tasks while the model answers earlier ones."""
        if task.domain != "emotion" or not items:
            yield
            return
        prepared = prepare_all(items, self._preparation, self.workers if len(items) >= FEWEST else 0, ahead=self.batch)
        self._ahead = prepared
        try:
            yield
        finally:
            prepared.close()
            self._ahead = None

    def answer(self, task: Task, items: Sequence[Item]) -> Iterator[Prediction]:
        """Answer a batch; an item whose media cannot be read gets a prediction with an error."""
        begun = time.perf_counter()
        if task.domain == "emotion":
            fields = self._feel(task, items)
        else:
            opened = [self._open(item, task) for item in items]
            ready = [result for result in opened if isinstance(result, Item)]
            with _budgets_of(self.engine.processor, task):
                way = (items[0].answered or task.answered) if items else ""
                answer = {"text": self._write, "continuation": self._continue}.get(way, self._score)
                answers = iter(answer(task, ready) if ready else [])
            fields = [
                {"error": result} if isinstance(result, str) else {**next(answers), "frames": item_frame_count(result)}
                for result in opened
            ]
        share = round((time.perf_counter() - begun) / len(items), 4)
        for item, values in zip(items, fields, strict=True):
            yield prediction(item, **values, seconds=share, answerer=self.name)

    def readings(self, task: Task, items: Sequence[Item]) -> list[ClipReading | MediaError]:
        """Return the readings that `analyze` would make of items of emotion tasks, or why they cannot be read."""
        prepared = [self._next(item) for item in items]
        return [
            clip if isinstance(clip, MediaError) else
            ClipReading(self._reader(item), clip, _request(item, task))
            for item, clip in zip(items, prepared, strict=True)
        ]  # fmt: skip

    @property
    def _preparation(self) -> ItemPreparation:
        return ItemPreparation(self.analyzer.detector, self.analyzer.budget, self.analyzer.sources())

    def _next(self, item: Item) -> PreparedClip | MediaError:
        """Return the prepared item: the next one prepared in advance, or prepare it now."""
        if self._ahead is None:
            ((_, prepared),) = prepare_all([item], self._preparation, 0)
        else:
            expected, prepared = next(self._ahead)
            assert expected is item, "items are answered in the order in which they were announced"
        return prepared

    def _reader(self, item: Item) -> ViewReader:
        key = (item.question, *item.choices)
        if key not in self._readers:
            self._readers[key] = ViewReader(self.engine, item.question, item.choices)
        return self._readers[key]

    def _feel(self, task: Task, items: Sequence[Item]) -> list[dict[str, Any]]:
        """Answer items of emotion tasks as `analyze` does."""
        readings = self.readings(task, items)
        fields: list[dict[str, Any]] = [
            {"error": str(reading)}
            if isinstance(reading, MediaError)
            else {"frames": len(reading.prepared.clip.frames)}
            for reading in readings
        ]
        able = [(row, reading) for row, reading in enumerate(readings) if isinstance(reading, ClipReading)]
        in_words = [pair for pair in able if self._in_words(task, items[pair[0]])]
        by_reader: dict[int, list[tuple[int, ClipReading]]] = {}
        for row, reading in able:
            if not self._in_words(task, items[row]):
                by_reader.setdefault(id(reading.reader), []).append((row, reading))
        for pairs in by_reader.values():
            conclusions = self.analyzer.conclude(pairs[0][1].reader, [reading for _, reading in pairs])
            for (row, _), conclusion in zip(pairs, conclusions, strict=True):
                fields[row] |= _concluded(items[row], conclusion)
        questions = [(items[row].question, reading) for row, reading in in_words]
        for (row, _), reply in zip(in_words, self._replies(task, questions), strict=True):
            fields[row] |= reply
        return fields

    def _in_words(self, task: Task, item: Item) -> bool:
        """Return whether an item is answered in words, which is if `analyze` does not ask its question."""
        if task.answered != "text":
            return False
        usual = item.label_set and item.question == label_question(labels_of(item), item.language, task.about)
        return self.replies or not usual

    def _replies(self, task: Task, pairs: Sequence[tuple[str, ClipReading]]) -> list[dict[str, Any]]:
        """Generate replies about the view that `ask` uses of each clip; an item without a person gets no reply."""
        views: list[View | None] = []
        for _, reading in pairs:
            view: View | None = None
            if reading.channels and task.about == EVOKED:
                view = reading.whole.view(CHANNELS, reading.language)
            elif reading.channels:
                view = self.analyzer.asked_view(reading.prepared, reading.context)
            views.append(view)
        shown = [(view, question) for view, (question, _) in zip(views, pairs, strict=True) if view is not None]
        given, questions = [view for view, _ in shown], [question for _, question in shown]
        texts = iter(self.engine.write(given, questions, task.max_new_tokens, system=task.system) if shown else [])
        return [
            {"unanswered": unanswered(reading)} if view is None else {"text": next(texts)}
            for view, (_, reading) in zip(views, pairs, strict=True)
        ]

    def _open(self, item: Item, task: Task) -> Item | str:
        """Return the item with its media decoded, or why that is impossible."""
        try:
            visuals = sum(part["type"] in VISUALS for part in item.parts)
            if visuals > 1:
                return f"{visuals} pictures in one question; local models take at most one"
            if self.engine.processor.hearing is None and any(part["type"] == "audio" for part in item.parts):
                return f"{self.name} has no audio input; leave the audio parts out or give a model with audio input"
            return dataclasses.replace(item, parts=tuple(self._opened(part, task) for part in item.parts))
        except MediaError as error:
            return str(error)

    def _write(self, task: Task, items: Sequence[Item]) -> list[dict[str, Any]]:
        questions, length = [item.question for item in items], items[0].max_new_tokens or task.max_new_tokens
        texts = self.engine.write([item.parts for item in items], questions, length, system=task.system)
        return [{"text": text} for text in texts]

    def _score(self, task: Task, items: Sequence[Item]) -> list[dict[str, Any]]:
        views = [item.parts for item in items]
        if task.less_blank:
            words = list(items[0].choices)
            scores, gates = ViewReader(self.engine, items[0].question, words).scores(views)
            shares = [row.double().softmax(-1).tolist() for row in scores]
            return [_closed(*row) for row in zip(items, shares, gates.tolist(), strict=True)]
        outputs = self.engine.score_each(views, [item.question for item in items], [item.choices for item in items])
        fields = []
        for item, output in zip(items, outputs, strict=True):
            lengths = [len(choice) if item.by_length else 1 for choice in item.choices]
            likelihoods = torch.tensor(output.log_likelihood, dtype=torch.double) / torch.tensor(lengths)
            # After division by their length, long choices that differ in one word have close values.
            digits = 2 * DIGITS if item.by_length else DIGITS
            fields.append(_closed(item, likelihoods.softmax(-1).tolist(), output.gate, digits))
        return fields

    def _continue(self, task: Task, items: Sequence[Item]) -> list[dict[str, Any]]:
        outputs = self.engine.score_texts([item.question for item in items], [item.answer for item in items])
        return [
            {"continuation": (round(output.log_likelihood[0], DIGITS), output.tokens[0], output.greedy[0])}
            for output in outputs
        ]

    def _opened(self, part: dict[str, Any], task: Task) -> dict[str, Any]:
        """Return a part with its medium decoded; arrays and clips are returned unchanged."""
        kind = part["type"]
        medium = part.get(kind)
        if kind == "text" or not isinstance(medium, str | Path | Stored):
            return part
        name = medium.key if isinstance(medium, Stored) else str(medium)
        span = part_span(part)
        key = (kind, name, task.name, task.prompt, *span.values())
        if key not in self._clips:
            self._clips[key] = self._read(medium, kind, task, span)
            if len(self._clips) > KEPT:
                self._clips.popitem(last=False)
        self._clips.move_to_end(key)
        return {"type": kind, kind: self._clips[key]}

    def _read(self, medium: str | Path | Stored, kind: str, task: Task, span: Mapping[str, Any]) -> Any:
        settings = budgets(self.engine.processor.settings, task)
        if isinstance(medium, Stored):
            return still(medium.load(), medium.name)
        path = Path(medium)
        if kind == "audio":
            clip = read_clip(path, settings, sources=SOUND)
            if clip.wave is None:
                raise MediaError(f"{str(path)!r} has no sound; expected an audio track, leave the audio part out")
            return clip.wave
        return read_clip(path, settings, **span)


def picture_side(engine: Engine) -> int:
    """Return the side in pixels to which still pictures are resized for this model: that of its person crops."""
    image = engine.processor.image_processor
    return crop_side(engine.processor.settings, image.patch_size * image.merge_size)


def budgets(model_settings: ClipSettings, task: Task) -> ClipSettings:
    """Return the clip settings for a model and a task: the task's, limited to the model's own.

    More frames or pixels than in training would only disturb the model.
    """
    fixed = dict(task.frames)
    for name in CAPPED & set(fixed):
        fixed[name] = min(fixed[name], getattr(model_settings, name))
    return model_settings.model_copy(update=fixed)


@contextmanager
def _budgets_of(processor: EmotionQwenProcessor, task: Task) -> Iterator[None]:
    """Set the budgets of a task on a processor for a while."""
    before = processor.clip_settings
    processor.clip_settings = {**before, **budgets(processor.settings, task).model_dump(exclude_defaults=True)}
    try:
        yield
    finally:
        processor.clip_settings = before


def _in_buckets(items: Sequence[Item], batch: int) -> list[list[Item]]:
    """Group items by kind of media and length of the question, with the items of one file next to each other."""

    def place(number: int) -> tuple:
        item = items[number]
        kinds = tuple(part["type"] for part in item.parts)
        files = [medium_name(part) for part in item.parts]
        words = len(item.question) + sum(len(part["text"]) for part in item.parts if part["type"] == "text")
        return kinds, words.bit_length(), files, number

    ordered = [items[number] for number in sorted(range(len(items)), key=place)]
    buckets: list[list[Item]] = []
    for item in ordered:
        alike = buckets and [p["type"] for p in buckets[-1][0].parts] == [p["type"] for p in item.parts]
        if not alike or len(buckets[-1]) == batch:
            buckets.append([])
        buckets[-1].append(item)
    return buckets


def _text_length(item: Item) -> int:
    """Return the number of characters of an item without pictures; batches of similar length need little padding."""
    scored = item.answer if item.answered == "continuation" else "".join(item.choices)
    return len(item.question) + len(scored)


def labels_of(item: Item) -> LabelSet:
    """Return the label set of an item's choices; if it is not in `taxonomy`, a set made of them."""
    if item.label_set in LABEL_SETS:
        return label_set(item.label_set)
    named = item.options if len(item.options) == len(item.choices) else item.choices
    return LabelSet(item.label_set, named, item.choices, f"choices of {item.id}")


def _request(item: Item, task: Task) -> Request:
    return Request(labels_of(item), item.language, context=context_of(item), about=task.about)


def _concluded(item: Item, conclusion: Conclusion | MediaError) -> dict[str, Any]:
    """Return the fields of a prediction: the label of a conclusion, or why there is none."""
    if isinstance(conclusion, MediaError):
        return {"unanswered": str(conclusion)}
    if conclusion.label is None:
        return {"unanswered": conclusion.reason}
    return _closed(
        item, list(conclusion.distribution.values()), [conclusion.gate["general"], conclusion.gate["emotion"]]
    )


def _closed(item: Item, shares: Sequence[float], gate: Sequence[float], digits: int = DIGITS) -> dict[str, Any]:
    allowed = item.allowed or item.choices
    return {
        "predicted": max(allowed, key=lambda name: shares[item.choices.index(name)]),
        "scores": {name: round(float(share), digits) for name, share in zip(item.choices, shares, strict=True)},
        "gate": (round(float(gate[0]), DIGITS), round(float(gate[1]), DIGITS)),
    }


def item_frame_count(item: Item) -> int:
    """Return the number of pictures in an item with decoded media."""
    visuals = [part[part["type"]] for part in item.parts if part["type"] in VISUALS]
    return sum(len(visual.frames) if isinstance(visual, Clip) else 1 for visual in visuals)
