"""`EmotionQwen`: path in, `EmotionReport` out. The composition of media, faces, engine, reading and report."""

from __future__ import annotations

import hashlib
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.errors import MediaError, SettingsError, unknown_choice
from emotion_qwen.faces import CenterFaceDetector, FaceDetector
from emotion_qwen.inference.engine import Engine, View
from emotion_qwen.inference.glimpses import glimpses
from emotion_qwen.inference.reading import Reading
from emotion_qwen.inference.report import (
    ABSTAIN_BELOW,
    describe_person,
    doubt,
    explain,
    find_cues,
    influence,
    named,
    open_words,
    timeline,
    valence_arousal,
    weights,
)
from emotion_qwen.media.clip import Sources, read_clip
from emotion_qwen.prepare import prepare_clip
from emotion_qwen.processing.chat import LANGUAGES, QUESTIONS, label_question
from emotion_qwen.records import CHANNELS, Clip, EmotionReport
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
        sources: Sources | None = None,
        context: str = "",
        abstain_below: float = ABSTAIN_BELOW,
    ) -> EmotionReport:
        """Analyze one clip, picture or sound.

        Args:
            path: video, picture, or a sound for a model that hears.
            labels: name of a label set of `taxonomy`.
            language: "en" or "zh", of questions and sentences.
            start: seconds from which, `end`: seconds until which the clip is read; None is all of it.
            sources: sound and words to read; None is the clip's own, as far as the model was trained for them.
            context: what is known of the situation, in words.
            abstain_below: confidence below which the report abstains.

        Raises:
            MediaError: a file cannot be read, or nothing in it can be analyzed.
            SettingsError: an unknown label set or language.
        """
        began = time.perf_counter()
        chosen = label_set(labels)
        if language not in LANGUAGES:
            raise SettingsError(unknown_choice("language", language, LANGUAGES))
        clip = read_clip(path, self.engine.processor.settings, start=start, end=end, sources=sources or self.sources())
        return self.report(self.read(clip, chosen, language, context), began, abstain_below)

    def read(self, clip: Clip, labels: LabelSet, language: str = "en", context: str = "") -> Reading:
        """Find the people of a decoded clip, and make ready what the model is asked; nothing is asked yet.

        Raises:
            MediaError: nothing in the clip can be analyzed.
        """
        prepared = prepare_clip(clip, self.detector, self.engine.processor)
        reading = Reading(self.engine, prepared, labels, language, context)
        if not reading.channels:
            raise MediaError(
                f"{clip.source!r} has no picture, no words, and no sound that is not silence; give one that has"
            )
        return reading

    def ask(
        self,
        path: str | Path,
        question: str,
        *,
        start: float | None = None,
        end: float | None = None,
        sources: Sources | None = None,
        context: str = "",
    ) -> str:
        """Answer a free question about a clip, picture or sound, in the model's own words.

        The model sees and hears what `analyze` shows it: the whole clip if nobody is seen, else the person seen most.
        """
        clip = read_clip(path, self.engine.processor.settings, start=start, end=end, sources=sources or self.sources())
        return self.engine.write([self.asked_view(clip, context)], question)[0]

    def asked_view(self, clip: Clip, context: str = "") -> View:
        """Return the message parts by which a free question is asked about a clip; see `ask`.

        Raises:
            MediaError: nothing in the clip can be seen or heard.
        """
        prepared = prepare_clip(clip, self.detector, self.engine.processor)
        found = glimpses(prepared, context, hears=self.hears)
        if not found:
            raise MediaError(f"{clip.source!r} has no picture, and no sound that is not silence; give another clip")
        chosen = found[len(found) // 2]
        if prepared.people:
            most = max(prepared.people, key=lambda person: len(person.track.frames)).track.person
            own = [one for one in found if one.person == most]
            chosen = own[len(own) // 2]
        view = chosen.view(CHANNELS, "en") or []
        if not prepared.people and len(prepared.shown.frames):
            view = [prepared.part, *view[1:]]
        return view

    @property
    def hears(self) -> bool:
        """Whether the model can hear."""
        return self.engine.processor.hearing is not None

    def sources(
        self,
        audio: Path | None = None,
        audio_track: int | None = None,
        transcript: Path | None = None,
        subtitle_track: int | None = None,
    ) -> Sources:
        """Say what to read beside pictures: the clip's own as far as the model was trained for it, and what is named.

        Raises:
            SettingsError: sound is named for a model that does not hear.
        """
        if not self.hears and (audio is not None or audio_track is not None):
            raise SettingsError(f"model {self.engine.name!r} does not hear; leave --audio and --audio-track out")
        trained = self.trained_channels
        words = "words" in trained or transcript is not None or subtitle_track is not None
        return Sources(self.hears, words, audio, audio_track, transcript, subtitle_track)

    @property
    def trained_channels(self) -> tuple[str, ...]:
        """The channels that the model was trained for, as it tells; all of them if it does not tell."""
        return tuple(self.engine.training_facts().get("channels", CHANNELS))

    def report(self, reading: Reading, began: float, threshold: float = ABSTAIN_BELOW) -> EmotionReport:
        """Compose the report of a reading that began at `time.perf_counter()` `began`."""
        labels, channels = reading.labels, reading.channels
        shares, pooled = reading.shares(channels), reading.clip(channels)
        leading = int(pooled.argmax())
        people = tuple(describe_person(reading, person) for person in reading.prepared.people)
        everything = np.ones(len(reading.glimpses), dtype=bool)
        moments, episodes = timeline(reading, shares, everything)
        influences = influence(reading, pooled)
        telling = self._telling(reading, shares, leading)
        texts = self.engine.write([telling], QUESTIONS["describe"][reading.language])
        uncertainty = doubt(pooled, reading.temperature, threshold)
        return EmotionReport(
            source=reading.prepared.clip.source,
            label=labels.labels[leading],
            distribution=named(labels, pooled),
            people=people,
            gate=weights(reading.gates),
            summary=texts[0],
            language=reading.language,
            valence_arousal=valence_arousal(named(labels, pooled)),
            timeline=moments,
            episodes=episodes,
            cues=find_cues(reading, people, episodes, leading),
            words=open_words(texts, reading.language),
            rationale=explain(reading, episodes, influences, leading, texts[0]),
            channels=influences,
            uncertainty=uncertainty,
            utterances=reading.prepared.clip.utterances,
            context=reading.context.strip(),
            provenance=self._provenance(reading, began),
        )

    def _telling(self, reading: Reading, shares: np.ndarray, leading: int) -> View:
        """Return the view that the model's own sentence is about: the glimpse that shows the answer best."""
        if not reading.people and len(reading.prepared.shown.frames):
            return reading.whole
        best = int(np.nanargmax(shares[:, leading]))
        return reading.glimpses[best].view(reading.channels, reading.language) or []

    def _provenance(self, reading: Reading, began: float) -> dict[str, Any]:
        processor, clip, labels = self.engine.processor, reading.prepared.clip, reading.labels
        language = reading.language
        asked = processor.chat_template + label_question(labels, language) + QUESTIONS["describe"][language]
        trained = self.engine.training_facts().get("label_sets")
        hearing = processor.hearing
        facts = {
            **self._model,
            "label_set": labels.name,
            "label_set_trained": None if trained is None else labels.name in trained,
            "prompt": hashlib.sha256(asked.encode()).hexdigest()[:16],
            "channels": list(reading.channels),
            "frames": len(clip.times),
            "fps": None if clip.fps is None else round(clip.fps, 3),
            "seconds": [round(float(clip.times[0]), 3), round(float(clip.times[-1]), 3)] if len(clip.times) else [],
            "heard_seconds": 0.0 if clip.wave is None else round(len(clip.wave) / clip.sample_rate, 3),
            "size": list(clip.size),
            "clip_settings": processor.settings.model_dump(),
            "hearing_settings": None if hearing is None else hearing.model_dump(),
            "warnings": list(clip.warnings),
            "took": round(time.perf_counter() - began, 3),
        }
        if facts["label_set_trained"] is False:
            facts["warnings"].append(
                f"the model was never trained for the label set {labels.name!r}; its distribution is a guess"
            )
        for channel in reading.channels:
            if channel not in self.trained_channels:
                facts["warnings"].append(
                    f"the model was never trained for the channel {channel!r}; what it makes of it is a guess"
                )
        if clip.wave is not None and self.hears and "sound" not in reading.channels:
            facts["warnings"].append("the sound is silent; it counts as absent")
        return facts

    @cached_property
    def _model(self) -> dict[str, Any]:
        return self.engine.provenance()
