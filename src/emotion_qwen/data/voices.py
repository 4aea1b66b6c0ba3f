"""Read labelled voices from Parquet files as waves.

A voice file has the columns `id`, `audio` (encoded bytes), `label`, `speaker` and `split`. No speaker is in both
splits, and single speakers can be left out.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from emotion_qwen.data.tables import read_own_rows
from emotion_qwen.errors import DataError, MediaError
from emotion_qwen.media.sound import SoundBytes, read_sound

COLUMNS = ("id", "audio", "label", "speaker", "split")


@dataclass(frozen=True)
class Voices:
    """Labelled sounds: `waves` are (S,) float32 mono at 16 kHz."""

    name: str
    waves: tuple[np.ndarray, ...]
    labels: tuple[str, ...]
    speakers: tuple[int, ...]
    ids: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)


def read_voices(
    path: Path, split: str | None = None, *, speakers: Collection[int] | None = None, corpus: str = ""
) -> Voices:
    """Read one split of a voice file, or the voices of some speakers.

    Args:
        path: Parquet file with `COLUMNS`.
        split: "train" or "validation"; None reads both.
        speakers: only these speakers; None reads all.
        corpus: only rows whose column `corpus` starts with this; "" reads all.

    Raises:
        DataError: the file is missing, lacks a column, has no such voice, or a voice cannot be decoded.
    """
    if not path.is_file():
        raise DataError(f"voice file {str(path)!r} does not exist; give a Parquet file with {', '.join(COLUMNS)}")
    more = ("corpus",) if corpus else ()
    rows = read_own_rows(path, (*COLUMNS, *more), ("id", "label", "split", *more))
    rows = [row for row in rows if not corpus or row["corpus"].startswith(corpus)]
    chosen = [row for row in rows if split in (None, row["split"]) and (speakers is None or row["speaker"] in speakers)]
    if not chosen:
        known = sorted({row["split"] for row in rows}), sorted({row["speaker"] for row in rows}, key=str)
        raise DataError(
            f"{path.name}: no voice has split {split!r} and a speaker of {speakers}; it has splits {known[0]} and "
            f"speakers {known[1]}"
        )
    return Voices(
        path.stem,
        tuple(decode_voice(row["audio"], f"{path.name}: {row['id']}") for row in chosen),
        tuple(row["label"] for row in chosen),
        tuple(row["speaker"] for row in chosen),
        tuple(row["id"] for row in chosen),
    )


def decode_voice(data: bytes, place: str = "sound") -> np.ndarray:
    """Decode an encoded sound to (S,) float32 mono at 16 kHz, as a clip's sound is read.

    Raises:
        DataError: it cannot be read, has no sample, or is damaged; the message starts with `place`.
    """
    if not isinstance(data, bytes):
        raise DataError(f"{place}: holds no bytes; expected an encoded sound, leave the row out")
    try:
        sound = read_sound(SoundBytes(data, "sound"))
    except MediaError as error:
        raise DataError(f"{place}: the sound cannot be decoded ({error}); expected FLAC, WAV or MP3 bytes") from error
    if sound.warnings:  # unlike a clip, a truncated voice is refused, because it must not be used for training
        raise DataError(f"{place}: the sound is not whole ({'; '.join(sound.warnings)}); leave the row out")
    return sound.wave
