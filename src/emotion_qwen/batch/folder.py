"""Analyze many clips: prepared by worker processes, scored in shared batches, saved line by line, resumable.

A clip's line depends on the file (its name as given, size and modification time), the model's weights and dtype, label
set, language, prompt, budgets, and the user's options. A second run skips the clips that have a line; lines made with
other settings are refused, not mixed in.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from emotion_qwen.analysis.analyzer import Analysis, EmotionQwen
from emotion_qwen.analysis.features import FeatureFile, differing
from emotion_qwen.analysis.reader import ViewReader
from emotion_qwen.analysis.reasoning import Reasoning
from emotion_qwen.analysis.report import ABSTAIN_BELOW
from emotion_qwen.batch.preparation import Preparation, prepare_all, spare_workers
from emotion_qwen.errors import DataError, InferenceError, MediaError, printable
from emotion_qwen.files import append, json_line, locked, read_journal, write_whole
from emotion_qwen.media.clip import Sources
from emotion_qwen.media.speech import Recognizer
from emotion_qwen.prepare import PreparedClip
from emotion_qwen.records import PEOPLE
from emotion_qwen.views.render import as_json, rounded

TOGETHER = 16
"""Clips whose views share batches."""
FRAME_BYTES = 1 << 29
"""Fewer clips come together where their frames are larger than this."""
FEWEST = 4
"""With fewer clips, starting processes takes longer than it saves."""
FAULT_LENGTH = 300
"""Characters of a fault of the model that are told."""
SAVED_EVERY = 60.0
"""Seconds after which features are written again."""


Result = Analysis | MediaError | InferenceError
"""What was found in a clip, or why nothing could be."""


@dataclass(frozen=True)
class Request:
    """What is asked of every clip; the fields are arguments of `EmotionQwen.analyze`."""

    labels: str = "dfew7"
    language: str = "en"
    start: float | None = None
    end: float | None = None
    sources: Sources | None = None
    context: str = ""
    abstain_below: float = ABSTAIN_BELOW
    reasoning: Reasoning | None = None
    about: str = PEOPLE

    def made_by(self, analyzer: EmotionQwen) -> dict[str, Any]:
        """Return all that decides over a line besides the file, as JSON holds it."""
        options = {name: value for name, value in vars(self).items() if name not in ("labels", "sources", "reasoning")}
        options["reasoning"] = None if self.reasoning is None else asdict(self.reasoning)
        for name, value in vars(self.sources or analyzer.sources()).items():
            described = value.name if isinstance(value, Recognizer) else value
            options[name] = described if described is None or isinstance(described, bool | int) else str(described)
        return rounded({**analyzer.made_by(self.labels, self.language, self.about), "asked": options})


def analyze_all(
    analyzer: EmotionQwen, files: Sequence[Path], request: Request, workers: int | None = None
) -> Generator[tuple[Path, Result], None, None]:
    """Analyze many clips.

    Args:
        analyzer: the model.
        files: to analyze.
        request: what is asked.
        workers: processes that prepare clips; None chooses by the number of cores, 0 is none.

    Yields:
        Every file in order, with what was found or why nothing could be.

    Raises:
        EmotionQwenError: not the fault of one clip.
    """
    together = TOGETHER if len(files) >= FEWEST else 1
    if workers is None:
        # Finding faces and the model already share two cores by threads; processes pay off on those beyond them.
        workers = spare_workers() if together > 1 else 0
    sources = request.sources or analyzer.sources()
    if sources.recognizer is not None:
        workers = 0  # a loaded recogniser stays in its process
    how = Preparation(analyzer.detector, analyzer.budget, sources, request.start, request.end)
    before = torch.get_num_threads()
    # Threads wait for each other at every step; one that has no core of its own would hold up the others.
    torch.set_num_threads(max(1, min(before, (os.cpu_count() or 1) - workers)))
    prepared = prepare_all(files, how, workers, ahead=together)
    reader = analyzer.reader(request.labels, request.language, request.about)

    def read(clips: Sequence[PreparedClip]) -> list[Analysis | MediaError]:
        return analyzer.read(
            reader, clips, request.labels, request.language, context=request.context,
            abstain_below=request.abstain_below, reasoning=request.reasoning, about=request.about,
        )  # fmt: skip

    try:
        for group in _groups(prepared, together):
            clips = [clip for _, clip in group if isinstance(clip, PreparedClip)]
            results = iter(_isolated(read, reader, clips))
            for file, clip in group:
                yield file, next(results) if isinstance(clip, PreparedClip) else clip
    finally:
        prepared.close()
        torch.set_num_threads(before)


def _isolated(
    read: Callable[[Sequence[PreparedClip]], list[Analysis | MediaError]],
    reader: ViewReader,
    clips: Sequence[PreparedClip],
) -> list[Result]:
    """Analyze clips together; where the model fails, in halves, down to the one clip whose error it is."""
    if not clips:
        return []
    try:
        return list(read(clips))
    except torch.AcceleratorError:
        raise  # after it the device does nothing more in this process
    except (RuntimeError, MemoryError) as error:  # of PyTorch also where a device's memory is full
        fault = " ".join(f"{type(error).__name__}: {error}".split())[:FAULT_LENGTH]
    # Out of the handler, so that the error no longer holds the batch in memory.
    reader.forget()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    if len(clips) == 1:
        return [
            InferenceError(
                f"{clips[0].clip.source!r}: the model failed at this clip ({fault}); shorten it (--start, --end) if "
                "it takes too much memory, or use another --device"
            )
        ]
    middle = len(clips) // 2
    return [*_isolated(read, reader, clips[:middle]), *_isolated(read, reader, clips[middle:])]


def _groups(prepared: Iterator[tuple[Path, Any]], together: int) -> Iterator[list[tuple[Path, Any]]]:
    group: list[tuple[Path, Any]] = []
    size = 0
    for file, clip in prepared:
        group.append((file, clip))
        size += clip.shown.frames.nbytes if isinstance(clip, PreparedClip) else 0
        if len(group) == together or size > FRAME_BYTES:
            yield group
            group, size = [], 0
    if group:
        yield group


def file_facts(file: Path) -> dict[str, Any]:
    """Return what tells a file from another state of it."""
    state = file.stat()
    return {"source": printable(file), "bytes": state.st_size, "modified": state.st_mtime_ns}


class Results:
    """Where results are kept: a file of lines, a file of features, both, or none.

    Args:
        made: from `Request.made_by`.
        output: file of lines, gone on with if it is there; None keeps none.
        features: file of features, gone on with if there is an `output`; None keeps none.

    Raises:
        DataError: one of the files was made otherwise, or holds something else.
        StorageError: another run writes to one of the files, until it calls `close` or ends.
    """

    def __init__(self, made: dict[str, Any], output: Path | None, features: Path | None) -> None:
        self.made, self.output = made, output
        with ExitStack() as locks:
            for path in filter(None, (output, features)):
                locks.enter_context(locked(path))
            self.features = FeatureFile(features, made, resume=output is not None) if features else None
            self.lines = _read_lines(output, made) if output else {}
            self._held = locks.pop_all()
        self._saved = time.monotonic()
        self._facts: dict[Path, dict[str, Any]] = {}  # from before the clips are read: they may change meanwhile

    def waiting(self, files: Sequence[Path]) -> list[Path]:
        """Return the files that have no result yet, and take out of the output what will be made anew.

        Those are half lines, failures, and lines of files that have changed or whose features are missing.
        """
        self._facts = {file: file_facts(file) for file in files}
        if self.output is None:
            return list(files)
        left = []
        for file, facts in self._facts.items():
            there = self.features is None or self.features.holds(facts)
            earlier = self.lines.get(facts["source"])
            if earlier is None or earlier[0] != facts or not there:
                self.lines.pop(facts["source"], None)
                left.append(file)
        text = b"".join(line for _, line in self.lines.values())
        if not self.output.exists() or self.output.read_bytes() != text:
            write_whole(self.output, text)
        return left

    def add(self, file: Path, result: Result) -> None:
        """Keep one result completely, or not at all.

        Raises:
            StorageError: the disk allows no more; the lines before are complete.
        """
        if not isinstance(result, Analysis):
            self._write(json_line({"source": printable(file), "error": printable(str(result))}))
            return
        facts = self._facts[file]
        if self.features is not None:
            self.features.add(facts, result.features)
            if time.monotonic() - self._saved > SAVED_EVERY:
                self.save()
        added = {"asked": self.made["asked"], "file": {name: facts[name] for name in ("bytes", "modified")}}
        report = replace(result.report, source=facts["source"], provenance={**result.report.provenance, **added})
        self._write(as_json(report) + "\n")

    def save(self) -> None:
        """Write the features."""
        if self.features is not None:
            self.features.save()
            self._saved = time.monotonic()

    def close(self) -> None:
        """Write the features, and let other runs write to the files."""
        with self._held:
            self.save()

    def _write(self, line: str) -> None:
        if self.output is not None:
            append(self.output, line)


def _read_lines(path: Path, made: dict[str, Any]) -> dict[str, tuple[dict[str, Any], bytes]]:
    """Read the reports of an output file: source -> (facts of the file, line). Failures and half lines are left out."""
    lines: dict[str, tuple[dict[str, Any], bytes]] = {}
    other: list[str] = []
    for number, (_, line) in enumerate(read_journal(path), 1):
        try:
            report = json.loads(line)
            if set(report) == {"source", "error"}:
                continue
            facts, source = report["provenance"], report["source"]
            file = {"source": source, **facts["file"]}
        except (ValueError, TypeError, KeyError) as error:
            raise DataError(
                f"{path}, line {number}: not a line of `analyze --output` ({error!r}); give another --output"
            ) from error
        if difference := differing(made, facts):
            other.append(f"line {number}, {source!r}: {difference}")
        lines[source] = file, line + b"\n"
    if other:
        raise DataError(
            f"{str(path)!r} holds {len(other)} lines made otherwise ({other[0]}); give another --output or remove it"
        )
    return lines
