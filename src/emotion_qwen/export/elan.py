"""ELAN files (EAF): write tiers for a clip, and read an annotator's tiers. The format is handled by pympi."""

from __future__ import annotations

import mimetypes
import warnings
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from emotion_qwen.errors import DataError
from emotion_qwen.export.tiers import EMOTION, Tier, TierSpan
from emotion_qwen.export.writers import EXTRA
from emotion_qwen.extras import optional
from emotion_qwen.files import staged

AUTHOR = "emotion-qwen"
_VOCABULARY = "emotions"


def write_eaf(path: Path, tiers: Sequence[Tier], media: str, labels: Sequence[str] = ()) -> None:
    """Write an ELAN file.

    Args:
        path: of the file.
        tiers: may be none.
        media: path of the clip; ELAN looks for its name next to the file.
        labels: that an annotator can choose from in tiers of emotions.

    Raises:
        MissingPackage: pympi-ling is not installed.
        StorageError: the file cannot be written.
    """
    elan = optional("pympi.Elan", EXTRA)
    document = elan.Eaf(author=AUTHOR)
    document.remove_tier("default")
    document.remove_linguistic_type("default-lt")
    name = quote(PurePath(media).name.encode("utf-8", "surrogateescape"))
    kind = mimetypes.guess_type(PurePath(media).name)[0] or "unknown"
    document.add_linked_file(name, relpath=f"./{name}", mimetype=kind)
    for kind in dict.fromkeys([EMOTION, *(tier.kind for tier in tiers)]):
        document.add_linguistic_type(kind)
    if labels:
        document.add_language("und", "http://cdb.iso.org/lg/CDB-00130975-001", "undetermined (und)")
        document.add_controlled_vocabulary(_VOCABULARY)
        document.add_cv_description(_VOCABULARY, "und", "labels of the report")
        for number, label in enumerate(labels):
            document.add_cv_entry(_VOCABULARY, f"cveid{number}", [(_legal(label), "und", None)])
        document.linguistic_types[EMOTION]["CONTROLLED_VOCABULARY_REF"] = _VOCABULARY
    for tier in tiers:
        document.add_tier(_legal(tier.name), ling=tier.kind, part=_legal(tier.person) or None)
        for span in tier.spans:
            document.add_annotation(_legal(tier.name), span.start, span.end, _legal(span.text))
    _sort_times(document)
    with staged(path) as draft:
        draft.unlink()  # pympi would keep the empty draft as a backup
        document.to_file(str(draft))


def read_eaf(path: Path) -> list[Tier]:
    """Read all tiers of an ELAN file; annotations without times of their own, or without text, are left out.

    Raises:
        DataError: the file cannot be read, or is not an ELAN file.
        MissingPackage: pympi-ling is not installed.
    """
    elan = optional("pympi.Elan", EXTRA)
    try:
        root = ElementTree.parse(path).getroot()
        if root.tag != "ANNOTATION_DOCUMENT":
            raise DataError(f"{str(path)!r} is XML of kind {root.tag!r}; expected an ELAN file (.eaf)")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # newer versions of the format have the same tiers
            document = elan.Eaf(str(path))
        tiers = []
        for name in document.get_tier_names():
            rows = [row[:3] for row in document.get_annotation_data_for_tier(name)]
            spans = sorted(
                TierSpan(start, end, text.strip()) for start, end, text in rows if None not in (start, end) and text
            )
            tiers.append(Tier(name, document.tiers[name][2]["LINGUISTIC_TYPE_REF"], tuple(spans)))
    except (OSError, ElementTree.ParseError, KeyError, IndexError, ValueError) as error:
        reason = getattr(error, "strerror", None) or f"{type(error).__name__}: {error}"
        raise DataError(f"{str(path)!r} cannot be read ({reason}); expected an ELAN file (.eaf)") from error
    return tiers


def _sort_times(document: Any) -> None:
    """Number the time slots in order of time, as the format describes `TIME_ORDER`; pympi numbers them by tier."""
    slots = sorted(document.timeslots, key=lambda slot: document.timeslots[slot])
    names = {slot: f"ts{number}" for number, slot in enumerate(slots, 1)}
    document.timeslots = {names[slot]: document.timeslots[slot] for slot in slots}
    for tier in document.tiers.values():
        annotations = tier[0]
        for key, (start, end, *rest) in annotations.items():
            annotations[key] = (names[start], names[end], *rest)


def _legal(text: str) -> str:
    """Return a text without the characters that XML cannot represent."""
    return "".join(c for c in text if c.isprintable() and not "\ud800" <= c <= "\udfff")
