"""Replay a report as a drawn face: the expressions of a person in a clip, without the person and without the sound."""

from __future__ import annotations

import dataclasses
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from emotion_qwen.errors import MediaError
from emotion_qwen.express.film import SIZE, Watch, track_pictures, write_pictures
from emotion_qwen.express.marks import mark_text
from emotion_qwen.express.replay import person_of, replay_track
from emotion_qwen.express.rigs import DrawnRig, Rig
from emotion_qwen.express.track import ExpressionTrack
from emotion_qwen.records import EmotionReport
from emotion_qwen.views.annotate import Painter
from emotion_qwen.views.html import write_html
from emotion_qwen.views.playhead import box_at, is_still, sampling_step

FPS = 15.0
"""Frames per second of a replay; the clip was analyzed at fewer."""


PAGE = ".html"
"""Suffix of a page in which the face takes the place of the clip."""


def write_avatar(
    report: EmotionReport,
    path: Path,
    *,
    person: int | None = None,
    rig: Rig | None = None,
    identity: str = "amber",
    size: int = SIZE,
    watch: Watch | None = None,
) -> None:
    """Write a video or a page in which a face replays one person of a report with the timeline of the clip.

    While the person is not visible, the picture is empty. No pixels and no sound of the clip are used.

    Args:
        report: of a clip or a picture.
        path: a video file, in which the timeline is painted below the face; or the page of the report as HTML, with
            the face in place of the clip.
        person: number of the person; None takes the one that was seen most.
        rig: the face; None is the drawn face.
        identity: of the face, independent of the person.
        size: side of the face's picture, pixels.
        watch: called after each frame of a video.

    Raises:
        DataError: the report has no such person.
        MediaError: nobody was seen in the clip, or the file cannot be written.
        SettingsError: the labels of the report are none of the seven emotions.
    """
    if not report.people:
        raise MediaError(f"{report.source!r}: no face was found, so there is nothing to replay; leave --avatar out")
    shown_person = person_of(report, person)
    track = replay_track(report, shown_person.person, fps=FPS)
    if path.suffix.lower() == PAGE and is_still(report):
        track = dataclasses.replace(track, frames=track.frames[-1:], head=track.head[-1:], emotions=track.emotions[-1:])
    step = sampling_step(report)
    is_shown = [is_still(report) or box_at(shown_person, time, step) is not None for time in track.times.tolist()]
    pictures = track_pictures(track, rig or DrawnRig(), identity, size, np.array(is_shown))
    if path.suffix.lower() == PAGE:
        _write_replay_page(report, shown_person.person, track, pictures, path, watch)
    else:
        write_pictures(track, _with_timeline(pictures, report, track.times, size), path, watch)


def _write_replay_page(
    report: EmotionReport,
    person: int,
    track: ExpressionTrack,
    pictures: Iterable[np.ndarray],
    path: Path,
    watch: Watch | None,
) -> None:
    """Write the page of a report with the pictures of its track in place of the clip; a still has a single one."""
    with tempfile.TemporaryDirectory(prefix="emotion-qwen-replay-") as folder:
        media = Path(folder) / ("face.png" if is_still(report) else "face.mp4")
        if is_still(report):
            marks = PngInfo()
            marks.add_text("Comment", mark_text(track.provenance))
            Image.fromarray(next(iter(pictures))).save(media, pnginfo=marks)
        else:
            write_pictures(track, pictures, media, watch)
        write_html(report, path, media=media, embed_limit=sys.maxsize, replay=person)


def _with_timeline(
    pictures: Iterable[np.ndarray], report: EmotionReport, times: np.ndarray, size: int
) -> Iterator[np.ndarray]:
    """Yield pictures with the clip's label and timeline below them, as in the annotated video."""
    painter = Painter(dataclasses.replace(report, people=()), (size, size))
    for picture, time in zip(pictures, times.tolist(), strict=True):
        yield np.asarray(painter.paint(Image.fromarray(picture), time))
