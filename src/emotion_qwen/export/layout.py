"""How reports are laid out as tables: the columns that depend on the reports, names of people, shape, baseline."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emotion_qwen.errors import SettingsError
from emotion_qwen.export.columns import NUMBER, TEXT, Entry, Row, TableColumn
from emotion_qwen.export.names import PersonNames
from emotion_qwen.records import HEAD_ANGLES, EmotionReport
from emotion_qwen.taxonomy import concept, valence_arousal
from emotion_qwen.views.columns import report_labels, share_column

SHAPES = WIDE, LONG = "wide", "long"
CHANGE = "_from_baseline"
"""Suffix of columns with the difference to a person's baseline."""
ANGLE_COLUMNS = {"pitch": "Pitch", "roll": "Roll", "yaw": "Yaw"}
_DIRECTIONS = {"pitch": "positive upwards", "roll": "positive clockwise", "yaw": "positive to the picture's right"}


@dataclass(frozen=True)
class Layout:
    """Settings shared by all tables of an export.

    Attributes:
        labels: of all reports, in order of first appearance.
        actions: facial actions of all reports, likewise, without head angles.
        angles: whether any report has head angles.
        shape: `WIDE`: one column per label; `LONG`: one row per label.
        names: given by the user; None without.
        baseline: seconds at the beginning of a person's track whose mean is subtracted; None without.
        sources: the clips, in order; a clip with two reports occurs twice.
    """

    labels: tuple[str, ...] = ()
    actions: tuple[str, ...] = ()
    angles: bool = False
    shape: str = WIDE
    names: PersonNames | None = None
    baseline: float | None = None
    sources: tuple[str, ...] = ()

    def share_columns(self, suffixes: Mapping[str, str], nouns: bool = False) -> tuple[TableColumn, ...]:
        """Return the columns of a distribution.

        Args:
            suffixes: of the columns -> their description in the meaning.
            nouns: name wide columns by emotion, as py-feat does, not by label.
        """
        columns = []
        if self.shape == LONG:
            columns.append(TableColumn("emotion", TEXT, "", "the emotion that this row's share is of"))
        for suffix, text in suffixes.items():
            if self.shape == LONG:
                columns.append(TableColumn(f"share{suffix}", NUMBER, "share, 0 to 1", f"share of the emotion{text}"))
                continue
            for label, name in self._names(nouns).items():
                columns.append(TableColumn(name + suffix, NUMBER, "share, 0 to 1", f"share of label {label!r}{text}"))
        return tuple(columns)

    def spread(self, row: Row, shares: Mapping[str, Mapping[str, float]], nouns: bool = False) -> Iterator[Row]:
        """Yield a row with its shares: one row in the wide shape, one per label in the long one.

        Args:
            row: without shares.
            shares: suffix -> label -> share. Without any label, the long shape has one row without an emotion.
            nouns: see `share_columns`.
        """
        names = self._names(nouns)
        if self.shape == WIDE:
            yield row | {names[label] + suffix: v for suffix, values in shares.items() for label, v in values.items()}
            return
        labels = list(dict.fromkeys(label for values in shares.values() for label in values))
        for label in labels:
            by_suffix = {f"share{suffix}": values.get(label) for suffix, values in shares.items()}
            yield row | {"emotion": names[label], **by_suffix}
        if not labels:
            yield row

    def _names(self, nouns: bool) -> dict[str, str]:
        """Return the column of each label."""
        names = {label: _noun(label) if nouns else label for label in self.labels}
        if len(set(names.values())) < len(names):  # two labels of one emotion
            names = {label: label for label in self.labels}
        return {label: share_column(name) for label, name in names.items()}

    def name_columns(self) -> tuple[TableColumn, ...]:
        """Return the column of the names of people, if the user gave names."""
        return () if self.names is None else (TableColumn("name", TEXT, "", "name of the person, from --names"),)

    def named(self, source: str, person: int | None) -> Row:
        """Return number and name of a person."""
        if person is None:
            return {}
        name = self.names.name(source, person) if self.names else None
        return {"person": person, "name": name}

    def action_columns(self) -> tuple[TableColumn, ...]:
        """Return the columns of head angles and facial actions."""
        angles = [
            TableColumn(column, NUMBER, "degrees", f"{name} of the head, {_DIRECTIONS[name]}")
            for name, column in (ANGLE_COLUMNS.items() if self.angles else ())
        ]
        actions = [
            TableColumn(name, NUMBER, "0 to 1", f"facial action {name} (ARKit blendshape), by this frame alone")
            for name in self.actions
        ]
        return (*angles, *actions)

    def named_actions(self, actions: Mapping[str, float]) -> dict[str, float]:
        """Return head angles and facial actions under the names of their columns."""
        return {ANGLE_COLUMNS.get(name, name): value for name, value in actions.items()}

    def change_columns(self, columns: Iterable[TableColumn]) -> tuple[TableColumn, ...]:
        """Return the columns of the differences to the baseline; empty without a baseline."""
        if self.baseline is None:
            return ()
        return tuple(TableColumn(c.name + CHANGE, c.type, c.unit, c.meaning + self.change_text()) for c in columns)

    def change_text(self) -> str:
        """Return the end of the meaning of a column with differences."""
        return f", minus the mean over the first {self.baseline:g} s of the person (of the clip where no person is)"

    def changes(self, values: Sequence[Mapping[str, float]], times: Sequence[float]) -> list[dict[str, float]]:
        """Subtract from every value the mean over the baseline; empty dictionaries without a baseline.

        Args:
            values: N times name -> value; a missing name is a missing value.
            times: N seconds, ascending; the baseline begins at the first.
        """
        if self.baseline is None or not times:
            return [{} for _ in values]
        early = [row for row, time in zip(values, times, strict=True) if time < times[0] + self.baseline]
        means = {}
        for name in dict.fromkeys(name for row in early for name in row):
            present = [row[name] for row in early if name in row]
            means[name] = sum(present) / len(present)
        return [{name: value - means[name] for name, value in row.items() if name in means} for row in values]


def survey(
    entries: Iterable[Entry], shape: str = WIDE, names: PersonNames | None = None, baseline: float | None = None
) -> Layout:
    """Read all reports once to determine the columns of their tables.

    Args:
        entries: reports and failures.
        shape: see `Layout`.
        names: see `Layout`.
        baseline: see `Layout`.

    Raises:
        DataError: a name is given for a file that stands for several clips.
    """
    labels: dict[str, None] = {}
    actions: dict[str, None] = {}
    sources: list[str] = []
    for entry in entries:
        sources.append(entry.source)
        if isinstance(entry, EmotionReport):
            labels.update(dict.fromkeys(report_labels(entry)))
            for person in entry.people:
                actions.update(dict.fromkeys(name for seen in person.seen for name in seen.actions))
    if names is not None:
        names.check(dict.fromkeys(sources))
    shapes = tuple(name for name in actions if name not in HEAD_ANGLES)
    return Layout(tuple(labels), shapes, len(shapes) < len(actions), shape, names, baseline, tuple(sources))


def affect(distribution: Mapping[str, float]) -> dict[str, float]:
    """Return valence and arousal of a distribution; empty without labels, or where a label is no known emotion."""
    values = valence_arousal(distribution) if distribution else None
    return {} if values is None else dict(zip(("valence", "arousal"), values, strict=True))


def suffixed(values: Mapping[str, float]) -> dict[str, float]:
    """Return differences to the baseline under the names of their columns."""
    return {name + CHANGE: value for name, value in values.items()}


def _noun(label: str) -> str:
    try:
        return concept(label)
    except SettingsError:
        return label


@dataclass(frozen=True)
class PictureScale:
    """Units of boxes: pixels if the report contains the size of the picture, otherwise shares.

    Attributes:
        width: of the picture, pixels; 1 where unknown.
        height: likewise.
        unit: "pixels" or "share".
    """

    width: float = 1.0
    height: float = 1.0
    unit: str = "share"

    @classmethod
    def of(cls, report: EmotionReport) -> PictureScale:
        """Return the scale of a report."""
        size: Any = report.provenance.get("size") or ()
        if len(size) == 2 and all(isinstance(side, int | float) and side > 0 for side in size):
            return cls(float(size[1]), float(size[0]), "pixels")
        return cls()

    def box(self, box: Sequence[float] | None) -> Row:
        """Return the columns of a box x1, y1, x2, y2, given as shares of width and height."""
        if box is None:
            return {}
        digits = 1 if self.unit == "pixels" else 4
        left, top, right, bottom = box
        return {
            "FaceRectX": round(left * self.width, digits),
            "FaceRectY": round(top * self.height, digits),
            "FaceRectWidth": round((right - left) * self.width, digits),
            "FaceRectHeight": round((bottom - top) * self.height, digits),
            "box_unit": self.unit,
        }
