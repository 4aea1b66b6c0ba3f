"""Write a manifest in the form of another emotion system; the inverse of `forms`.

A sample that does not fit a format is left out and counted with its reason. Media paths are relative to the written
file.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from emotion_qwen.data.dialogues import (
    Dialogue,
    ecf_of_dialogue,
    pairs_text,
    read_pairs,
    reccon_of_dialogue,
    said,
)
from emotion_qwen.data.forms import TRIPLET
from emotion_qwen.data.manifest import read_manifest
from emotion_qwen.data.rules import content_parts
from emotion_qwen.errors import DataError, unknown_choice
from emotion_qwen.files import write_whole
from emotion_qwen.records import Sample

Records = Iterator[dict[str, Any]]


def export_manifest(
    kind: str, manifest: str | Path, output: str | Path, split: str | None = None
) -> tuple[int, dict[str, str]]:
    """Write the samples of a manifest in another form.

    Args:
        kind: a key of `WRITERS`.
        manifest: the manifest.
        output: the file to write; it must not exist.
        split: write only samples of this split; None writes all.

    Returns:
        The number of records written, and the reason for each sample that was left out, by its id.

    Raises:
        DataError: unknown kind, the output exists, or no sample fits.
    """
    if kind not in WRITERS:
        raise DataError(unknown_choice("form", kind, WRITERS))
    output = Path(output)
    if output.exists():
        raise DataError(f"{str(output)!r} exists already; remove it, or name another file")
    records: list[Any] = []
    left_out: dict[str, str] = {}
    for sample in read_manifest(manifest, split=split):
        try:
            records += list(WRITERS[kind](sample, output.parent))
        except DataError as error:
            left_out[sample.id] = str(error)
    if not records:
        first = next(iter(left_out.items()), ("", "the manifest is empty"))
        raise DataError(f"no sample of {str(manifest)!r} fits the form {kind!r}; the first, {first[0]!r}: {first[1]}")
    write_whole(output, _text_of(kind, records))
    return len(records), left_out


def _text_of(kind: str, records: list[Any]) -> str:
    if kind == "reccon":
        return (
            json.dumps({key: value for record in records for key, value in record.items()}, ensure_ascii=False) + "\n"
        )
    if kind in ("ecf", "emoverse"):
        return "[\n" + ",\n".join(json.dumps(record, ensure_ascii=False) for record in records) + "\n]\n"
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def _emoverse(sample: Sample, root: Path) -> Records:
    pictures = _media(sample, root)["images"]
    if len(pictures) != 1 or "emotion" not in sample.labels:
        raise DataError("expected one picture and an emotion")
    labels = sample.labels
    record: dict[str, Any] = {"id": sample.id, "image_path": pictures[0], "emotion": labels["emotion"]}
    if len(answers := _answers(sample)) > 1:
        record["description"] = answers[0]
    if "confidence" in labels:
        record["confidence"] = float(labels["confidence"])
    record |= {name: labels[name] for name in TRIPLET if name in labels}
    if all(name in labels for name in TRIPLET):
        record["B-A-S"] = "-".join(labels[name] for name in TRIPLET)
    if "boxes" in labels:
        record["bbox"] = json.loads(labels["boxes"])
    yield record | ({"mask_path": labels["mask"]} if "mask" in labels else {})


def _amt(sample: Sample, root: Path) -> Records:
    if "dialogue" in sample.labels:
        yield from _cause_queries(Dialogue.unpacked(sample.labels["dialogue"]))
        return
    turns = _plain_turns(sample)
    if [role for role, _ in turns] != ["user", "assistant"]:
        raise DataError("expected one question and one answer")
    task, response = sample.labels.get("task"), turns[1][1]
    if task == "ECPE" and not read_pairs(response):
        response = ""
    record: dict[str, Any] = {"id": sample.id, "query": turns[0][1], "response": response}
    yield record | ({"task": task} if task else {}) | _filled(_media(sample, root))


def _cause_queries(whole: Dialogue) -> Records:
    """Yield one query per utterance with an emotion; the candidates include the target itself."""
    lines = [f"{n}_{line.emotion or 'neutral'}. {said(line)}" for n, line in enumerate(whole.lines, 1)]
    for number, line in enumerate(whole.lines, 1):
        if line.emotion in ("", "neutral"):
            continue
        causes = [f"{pair.target}_{pair.emotion},{pair.cause}" for pair in whole.pairs if pair.target == number]
        candidates = ", ".join(map(str, range(1, number + 1)))
        query = f"{chr(10).join(lines)}\nCandidates: {candidates}\nTarget: {number}_{line.emotion}"
        yield {"id": f"{whole.id}/{number}", "task": "ECPE", "query": query, "response": ";".join(causes)}


def _emocfg(sample: Sample, root: Path) -> Records:
    turns, media = _plain_turns(sample), _media(sample, root)
    record = {
        "id": sample.id, "messages": [{"role": role, "content": text} for role, text in turns],
        "labels": turns[-1][1], **_filled(media),
    }  # fmt: skip
    yield record | ({"source": sample.labels["question"]} if "question" in sample.labels else {})


def _emocue(sample: Sample, root: Path) -> Records:
    videos = _media(sample, root)["videos"]
    if len(videos) != 1 or "cues" not in sample.labels:
        raise DataError("expected one video and cues")
    labels = sample.labels
    record = {
        "id": sample.id,
        "video": videos[0],
        "description": _answers(sample)[0],
        "cues": json.loads(labels["cues"]),
    }
    if emotion := labels.get("emotion", labels.get("emotion_words")):
        record["emotion"] = emotion
    yield record | ({"subtitle": labels["subtitle"]} if "subtitle" in labels else {})


def _ecf(sample: Sample, root: Path) -> Records:
    yield ecf_of_dialogue(_dialogue(sample))


def _reccon(sample: Sample, root: Path) -> Records:
    yield {sample.id: reccon_of_dialogue(_dialogue(sample))}


WRITERS: dict[str, Callable[[Sample, Path], Records]] = {
    "emoverse": _emoverse, "amt": _amt, "emocfg": _emocfg, "emocue": _emocue, "ecf": _ecf, "reccon": _reccon,
}  # fmt: skip


def _dialogue(sample: Sample) -> Dialogue:
    if "dialogue" not in sample.labels:
        raise DataError("expected a dialogue with pairs of emotion and cause, as ecf and reccon import it")
    whole = Dialogue.unpacked(sample.labels["dialogue"])
    if pairs_text(whole.pairs) != sample.messages[-1]["content"]:
        raise DataError("the answer differs from the pairs of the dialogue; correct one of them")
    return whole


def _answers(sample: Sample) -> list[str]:
    return [text for role, text in _plain_turns(sample) if role == "assistant"]


def _plain_turns(sample: Sample) -> list[tuple[str, str]]:
    """Return (role, text) of every turn, media as placeholders."""
    turns = []
    for message in sample.messages:
        parts = content_parts(message["content"])
        text = "".join(part["text"] if part["type"] == "text" else f"<{part['type']}>\n" for part in parts)
        turns.append((message["role"], text))
    return turns


def _media(sample: Sample, root: Path) -> dict[str, list[str]]:
    """Return "images" and "videos" -> paths from the folder of the written file."""
    media: dict[str, list[str]] = {"images": [], "videos": []}
    for message in sample.messages:
        for part in content_parts(message["content"]):
            if part["type"] != "text":
                path = os.path.relpath(part[part["type"]], os.path.abspath(root))
                media[f"{part['type']}s"].append(Path(path).as_posix())
    return media


def _filled(media: dict[str, list[str]]) -> dict[str, list[str]]:
    return {kind: paths for kind, paths in media.items() if paths}
