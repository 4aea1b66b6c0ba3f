"""Write a table with a row per face and frame of a video, while the video is read."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.every_frame import EveryFrame, FrameFace
from emotion_qwen.analysis.request import Request
from emotion_qwen.errors import SettingsError
from emotion_qwen.export.columns import DICTIONARY, Row, Table
from emotion_qwen.export.layout import Layout, PictureScale
from emotion_qwen.export.run import NEEDS, SUFFIXES
from emotion_qwen.export.tables import frame_columns, frame_row
from emotion_qwen.export.writers import EXTRA, TABLE_FORMATS, table_files
from emotion_qwen.extras import optional
from emotion_qwen.records import HEAD_ANGLES, EmotionReport

FRAMES = "frames"
NUMBERED = "number of the frame in the video, from 0"
_FORMAT_OF = {SUFFIXES[form]: form for form in TABLE_FORMATS}


def frame_format(path: Path) -> str:
    """Return the format of a table of frames, by its suffix.

    Raises:
        MissingPackage: for the format.
        SettingsError: no table has that suffix.
    """
    form = _FORMAT_OF.get(path.suffix.lower())
    if form is None:
        raise SettingsError(
            f"--every-frame {str(path)!r}: expected a folder, or a file ending in {' '.join(_FORMAT_OF)}"
        )
    if form in NEEDS:
        optional(NEEDS[form], EXTRA)
    return form


def write_every_frame(
    path: Path,
    analyzer: Analyzer,
    video: Path,
    report: EmotionReport,
    request: Request,
    watch: Callable[[int, int], None] = lambda read, count: None,
) -> int:
    """Write the faces of every frame of a video, with a data dictionary next to the table.

    Args:
        path: of the table; the file appears when it is complete.
        analyzer: the model.
        video: that was analyzed.
        report: of the video, for the numbers of its people.
        request: of the report.
        watch: called with the number of frames read and the total number.

    Returns:
        The number of rows.

    Raises:
        MediaError: the file has no frames.
        StorageError: the table cannot be written.
    """
    table = frame_table(analyzer, report, request)
    frames = EveryFrame(analyzer, video, report, request)
    dictionary = path.with_name(f"{path.stem}_{DICTIONARY}.csv")
    count = read = 0
    with table_files({FRAMES: path, DICTIONARY: dictionary}, frame_format(path), [table]) as add:
        for more, faces in frames.faces():
            for face in faces:
                add(face)
            read, count = read + more, count + len(faces)
            watch(read, frames.count)
    return count


def frame_table(analyzer: Analyzer, report: EmotionReport, request: Request) -> Table:
    """Return the table whose entries are the faces of `EveryFrame`."""
    actions = analyzer.engine.facial_actions
    shapes = tuple(name for name in actions if name not in HEAD_ANGLES)
    layout = Layout(request.label_set.labels, shapes, len(shapes) < len(actions), sources=(report.source,))
    scale = PictureScale.of(report)

    def rows(face: FrameFace) -> Iterator[Row]:
        row = frame_row(layout, report.source, scale, face.frame, face.person, face.seen)
        return layout.spread(row, {"": face.seen.distribution}, nouns=True)

    return Table(FRAMES, frame_columns(layout, NUMBERED), rows)
