"""Reports and features for requests: decode, detect people, stream windows, compose."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import aclosing
from dataclasses import fields
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from starlette.datastructures import UploadFile

from emotion_qwen.analysis.presence import whole_span
from emotion_qwen.analysis.reading import ClipReading
from emotion_qwen.analysis.report import answered_spans, named, window_rows
from emotion_qwen.analysis.request import Request
from emotion_qwen.errors import EmotionQwenError, MediaError
from emotion_qwen.records import Clip, EmotionReport
from emotion_qwen.serving.failures import ApiError, as_api_error
from emotion_qwen.serving.http.protocol import AnalyzeOptions, AudioPart, FeaturesRequest, ImagePart, TextPart
from emotion_qwen.serving.http.responses import Features, Gate
from emotion_qwen.serving.intake.media_input import to_file
from emotion_qwen.serving.service import Service
from emotion_qwen.taxonomy import chosen_labels, valence_arousal
from emotion_qwen.views.html import EMBED_LIMIT, compose_page
from emotion_qwen.views.render import as_json

Found = TypeVar("Found")
_CHUNK = 2**20
TRANSCRIPT_BYTES = 2**20
"""Largest size of an uploaded transcript."""
PAGE_SHARE = 0.05  # share of the request time reserved for the page, if the conversion of its medium is slow


class ReportJob:
    """One request for a report or features.

    Args:
        service: the server.
        options: of the request.

    Raises:
        SettingsError: the label set is unknown.
    """

    def __init__(self, service: Service, options: AnalyzeOptions) -> None:
        chosen_labels(options.labels)  # unknown labels are refused before anything is written or decoded
        self.service, self.options = service, options
        self.folder = service.decoders.new_folder()
        self.path: Path | None = None
        self.transcript: Path | None = None
        self.name = "medium"
        self.deadline = service.deadline()

    @property
    def request(self) -> Request:
        """The question for the analysis."""
        return Request(**self.options.model_dump(include={field.name for field in fields(Request)}))

    async def take_upload(self, file: UploadFile, transcript: UploadFile | None = None) -> None:
        """Write an uploaded file, and its words if there are any, into the request's folder.

        Raises:
            ApiError: a file is empty or too large.
        """
        self.name, self.path = clean_name(file.filename), self.folder / "upload"
        await self._store(file, self.path, self.service.settings.media_bytes, "file")
        if transcript is not None:
            self.transcript = self.folder / f"words{Path(clean_name(transcript.filename)).suffix}"
            await self._store(transcript, self.transcript, TRANSCRIPT_BYTES, "transcript")

    async def _store(self, upload: UploadFile, path: Path, limit: int, field: str) -> None:
        total = 0
        with path.open("wb") as file:
            while chunk := await upload.read(_CHUNK):
                total += len(chunk)
                if total > limit:
                    raise ApiError(
                        413, f"the {field} has more than {limit:,} bytes; cut it", "media_too_large", param=field
                    )
                file.write(chunk)
        if not total:
            raise ApiError(400, f"the {field} is empty; send its bytes", "invalid_media", param=field)

    async def take_parts(self, request: FeaturesRequest) -> None:
        """Fetch the medium of a JSON request; errors are those of `to_file`."""
        self.options = self.options.model_copy(update={"context": request.joined_context})
        part = next(part for part in request.content if not isinstance(part, TextPart))
        if isinstance(part, AudioPart):
            url = f"data:;base64,{part.input_audio.data}"
        else:
            url = (part.image_url if isinstance(part, ImagePart) else part.video_url).url
        self.path = await to_file(url, self.folder, self.service.settings, self.name)

    async def clip(self) -> Clip:
        """Decode the medium; errors are those of `Decoders.decode`."""
        assert self.path is not None
        analyzer = self.service.analyzer
        began = time.perf_counter()
        words = "words" in analyzer.trained_channels
        clip = await self.service.decoders.decode(
            self.path, self.name, analyzer.budget.at(self.options.fps).settings, sound=analyzer.hears, words=words,
            transcript=self.transcript, start=self.options.start, end=self.options.end,
        )  # fmt: skip
        self.service.metrics.decode_seconds.observe(time.perf_counter() - began)
        return clip

    async def windows(self, reading: ClipReading) -> AsyncGenerator[dict[str, Any]]:
        """Yield the windows of the timeline as soon as they are complete."""
        steps = finished_windows(reading)
        while (windows := await self._before_deadline(self.service.in_thread(lambda: next(steps, None)))) is not None:
            for window in windows:
                yield window

    async def read(self, clip: Clip) -> ClipReading:
        """Detect people and prepare the reading of the clip.

        Raises:
            MediaError: nothing in the clip can be analyzed.
        """
        options, analyzer = self.options, self.service.analyzer
        prepared = await self.service.prepare(clip, options.fps)

        def begin() -> ClipReading:
            return ClipReading(analyzer.reader(self.request), prepared, self.request)

        return await self.service.in_thread(begin)

    async def report(self, reading: ClipReading) -> EmotionReport:
        """Compose the report; errors are those of `Analyzer.analyze`."""
        analyzer = self.service.analyzer
        (outcome,) = await self.service.in_thread(lambda: analyzer.tell(reading.reader, [reading]))
        if isinstance(outcome, MediaError):
            raise outcome
        return outcome.report

    async def features(self, reading: ClipReading) -> Features:
        """Compute the features; errors are those of `Analyzer.features`."""
        analyzer = self.service.analyzer
        channels = list(reading.channels)  # of what was read
        features = await self.service.in_thread(lambda: analyzer.features(reading))
        clip = reading.prepared.clip
        provenance = {
            **analyzer.made_by(reading.request), "channels": channels,
            "frames": len(clip.times),
            "seconds": list(whole_span(clip)), "warnings": list(clip.warnings),
        }  # fmt: skip
        general, emotion = _numbers(features.gate) or (0.0, 0.0)
        actions = _numbers(features.actions)
        measured = {} if actions is None else {"actions": dict(zip(provenance["facial_actions"], actions, strict=True))}
        return Features(
            model=self.service.name, source=clip.source, visual=_numbers(features.visual),
            audio=_numbers(features.audio), pooled=_numbers(features.pooled) or [],
            gate=Gate(general=general, emotion=emotion), provenance=provenance,
            object="emotion.features", **measured,
        )  # fmt: skip

    async def whole(self, wanted: Callable[[ClipReading], Awaitable[Found]], clip: Clip | None = None) -> Found:
        """Decode, detect people, and compose the result, within the time limit of the request.

        Args:
            wanted: `report` or `features` of this job.
            clip: the medium, if it is decoded already.

        Raises:
            ApiError: too many requests are waiting, or the time is over.
            EmotionQwenError: as the steps raise it.
        """
        async with self.service.analysis(self.deadline):
            return await self._before_deadline(self._steps(wanted, clip))

    async def _steps(self, wanted: Callable[[ClipReading], Awaitable[Found]], clip: Clip | None) -> Found:
        return await wanted(await self.read(clip or await self.clip()))

    async def _before_deadline(self, work: Awaitable[Found]) -> Found:
        return await self.service.before_deadline(work, self.deadline)

    async def page(self, report: EmotionReport) -> dict[str, str]:
        """Compose the page of the report, without its medium if that cannot be converted in time.

        Returns:
            "html", and "missing": why the medium is missing, or "".
        """
        assert self.path is not None
        shown, sound, missing = None, None, ""
        try:
            until = self.deadline - PAGE_SHARE * self.service.settings.request_seconds
            playable = self.service.decoders.playable(self.path, self.name, EMBED_LIMIT)
            shown, sound = await self.service.before_deadline(playable, until)
        except EmotionQwenError as error:  # a report without its medium is better than none
            missing = str(as_api_error(error))
        still = report.provenance["seconds"] == [0.0, 0.0]
        html = await asyncio.to_thread(compose_page, report, shown, None if still else sound)
        return {"html": html, "missing": missing}

    async def events(self, with_page: bool) -> AsyncGenerator[str]:
        """Yield windows, the report and its page as server-sent events; after the first one errors are events, too.

        Raises:
            ApiError: before the first event: too many requests wait, the time is over, or the medium is refused.
        """
        # The time limit applies to every step: `asyncio.timeout` works in one task only, and the first event is
        # requested by another task than the rest.
        async with self.service.analysis(self.deadline):
            clip = await self._before_deadline(self.clip())
            facts = {"frames": len(clip.times), "seconds": list(whole_span(clip)), "sound": clip.wave is not None}
            yield event("clip", json.dumps(facts))
            try:
                reading = await self._before_deadline(self.read(clip))
                async with aclosing(self.windows(reading)) as windows:
                    async for window in windows:
                        yield event("window", json.dumps(window, ensure_ascii=False))
                report = await self._before_deadline(self.report(reading))
                yield event("report", as_json(report))
                if with_page:
                    yield event("page", json.dumps(await self._before_deadline(self.page(report))))
            except EmotionQwenError as error:
                yield event("error", json.dumps(as_api_error(error).body, ensure_ascii=False))

    def close(self) -> None:
        """Delete the request's files."""
        shutil.rmtree(self.folder, ignore_errors=True)


def event(name: str, data: str) -> str:
    """Return one server-sent event."""
    return f"event: {name}\ndata: {data}\n\n"


def finished_windows(reading: ClipReading) -> Iterator[list[dict[str, Any]]]:
    """Score a clip in order of time, and yield after each step the possibly empty list of windows that are complete.

    A window's distribution is the mean of its glimpses before smoothing: `raw` in the report's timeline.
    """
    times = [glimpse.time for glimpse in reading.glimpses]
    spans: list[tuple[tuple[float, float], list[int]]] = []
    for span in [] if reading.prepared.clip.still else answered_spans(reading):
        rows = [row for row, time in enumerate(times) if span[0] <= time <= span[1]]
        spans += window_rows(reading, rows, span) if rows else []
    shares = np.full((len(times), len(reading.labels.labels)), np.nan)
    answered = np.zeros(len(times), dtype=bool)
    finished = 0
    for rows, values in reading.in_order():
        shares[rows], answered[rows] = values, True
        ready = []
        while finished < len(spans):
            (start, end), inside = spans[finished]
            if not answered[inside].all():
                break
            answered_rows = [row for row in inside if not np.isnan(shares[row, 0])]
            if answered_rows:
                distribution = named(reading.labels, shares[answered_rows].mean(0))
                ready.append({
                    "start": round(start, 3), "end": round(end, 3),
                    "label": max(distribution, key=lambda label: distribution[label]),
                    "distribution": {name: round(share, 4) for name, share in distribution.items()},
                    "valence_arousal": [round(value, 4) for value in valence_arousal(distribution) or ()],
                })  # fmt: skip
            finished += 1
        yield ready


def _numbers(vector: np.ndarray | None) -> list[float] | None:
    """Return a float32 vector as a list for JSON; None if it is absent or has NaNs."""
    if vector is None or np.isnan(vector).any():
        return None
    return [float(f"{number:.8g}") for number in vector.tolist()]


def clean_name(name: str | None) -> str:
    """Return a file name without folders and control characters, of at most 100 characters."""
    last = (name or "").replace("\\", "/").rpartition("/")[2]
    kept = "".join(letter for letter in last if letter.isprintable())[:100]
    return kept if kept.strip(". ") else "upload"
