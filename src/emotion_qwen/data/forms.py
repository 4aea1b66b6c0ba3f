"""Read the data of other emotion systems: EmoVerse, AMT (five tasks), Emo-CFG, EmoCue cues, ECF and RECCON.

Unreadable data are faults with their place and never become an answer: a reply without a label is not neutral, an
unknown label is not the first of a list, and a row without causes is kept, so that false causes are penalised.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from emotion_qwen.data.conversations import SHAREGPT, json_records, messages_of
from emotion_qwen.data.dialogues import (
    NONE,
    Dialogue,
    dialogue_of_ecf,
    dialogue_of_reccon,
    dialogues_of_reccon,
    pairs_text,
    read_pairs,
)
from emotion_qwen.data.faults import Fault
from emotion_qwen.data.import_options import Found, ImportOptions
from emotion_qwen.data.labelled import matched
from emotion_qwen.errors import DataError, unknown_choice
from emotion_qwen.matching.answer import match_label
from emotion_qwen.questions import account_question, label_question
from emotion_qwen.records import EVOKED, Sample
from emotion_qwen.taxonomy import label_set

EMOVERSE_LABELS = "mikels8"
TRIPLET = ("background", "attribute", "subject")
TASKS = {
    "MSA": "sentiment", "MER": "emotion in a conversation", "FER": "emotion of a face", "ERI": "reason of an emotion",
    "ECPE": "pairs of emotion and cause",
}  # fmt: skip
"""AMT's five tasks."""
SENTIMENTS = ("negative", "neutral", "positive")
CUES = ("visual", "auditory", "emotional")
"""Kinds of cues, as distinguished by EmoCue-360."""
Make = Callable[[str, dict[str, Any], Path, ImportOptions], Sample]


def read_emoverse(source: Path, options: ImportOptions) -> Iterator[Found]:
    """Read EmoVerse records: a picture with a description, an emotion of Mikels' eight, a triplet and boxes."""
    return _read(source, options, _emoverse)


def read_amt(source: Path, options: ImportOptions) -> Iterator[Found]:
    """Read lines of AMT: `query`, `response`, `videos` or `images`, and optionally `task`."""
    return _read(source, options, _amt)


def read_emocfg(source: Path, options: ImportOptions) -> Iterator[Found]:
    """Read lines of Emo-CFG: `messages`, `videos`, `labels`, `source`; a model's `response` is never the answer."""
    return _read(source, options, _emocfg)


def read_emocue(source: Path, options: ImportOptions) -> Iterator[Found]:
    """Read clips with cues: `video`, `cues` (visual, auditory, emotional), `description`, `subtitle`, `emotion`."""
    return _read(source, options, _emocue)


def read_ecf(source: Path, options: ImportOptions) -> Iterator[Found]:
    """Read conversations of ECF with their pairs of emotion and cause."""
    return _read(
        source, options, lambda _, record, path, chosen: dialogue_sample(dialogue_of_ecf(record), path, chosen)
    )


def read_reccon(source: Path, options: ImportOptions) -> Iterator[Found]:
    """Read RECCON's object of dialogues.

    Raises:
        DataError: the file is no such object.
    """
    try:
        records = json.loads(source.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"{str(source)!r} is not JSON ({error}); correct the file") from error
    for number, (identity, turns) in enumerate(dialogues_of_reccon(records), 1):

        def make(identity: str = identity, turns: Any = turns) -> Sample:
            return dialogue_sample(dialogue_of_reccon(identity, turns), source, options)

        yield options.attempt(make, number, identity, turns, source)


def dialogue_sample(whole: Dialogue, source: Path, options: ImportOptions) -> Sample:
    """Return the question about all pairs of a dialogue, with its answer; the dialogue is kept as a label."""
    question = {"role": "user", "content": whole.question(options.language)}
    answer = {"role": "assistant", "content": pairs_text(whole.pairs)}
    return options.sample(whole.id, (question, answer), source, labels={"dialogue": whole.packed()})


def _read(source: Path, options: ImportOptions, make: Make) -> Iterator[Found]:
    for number, record in json_records(source):
        if isinstance(record, Fault):
            yield record
            continue
        named = record.get("id", record.get("conversation_ID")) if isinstance(record, dict) else None
        identity = str(named) if isinstance(named, str | int) and named != "" else f"{source.stem}-{number:06d}"
        yield options.attempt(partial(_made, make, identity, record, source, options), number, identity, record, source)


def _made(make: Make, identity: str, record: Any, source: Path, options: ImportOptions) -> Sample:
    if not isinstance(record, dict):
        raise DataError(f"the record is {type(record).__name__} {str(record)[:40]!r}; expected an object")
    return make(identity, record, source, options)


def _emoverse(identity: str, record: dict[str, Any], source: Path, options: ImportOptions) -> Sample:
    labels = label_set(EMOVERSE_LABELS)
    emotion = matched(_text(record, "emotion"), labels)
    picture = {"type": "image", "image": options.path(_text(record, "image_path"), source)}
    answer = labels.names(options.language)[labels.labels.index(emotion)]
    turns = [(label_question(labels, options.language, EVOKED), answer)]
    if description := str(record.get("description") or "").strip():
        turns.insert(0, (account_question(options.language), description))
    known = {"emotion": emotion, **_triplet(record)}
    if record.get("confidence") is not None:
        known["confidence"] = f"{_number(record['confidence'], 'confidence'):g}"  # the published scale is not uniform
    if record.get("bbox"):
        known["boxes"] = json.dumps([_box(box, f"bbox[{place}]") for place, box in enumerate(record["bbox"])])
    if record.get("mask_path"):
        known["mask"] = _text(record, "mask_path")
    return options.sample(identity, _turns(turns, [picture]), source, labels=known)


def _triplet(record: dict[str, Any]) -> dict[str, str]:
    """Return the known parts of background, attribute and subject; an unknown one is left out."""
    parts = {name: str(record[name]).strip() for name in TRIPLET if record.get(name)}
    joined = [part.strip() for part in str(record.get("B-A-S") or "").split("-")]
    return parts or (dict(zip(TRIPLET, joined, strict=True)) if len(joined) == 3 and all(joined) else {})


def _box(box: Any, place: str) -> dict[str, float]:
    if not isinstance(box, dict) or set(box) != {"x1", "y1", "x2", "y2"}:
        raise DataError(f"{place} is {box!r}; expected an object of x1, y1, x2, y2")
    values = {name: _number(value, f"{place}.{name}") for name, value in box.items()}
    if values["x1"] >= values["x2"] or values["y1"] >= values["y2"]:
        raise DataError(f"{place} is {box!r}; expected x1 < x2 and y1 < y2")
    return values


def _amt(identity: str, record: dict[str, Any], source: Path, options: ImportOptions) -> Sample:
    query, response = _text(record, "query"), record.get("response")
    if not isinstance(response, str):
        raise DataError(f"response is {response!r}; expected text")
    task = _task(record, query, response)
    known = {"task": task}
    word = response.strip().rstrip(".。").strip()
    if task == "ECPE":
        if read_pairs(response) is None:
            raise DataError(f"response {response[:60]!r}; expected pairs such as 3_surprise,1;3_surprise,3")
        response = response.strip() or NONE
    elif task == "MSA":
        if word.lower() not in SENTIMENTS:
            raise DataError(unknown_choice("sentiment", word, SENTIMENTS))
        known["sentiment"] = word.lower()
    elif task in ("MER", "FER"):
        known["emotion"] = matched(word, label_set(options.labels))
    turns = [{"role": "user", "content": query}, {"role": "assistant", "content": response}]
    return options.sample(identity, _bound(record, turns, source, options), source, labels=known)


def _task(record: dict[str, Any], query: str, response: str) -> str:
    """Return the task that a line names, else the one inferred from its form."""
    if (named := record.get("task")) is not None:
        if named not in TASKS:
            raise DataError(unknown_choice("task", str(named), TASKS))
        return str(named)
    word = response.strip().rstrip(".。")
    if read_pairs(response) or not word:
        return "ECPE"
    if "<emotion>" in query:
        return "MER"
    if len(word.split()) == 1:
        return "FER" if record.get("images") else "MSA"
    return "ERI"


def _emocfg(identity: str, record: dict[str, Any], source: Path, options: ImportOptions) -> Sample:
    turns = record.get("messages")
    if not isinstance(turns, list) or not turns:
        raise DataError(f"messages is {type(turns).__name__}; expected a list of turns")
    answered = isinstance(turns[-1], dict) and turns[-1].get("role") == "assistant"
    right = record.get("labels")
    if isinstance(right, str) and right.strip():
        turns = [*(turns[:-1] if answered else turns), {"role": "assistant", "content": right}]
    elif not answered:
        raise DataError("no answer: neither labels nor a last turn of the assistant; a model's response is none")
    known = {"question": str(record["source"])} if record.get("source") else {}
    return options.sample(identity, _bound(record, turns, source, options), source, labels=known)


def _emocue(identity: str, record: dict[str, Any], source: Path, options: ImportOptions) -> Sample:
    cues = record.get("cues")
    if not isinstance(cues, dict) or not set(cues) <= set(CUES):
        raise DataError(f"cues is {str(cues)[:60]!r}; expected an object with any of {', '.join(CUES)}")
    for kind, values in cues.items():
        if not isinstance(values, list) or not all(isinstance(value, str) and value.strip() for value in values):
            raise DataError(f"cues.{kind} is {str(values)[:60]!r}; expected a list of texts")
    every = [cue for kind in CUES for cue in cues.get(kind, ())]
    text = str(record.get("description") or "").strip() or _paragraph(every, options.language)
    if not text:
        raise DataError("neither a cue nor a description; expected at least one")
    known = {"cues": json.dumps(cues, ensure_ascii=False)}
    if record.get("subtitle"):
        known["subtitle"] = _text(record, "subtitle")
    if record.get("emotion"):
        label = match_label(_text(record, "emotion"), label_set(options.labels))
        known |= {"emotion": label} if label else {"emotion_words": _text(record, "emotion")}
    video = {"type": "video", "video": options.path(_text(record, "video"), source)}
    return options.sample(identity, _turns([(account_question(options.language), text)], [video]), source, labels=known)


def _paragraph(cues: list[str], language: str) -> str:
    stop, joint = (". ", "") if language == "en" else ("。", "")
    return joint.join(cue if cue[-1] in ".!?。！？" else cue + stop for cue in cues).strip()


def _bound(
    record: dict[str, Any], turns: list[Any], source: Path, options: ImportOptions
) -> tuple[dict[str, Any], ...]:
    """Return messages with the media of a record in their places."""

    def resolve(value: Any, kind: str) -> str:
        if not isinstance(value, str) or not value:
            raise DataError(f"{kind} is {value!r}; expected a path")
        return options.path(value, source)

    media = {key: record[key] for key in ("images", "videos") if record.get(key)}
    return messages_of({"messages": turns, **media}, SHAREGPT, resolve)


def _turns(turns: list[tuple[str, str]], media: list[dict[str, str]]) -> tuple[dict[str, Any], ...]:
    messages: list[dict[str, Any]] = []
    for number, (question, answer) in enumerate(turns):
        content: Any = question if number else [*media, {"type": "text", "text": question}]
        messages += [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]
    return tuple(messages)


def _text(record: dict[str, Any], key: str) -> str:
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise DataError(f"{key} is {value!r}; expected text")
    return value.strip()


def _number(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{name} is {value!r}; expected a number")
    return float(value)
