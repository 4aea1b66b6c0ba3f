"""`Analyzer` turns a path into an `EmotionReport`, using media, faces, engine, reading and report.

Users have it as `EmotionQwen` of `notebook.model`, which adds folders, pictures in memory, and reports with methods.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

from emotion_qwen.analysis.clip_facts import facts_of
from emotion_qwen.analysis.facts import facts_text
from emotion_qwen.analysis.features import ClipFeatures, clip_features
from emotion_qwen.analysis.reader import ViewReader, label_reader
from emotion_qwen.analysis.reading import ClipReading
from emotion_qwen.analysis.reasoning import Reasoning, difference
from emotion_qwen.analysis.report import (
    ABSTAIN_BELOW,
    Conclusion,
    Outline,
    conclude,
    cue_views,
    doubt,
    explain,
    find_cues,
    influence,
    open_words,
    other_language,
    outline,
    valence_arousal,
)
from emotion_qwen.analysis.writing import (
    ANSWER_TOKENS,
    Written,
    asked_view,
    language_of,
    reads_facts,
    trained_about,
    write,
)
from emotion_qwen.engine.engine import Engine, View
from emotion_qwen.errors import MediaError, SettingsError, unknown_choice
from emotion_qwen.faces import CenterFaceDetector, FaceDetector
from emotion_qwen.media.clip import Sources
from emotion_qwen.media.speech import Recognizer
from emotion_qwen.prepare import ClipBudget, PreparedClip, prepare_file
from emotion_qwen.questions import LANGUAGES, describe_question, label_question
from emotion_qwen.records import ABOUT, CHANNELS, EVOKED, PEOPLE, EmotionReport
from emotion_qwen.strings import PHRASES, SENTENCES, file_warning, in_language
from emotion_qwen.taxonomy import OWN, chosen_labels


@dataclass(frozen=True, eq=False)
class Analysis:
    """The result for one clip: the report, and features for training another classifier."""

    report: EmotionReport
    features: ClipFeatures


class Analyzer:
    """Analyzes what people show in a clip, picture or sound, and answers free questions about it.

    Args:
        engine: a loaded model.
        detector: detects faces; CenterFace by default.
    """

    def __init__(self, engine: Engine, detector: FaceDetector | None = None) -> None:
        self.engine = engine
        self.detector = detector or CenterFaceDetector()

    @classmethod
    def load(cls, model: str | Path | None = None, device: str = "auto", dtype: str = "auto") -> Self:
        """Load a model by its name.

        Args:
            model: a model or adapter folder, or a hub name; None loads the shipped nano.
            device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1" or "mps".
            dtype: "auto" (float32 on a CPU, bfloat16 elsewhere), "float32", "bfloat16" or "float16".

        Raises:
            CheckpointError: there is no model of that name, or it does not fit.
            SettingsError: the device or dtype is not available.
        """
        return cls(Engine.load(model, device, dtype))

    def analyze(
        self,
        path: str | Path,
        labels: str | Sequence[str] = "dfew7",
        language: str = "en",
        *,
        start: float | None = None,
        end: float | None = None,
        sources: Sources | None = None,
        context: str = "",
        abstain_below: float = ABSTAIN_BELOW,
        reasoning: Reasoning | str | None = None,
        about: str = PEOPLE,
    ) -> EmotionReport:
        """Analyze one clip, picture or sound.

        A stretch in which nobody is seen, no voice is heard and nothing is said has no answer and becomes a gap in the
        report. If the whole clip is such a stretch, the label is None.

        Args:
            path: a video, a picture, or a sound file for a model with audio input.
            labels: name of a label set in `taxonomy.LABEL_SETS`, or your own labels, which no model was trained on; see
                `taxonomy.chosen_labels`.
            language: "en" or "zh", for questions and sentences.
            start: seconds from which the clip is read; None starts at its beginning. `end` likewise, up to its end.
            sources: sound and words to read; None uses the clip's own, if the model was trained for them.
            context: what is known about the situation, as text.
            abstain_below: confidence below which the report abstains.
            reasoning: makes the model reason in a given form ("steps"); None requests no reasoning.
            about: "people" asks what people show; "whole" also answers from whole frames and all sound where nobody is
                found; "evoked" asks what the picture as a whole evokes in viewers.

        Raises:
            MediaError: a file cannot be read, or contains nothing to analyze.
            SettingsError: unknown label set, language, form of reasoning or `about`; or `reasoning` together with
                "evoked".
        """
        prepared = self.prepare(path, start=start, end=end, sources=sources)
        return self.analyze_prepared(
            prepared, labels, language, context=context, abstain_below=abstain_below, reasoning=reasoning, about=about
        )

    def analyze_prepared(
        self, prepared: PreparedClip, labels: str | Sequence[str] = "dfew7", language: str = "en", **options: Any
    ) -> EmotionReport:
        """Analyze one prepared clip; `options` are those of `read`, arguments and errors those of `analyze`."""
        (result,) = self.read(self.reader(labels, language, about=options.get("about", PEOPLE)), [prepared], labels,
                              language, **options)  # fmt: skip
        if isinstance(result, MediaError):
            raise result
        return result.report

    def reader(self, labels: str | Sequence[str], language: str, about: str = PEOPLE) -> ViewReader:
        """Return a reader of this model for `read`.

        Raises:
            SettingsError: unknown label set, language or `about`.
        """
        if language not in LANGUAGES:
            raise SettingsError(unknown_choice("language", language, LANGUAGES))
        if about not in ABOUT:
            raise SettingsError(unknown_choice("about", about, ABOUT))
        return label_reader(self.engine, chosen_labels(labels), language, about)

    def prepare(
        self, path: str | Path, *, start: float | None = None, end: float | None = None, sources: Sources | None = None
    ) -> PreparedClip:
        """Decode a clip and detect its faces: the part of `analyze` that needs no model. Arguments: see `analyze`."""
        sources = sources or self.sources()
        return prepare_file(path, self.detector, self.budget, start=start, end=end, sources=sources)

    @cached_property
    def budget(self) -> ClipBudget:
        """The settings of the model that are needed to prepare a clip."""
        return ClipBudget.of(self.engine.processor)

    def read(
        self,
        reader: ViewReader,
        clips: Sequence[PreparedClip],
        labels: str | Sequence[str],
        language: str,
        *,
        context: str = "",
        abstain_below: float = ABSTAIN_BELOW,
        reasoning: Reasoning | str | None = None,
        about: str = PEOPLE,
    ) -> list[Analysis | MediaError]:
        """Analyze prepared clips in shared batches.

        The results do not depend on which clips are analyzed together, except for rounding (about 1e-6 of a share),
        because batches of different sizes add numbers in a different order.

        Args:
            reader: from the method `reader`, for the same label set, language and `about`. Reuse it for later calls: it
                caches the scores of blank pictures.
            clips: N clips, from `prepare`.
            labels: as in `analyze`.
            language: "en" or "zh".
            context: as in `analyze`; `abstain_below`, `reasoning` and `about` likewise.

        Returns:
            Per clip the analysis, or the error if it contains nothing to analyze.
        """
        readings = [ClipReading(reader, clip, chosen_labels(labels), language, context, about) for clip in clips]
        return self.tell(reader, readings, abstain_below=abstain_below, reasoning=reasoning)

    def conclude(self, reader: ViewReader, readings: Sequence[ClipReading]) -> list[Conclusion | MediaError]:
        """Return the conclusions that `tell` reaches, without cues, sentence and reasoning.

        Returns:
            Per reading of this reader the conclusion, or the error if the clip contains nothing to analyze.
        """
        able = [reading for reading in readings if not reading.is_empty]
        reader.answers([view for reading in able for view in reading.needed_views(reading.channels)])
        results = [reading.nothing() if reading.is_empty else conclude(reading) for reading in readings]
        reader.forget()
        return results

    def tell(
        self,
        reader: ViewReader,
        readings: Sequence[ClipReading],
        *,
        abstain_below: float = ABSTAIN_BELOW,
        reasoning: Reasoning | str | None = None,
    ) -> list[Analysis | MediaError]:
        """Do the work of `read` for the readings of one reader; its cached answers are reused."""
        began = time.perf_counter()
        thinking = Reasoning(reasoning) if isinstance(reasoning, str) else reasoning
        if thinking is not None and any(reading.about == EVOKED for reading in readings):
            raise SettingsError("reasoning is about a person, --evoked about the picture; leave one of them out")
        able = [reading for reading in readings if not reading.is_empty]
        reader.answers([view for reading in able for view in reading.views()])
        outlines = [outline(reading) for reading in able]
        reader.answers([v for reading, facts in zip(able, outlines, strict=True) for v in cue_views(reading, facts)])
        written = write(reader, able, outlines, thinking)
        analyses = iter(
            [
                Analysis(self._report(*parts, abstain_below), clip_features(parts[0]))
                for parts in zip(able, outlines, written, strict=True)
            ]
        )
        results = [reading.nothing() if reading.is_empty else next(analyses) for reading in readings]
        reader.forget()
        took = (time.perf_counter() - began) / max(len(readings), 1)
        for result, reading in zip(results, readings, strict=True):
            if isinstance(result, Analysis):
                result.report.provenance["took"] = round(took + reading.prepared.took, 3)
        return results

    def features(self, reading: ClipReading) -> ClipFeatures:
        """Return the features of a clip as `tell` does, without the cost of a report.

        Raises:
            MediaError: the clip contains nothing to analyze.
        """
        if reading.is_empty:
            raise reading.nothing()
        features = clip_features(reading)
        reading.reader.forget()
        return features

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
        """Answer a free question about a clip, picture or sound with generated text.

        The model gets the input that `analyze` uses: the person seen most, or the whole clip if nobody is seen.

        Args:
            path: as in `analyze`; `start`, `end`, `sources` and `context` likewise.
            question: in English or Chinese.

        Raises:
            MediaError: the file cannot be read, or contains nothing that can be seen or heard.
        """
        return self.answer(self.prepare(path, start=start, end=end, sources=sources), question, context)

    def answer(self, prepared: PreparedClip, question: str, context: str = "") -> str:
        """Answer a free question about a prepared clip as `ask` does.

        Raises:
            MediaError: the clip contains nothing that can be seen or heard.
        """
        view = self.asked_view(prepared, context)
        facts = self.facts(prepared, language_of(question), context) if reads_facts(self.engine) else ""
        return self.engine.write([view], question, ANSWER_TOKENS, system=facts)[0]

    def facts(self, prepared: PreparedClip, language: str, context: str = "") -> str:
        """Return what was measured in a clip as text, in "en" or "zh"; see `analysis.facts`."""
        labels = "dfew7"
        reading = ClipReading(self.reader(labels, language), prepared, chosen_labels(labels), language, context)
        return "" if reading.is_empty else facts_text(facts_of(reading, outline(reading)))

    def asked_view(self, prepared: PreparedClip, context: str = "") -> View:
        """Return the message parts with which `ask` asks a question about a clip.

        Raises:
            MediaError: the clip contains nothing that can be seen or heard.
        """
        return asked_view(prepared, context, hears=self.hears)

    @property
    def hears(self) -> bool:
        """Whether the model has audio input."""
        return self.engine.processor.hearing is not None

    def sources(
        self,
        audio: Path | None = None,
        audio_track: int | None = None,
        transcript: Path | None = None,
        subtitle_track: int | None = None,
        transcribe: Path | None = None,
        encoding: str | None = None,
    ) -> Sources:
        """Return what to read besides pictures: the named files, else the clip's own if the model was trained for it.

        Raises:
            SettingsError: a sound is named for a model without audio input, or words are both named and to be
                recognised.
            MissingPackage, CheckpointError: from `Recognizer.load`, for the folder `transcribe`.
        """
        if transcribe is not None and (transcript is not None or subtitle_track is not None):
            raise SettingsError("--transcribe recognises the words; leave --transcript and --subtitle-track out")
        if not (self.hears or transcribe) and (audio is not None or audio_track is not None):
            raise SettingsError(f"model {self.engine.name!r} has no audio input; leave --audio and --audio-track out")
        trained = self.trained_channels
        words = "words" in trained or transcript is not None or subtitle_track is not None
        recognizer = None if transcribe is None else Recognizer.load(transcribe, self.engine.device.type)
        return Sources(self.hears, words, audio, audio_track, transcript, subtitle_track, recognizer, encoding)

    @property
    def trained_channels(self) -> tuple[str, ...]:
        """The channels that the model was trained for, by its training facts; all of them if it has none."""
        return tuple(self.engine.training_facts().get("channels", CHANNELS))

    def _report(self, reading: ClipReading, facts: Outline, written: Written, threshold: float) -> EmotionReport:
        conclusion, language = facts.conclusion, reading.language
        influences = influence(reading) if conclusion.label is not None else ()
        return EmotionReport(
            source=reading.prepared.clip.source,
            label=conclusion.label,
            distribution=conclusion.distribution,
            people=facts.people,
            gate=conclusion.gate,
            summary=written.text,
            language=language,
            valence_arousal=valence_arousal(conclusion.distribution) if conclusion.distribution else None,
            timeline=facts.timeline,
            episodes=facts.episodes,
            gaps=facts.gaps,
            about=reading.about,
            cues=find_cues(reading, facts),
            words=open_words([written.text], language),
            rationale=explain(reading, facts, influences, written.sentences),
            channels=influences,
            uncertainty=doubt(conclusion, reading.calibrated, threshold, language, unread=written.unread),
            utterances=reading.prepared.clip.utterances,
            context=reading.context.strip(),
            reasoning=written.steps,
            provenance=self._provenance(reading, written, conclusion.label),
        )

    def made_by(self, labels: str, language: str, about: str = PEOPLE) -> dict[str, Any]:
        """Return what determines every answer: model, label set, prompt and budgets; part of each provenance."""
        processor, chosen = self.engine.processor, chosen_labels(labels)
        prompt = processor.chat_template + label_question(chosen, language, about) + describe_question(language, about)
        return {
            **self._model,
            "label_set": chosen.name,
            "prompt": hashlib.sha256(prompt.encode()).hexdigest()[:16],
            "clip_settings": processor.settings.model_dump(),
            "hearing_settings": processor.hearing and processor.hearing.model_dump(exclude_none=True),
        }

    def _provenance(self, reading: ClipReading, written: Written, label: str | None) -> dict[str, Any]:
        clip, labels = reading.prepared.clip, reading.labels
        trained, heard = self.engine.training_facts().get("label_sets"), clip.wave if self.hears else None
        facts = {
            **self.made_by(labels.name, reading.language, reading.about),
            "label_set_trained": False if labels.source == OWN else None if trained is None else labels.name in trained,
            "channels": list(reading.channels),
            "frames": len(clip.times),
            "fps": None if clip.fps is None else round(clip.fps, 3),
            "seconds": [round(float(time), 3) for time in clip.times[[0, -1]]] if len(clip.times) else [],
            "words_from": clip.words_from,
            "heard_seconds": 0.0 if heard is None else round(len(heard) / clip.sample_rate, 3),
            "size": list(clip.size),
            "warnings": [file_warning(text, reading.language) for text in clip.warnings],
            "took": 0.0,  # seconds, set when everything is done
        }
        say, phrases = in_language(SENTENCES, reading.language), in_language(PHRASES, reading.language)
        if facts["label_set_trained"] is False:
            key = "untrained_own" if labels.source == OWN else "untrained_set"
            facts["warnings"].append(say[key].format(name=labels.name))
        if not trained_about(self.engine, reading.about):
            facts["warnings"].append(say["untrained_evoked"])
        unknown = [channel for channel in reading.channels if channel not in self.trained_channels]
        facts["warnings"] += [say["untrained_channel"].format(name=phrases[channel]) for channel in unknown]
        facts["warnings"] += other_language(clip.utterances, reading.language)
        if heard is not None and "sound" not in reading.channels:
            facts["warnings"].append(say["no_voice"])
        if written.reasoning is not None and label is not None:
            begun = () if reads_facts(self.engine) else written.steps
            facts["reasoning"] = written.reasoning.provenance(reading.language, begun)
            differs = difference(written.steps, label, labels, reading.language)
            facts["warnings"] += [differs] if differs else []
            facts["warnings"] += [say["doubted_reasoning"].format(doubt=doubt) for doubt in written.doubts]
        return facts

    @cached_property
    def _model(self) -> dict[str, Any]:
        return self.engine.provenance()
