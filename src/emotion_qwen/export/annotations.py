"""Tiers of annotators as labelled or rated spans: read from ELAN files and TextGrids."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from emotion_qwen.errors import DataError, listed
from emotion_qwen.export.elan import read_eaf
from emotion_qwen.export.praat import read_textgrid
from emotion_qwen.export.tiers import Tier, TierSpan
from emotion_qwen.files import is_hidden
from emotion_qwen.matching.answer import match_label
from emotion_qwen.taxonomy import LabelSet

READERS = {".eaf": read_eaf, ".textgrid": read_textgrid}
"""Suffix, lower case -> reader."""


def read_tiers(path: Path) -> dict[str, Tier]:
    """Read the tiers of a file by name.

    Raises:
        DataError: the file has another suffix, or cannot be read.
        MissingPackage: for the format.
    """
    reader = READERS.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"{str(path)!r} is no file of tiers by its suffix; expected .eaf (ELAN) or .TextGrid (Praat)")
    return {tier.name: tier for tier in reader(path)}


def chosen_tier(tiers: dict[str, Tier], name: str, path: Path) -> Tier:
    """Return a tier by its name.

    Raises:
        DataError: there is none of that name.
    """
    if name not in tiers:
        raise DataError(f"{str(path)!r} has no tier {name!r}; it has {listed(map(repr, tiers), 12) or 'none'}")
    return tiers[name]


def labelled_spans(tier: Tier, labels: LabelSet) -> tuple[list[TierSpan], Counter[str]]:
    """Read the texts of a tier as labels, under any of their English and Chinese names.

    Args:
        tier: of an annotator.
        labels: the label set.

    Returns:
        Spans whose text is an English label of the set, and the texts that are no label, with their number.
    """
    spans, unknown = [], Counter[str]()
    for span in tier.spans:
        text = span.text.strip()
        label = text if text in labels.labels else match_label(text, labels)
        if label is None:
            unknown[text] += 1
        else:
            spans.append(TierSpan(span.start, span.end, label))
    return spans, unknown


def rated_spans(tier: Tier) -> list[tuple[int, int, float]]:
    """Read the texts of a tier as numbers; a decimal comma is also accepted.

    Returns:
        (start, end, number), times in milliseconds.

    Raises:
        DataError: a text is no number.
    """
    spans = []
    for span in tier.spans:
        try:
            spans.append((span.start, span.end, float(span.text.strip().replace(",", ".").replace("−", "-"))))
        except ValueError as error:
            raise DataError(
                f"tier {tier.name!r}: {span.text!r} at {span.start / 1000:.3f} s is no number; expected numbers only"
            ) from error
    return spans


def files_of_clips(place: Path, names: Sequence[str]) -> list[Path | None]:
    """Return the file of tiers of each clip: the file that is given, or that of the clip's name in a folder.

    Args:
        place: file, or folder.
        names: of the clips, without suffix.

    Raises:
        DataError: nothing exists there, or one file is given for several clips.
    """
    if place.is_dir():
        files = {
            path.stem: path
            for path in sorted(place.iterdir())
            if path.suffix.lower() in READERS and not is_hidden(path, place)
        }
        return [files.get(name) for name in names]
    if not place.exists():
        raise DataError(
            f"{str(place)!r} does not exist; expected a file of tiers (.eaf, .TextGrid) or a folder of them"
        )
    if len(names) > 1:
        raise DataError(f"{str(place)!r} is one file, but there are {len(names)} reports; give a folder")
    return [place]
