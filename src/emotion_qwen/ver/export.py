"""From accepted clips to files: our manifest, the release's JSON, LLaVA, ShareGPT, and a Hugging Face datasets folder.

Splits go by group, which is the source video unless a manifest names a larger one, so that no video and no person
tracked in it stands on both sides. What reviewers decided counts: rejected, flagged and disputed clips stay out, edits
are taken over. Every file is written whole or not at all; clips are linked, not copied, where the disk allows.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion_qwen.data.manifest import write_manifest
from emotion_qwen.errors import DataError
from emotion_qwen.files import staged, storage_error
from emotion_qwen.processing.chat import label_question
from emotion_qwen.records import Sample
from emotion_qwen.taxonomy import label_set
from emotion_qwen.ver.review.decisions import FILE, Decisions, Verdict
from emotion_qwen.ver.settings import BuildSettings, ExportSettings
from emotion_qwen.ver.store.table import BATCH, Row, arrow

if TYPE_CHECKING:
    from emotion_qwen.ver.pipeline import Build

MANIFEST = "manifest.jsonl"
QUESTIONS = {
    "en": ("Describe this clip: what can be seen and heard, and what does the person feel?", "Which signs tell you?"),
    "zh": ("请描述这段视频：能看到、听到什么，这个人有怎样的情绪？", "依据有哪些？"),
}
_SPLIT_COLUMNS = ("train", "validation", "test")
_FIELDS = ("body", "voice", "scene", "context", "reasoning", "description")


@dataclass(frozen=True)
class Entry:
    """An accepted clip, ready to be written: its row with descent, texts by language, split and verdict."""

    row: Row
    texts: dict[str, dict[str, Any]]
    split: str
    media: str
    verdict: Verdict | None


def split_of(group: str, settings: ExportSettings) -> str:
    """Return the split of a group: by hash, so that it stays the same however the set grows."""
    drawn = int(hashlib.sha256(group.encode("utf-8", "backslashreplace")).hexdigest()[:12], 16) / 16**12
    if drawn < settings.test:
        return "test"
    return "validation" if drawn < settings.test + settings.validation else "train"


def entries(build: Build) -> Iterator[Entry]:
    """Yield the accepted clips that no reviewer holds back, in order, one in memory at a time."""
    path = build.output / FILE
    verdicts = Decisions(path).verdicts() if path.is_file() else {}
    for row in build.evidence("listen", "describe", "check"):
        verdict = verdicts.get(row["clip"])
        if verdict is not None and not verdict.keep:
            continue
        texts: dict[str, dict[str, Any]] = {one: json.loads(row[one]) for one in build.settings.describe.languages}
        for language, fields in (verdict.edits if verdict else {}).items():
            texts.get(language, {}).update(fields)
        split = split_of(row["group"] or row["source_id"], build.settings.export)
        yield Entry(row, texts, split, f"clips/{row['media']}", verdict)


def export(build: Build) -> None:
    """Write all forms of a set.

    Raises:
        DataError: nothing was accepted.
        StorageError: the disk allows no more.
    """
    from emotion_qwen.ver.card import write_card

    out = build.output
    try:
        wanted = _link_clips(build)
        if not wanted:
            raise DataError(
                f"no clip was accepted, nothing is written; emotion-qwen ver stats {str(out)!r} tells the reasons"
            )
        write_manifest(samples(build), out / MANIFEST)
        for name, form in (("release.json", _release), ("llava.json", _llava), ("sharegpt.json", _sharegpt)):
            _write_list(out / name, (form(sample, out) for sample in samples(build)))
        _write_parquet(build)
        write_card(build)
        for old in (out / "clips").iterdir():
            if old.name not in wanted:
                old.unlink()  # last, so that no file of the set names a clip that is gone
    except OSError as error:
        raise storage_error(out, error) from error


def samples(build: Build) -> Iterator[Sample]:
    """Yield one conversation a clip and language: description, reasons, label."""
    for entry in entries(build):
        for language, texts in entry.texts.items():
            yield _sample(build.settings, build.output, entry, language, texts)


def _sample(settings: BuildSettings, out: Path, entry: Entry, language: str, texts: dict[str, Any]) -> Sample:
    labels = label_set(settings.describe.labels)
    label = texts["emotions"][0]
    named = labels.names(language)[labels.labels.index(label)]
    what, why = QUESTIONS[language]
    video = {"type": "video", "video": str(out / entry.media)}
    turns = (
        ([video, {"type": "text", "text": what}], texts["description"]),
        (why, texts["reasoning"]),
        (label_question(labels, language), named),
    )
    messages: list[dict[str, Any]] = []
    for asked, answer in turns:
        messages += [{"role": "user", "content": asked}, {"role": "assistant", "content": answer}]
    row = entry.row
    source = f"{row['source']} {row['start']:.3f}-{row['end']:.3f} s"
    return Sample(f"{row['clip']}/{language}", tuple(messages), {"emotion": label}, entry.split, source, row["license"])


def _link_clips(build: Build) -> set[str]:
    """Link the clips of the set, or copy them where the disk knows no links; return their names."""
    folder = build.output / "clips"
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {entry.row["media"] for entry in entries(build)}
    for name in sorted(wanted):
        source, target = build.clips / name, folder / name
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
    """Say whether a clip of the set is that of the build, and not one that was cut before with other settings."""
    one, other = source.stat(), target.stat()
    return os.path.samestat(one, other) or (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)


def _plain(sample: Sample, out: Path) -> tuple[str, list[tuple[str, str]]]:
    """Return the video's path below the set, and (role, text) of every turn with `<video>` where it stands."""
    video, turns = "", []
    for message in sample.messages:
        content = message["content"]
        if not isinstance(content, str):
            video = Path(content[0]["video"]).relative_to(out).as_posix()
            content = f"<video>\n{content[1]['text']}"
        turns.append((message["role"], content))
    return video, turns


def _release(sample: Sample, out: Path) -> Row:
    video, turns = _plain(sample, out)
    said = [{"role": role, "content": text} for role, text in turns]
    return {"id": sample.id, "video": video, "conversations": said}


def _llava(sample: Sample, out: Path) -> Row:
    video, turns = _plain(sample, out)
    said = [{"from": "human" if role == "user" else "gpt", "value": text} for role, text in turns]
    return {"id": sample.id, "video": video, "conversations": said}


def _sharegpt(sample: Sample, out: Path) -> Row:
    video, turns = _plain(sample, out)
    return {"id": sample.id, "messages": [{"role": r, "content": text} for r, text in turns], "videos": [video]}


def _write_list(path: Path, items: Iterator[Row]) -> None:
    """Write a JSON list, an item a line, whole or not at all."""
    with staged(path) as draft, draft.open("w", encoding="utf-8", errors="backslashreplace") as file:
        for number, item in enumerate(items):
            file.write((",\n" if number else "[\n") + json.dumps(item, ensure_ascii=False))
        file.write("\n]\n")


def flat(entry: Entry, languages: tuple[str, ...], root: Path) -> Row:
    """Return one row of the datasets folder: the clip with its whole descent, texts of each language side by side.

    The source's path begins at the folder of the videos, `root`: where that lies on a machine is nobody's business.
    """
    row = entry.row
    whole = Path(row["path"])
    path = (whole.relative_to(root) if whole.is_relative_to(root) else whole).as_posix()
    found: Row = {
        "clip": row["clip"], "video": entry.media, "split": entry.split,
        "emotion": entry.texts[languages[0]]["emotions"][0],
        "source": row["source"], "source_path": path, "license": row["license"], "group": row["group"],
        "start": row["start"], "end": row["end"], "first_frame": row["first_frame"], "frames": row["frames"],
        "copied": row["copied"], "people": row["people"], "speaker": row["speaker"], "tracks": row["tracks"],
        "words": row["words"], "prosody": row["prosody"], "teacher": row["teacher"], "read": row["read"],
        "second": row["second"], "rounds": row["rounds"], "objections": row["objections"], "known": row["known"],
        "reviews": json.dumps(
            [[one.reviewer, one.action, one.at] for one in (entry.verdict.decisions if entry.verdict else ())]
        ),
    }  # fmt: skip
    for language in languages:
        texts = entry.texts[language]
        found |= {f"{name}_{language}": texts[name] for name in _FIELDS}
        found[f"facial_cues_{language}"] = "\n".join(texts["facial_cues"])
        found[f"emotions_{language}"] = json.dumps(texts["emotions"])
        found |= {f"{name}_{language}": float(texts[name]) for name in ("valence", "arousal")}
    return found


def _write_parquet(build: Build) -> None:
    """Write one Parquet file a split, as Hugging Face datasets reads them; a split without clips has no file."""
    pyarrow, parquet = arrow(), arrow("pyarrow.parquet")
    folder = build.output / "data"
    languages, source = build.settings.describe.languages, Path(build.settings.source)
    root = source if source.is_dir() else source.parent
    writers: dict[str, Any] = {}
    held: dict[str, list[Row]] = {}
    schema = None

    with ExitStack() as stack:  # all files are put in place when all are complete

        def pour(split: str) -> None:
            table = pyarrow.Table.from_pylist(held.pop(split), schema=schema)
            if split not in writers:
                draft = stack.enter_context(staged(folder / f"{split}.parquet"))
                writers[split] = stack.enter_context(parquet.ParquetWriter(draft, schema))
            writers[split].write_table(table)

        for entry in entries(build):
            row = flat(entry, languages, root)
            schema = schema or pyarrow.schema([(name, _type(name, pyarrow)) for name in row])
            held.setdefault(entry.split, []).append(row)
            if len(held[entry.split]) == BATCH:
                pour(entry.split)
        for split in list(held):
            pour(split)
        for writer in writers.values():
            writer.close()
    for split in set(_SPLIT_COLUMNS) - set(writers):
        (folder / f"{split}.parquet").unlink(missing_ok=True)


def _type(name: str, pyarrow: Any) -> Any:
    if name in ("start", "end") or name.startswith(("valence_", "arousal_")):
        return pyarrow.float64()
    if name in ("first_frame", "frames", "people", "speaker", "rounds"):
        return pyarrow.int64()
    return pyarrow.bool_() if name == "copied" else pyarrow.string()
