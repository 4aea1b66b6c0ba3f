"""Emotion words, or their polarity, that a language model extracted from replies in prose before scoring.

MER-UniBench scores lists of words, which Qwen2.5-7B extracts from descriptions. The extraction itself is in
`run.extraction`; here its stored results are read, without a model.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.scoring.records import Response


@dataclass(frozen=True)
class Extracted:
    """The result of extraction from one reply.

    Attributes:
        id: of the item.
        language: of the item.
        extractor: name of the model.
        prompt: version of the prompt.
        date: day of the reply, in ISO format.
        text: the words, separated by commas, or the polarity; empty if there are none.
        error: why nothing could be extracted; empty if something was.
    """

    id: str
    language: str
    extractor: str
    prompt: str
    date: str
    text: str = ""
    error: str = ""


def read_extracted(folder: Path) -> dict[str, list[Extracted]]:
    """Return what was extracted in a task's folder, by extractor and version of the prompt; empty if nothing was.

    Raises:
        DataError: a file is broken.
    """
    by_extractor: dict[str, list[Extracted]] = {}
    for path in sorted(folder.glob("extracted.*.jsonl")):
        try:
            rows = [Extracted(**json.loads(line)) for line in path.read_bytes().split(b"\n") if line]
        except (ValueError, TypeError) as error:
            raise DataError(f"{path}: cannot be read ({error}); remove it and extract again") from error
        for row in rows:
            by_extractor.setdefault(f"extracted by {row.extractor}, prompt {row.prompt}", []).append(row)
    return dict(sorted(by_extractor.items()))


def with_extracted(answers: Iterable[Response], rows: Iterable[Extracted]) -> list[Response]:
    """Return answers whose texts are replaced by what was extracted from them.

    An answer in words from which nothing was extracted counts as empty; likelihoods and errors stay as they are.
    """
    texts: Mapping[str, Extracted] = {row.id: row for row in rows}
    changed = []
    for answer in answers:
        row = texts.get(answer.id)
        if answer.scores is not None or answer.error or answer.unanswered:
            changed.append(answer)
        elif row is None or row.error:
            changed.append(replace(answer, text=""))
        else:
            changed.append(replace(answer, text=row.text))
    return changed
