"""Columns of the timeline's table, which the page's script writes and `export` writes by the same names."""

from __future__ import annotations

from emotion_qwen.records import EmotionReport

RESERVED = {"emotion", "share", "label", "valence", "arousal", "file", "frame", "name", "person", "start", "end"}
"""Names of other columns; a label with such a name gets the prefix `share_`."""


def report_labels(report: EmotionReport) -> list[str]:
    """Return all labels of a report in order of first appearance."""
    labels: dict[str, None] = dict.fromkeys(report.distribution)
    for person in report.people:
        labels.update(dict.fromkeys(person.distribution))
    for person in report.people:
        labels.update(dict.fromkeys(name for seen in person.seen for name in seen.distribution))
    labels.update(dict.fromkeys(name for moment in report.timeline for name in moment.distribution))
    return list(labels)


def share_column(label: str) -> str:
    """Return the name of the column with the shares of a label."""
    return f"share_{label}" if label in RESERVED else label
