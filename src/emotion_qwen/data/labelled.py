"""Turn labelled pictures and videos into samples with the closed question over a label set.

The question is that of inference (`questions.label_question`), and the answer is the label as spelt in the set. A
folder source has one subfolder per label.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from emotion_qwen.data.import_options import Found, ImportOptions
from emotion_qwen.errors import DataError, unknown_choice
from emotion_qwen.files import files_below, is_hidden
from emotion_qwen.matching.answer import match_label
from emotion_qwen.media.clip import MEDIA_SUFFIXES, PICTURE_SUFFIXES
from emotion_qwen.questions import label_question
from emotion_qwen.records import Sample
from emotion_qwen.taxonomy import LabelSet, label_set


def read_labelled_folder(source: Path, options: ImportOptions) -> Iterator[Found]:
    """Read pictures and videos from one folder per label.

    Raises:
        DataError: the source is not a folder, or has no subfolder.
    """
    folders = (
        sorted(path for path in source.iterdir() if path.is_dir() and not is_hidden(path, source))
        if source.is_dir()
        else []
    )
    if not folders:
        raise DataError(f"{str(source)!r} holds no folder; expected one folder per label, such as {source.name}/happy")
    number = 0
    for folder in (source, *folders):
        files = files_below(folder)
        for path in files if folder != source else [path for path in files if path.parent == source]:
            if folder == source and path.suffix.lower() not in MEDIA_SUFFIXES:
                continue  # for example a README or a licence
            number += 1
            label = None if folder == source else folder.name
            make = partial(_from_file, path, label, source, options)
            yield options.attempt(make, number, path.relative_to(source).as_posix(), str(path), source)


def label_sample(identity: str, media: list[dict[str, str]], label: str, source: Path, options: ImportOptions, **known):
    """Return a sample with the closed question about media parts; `known` may contain the split.

    Raises:
        DataError: the label set has no such label.
    """
    labels = label_set(options.labels)
    name = matched(label, labels)
    answer = labels.names(options.language)[labels.labels.index(name)]
    question = {"type": "text", "text": label_question(labels, options.language)}
    messages: tuple[dict[str, Any], ...] = (
        {"role": "user", "content": [*media, question]},
        {"role": "assistant", "content": answer},
    )
    return options.sample(identity, messages, source, labels={"emotion": name}, **known)


def matched(label: str, labels: LabelSet) -> str:
    """Return the label of the set for a name: `Happy` and `joy` are `happiness` in fer7.

    Raises:
        DataError: no label fits, or several do.
    """
    name = label if label in labels.labels else match_label(label.replace("_", " ").replace("-", " "), labels)
    if name is None:
        raise DataError(f"{unknown_choice('label', label, labels.labels)} Rename it, or choose another set (--labels).")
    return name


def _from_file(path: Path, label: str | None, source: Path, options: ImportOptions) -> Sample:
    if label is None:
        raise DataError(f"{path.name!r} stands beside the label folders; expected it in one of them, move it")
    if path.suffix.lower() not in MEDIA_SUFFIXES:
        raise DataError(
            f"{path.name!r} is no picture or video by its suffix {path.suffix!r}; expected one of "
            f"{' '.join(sorted(MEDIA_SUFFIXES))}, move it away"
        )
    kind = "image" if path.suffix.lower() in PICTURE_SUFFIXES else "video"
    part = {"type": kind, kind: str(path.absolute())}
    return label_sample(path.relative_to(source).as_posix(), [part], label, source, options)
