"""Whether a set was part of a model's training data, as far as that is stated.

For models of this project, the training facts beside the weights say so; for published ones, a table with the source.
Nothing is guessed: without a statement, the answer is "not known". A user's own statement takes precedence.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from emotion_qwen.evaluation.task import Task

UNKNOWN, TRAINED, NOT_STATED = "not known", "trained on this set", "not among its stated data"


@dataclass(frozen=True)
class StatedData:
    """Training data that the authors of a published model state.

    Attributes:
        sets: beginnings of names of tasks whose set was trained on, all or its training part.
        whole: whether the authors list all data, so that other sets are not among them.
        source: of the statement.
    """

    sets: tuple[str, ...]
    whole: bool
    source: str


PUBLISHED: dict[str, StatedData] = {
    "r1-omni": StatedData(("mafw", "dfew", "emer"), False, "arXiv 2503.05379, README: MAFW, DFEW and EMER"),
    "humanomni": StatedData(("dfew", "mafw"), False, "arXiv 2501.15111, README"),
    "videmo": StatedData(
        ("dfew", "mafw", "meld", "unibench_meld", "mer2023", "unibench_mer2023", "mosei", "unibench_mosei"), False,
        "arXiv 2511.02712: Emo-CFG contains DFEW, MAFW, MELD, MER2023 and MOSEI",
    ),
    "emo-r3": StatedData(("emoset",), False, "github.com/SeerRay-Lab/emo-r3: trained on EmoSet2k"),
    "affectgpt": StatedData((), False, "arXiv 2501.16566: MER-Caption+, of unlabelled clips of MER2024"),
}  # fmt: skip
"""Part of a model's name, in lower case -> what its authors state."""


def training_note(
    model: str, header: Mapping[str, Any], task: Task, stated: Mapping[str, Collection[str]] | None = None
) -> str:
    """Return whether a model was trained on the set of a task: TRAINED, NOT_STATED or UNKNOWN, with the source.

    Args:
        model: name of the model in tables.
        header: of the predictions.
        task: the task.
        stated: model -> names of tasks whose sets it was trained on, by the user.
    """
    if stated and model in stated:
        return f"{TRAINED if task.name in stated[model] else NOT_STATED} (stated by the user)"
    used = header.get("trained_on")
    if used:
        return f"{TRAINED if any(_reads(task, data) for data in used) else NOT_STATED} (training facts)"
    plain = re.sub(r"[\s_]+", "-", f"{model} {header.get('model', '')}".lower())
    for name, data in PUBLISHED.items():
        if name in plain:
            if any(task.name.startswith(start) for start in data.sets):
                return f"{TRAINED} ({data.source})"
            return f"{NOT_STATED if data.whole else UNKNOWN} ({data.source})"
    return UNKNOWN


def _reads(task: Task, data: str) -> bool:
    """Whether a task reads data of training facts: a file, or FILE:SOURCE for the rows of one source in it."""
    file, _, source = data.partition(":")
    read = getattr(task.source, "corpus", "") or getattr(task.source, "source", "")
    return file in re.findall(r"[\w.-]+\.(?:parquet|csv|json|jsonl)", task.needs) and (
        not read or read.startswith(source)
    )
