"""Write accepted clips as a manifest, the release's JSON, LLaVA, ShareGPT, and a Hugging Face datasets folder.

Splits are assigned by group, which is the source video unless a manifest names a larger one, so that no video is in two
splits. Clips that reviewers rejected, flagged or disagree on are excluded, and those they restored are included.
Corrected texts, labels, valence, arousal and episodes replace those of the teacher, with the reviewer's name. Every
file is written completely or not at all; clips are linked rather than copied if the file system allows it.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any

from emotion_qwen.data.manifest import read_manifest, write_manifest
from emotion_qwen.errors import DataError
from emotion_qwen.files import staged, storage_error
from emotion_qwen.questions import label_question
from emotion_qwen.records import Sample
from emotion_qwen.taxonomy import label_set
from emotion_qwen.ver.card import write_card
from emotion_qwen.ver.settings import BuildSettings
from emotion_qwen.ver.store.columns import Row
from emotion_qwen.ver.store.corrections import CORRECTABLE
from emotion_qwen.ver.store.decisions import EDITABLE
from emotion_qwen.ver.store.entries import Entry, entries, texts_of
from emotion_qwen.ver.store.folder import SetFolder
from emotion_qwen.ver.store.table import write_rows

MANIFEST = "manifest.jsonl"
PAIRS = "preferences.jsonl"
"""Manifest of texts and labels that reviewers or the critic corrected; the label "rejected" is the replaced text."""
QUESTIONS = {
    "en": ("Describe this clip: what can be seen and heard, and what does the person feel?", "Which signs tell you?"),
    "zh": ("请描述这段视频：能看到、听到什么，这个人有怎样的情绪？", "依据有哪些？"),
}
_SPLITS = ("train", "validation", "test")
_DESCENT = (
    "license", "group", "start", "end", "first_frame", "frames", "copied", "people", "speaker", "tracks", "words",
    "prosody", "teacher", "read", "second", "rounds", "objections", "known", "verdict", "criticism",
)  # fmt: skip
_FIELDS = ("body", "voice", "scene", "context", "reasoning", "description")


def export(folder: SetFolder) -> None:
    """Write a set again with the decisions of reviewers; errors: see `write_set`, or a build is running there."""
    with folder.locked():
        write_set(folder)


def write_set(folder: SetFolder) -> None:
    """Write all formats of a set; the caller must hold the lock of the folder.

    Raises:
        DataError: nothing was accepted.
        StorageError: the disk is full.
    """
    out = folder.output
    try:
        wanted = _link_clips(folder)
        if not wanted:
            raise DataError(
                f"no clip was accepted, nothing is written; emotion-qwen ver stats {str(out)!r} shows the reasons"
            )
        write_manifest(samples(folder), out / MANIFEST)
        _write_pairs(folder)
        for name, form in (("release.json", _release), ("llava.json", _llava), ("sharegpt.json", _sharegpt)):
            _write_list(out / name, (form(sample, out) for sample in samples(folder)))
        _write_parquet(folder)
        write_card(folder)
        for old in (out / "clips").iterdir():
            if old.name not in wanted:
                old.unlink()  # last, so that no file of the set names a clip that is gone
    except OSError as error:
        raise storage_error(out, error) from error


def load_ver(path: str | Path, *, split: str | None = None, language: str | None = None) -> list[Sample]:
    """Read the conversations of a set built by `emotion-qwen ver build`, with absolute media paths.

    Args:
        path: folder of the set.
        split: "train", "validation" or "test"; None reads all.
        language: "en" or "zh"; None reads both.

    Raises:
        DataError: there is no set, it is damaged, or no conversation matches.

    Examples:
        >>> from emotion_qwen import load_ver
        >>> samples = load_ver("my-set", split="train", language="en")
        >>> samples[0].messages[1]["content"]  # the description of the first clip
    """
    manifest = Path(path) / MANIFEST
    if not manifest.is_file():
        raise DataError(f"{str(path)!r} holds no built set ({MANIFEST} is missing); run emotion-qwen ver build first")
    conversations = read_manifest(manifest, split=split)
    if language is not None:
        conversations = [sample for sample in conversations if sample.id.endswith(f"/{language}")]
        if not conversations:
            raise DataError(f"{str(path)!r}: no conversation in {language!r}; expected en or zh, as the set was built")
    return conversations


def samples(folder: SetFolder) -> Iterator[Sample]:
    """Yield one conversation per clip and language: description, reasons, label."""
    for entry in entries(folder):
        for language, texts in entry.texts.items():
            yield _sample(folder.settings, folder.output, entry, language, texts)


def pairs(folder: SetFolder) -> Iterator[Sample]:
    """Yield one conversation per text or label that reviewers or the critic corrected, for the stage `preference`.

    It ends with the corrected answer; the label "rejected" is the teacher's text. The id of a pair made by the critic
    ends with "/critic".
    """
    languages = folder.settings.describe.languages
    for entry in entries(folder):
        criticized = json.loads(entry.row.get("before") or "{}")
        sources = [("", texts_of(entry.row, languages))] if entry.corrected else []
        sources += [("/critic", texts_of(criticized, languages))] if criticized else []
        for mark, before in sources:
            for language, texts in entry.texts.items():
                whole = _sample(folder.settings, folder.output, entry, language, texts)
                yield from _pairs_of(whole, _answers(folder.settings, language, before[language]), mark)


def _pairs_of(whole: Sample, teacher: tuple[str, str, str], mark: str) -> Iterator[Sample]:
    """Yield a conversation up to each answer that differs from the teacher's."""
    for number, (written, name) in enumerate(zip(teacher, ("description", "reasoning", "label"), strict=True)):
        messages = whole.messages[: 2 * number + 2]
        if written.strip() and written != messages[-1]["content"]:
            labels = {**whole.labels, "rejected": written}
            yield replace(whole, id=f"{whole.id}/{name}{mark}", messages=messages, labels=labels)


def _write_pairs(folder: SetFolder) -> None:
    """Write the manifest of pairs; there is none if nothing was corrected."""
    corrected = list(pairs(folder))
    if corrected:
        write_manifest(corrected, folder.output / PAIRS)
    else:
        (folder.output / PAIRS).unlink(missing_ok=True)


def _answers(settings: BuildSettings, language: str, texts: dict[str, Any]) -> tuple[str, str, str]:
    """Return the three answers of a conversation; the label is "" for a clip without one of the set."""
    labels = label_set(settings.describe.labels)
    label = next(iter(texts["emotions"]), "")
    named = labels.names(language)[labels.labels.index(label)] if label in labels.labels else ""
    return texts["description"], texts["reasoning"], named


def _sample(settings: BuildSettings, out: Path, entry: Entry, language: str, texts: dict[str, Any]) -> Sample:
    labels = label_set(settings.describe.labels)
    label, (description, reasoning, named) = texts["emotions"][0], _answers(settings, language, texts)
    what, why = QUESTIONS[language]
    video = {"type": "video", "video": str(out / entry.media)}
    turns = (
        ([video, {"type": "text", "text": what}], description),
        (why, reasoning),
        (label_question(labels, language), named),
    )
    messages: list[dict[str, Any]] = []
    for question, answer in turns:
        messages += [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    row = entry.row
    source = f"{row['source']} {row['start']:.3f}-{row['end']:.3f} s"
    known = {"emotion": label, **_by_person(entry, language)}
    return Sample(f"{row['clip']}/{language}", tuple(messages), known, entry.split, source, row["license"])


def _by_person(entry: Entry, language: str) -> dict[str, str]:
    """Return people's corrections as labels of a sample: the values, the names of the fields, and the reviewers."""
    texts = {f"{name}_{language}": name for name in EDITABLE}
    fields = {texts.get(name, name): entry.corrected[name]["by"] for name in entry.corrected
              if name in CORRECTABLE or name in texts}  # fmt: skip
    known: dict[str, str] = {
        name: f"{entry.texts[language][name]:g}" for name in ("valence", "arousal") if name in fields
    }
    if "episodes" in fields:
        known["episodes"] = json.dumps(entry.episodes)
    if fields:
        known |= {"corrected": ", ".join(sorted(fields)), "corrected_by": ", ".join(sorted(set(fields.values())))}
    return known | ({"restored_after": entry.restored} if entry.restored else {})


def _link_clips(folder: SetFolder) -> set[str]:
    """Link the clips of the set, or copy them where the file system has no links; return their names."""
    clips = folder.output / "clips"
    clips.mkdir(parents=True, exist_ok=True)
    wanted = {entry.row["media"] for entry in entries(folder)}
    for name in sorted(wanted):
        source, target = folder.clips / name, clips / name
        if target.exists() and _same(source, target):
            continue
        with staged(target) as draft:
            draft.unlink()
            try:
                os.link(source, draft)
            except OSError:
                shutil.copy2(source, draft)
    return wanted


def _same(source: Path, target: Path) -> bool:
    """Return whether a clip of the set is that of the build, not one that was cut earlier with other settings."""
    first, second = source.stat(), target.stat()
    return os.path.samestat(first, second) or (first.st_size, first.st_mtime_ns) == (second.st_size, second.st_mtime_ns)


def _turns(sample: Sample, out: Path) -> tuple[str, list[tuple[str, str]]]:
    """Return the video's path below the set, and (role, text) of every turn with `<video>` in its place."""
    video, turns = "", []
    for message in sample.messages:
        content = message["content"]
        if not isinstance(content, str):
            video = Path(content[0]["video"]).relative_to(out).as_posix()
            content = f"<video>\n{content[1]['text']}"
        turns.append((message["role"], content))
    return video, turns


def _release(sample: Sample, out: Path) -> Row:
    video, turns = _turns(sample, out)
    return {"id": sample.id, "video": video, "conversations": [{"role": r, "content": text} for r, text in turns]}


def _llava(sample: Sample, out: Path) -> Row:
    video, turns = _turns(sample, out)
    names = {"user": "human", "assistant": "gpt"}
    return {"id": sample.id, "video": video, "conversations": [{"from": names[r], "value": t} for r, t in turns]}


def _sharegpt(sample: Sample, out: Path) -> Row:
    video, turns = _turns(sample, out)
    return {"id": sample.id, "messages": [{"role": r, "content": text} for r, text in turns], "videos": [video]}


def _write_list(path: Path, items: Iterator[Row]) -> None:
    """Write a JSON list, one item per line, completely or not at all."""
    with staged(path) as draft, draft.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for number, item in enumerate(items):
            file.write((",\n" if number else "[\n") + json.dumps(item, ensure_ascii=False))
        file.write("\n]\n")


def flat(entry: Entry, languages: tuple[str, ...], root: Path) -> Row:
    """Return one row of the datasets folder: the clip with its full provenance and the texts in each language.

    The source's path is relative to `root`, the folder of the videos, so that no path of this machine is published.
    """
    row = entry.row
    whole = Path(row["path"])
    path = (whole.relative_to(root) if whole.is_relative_to(root) else whole).as_posix()
    decisions = entry.verdict.decisions if entry.verdict else ()
    flattened: Row = {
        "clip": row["clip"], "video": entry.media, "split": entry.split,
        "emotion": entry.texts[languages[0]]["emotions"][0], "source": row["source"], "source_path": path,
        **{name: row.get(name) for name in _DESCENT},
        "episodes": None if entry.episodes is None else json.dumps(entry.episodes),
        "corrected": json.dumps(entry.corrected), "restored_after": entry.restored,
        "reviews": json.dumps([[decision.reviewer, decision.action, decision.at] for decision in decisions]),
    }  # fmt: skip
    for language in languages:
        texts = entry.texts[language]
        flattened |= {f"{name}_{language}": texts[name] for name in _FIELDS}
        flattened[f"facial_cues_{language}"] = "\n".join(texts["facial_cues"])
        flattened[f"emotions_{language}"] = json.dumps(texts["emotions"])
        flattened |= {f"{name}_{language}": float(texts[name]) for name in ("valence", "arousal")}
    return flattened


def _write_parquet(folder: SetFolder) -> None:
    """Write one Parquet file per split, as Hugging Face datasets reads them; a split without clips has no file."""
    data, languages, source = folder.output / "data", folder.settings.describe.languages, Path(folder.settings.source)
    root = source if source.is_dir() else source.parent
    with ExitStack() as stack:  # all files are put in place when all are complete
        for split in _SPLITS:
            rows = (flat(entry, languages, root) for entry in entries(folder) if entry.split == split)
            first = next(rows, None)
            if first is None:
                (data / f"{split}.parquet").unlink(missing_ok=True)
            else:
                draft = stack.enter_context(staged(data / f"{split}.parquet"))
                write_rows(draft, chain([first], rows), {name: _kind(name) for name in first})


def _kind(name: str) -> str:
    if name in ("start", "end") or name.startswith(("valence_", "arousal_")):
        return "number"
    if name in ("first_frame", "frames", "people", "speaker", "rounds"):
        return "count"
    return "flag" if name == "copied" else "text"
