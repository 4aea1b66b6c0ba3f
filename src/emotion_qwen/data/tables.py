"""Read Hugging Face datasets from files: Parquet, and Arrow files written by `save_to_disk`.

A row has a conversation (`messages` or `conversations`), `question` and `answer`, or a `label` (or `emotion`), for
which the closed question is asked. Media are in `image`, `images`, `video` or `videos`, as bytes, as {bytes, path} or
as paths; bytes are written to files named by their content. The split comes from a `split` column, else from the name
of the file or folder, as in `train-00000-of-00001.parquet`.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from PIL import Image

from emotion_qwen.data.conversations import MEDIA_KEYS, OTHER_MEDIA, SHAREGPT, Resolve, media_of_record, messages_of
from emotion_qwen.data.import_options import Found, ImportOptions
from emotion_qwen.data.labelled import label_sample
from emotion_qwen.data.rules import SPLITS
from emotion_qwen.errors import DataError, unknown_choice
from emotion_qwen.extras import optional
from emotion_qwen.files import files_below, write_whole
from emotion_qwen.media.picture import FORMATS
from emotion_qwen.records import Sample

LABEL_COLUMNS = ("label", "emotion")
ROWS_AT_ONCE = 64
_SPLIT_WORDS = {**{name: name for name in SPLITS}, "valid": "validation", "val": "validation", "dev": "validation"}
_SPLIT_NAME = re.compile(rf"({'|'.join(sorted(_SPLIT_WORDS, key=len, reverse=True))})(?![a-z])")
_SUFFIXES = {"JPEG": ".jpg", "MPO": ".jpg", "JPEG2000": ".jp2", "TIFF": ".tif"}


def read_tables(source: Path, options: ImportOptions) -> Iterator[Found]:
    """Read a Parquet or Arrow file, or all such files in a folder and its subfolders.

    Raises:
        MissingPackage: pyarrow is not installed.
        DataError: the file does not exist or cannot be read, or its columns have no conversations, no questions and
            answers, and no labelled media.
    """
    resolve = _Resolve(source, options)
    for file in _files(source):
        split = _split_of(file, source)
        columns, rows = _open(file)
        form = _form(file, columns)
        for number, row in enumerate(rows, 1):
            named = row.get("id")
            identity = str(named) if isinstance(named, str | int) and named != "" else f"{file.stem}-{number:06d}"
            make = partial(_sample, identity, row, form, resolve, split)
            yield options.attempt(make, number, identity, row, file)


def read_own_rows(path: Path, columns: Sequence[str], texts: Sequence[str]) -> list[dict[str, Any]]:
    """Read some columns of a Parquet file of our own layout (`docs/guides/data.md`).

    Args:
        path: of the file.
        columns: required columns, which are read.
        texts: those of them that contain a text in every row.

    Raises:
        DataError: it cannot be read as Parquet, lacks a column, or a row has no text where one is required.
    """
    arrow, parquet = optional("pyarrow", "train"), optional("pyarrow.parquet", "train")
    try:
        names = parquet.read_schema(path).names
        missing = sorted(set(columns) - set(names))
        if missing:
            raise DataError(f"{path.name}: missing column(s) {missing}; it has {names}")
        rows = parquet.read_table(path, columns=list(dict.fromkeys(columns))).to_pylist()
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path.name}: cannot be read as Parquet ({error}); fetch it again") from error
    for number, row in enumerate(rows, 1):
        for name in texts:
            if not isinstance(row[name], str):
                raise DataError(f"{path.name}, row {number}: {name} is {row[name]!r}; expected a text, correct the row")
    return rows


class _Resolve:
    """Converts the value for a medium in a row to a path; bytes are stored as a file."""

    def __init__(self, source: Path, options: ImportOptions) -> None:
        self.source, self.options = source, options

    def __call__(self, value: Any, kind: str) -> str:
        data, path = (value.get("bytes"), value.get("path")) if isinstance(value, dict) else (value, None)
        if isinstance(data, bytes) and data:
            suffix = _picture_suffix(data) if kind == "image" else Path(path or "").suffix or ".mp4"
            return _stored(data, suffix, self.options.store)
        path = path or data
        if not isinstance(path, str) or not path:
            raise DataError(f"{kind} is {str(value)[:60]!r}; expected bytes, {{bytes, path}} or a path")
        return self.options.path(path, self.source)


def _sample(identity: str, row: dict[str, Any], form: str, resolve: _Resolve, split: str | None) -> Sample:
    split_of_row = {"split": _split(row, split)} if resolve.options.split is None else {}
    if form == "turns":
        return resolve.options.sample(identity, messages_of(row, SHAREGPT, resolve), resolve.source, **split_of_row)
    if form == "answer":
        turns = [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": row["answer"]}]
        beside = {key: value for key, value in row.items() if key in MEDIA_KEYS}
        return resolve.options.sample(
            identity, messages_of({**beside, "messages": turns}, SHAREGPT, resolve), resolve.source, **split_of_row
        )
    label = row[form]
    if not isinstance(label, str):
        raise DataError(f"{form} is {label!r}; expected text, or a number in a file that names its classes")
    media = [{"type": medium.kind, medium.kind: medium.path} for medium in _media_only(row, resolve)]
    return label_sample(identity, media, label, resolve.source, resolve.options, **split_of_row)


def _split(row: dict[str, Any], of_file: str | None) -> str | None:
    if row.get("split") is None:
        return of_file
    name = str(row["split"])
    if name not in _SPLIT_WORDS:
        raise DataError(f"{unknown_choice('split', name, SPLITS)} Choose one for all rows (--split).")
    return _SPLIT_WORDS[name]


def _media_only(row: dict[str, Any], resolve: Resolve) -> list[Any]:
    media = media_of_record({key: value for key, value in row.items() if key in MEDIA_KEYS}, resolve)
    if not media:
        raise DataError("the row has a label and no medium; expected a picture or video")
    return media


def _form(file: Path, columns: list[str]) -> str:
    """Return the form of the rows: "turns", "answer", or the name of the label column."""
    unread = [name for name in OTHER_MEDIA if name in columns]
    if any(name in columns for name in SHAREGPT.turns) and not unread:
        return "turns"
    if {"question", "answer"} <= set(columns) and not unread:
        return "answer"
    labels = [name for name in LABEL_COLUMNS if name in columns]
    if labels and any(name in columns for name in MEDIA_KEYS) and not unread:
        return labels[0]
    raise DataError(
        f"{str(file)!r} has the columns {', '.join(columns)}; expected messages or conversations, or question and "
        "answer, or label (or emotion) with image or video, and no audio; rename the columns"
    )


def _files(source: Path) -> list[Path]:
    if source.is_dir():
        files = [path for path in files_below(source) if path.suffix in (".parquet", ".arrow")]
    else:
        files = [source] if source.is_file() else []
    if not files:
        raise DataError(f"{str(source)!r} is no Parquet or Arrow file and no folder that holds one; check the path")
    return files


def _split_of(file: Path, source: Path) -> str | None:
    """Return the split from the name of a file, or of a folder between the source and the file."""
    parts = [file.stem] if file == source else [*file.relative_to(source).parts[:-1], file.stem]
    for part in reversed(parts):
        if match := _SPLIT_NAME.match(part.lower()):
            return _SPLIT_WORDS[match.group(1)]
    return None


def _open(file: Path) -> tuple[list[str], Iterator[dict[str, Any]]]:
    """Return the columns of a file and its rows, with class numbers replaced by names."""
    pa, pq = optional("pyarrow", "train"), optional("pyarrow.parquet", "train")

    def batches() -> Iterator[Any]:
        try:
            yield from opened
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"{str(file)!r} is damaged ({error}); fetch it again") from error

    try:
        if file.suffix == ".arrow":
            opened = pa.ipc.open_stream(pa.memory_map(str(file)))
            schema = opened.schema
        else:
            table = pq.ParquetFile(file)
            schema, opened = table.schema_arrow, table.iter_batches(batch_size=ROWS_AT_ONCE)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{str(file)!r} cannot be read as Parquet or Arrow ({error}); fetch it again") from error
    return schema.names, _rows(batches(), _classes(schema))


def _rows(batches: Iterator[Any], classes: dict[str, list[str]]) -> Iterator[dict[str, Any]]:
    for batch in batches:
        for start in range(0, len(batch), ROWS_AT_ONCE):
            for row in batch.slice(start, ROWS_AT_ONCE).to_pylist():
                for column, names in classes.items():
                    if isinstance(row.get(column), int) and 0 <= row[column] < len(names):
                        row[column] = names[row[column]]
                yield row


def _classes(schema: Any) -> dict[str, list[str]]:
    """Return the class names stored in the schema of a Hugging Face dataset: column -> names."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError):
        return {}
    kinds = {name: value for name, value in features.items() if isinstance(value, dict)}
    return {name: value["names"] for name, value in kinds.items() if value.get("_type") == "ClassLabel"}


def _picture_suffix(data: bytes) -> str:
    Image.init()
    try:
        with Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN]) as image:
            return _SUFFIXES.get(str(image.format), f".{str(image.format).lower()}")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(
            f"image of {len(data)} bytes that begin with {data[:8]!r} is no picture that can be read; expected one of "
            f"{', '.join(FORMATS)}"
        ) from error


def _stored(data: bytes, suffix: str, folder: Path) -> str:
    path = folder / (hashlib.sha256(data).hexdigest()[:32] + suffix)
    if not path.is_file():
        write_whole(path, data, sync=False)
    return os.path.abspath(path)
