"""`EmotionQwen`: the model for Python sessions. It takes files, pictures, frames or folders and returns reports."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Self, Unpack, overload

import numpy as np
from PIL import Image
from tqdm import tqdm

from emotion_qwen.analysis.analyzer import Analysis, Analyzer
from emotion_qwen.analysis.every_frame import EveryFrame
from emotion_qwen.analysis.request import AnalysisOptions, Request
from emotion_qwen.batch.folder import analyze_all
from emotion_qwen.errors import SettingsError, printable
from emotion_qwen.export.every_frame import frame_table
from emotion_qwen.export.reports import FailedClip, ReportFiles
from emotion_qwen.media.clip import find_media
from emotion_qwen.media.in_memory import Picture, frames_clip, picture_clip
from emotion_qwen.notebook.report import Report
from emotion_qwen.prepare import prepare_clip
from emotion_qwen.records import EmotionReport

PathLike = str | os.PathLike[str]
Paths = PathLike | Sequence[PathLike]
Medium = PathLike | Picture | Sequence[Picture]
Progress = Callable[[int, int], object]
"""Called with the number of finished clips and that of all clips."""


class EmotionQwen(Analyzer):
    """Analyzes what people show in clips, pictures and sounds, and answers free questions about them.

    Args:
        engine: a loaded model; most users call `load` instead.
        detector: detects faces; CenterFace by default.

    Examples:
        >>> from emotion_qwen import EmotionQwen
        >>> model = EmotionQwen.load()  # the shipped nano; or a model folder or hub name
        >>> report = model.analyze("clip.mp4", labels="mer6")
        >>> report.label, report.distribution[report.label]  # the likeliest label and its share, 0 to 1
        >>> for result in model.analyze_many("clips/"):  # one clip after another, failed ones with their error
        ...     print(result)
        >>> model.ask("clip.mp4", "What is the person doing?")
    """

    @classmethod
    def load(cls, model: str | Path | None = None, device: str = "auto", dtype: str = "auto") -> Self:
        """Load a model as `Analyzer.load` does, without the progress bar over its weights."""
        from transformers.utils import logging

        shown = logging.is_progress_bar_enabled()
        logging.disable_progress_bar()
        try:
            return super().load(model, device, dtype)
        finally:
            if shown:
                logging.enable_progress_bar()

    @overload  # type: ignore[override]
    def analyze(  # type: ignore[overload-overlap]  # a text is a sequence of texts, too
        self, medium: Medium, labels: str = ..., language: str = ..., *, frame_rate: float | None = ...,
        **options: Unpack[AnalysisOptions],
    ) -> Report: ...  # fmt: skip

    @overload
    def analyze(
        self, medium: Sequence[PathLike], labels: str = ..., language: str = ..., **options: Unpack[AnalysisOptions]
    ) -> list[Report | FailedClip]: ...

    def analyze(
        self,
        medium: Medium | Sequence[PathLike],
        labels: str = "dfew7",
        language: str = "en",
        *,
        frame_rate: float | None = None,
        **options: Unpack[AnalysisOptions],
    ) -> Report | list[Report | FailedClip]:
        """Analyze one clip, picture or sound; of a list of paths or a folder, all of them.

        A period in which nobody is seen, no voice is heard and nothing is said has no answer and becomes a gap in the
        report. If the whole clip is such a period, the label is None.

        Args:
            medium: a file; a picture as (H, W, 3) uint8 RGB or of PIL; frames as a list of pictures or as
                (T, H, W, 3) uint8 RGB; or a list of paths, or a folder, for which `analyze_many` is called.
            labels: name of a label set in `taxonomy.LABEL_SETS`.
            language: "en" or "zh", for questions and sentences.
            frame_rate: frames per second of `medium`, if it is a list of frames.
            options: see `AnalysisOptions`.

        Returns:
            The report; or for several files, the list of the results of `analyze_many`.

        Raises:
            MediaError: a file cannot be read, or contains nothing to analyze.
            SettingsError: an option is unknown or does not fit `medium`.
            ShapeError: an array is no picture.
        """
        if _is_many(medium):
            return list(self.analyze_many(medium, labels, language, **options))  # type: ignore[arg-type]
        if isinstance(medium, str | os.PathLike):
            if frame_rate is not None:
                raise SettingsError("frame_rate is of a list of frames; a file has its own, leave frame_rate out")
            return Report.of(super().analyze(Path(medium), labels, language, **options))
        request = Request(labels, language, **options)
        return Report.of(self._analyze_pictures(medium, frame_rate, request))  # type: ignore[arg-type]

    def analyze_many(
        self,
        paths: Paths,
        labels: str = "dfew7",
        language: str = "en",
        *,
        workers: int | None = None,
        progress: Progress | bool = True,
        **options: Unpack[AnalysisOptions],
    ) -> Iterator[Report | FailedClip]:
        """Analyze many clips, one after another.

        A clip that cannot be analyzed becomes a `FailedClip` with its `source` and `error`; the others continue. Up to
        16 clips share batches, so results come in groups.

        Args:
            paths: files, folders and patterns such as "clips/*.mp4"; a folder means the media below it, sorted.
            labels: as in `analyze`; `language` and `options` likewise.
            workers: processes that prepare clips; None chooses by the number of cores, 0 uses none.
            progress: shows a bar on standard error; or a function, called with the numbers of finished clips and of all
                clips.

        Yields:
            A result per clip, in the order of `paths`.

        Raises:
            MediaError: a path does not exist, or a folder has no media.
            SettingsError: an option is unknown.
        """
        given = [paths] if isinstance(paths, str | os.PathLike) else paths
        files = find_media([os.fspath(path) for path in given], sounds=self.hears)
        request = Request(labels, language, **options)
        call = progress if callable(progress) else None
        bar = tqdm(total=len(files), desc="analyzing", unit="clip", file=sys.stderr, disable=progress is not True)
        with bar, closing(analyze_all(self, files, request, workers)) as results:
            for count, (file, result) in enumerate(results, 1):
                bar.update()
                if call is not None:
                    call(count, len(files))
                if isinstance(result, Analysis):
                    yield Report.of(result.report)
                else:
                    yield FailedClip(printable(file), str(result))

    def every_frame(
        self,
        path: PathLike,
        labels: str = "dfew7",
        language: str = "en",
        *,
        report: EmotionReport | None = None,
        **options: Unpack[AnalysisOptions],
    ) -> Iterator[dict[str, Any]]:
        """Read every frame of a video, a few at a time, however long it is.

        Args:
            path: a video or a picture.
            labels: as in `analyze`; `language` and `options` likewise.
            report: of the video, which numbers the people; None analyzes the video first.

        Yields:
            A row per face and frame, with the columns of the table `frames` of `export` that are not missing.

        Raises:
            MediaError: the file cannot be read, or is a sound.
            SettingsError: an option does not fit.
        """
        request = Request(labels, language, **options)
        known = report or self.analyze_prepared(self.prepare(Path(path), request), request)
        table = frame_table(self, known, request)
        for _, faces in EveryFrame(self, Path(path), known, request).faces():
            for face in faces:
                for row in table.rows(face):
                    yield {name: value for name, value in row.items() if value is not None}

    def _analyze_pictures(
        self, medium: Picture | Sequence[Picture], frame_rate: float | None, request: Request
    ) -> EmotionReport:
        """Analyze a picture or frames in memory.

        Raises:
            MediaError: there is no frame.
            SettingsError: an option does not fit.
            ShapeError: an array is no picture.
        """
        if request.sources is not None:
            raise SettingsError("sources are read beside a file; leave sources out, or save the pictures as a file")
        if isinstance(medium, Image.Image) or (isinstance(medium, np.ndarray) and medium.ndim == 3):
            if (frame_rate, request.start, request.end, request.fps) != (None, None, None, None):
                raise SettingsError("a picture has no time; leave frame_rate, start, end and fps out")
            clip = picture_clip(medium, _name(medium))
        elif frame_rate is None:
            raise SettingsError("frames without a frame rate; give frame_rate, their number per second, for example 25")
        else:
            settings = self.budget.at(request.fps).settings
            clip = frames_clip(medium, frame_rate, settings, start=request.start, end=request.end)
        return self.analyze_prepared(prepare_clip(clip, self.detector, self.budget.at(request.fps)), request)


def read_reports(path: PathLike) -> list[Report | FailedClip]:
    """Read stored reports, of `--output`, `--json`, `Report.save` or the server.

    Args:
        path: a file, or a folder with such files.

    Returns:
        The reports, with failed clips among them, in order.

    Raises:
        DataError: the path does not exist, or contains something else.
    """
    return [Report.of(entry) if isinstance(entry, EmotionReport) else entry for entry in ReportFiles([Path(path)])]


def _is_many(medium: Any) -> bool:
    """Whether a medium means several files: a list of paths, or a folder."""
    if isinstance(medium, str | os.PathLike):
        return Path(medium).is_dir()
    return isinstance(medium, Sequence) and len(medium) > 0 and isinstance(medium[0], str | os.PathLike)


def _name(picture: Picture) -> str:
    """Return the name of a picture in its report: its file where PIL knows it."""
    return printable(getattr(picture, "filename", "") or "picture")
