"""`EmotionQwen`: path in, `EmotionReport` out. The composition of media, faces, processor, engine and scoring."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.errors import SettingsError, unknown_choice
from emotion_qwen.faces import CenterFaceDetector, FaceDetector, best_box
from emotion_qwen.inference.engine import Engine
from emotion_qwen.inference.scoring import label_scores, pool
from emotion_qwen.media.clip import read_clip
from emotion_qwen.prepare import PersonPictures, PreparedClip, prepare_clip
from emotion_qwen.processing.chat import LANGUAGES, QUESTIONS, label_question
from emotion_qwen.records import EmotionReport, Person
from emotion_qwen.taxonomy import LabelSet, label_set


class EmotionQwen:
    """Say what the people in a clip or picture feel.

    Args:
        engine: a loaded model.
        detector: finds faces; CenterFace by default.

    Example:
        `EmotionQwen.load().analyze("clip.mp4").label`
    """

    def __init__(self, engine: Engine, detector: FaceDetector | None = None) -> None:
        self.engine = engine
        self.detector = detector or CenterFaceDetector()

    @classmethod
    def load(cls, model: str | Path | None = None, device: str = "auto", dtype: str = "auto") -> EmotionQwen:
        """Load a model folder or hub name; None is the shipped nano. Errors are those of `Engine.load`."""
        return cls(Engine.load(model, device, dtype))

    def analyze(
        self,
        path: str | Path,
        labels: str = "dfew7",
        language: str = "en",
        *,
        start: float | None = None,
        end: float | None = None,
    ) -> EmotionReport:
        """Analyze one clip or picture.

        Args:
            path: video or picture.
            labels: name of a label set of `taxonomy`.
            language: "en" or "zh", of question and sentence.
            start: seconds from which, `end`: seconds until which the video is read; None is all of it.

        Raises:
            MediaError: the file cannot be read.
            SettingsError: an unknown label set or language.
        """
        began = time.perf_counter()
        chosen = label_set(labels)
        if language not in LANGUAGES:
            raise SettingsError(unknown_choice("language", language, LANGUAGES))
        clip = read_clip(path, self.engine.processor.settings, start=start, end=end)
        prepared = prepare_clip(clip, self.detector, self.engine.processor)
        return self._report(prepared, chosen, language, began)

    def ask(self, path: str | Path, question: str, *, start: float | None = None, end: float | None = None) -> str:
        """Answer a free question about a clip or picture, in the model's own words.

        The model sees what `analyze` shows it: the whole clip if nobody is seen, else the person seen most.
        """
        clip = read_clip(path, self.engine.processor.settings, start=start, end=end)
        prepared = prepare_clip(clip, self.detector, self.engine.processor)
        return self.engine.write([_main_part(prepared)], question)[0]

    def _report(self, prepared: PreparedClip, labels: LabelSet, language: str, began: float) -> EmotionReport:
        crops = [_image(crop) for person in prepared.people for crop in person.crops]
        weight = self.engine.processor.settings.person_weight if crops else 0.0
        frames = self._score([prepared.part] if weight < 1 else [], labels, language)
        shares, gates = self._score(crops, labels, language)
        people = _people(prepared, labels, shares, gates)
        shown = [(np.array(list(person.distribution.values())), person.frames) for person in people]
        pooled = pool(shown, frames[0].sum(axis=0), weight)
        leading = int(pooled.argmax())
        telling = crops[int(shares[:, leading].argmax())] if crops else prepared.part
        return EmotionReport(
            source=prepared.clip.source,
            label=labels.labels[leading],
            distribution=_named(labels, pooled),
            people=people,
            gate=_weights((gates if crops else frames[1]).mean(axis=0)),
            summary=self.engine.write([telling], QUESTIONS["describe"][language])[0],
            language=language,
            provenance=self._provenance(prepared, labels, language, began),
        )

    def _score(self, parts: list[dict[str, Any]], labels: LabelSet, language: str) -> tuple[np.ndarray, np.ndarray]:
        """Return (V, K) distributions and (V, 2) gate weights of V visuals, V may be 0."""
        if not parts:
            return np.zeros((0, len(labels.labels))), np.zeros((0, 2))
        scores, gates = label_scores(self.engine, parts, labels, language)
        return scores.softmax(-1).double().numpy(), gates.double().numpy()

    def _provenance(self, prepared: PreparedClip, labels: LabelSet, language: str, began: float) -> dict[str, Any]:
        processor, clip = self.engine.processor, prepared.clip
        asked = processor.chat_template + label_question(labels, language) + QUESTIONS["describe"][language]
        trained = self.engine.training_facts().get("label_sets")
        facts = {
            **self._model,
            "label_set": labels.name,
            "label_set_trained": None if trained is None else labels.name in trained,
            "prompt": hashlib.sha256(asked.encode()).hexdigest()[:16],
            "channels": ["picture"],
            "frames": len(clip.times),
            "fps": None if clip.fps is None else round(clip.fps, 3),
            "seconds": [round(float(clip.times[0]), 3), round(float(clip.times[-1]), 3)],
            "size": list(clip.size),
            "clip_settings": processor.settings.model_dump(),
            "warnings": list(clip.warnings),
            "took": round(time.perf_counter() - began, 3),
        }
        if facts["label_set_trained"] is False:
            facts["warnings"].append(
                f"the model was never trained for the label set {labels.name!r}; its distribution is a guess"
            )
        return facts

    @cached_property
    def _model(self) -> dict[str, Any]:
        return self.engine.provenance()


def _people(prepared: PreparedClip, labels: LabelSet, shares: np.ndarray, gates: np.ndarray) -> tuple[Person, ...]:
    people, row = [], 0
    for person in prepared.people:
        rows = slice(row, row + len(person.crops))
        people.append(_person(prepared, person, labels, shares[rows].mean(axis=0), gates[rows].mean(axis=0)))
        row = rows.stop
    return tuple(people)


def _person(
    prepared: PreparedClip, person: PersonPictures, labels: LabelSet, shares: np.ndarray, gate: np.ndarray
) -> Person:
    track, times = person.track, prepared.clip.times
    height, width = prepared.clip.frames.shape[1:3]
    x1, y1, x2, y2 = (float(v) for v in best_box(track))
    return Person(
        person=track.person,
        label=labels.labels[int(shares.argmax())],
        distribution=_named(labels, shares),
        start=float(times[track.frames[0]]),
        end=float(times[track.frames[-1]]),
        frames=len(track.frames),
        box=(round(x1 / width, 4), round(y1 / height, 4), round(x2 / width, 4), round(y2 / height, 4)),
        gate=_weights(gate),
    )


def _main_part(prepared: PreparedClip) -> dict[str, Any]:
    if not prepared.people:
        return prepared.part
    most = max(prepared.people, key=lambda person: len(person.track.frames))
    return _image(most.crops[len(most.crops) // 2])


def _image(crop: np.ndarray) -> dict[str, Any]:
    return {"type": "image", "image": crop}


def _named(labels: LabelSet, shares: Sequence[float] | np.ndarray) -> dict[str, float]:
    return {name: float(share) for name, share in zip(labels.labels, shares, strict=True)}


def _weights(gate: np.ndarray) -> dict[str, float]:
    return {"general": float(gate[0]), "emotion": float(gate[1])}
