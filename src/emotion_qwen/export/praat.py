"""Praat files (TextGrid): write tiers, and read an annotator's. The format is handled by praatio."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from emotion_qwen.errors import DataError
from emotion_qwen.export.tiers import Tier, TierSpan, milliseconds
from emotion_qwen.export.writers import EXTRA
from emotion_qwen.extras import optional
from emotion_qwen.files import staged


def write_textgrid(path: Path, tiers: Sequence[Tier], end: int) -> None:
    """Write a TextGrid in Praat's long text format, UTF-8.

    Args:
        path: of the file.
        tiers: at least one.
        end: of the clip, milliseconds, not before the end of any span.

    Raises:
        MissingPackage: praatio is not installed.
        StorageError: the file cannot be written.
    """
    textgrid = optional("praatio.textgrid", EXTRA)
    grid = textgrid.Textgrid(0, end / 1000)
    for tier in tiers:
        entries = [(span.start / 1000, span.end / 1000, span.text) for span in tier.spans]
        grid.addTier(textgrid.IntervalTier(tier.name, entries, 0, end / 1000))
    with staged(path) as draft:
        grid.save(str(draft), format="long_textgrid", includeBlankSpaces=True, minimumIntervalLength=None)


def read_textgrid(path: Path) -> list[Tier]:
    """Read the interval tiers of a TextGrid; empty intervals are left out.

    Raises:
        DataError: the file cannot be read, or is no TextGrid.
        MissingPackage: praatio is not installed.
    """
    textgrid, errors = optional("praatio.textgrid", EXTRA), optional("praatio.utilities.errors", EXTRA)
    try:
        grid = textgrid.openTextgrid(str(path), includeEmptyIntervals=False, duplicateNamesMode="rename")
    except (OSError, ValueError, IndexError, KeyError, AttributeError, errors.PraatioException) as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise DataError(f"{str(path)!r} cannot be read ({reason}); expected a TextGrid of Praat") from error
    tiers = [tier for tier in grid.tiers if isinstance(tier, textgrid.IntervalTier)]
    return [
        Tier(tier.name, "", tuple(TierSpan(milliseconds(start), milliseconds(end), text) for start, end, text in tier))
        for tier in tiers
    ]
