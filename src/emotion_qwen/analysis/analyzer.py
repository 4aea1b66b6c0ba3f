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
from typing import Any, Self, Unpack

from emotion_qwen.analysis.clip_facts import facts_of
from emotion_qwen.analysis.features import ClipFeatures, clip_features
from emotion_qwen.analysis.measured_answers import measured_answer
from emotion_qwen.analysis.question_reading import can_be_measured
from emotion_qwen.analysis.reader import ViewReader, label_reader
from emotion_qwen.analysis.reading import ClipReading
from emotion_qwen.analysis.reasoning import difference
from emotion_qwen.analysis.report import (
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
from emotion_qwen.analysis.request import PLAIN, AnalysisOptions, Request
from emotion_qwen.analysis.writing import (
    ANSWER_TOKENS,
    Written,
    asked_view,
    language_of,
    reads_facts,
    trained_about,
    write,
)
from emotion_qwen.client import ENDPOINT
from emotion_qwen.engine.endpoint import EndpointEngine
from emotion_qwen.engine.engine import Engine, View
from emotion_qwen.errors import MediaError, SettingsError
from emotion_qwen.faces import CenterFaceDetector, FaceDetector
from emotion_qwen.media.clip import Sources
from emotion_qwen.media.file_warnings import file_warning
from emotion_qwen.media.speech import Recognizer
from emotion_qwen.prepare import ClipBudget, PreparedClip, prepare_file
from emotion_qwen.questions import describe_question, label_question, role_text
from emotion_qwen.records import CHANNELS, EmotionReport
from emotion_qwen.strings import PHRASES, SENTENCES, in_language
from emotion_qwen.taxonomy import OWN
from emotion_qwen.verify.facts import ClipFacts, facts_text

SPARSE = 0.9
"""Smallest number of analyzed frames per window of the timeline that needs no warning."""


@dataclass(frozen=True, eq=False)
class Analysis:
    """The result for one clip: the report, and features for training another classifier if the model gives them."""

    report: EmotionReport
    features: ClipFeatures | None


@dataclass(frozen=True)
class FreeAnswer:
    """An answer to a free question, and whether it was composed from measurements instead of generated."""

    text: str
    measured: bool = False


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
            model: a model or adapter folder, a hub name, or "openai:NAME@http://host/v1" for a model behind a service;
                None loads the shipped nano.
            device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1" or "mps".
            dtype: "auto" (float32 on a CPU, bfloat16 elsewhere), "float32", "bfloat16" or "float16".

        Raises:
            CheckpointError: there is no model of that name, or it does not fit.
            SettingsError: the device or dtype is not available, or the address of a service is invalid.
            CallError: there is no service at the address.
        """
        if str(model).startswith(ENDPOINT):
            return cls(EndpointEngine.at(str(model)))
        return cls(Engine.load(model, device, dtype))

    def analyze(
        self,
        path: str | Path,
        labels: str = "dfew7",
        language: str = "en",
        **options: Unpack[AnalysisOptions],
    ) -> EmotionReport:
        """Analyze one clip, picture or sound.

        A period in which nobody is seen, no voice is heard and nothing is said has no answer and becomes a gap in the
        report. If the whole clip is such a period, the label is None.

        Args:
            path: a video, a picture, or a sound file for a model with audio input.
            labels: name of a label set in `taxonomy.LABEL_SETS`, or your own labels, which no model was trained on; see
                `taxonomy.chosen_labels`.
            language: "en" or "zh", for questions and sentences.
            options: see `AnalysisOptions`.

        Raises:
            MediaError: a file cannot be read, or contains nothing to analyze.
            SettingsError: an option does not fit; see `Request`.
        """
        request = Request(labels, language, **options)
        return self.analyze_prepared(self.prepare(path, request), request)

    def analyze_prepared(self, prepared: PreparedClip, request: Request) -> EmotionReport:
        """Analyze one prepared clip; errors are those of `analyze`."""
        (result,) = self.read(self.reader(request), [prepared], request)
        if isinstance(result, MediaError):
            raise result
        return result.report

    def reader(self, request: Request) -> ViewReader:
        """Return a reader of this model for `read`.

        Raises:
            SettingsError: the examples of the request do not fit; see `ExampleIndex.check`.
        """
        if request.examples is not None:
            self.check_features("examples")
            request.examples.check(request.label_set, self.made_by(request))
        return label_reader(self.engine, request.label_set, request.language, request.about)

    def check_features(self, option: str) -> None:
        """Refuse an option that needs features of clips.

        Raises:
            SettingsError: the model is behind a service, which gives none.
        """
        if not self.engine.has_features:
            raise SettingsError(f"{option}: {self.engine.name} gives no features; load a model on this machine")

    def prepare(self, path: str | Path, request: Request = PLAIN) -> PreparedClip:
        """Decode a clip and detect its faces: the part of `analyze` that needs no model. Errors: see `read_clip`."""
        return prepare_file(
            path, self.detector, self.budget.at(request.fps), start=request.start, end=request.end,
            sources=request.sources or self.sources(),
        )  # fmt: skip

    @cached_property
    def budget(self) -> ClipBudget:
        """The settings of the model that are needed to prepare a clip."""
        return ClipBudget.of(self.engine.processor)

    def read(self, reader: ViewReader, clips: Sequence[PreparedClip], request: Request) -> list[Analysis | MediaError]:
        """Analyze prepared clips in shared batches.

        The results do not depend on which clips are analyzed together, except for rounding (about 1e-6 of a share),
        because batches of different sizes add numbers in a different order.

        Args:
            reader: from the method `reader`, for a request with the same labels, language and `about`. Reuse it for
                later calls: it caches the scores of blank pictures.
            clips: N clips, from `prepare`.
            request: what to ask about all of them.

        Returns:
            Per clip the analysis, or the error if it contains nothing to analyze.
        """
        return self.tell(reader, [ClipReading(reader, clip, request) for clip in clips])

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

    def tell(self, reader: ViewReader, readings: Sequence[ClipReading]) -> list[Analysis | MediaError]:
        """Do the work of `read` for the readings of one reader; its cached answers are reused."""
        began = time.perf_counter()
        able = [reading for reading in readings if not reading.is_empty]
        reader.answers([view for reading in able for view in reading.views()])
        for reading in able:
            if reading.request.examples is not None and reading.channels:
                reading.neighbours = reading.request.examples.nearest(clip_features(reading).pooled)
        outlines = [outline(reading) for reading in able]
        reader.answers([v for reading, facts in zip(able, outlines, strict=True) for v in cue_views(reading, facts)])
        written = write(reader, able, outlines)
        analyses = iter(
            [
                Analysis(self._report(*parts), clip_features(parts[0]) if self.engine.has_features else None)
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
            SettingsError: the model gives no features.
        """
        self.check_features("features")
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
        speak_as: tuple[float, float] | None = None,
        **options: Unpack[AnalysisOptions],
    ) -> str:
        """Answer a free question about a clip, picture or sound.

        Who shows an emotion, when, what is shown at a time and how it changes is answered from the measurements (see
        `measured_answers`), everything else with generated text. The model gets the input that `analyze` uses: the
        person seen most, or the whole clip if nobody is seen.

        Args:
            path: as in `analyze`.
            question: in English or Chinese.
            speak_as: valence and arousal, -1 to 1, of the feeling with which to answer; None for the usual way.
            options: as in `analyze`; `start`, `end`, `fps`, `sources` and `context` are used.

        Raises:
            MediaError: the file cannot be read, or contains nothing that can be seen or heard.
        """
        request = Request(**options)
        return self.reply(self.prepare(path, request), question, request.context, speak_as).text

    def reply(
        self, prepared: PreparedClip, question: str, context: str = "", speak_as: tuple[float, float] | None = None
    ) -> FreeAnswer:
        """Answer a free question about a prepared clip as `ask` does, and tell whether the answer was measured."""
        if speak_as is not None:
            return FreeAnswer(self.answer(prepared, question, context, role_text(*speak_as, language_of(question))))
        measured = self.measured_answer(prepared, question, context)
        return FreeAnswer(measured, True) if measured else FreeAnswer(self.answer(prepared, question, context))

    def measured_answer(self, prepared: PreparedClip, question: str, context: str = "") -> str:
        """Answer a question about a prepared clip from its measurements alone; "" if they do not have the answer."""
        language = language_of(question)
        if not can_be_measured(question, language):
            return ""
        request = Request(language=language, context=context)
        facts = self._facts(prepared, request)
        return "" if facts is None else measured_answer(question, facts, request.label_set.labels) or ""

    def answer(self, prepared: PreparedClip, question: str, context: str = "", role: str = "") -> str:
        """Answer a free question about a prepared clip as `ask` does; `role` is the text that asks for a feeling.

        Raises:
            MediaError: the clip contains nothing that can be seen or heard.
        """
        view = self.asked_view(prepared, context)
        facts = self.facts(prepared, language_of(question), context) if reads_facts(self.engine) else ""
        system = "\n".join(filter(None, (role, facts)))
        return self.engine.write([view], question, ANSWER_TOKENS, system=system)[0]

    def facts(self, prepared: PreparedClip, language: str, context: str = "") -> str:
        """Return the measurements of a clip as text, in "en" or "zh"; see `verify.facts`."""
        facts = self._facts(prepared, Request(language=language, context=context))
        return "" if facts is None else facts_text(facts)

    def _facts(self, prepared: PreparedClip, request: Request) -> ClipFacts | None:
        """Return the measurements of a clip; None if nobody is seen or heard."""
        reading = ClipReading(self.reader(request), prepared, request)
        return None if reading.is_empty else facts_of(reading, outline(reading))

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

    def _report(self, reading: ClipReading, facts: Outline, written: Written) -> EmotionReport:
        conclusion, language, threshold = facts.conclusion, reading.language, reading.request.abstain_below
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
            verification=written.verification,
            examples=reading.neighbours.examples if reading.neighbours else (),
            provenance=self._provenance(reading, written, conclusion.label),
        )

    def made_by(self, request: Request) -> dict[str, Any]:
        """Return the settings that determine an answer: model, label set, prompt, budgets; part of each provenance."""
        processor, labels, language, about = self.engine.processor, request.label_set, request.language, request.about
        prompt = processor.chat_template + label_question(labels, language, about) + describe_question(language, about)
        return {
            **self._model,
            "label_set": labels.name,
            "prompt": hashlib.sha256(prompt.encode()).hexdigest()[:16],
            "clip_settings": processor.settings.model_dump(),
            "hearing_settings": processor.hearing and processor.hearing.model_dump(exclude_none=True),
        }

    def _provenance(self, reading: ClipReading, written: Written, label: str | None) -> dict[str, Any]:
        clip, labels = reading.prepared.clip, reading.labels
        trained, heard = self.engine.training_facts().get("label_sets"), clip.wave if self.hears else None
        facts = {
            **self.made_by(reading.request),
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
        if (way := self.engine.shares_from()) is not None:  # labels that begin alike may have changed it in this run
            facts["shares_from"] = way
        if reading.request.examples is not None:
            facts["examples"] = reading.request.examples.summary
        say, phrases = in_language(SENTENCES, reading.language), in_language(PHRASES, reading.language)
        if facts["label_set_trained"] is False:
            key = "untrained_own" if labels.source == OWN else "untrained_set"
            facts["warnings"].append(say[key].format(name=labels.name))
        if not trained_about(self.engine, reading.about):
            facts["warnings"].append(say["untrained_evoked"])
        unknown = [channel for channel in reading.channels if channel not in self.trained_channels]
        facts["warnings"] += [say["untrained_channel"].format(name=phrases[channel]) for channel in unknown]
        facts["warnings"] += other_language(clip.utterances, reading.language)
        if clip.fps is not None and clip.fps * reading.request.window < SPARSE:
            facts["warnings"].append(say["sparse"].format(seconds=1 / clip.fps, count=len(clip.times)))
        if heard is not None and "sound" not in reading.channels:
            facts["warnings"].append(say["no_voice"])
        if written.reasoning is not None and label is not None:
            begun = () if reads_facts(self.engine) else written.steps
            facts["reasoning"] = written.reasoning.provenance(reading.language, begun)
            differs = difference(written.steps, label, labels, reading.language)
            facts["warnings"] += [differs] if differs else []
            form, known = written.reasoning.form, self.engine.training_facts()
            if known and form not in known.get("forms", ()):
                facts["warnings"].append(say["untrained_form"].format(form=form))
            facts["warnings"] += [say["doubted_reasoning"].format(doubt=doubt) for doubt in written.doubts]
        return facts

    @cached_property
    def _model(self) -> dict[str, Any]:
        return self.engine.provenance()
