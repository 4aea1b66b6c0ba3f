"""Read a built set."""

from __future__ import annotations

from pathlib import Path

from emotion_qwen.data.manifest import read_manifest
from emotion_qwen.errors import DataError
from emotion_qwen.records import Sample
from emotion_qwen.ver.export import MANIFEST


def load_ver(path: str | Path, *, split: str | None = None, language: str | None = None) -> list[Sample]:
    """Read the conversations of a built set, media paths made absolute.

    Args:
        path: folder of the set.
        split: "train", "validation" or "test"; None takes all.
        language: "en" or "zh"; None takes both.

    Raises:
        DataError: there is no set, it is damaged, or nothing of it fits.
    """
    manifest = Path(path) / MANIFEST
    if not manifest.is_file():
        raise DataError(f"{str(path)!r} holds no built set ({MANIFEST} is missing); run emotion-qwen ver build first")
    found = read_manifest(manifest, split=split)
    if language is not None:
        found = [sample for sample in found if sample.id.endswith(f"/{language}")]
        if not found:
            raise DataError(f"{str(path)!r}: no conversation in {language!r}; expected en or zh, as the set was built")
    return found
