"""Analyze many clips: workers prepare them, the model scores shared batches, and results are saved line by line.

A line depends on the file (its name as given, size and modification time), the model's weights and dtype, label set,
language, prompt, budgets, and the user's options. A second run skips clips that have a line; an output with lines made
with other settings is refused.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from emotion_qwen.analysis.analyzer import Analysis, Analyzer
from emotion_qwen.analysis.features import FeatureFile
from emotion_qwen.analysis.reader import ViewReader
from emotion_qwen.analysis.request import Request
from emotion_qwen.batch.preparation import Preparation, prepare_all, spare_workers
from emotion_qwen.batch.sharding import TOGETHER
from emotion_qwen.engine.endpoint import EndpointEngine
from emotion_qwen.errors import DataError, InferenceError, MediaError, printable
from emotion_qwen.files import append, differing, json_line, locked, read_journal, write_whole
from emotion_qwen.media.speech import Recognizer
from emotion_qwen.prepare import PreparedClip
from emotion_qwen.views.render import as_json, rounded

READING, ASKING = "reading frames and finding faces", "asking the model"
"""Stages of the work on a clip."""
FRAME_BYTES = 1 << 29
"""Bytes of frames per group of clips; with larger frames, groups are smaller."""
FEWEST = 4
"""Number of clips below which starting processes takes longer than it saves."""
FAULT_LENGTH = 300
"""Maximum number of characters shown of an error in the model."""
SAVED_EVERY = 60.0
"""Seconds between two writes of the features."""


Result = Analysis | MediaError | InferenceError
"""The analysis of a clip, or the error."""


def made_by(analyzer: Analyzer, request: Request) -> dict[str, Any]:
    """Return everything except the file that determines a line, as JSON values."""
    apart = ("labels", "sources", "reasoning", "examples")
    options = {name: value for name, value in vars(request).items() if name not in apart}
    if request.examples is not None:
        options["examples"] = request.examples.digest
    options["reasoning"] = None if request.thinking is None else asdict(request.thinking)
    for name, value in vars(request.sources or analyzer.sources()).items():
        described = value.name if isinstance(value, Recognizer) else value
        options[name] = described if described is None or isinstance(described, bool | int) else str(described)
    return rounded({**analyzer.made_by(request), "asked": options})


def analyze_all(
    analyzer: Analyzer,
    files: Sequence[Path],
    request: Request,
    workers: int | None = None,
    stage: Callable[[str], None] = lambda text: None,
) -> Generator[tuple[Path, Result], None, None]:
    """Analyze many clips.

    Args:
        analyzer: the model.
        files: to analyze.
        request: the options.
        workers: processes that prepare clips; None chooses by the number of cores, 0 uses none.
        stage: called with the next stage.

    Yields:
        Every file in order, with its analysis or error.

    Raises:
        EmotionQwenError: an error that is not specific to one clip.
    """
    together = TOGETHER if len(files) >= FEWEST else 1
    if workers is None:
        remote = isinstance(analyzer.engine, EndpointEngine)
        workers = spare_workers("service" if remote else analyzer.engine.device.type) if together > 1 else 0
    sources = request.sources or analyzer.sources()
    if sources.recognizer is not None:
        workers = 0  # a loaded recogniser cannot be sent to another process
    how = Preparation(analyzer.detector, analyzer.budget.at(request.fps), sources, request.start, request.end)
    before = torch.get_num_threads()
    # Threads synchronise at every step, so one without a core would delay the others.
    torch.set_num_threads(max(1, min(before, (os.cpu_count() or 1) - workers)))
    prepared = prepare_all(files, how, workers, ahead=together)
    reader = analyzer.reader(request)

    def read(clips: Sequence[PreparedClip]) -> list[Analysis | MediaError]:
        return analyzer.read(reader, clips, request)

    try:
        stage(READING)
        for group in _groups(prepared, together):
            stage(ASKING)
            clips = [clip for _, clip in group if isinstance(clip, PreparedClip)]
            results = iter(_isolated(read, reader, clips))
            for file, clip in group:
                yield file, next(results) if isinstance(clip, PreparedClip) else clip
            stage(READING)
    finally:
        prepared.close()
        torch.set_num_threads(before)


def _isolated(
    read: Callable[[Sequence[PreparedClip]], list[Analysis | MediaError]],
    reader: ViewReader,
    clips: Sequence[PreparedClip],
) -> list[Result]:
    """Analyze clips together; if the model fails, retry with halves, down to the clip that causes the error."""
    if not clips:
        return []
    try:
        return list(read(clips))
    except torch.AcceleratorError:
        raise  # after it, the device is unusable in this process
    except InferenceError as error:  # of a service, about one of the views
        if len(clips) == 1:
            return [InferenceError(f"{clips[0].clip.source!r}: {error}")]
        fault = ""
    except (RuntimeError, MemoryError) as error:  # PyTorch also raises it when a device runs out of memory
        fault = " ".join(f"{type(error).__name__}: {error}".split())[:FAULT_LENGTH]
    # Outside the handler, so that the error no longer keeps the batch in memory.
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
    """Return the facts that identify the current state of a file."""
    state = file.stat()
    return {"source": printable(file), "bytes": state.st_size, "modified": state.st_mtime_ns}


class Results:
    """Stores results in a file of lines, a file of features, both, or none.

    Args:
        made: from `made_by`.
        output: file of lines, continued if it exists; None for none.
        features: file of features, continued if there is an `output`; None for none.

    Raises:
        DataError: a file was made with other settings, or has another format.
        StorageError: another run is using one of the files.
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
        self._facts: dict[Path, dict[str, Any]] = {}  # from before the clips are read, as they may change

    def waiting(self, files: Sequence[Path]) -> list[Path]:
        """Return the files without a result, and remove lines from the output that will be made again.

        These are incomplete lines, failures, and lines of files that have changed or whose features are missing.
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
        """Store one result completely or not at all.

        Raises:
            StorageError: the disk is full; earlier lines are complete.
        """
        if not isinstance(result, Analysis):
            self._write(json_line({"source": printable(file), "error": printable(str(result))}))
            return
        facts = self._facts[file]
        if self.features is not None and result.features is not None:
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
        """Write the features and release the files for other runs."""
        with self._held:
            self.save()

    def _write(self, line: str) -> None:
        if self.output is not None:
            append(self.output, line)


def _read_lines(path: Path, made: dict[str, Any]) -> dict[str, tuple[dict[str, Any], bytes]]:
    """Read the reports of an output file: source -> (file facts, line). Failures and partial lines are left out."""
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
