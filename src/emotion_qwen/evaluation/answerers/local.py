"""A model of ours answers: by the likelihood of given answers, or by writing.

A file is decoded once, however many questions are asked about it. Faces in files are captured as in training and
`analyze` (`prepare`), for tasks about emotion only: what is washed out could be what a general question asks for.
"""

from __future__ import annotations

import dataclasses
import time
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.errors import MediaError
from emotion_qwen.evaluation.predictions import Prediction, digest, medium_name, prediction
from emotion_qwen.evaluation.stored import Stored
from emotion_qwen.evaluation.task import Item, Task
from emotion_qwen.faces import CenterFaceDetector, FaceDetector, capture, track_faces
from emotion_qwen.inference.encoding import VISUALS, View
from emotion_qwen.inference.engine import Engine
from emotion_qwen.inference.scoring import less_blank
from emotion_qwen.media.clip import Sources, read_clip
from emotion_qwen.prepare import crop_side, person_views
from emotion_qwen.processing import EmotionQwenProcessor
from emotion_qwen.records import Clip
from emotion_qwen.settings import ClipSettings

BATCH = 64
"""Items that are answered together and written at once; what an interruption can cost."""
TEXTS = 32
"""Replies that are written together, at most: the longest of them keeps the others waiting."""
DIGITS = 5
KEPT = 8
"""So many decoded files are kept, for further questions about them."""
SOUND = Sources(sound=True)
CAPPED = frozenset(["max_frames", "video_max_pixels", "video_total_pixels", "image_max_pixels"])
"""Settings in which no task gives a model more than the model's own."""


class LocalModel:
    """See `Answerer`.

    Args:
        engine: the model.
        batch: items that are answered together.
        detector: of faces in files; None loads the default one when a task needs it.
    """

    whole_batches = True

    def __init__(self, engine: Engine, batch: int = BATCH, detector: FaceDetector | None = None) -> None:
        self.engine, self.batch, self.name = engine, batch, engine.name
        self._detector, self._clips = detector, OrderedDict[tuple, Clip]()

    @property
    def side(self) -> int:
        """The side in pixels of this model's person crops, to which still pictures are brought."""
        return picture_side(self.engine)

    def header(self, task: Task, split: str) -> dict[str, Any]:
        """Say what decides over an answer: model, number type, chat template, budgets, way of answering."""
        engine = self.engine
        settings = budgets(engine.processor.settings, task).model_dump()
        shared = {**engine.provenance(), "prompt": digest(engine.processor.chat_template), "settings": settings}
        if task.answered == "text":
            shared["system"] = digest(task.system)
            scoring = f"text, greedy, at most {task.max_new_tokens} tokens"
        else:
            scoring = "likelihood less blank per token" if task.less_blank else "likelihood"
        return {"task": task.column, "split": split, "scoring": scoring, **shared}

    def batches(self, task: Task, items: Sequence[Item]) -> list[list[Item]]:
        """Put together what is scored together: one question and its choices, or one group; texts by length."""
        if task.answered == "text":
            return _in_buckets(items, min(self.batch, TEXTS))
        alike: dict[tuple[str, ...], list[Item]] = {}
        for item in items:
            key = (item.question, *item.choices) if task.less_blank else (item.language, item.group)
            alike.setdefault(key, []).append(item)
        return [
            group[start : start + self.batch] for group in alike.values() for start in range(0, len(group), self.batch)
        ]

    def answer(self, task: Task, items: Sequence[Item]) -> Iterator[Prediction]:
        """Answer a batch; an item whose media cannot be read is a prediction with an error."""
        begun = time.perf_counter()
        opened = [self._open(item, task) for item in items]
        ready = [one for one in opened if isinstance(one, Item)]
        with _budgets_of(self.engine.processor, task):
            said = iter((self._write if task.answered == "text" else self._score)(task, ready) if ready else [])
        share = round((time.perf_counter() - begun) / len(items), 4)
        for item, one in zip(items, opened, strict=True):
            told = {"error": one} if isinstance(one, str) else {**next(said), "frames": frame_count(one)}
            yield prediction(item, **told, seconds=share, answerer=self.name)

    def _open(self, item: Item, task: Task) -> Item | str:
        """Return the item with its media decoded, or why that is impossible."""
        try:
            visuals = sum(part["type"] in VISUALS for part in item.parts)
            if visuals > 1:
                return f"{visuals} pictures in one question; models of ours take at most one"
            if self.engine.processor.hearing is None and any(part["type"] == "audio" for part in item.parts):
                return f"{self.name} does not hear; leave the audio parts out or give a model that does"
            return dataclasses.replace(item, parts=tuple(self._opened(part, task) for part in item.parts))
        except MediaError as error:
            return str(error)

    def _write(self, task: Task, items: Sequence[Item]) -> list[dict[str, Any]]:
        questions = [item.question for item in items]
        texts = self.engine.write([item.parts for item in items], questions, task.max_new_tokens, system=task.system)
        return [{"text": text} for text in texts]

    def _score(self, task: Task, items: Sequence[Item]) -> list[dict[str, Any]]:
        engine, settings, side = self.engine, self.engine.processor.settings, self.side
        views: list[View] = []
        for item in items:
            views += _crops(item, side, settings) if task.faces else [item.parts]
        repeats = len(views) // len(items)
        # Choices may differ within a batch: all of them are scored for every visual, and each item looks at its own.
        words = list(dict.fromkeys(word for item in items for word in item.choices))
        if task.less_blank:
            scores, gates = less_blank(engine, views, items[0].question, words)
        else:
            seen = engine.score(views, [item.question for item in items for _ in range(repeats)], words)
            scores, gates = seen.log_likelihood, seen.gate
        said = []
        for number, item in enumerate(items):
            rows = slice(number * repeats, (number + 1) * repeats)
            own = scores[rows, [words.index(choice) for choice in item.choices]].double()
            shares = own.softmax(-1).mean(dim=0)  # the views of one face are pooled as `analyze` pools a person's crops
            said.append(_closed(item, shares.numpy(), gates[rows].double().mean(dim=0).numpy()))
        return said

    def _opened(self, part: dict[str, Any], task: Task) -> dict[str, Any]:
        """Return a part with its medium decoded; arrays and clips are taken as they are."""
        kind = part["type"]
        medium = part.get(kind)
        if kind == "text" or not isinstance(medium, str | Path | Stored):
            return part
        name = medium.key if isinstance(medium, Stored) else str(medium)
        key = (kind, name, task.name, task.prompt)
        if key not in self._clips:
            self._clips[key] = self._read(medium, kind, task)
            if len(self._clips) > KEPT:
                self._clips.popitem(last=False)
        self._clips.move_to_end(key)
        return {"type": kind, kind: self._clips[key]}

    def _read(self, medium: str | Path | Stored, kind: str, task: Task) -> Any:
        settings = budgets(self.engine.processor.settings, task)
        if isinstance(medium, Stored):
            return self._captured(still(medium.load(), medium.name), task, settings)
        path = Path(medium)
        if kind == "audio":
            clip = read_clip(path, settings, sources=SOUND)
            if clip.wave is None:
                raise MediaError(f"{str(path)!r} has no sound; expected a sound track, leave the audio part out")
            return clip.wave
        return self._captured(read_clip(path, settings), task, settings)

    def _captured(self, clip: Clip, task: Task, settings: ClipSettings) -> Clip:
        if task.domain != "emotion" or settings.capture_strength == 0:
            return clip
        self._detector = self._detector or CenterFaceDetector()
        tracks = track_faces(clip.frames, clip.times, self._detector)
        frames = capture(clip.frames, tracks, settings.capture_strength, settings.person_margin)
        return dataclasses.replace(clip, frames=frames)


def picture_side(engine: Engine) -> int:
    """Return the side in pixels to which this model's still pictures are brought: that of its person crops."""
    image = engine.processor.image_processor
    return crop_side(engine.processor.settings, image.patch_size * image.merge_size)


def budgets(own: ClipSettings, task: Task) -> ClipSettings:
    """Return the clip settings under which a model answers a task: the task's, but never more than the model's own.

    A model must see what it was trained on: more frames or pixels than that would not be a fair chance but noise.
    """
    fixed = dict(task.frames)
    for name in CAPPED & set(fixed):
        fixed[name] = min(fixed[name], getattr(own, name))
    return own.model_copy(update=fixed)


@contextmanager
def _budgets_of(processor: EmotionQwenProcessor, task: Task) -> Iterator[None]:
    """Let a processor work under the budgets of a task."""
    before = processor.clip_settings
    processor.clip_settings = {**before, **budgets(processor.settings, task).model_dump(exclude_defaults=True)}
    try:
        yield
    finally:
        processor.clip_settings = before


def still(picture: np.ndarray, name: str) -> Clip:
    """Return a clip of one picture (H, W, 3) uint8."""
    return Clip(picture[None], np.zeros(1), name, still=True, size=picture.shape[:2])


def _in_buckets(items: Sequence[Item], batch: int) -> list[list[Item]]:
    """Put replies of alike prompts together: by kind of media and length of the question; one file's side by side."""

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


def _crops(item: Item, side: int, settings: ClipSettings) -> list[View]:
    """Return the views by which a face is read, each with whatever else the item tells."""
    picture, *others = item.parts
    shown = picture["image"].frames[0] if isinstance(picture["image"], Clip) else picture["image"]
    crops = person_views(shown, side, settings)
    return [({"type": "image", "image": np.ascontiguousarray(crop)}, *others) for crop in crops]


def _closed(item: Item, shares: np.ndarray, gate: np.ndarray) -> dict[str, Any]:
    allowed = item.allowed or item.choices
    return {
        "predicted": max(allowed, key=lambda name: shares[item.choices.index(name)]),
        "scores": {name: round(float(share), DIGITS) for name, share in zip(item.choices, shares, strict=True)},
        "gate": (round(float(gate[0]), DIGITS), round(float(gate[1]), DIGITS)),
    }


def frame_count(item: Item) -> int:
    """Return how many pictures an item shows whose media are decoded."""
    visuals = [part[part["type"]] for part in item.parts if part["type"] in VISUALS]
    return sum(len(one.frames) if isinstance(one, Clip) else 1 for one in visuals)
