"""The parts of a run of `analyze`: its engine, the remaining clips, where pictures are sent, and the stored results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emotion_qwen.batch.addresses import Addresses
from emotion_qwen.batch.following import Following
from emotion_qwen.batch.sharding import Shard
from emotion_qwen.batch.view_files import ViewFiles
from emotion_qwen.errors import EmotionQwenError, InferenceError, MediaError, SettingsError, printable
from emotion_qwen.records import EmotionReport

if TYPE_CHECKING:
    from emotion_qwen.analysis.analyzer import Analyzer


def copies_of(engine: dict[str, Any], output: Path | None, shard: Shard | None) -> int:
    """Return the number of processes that this one starts for copies of the model, with a part of the clips each.

    Raises:
        SettingsError: options that belong to another engine, or copies whose results nothing joins.
    """
    if engine["engine"] == "ray":
        return 1
    if engine["ray_address"] is not None:
        raise SettingsError("--ray-address belongs to --engine ray; add it, or leave the address out")
    copies = engine["replicas"] or 1
    if copies > 1 and (output is None or shard is not None):
        raise SettingsError("--replicas divides the clips by itself and joins them in --output; give it, no --shard")
    return copies


def chosen_shard(text: str | None, output: Path | None, features: Path | None) -> Shard | None:
    """Return the part of the clips to analyze; None for all.

    Raises:
        SettingsError: it is no part, nothing stores its results, or parts would write one file of features.
    """
    if text is None:
        return None
    if output is None:
        raise SettingsError("--shard needs --output, in which the parts are joined")
    if features is not None:
        raise SettingsError("--features is one file, which parts cannot share; leave --shard out, or run it per part")
    return Shard.of(text)


def results_of(
    engine: dict[str, Any], options: dict[str, Any], analyzer: Any, files: Sequence[Path], request: Any,
    workers: int | None, shown: Following,
) -> Generator[tuple[Path, Any], None, None]:  # fmt: skip
    """Yield every file with its analysis or error, from this process or from a Ray cluster."""
    if engine["engine"] == "ray":
        from emotion_qwen.batch.ray_engine import analyze_on_ray

        yield from analyze_on_ray(options, files, request, engine["replicas"], engine["ray_address"])
        return
    from emotion_qwen.batch.folder import analyze_all

    yield from analyze_all(analyzer, files, request, workers, shown.stage)
    _tell_spent(analyzer)


def waiting_files(
    remote: Addresses | None, files: list[Path], results: Any, views: ViewFiles
) -> tuple[list[Path], int]:
    """Return the files without a result, after copying those at addresses, and the number of copies that failed."""
    if remote is None:
        return results.waiting(files), 0
    waiting = results.waiting(remote.fetch(files))
    for file, error in remote.failures.items():
        results.add(file, error)
        views.fail(file, error)
        print(f"error: {error}", file=sys.stderr, flush=True)
    return waiting, len(remote.failures)


def tell_remote(analyzer: Analyzer, clips: int, labels: int) -> None:
    """Print before a run where pictures are sent, and the maximum cost; nothing for a model on this machine."""
    from emotion_qwen.engine.endpoint import EndpointEngine

    engine = analyzer.engine
    if isinstance(engine, EndpointEngine):
        place, cost = engine.client.service.url, engine.cost(clips, labels)
        print(f"pictures of people are sent to {place}: {cost}", file=sys.stderr, flush=True)


def _tell_spent(analyzer: Analyzer) -> None:
    """Print after a run the requests to a service; nothing for a model on this machine."""
    from emotion_qwen.engine.endpoint import EndpointEngine

    if isinstance(analyzer.engine, EndpointEngine):
        spent = analyzer.engine.spent
        print(f"{spent.requests:,} requests with {spent.tokens:,} tokens", file=sys.stderr, flush=True)


def store_results(
    clips: Iterator[tuple[Path, Any]], analyzer: Any, request: Any, results: Any, views: ViewFiles,
    tell: Callable[[EmotionReport], None], tell_failure: Callable[[Path, EmotionQwenError], None],
) -> tuple[int, int]:  # fmt: skip
    """Store and print all results; return the number of failures, and of views that could not be saved."""
    from emotion_qwen.analysis.report import other_language

    failures = unsaved = 0
    for file, result in clips:
        if isinstance(result, MediaError | InferenceError):
            results.add(file, result)
            views.fail(file, result)
            failures += 1
            tell_failure(file, result)
            continue
        for warning in other_language(result.report.utterances, request.language):
            print(f"warning: {printable(file)!r}: {warning}", file=sys.stderr, flush=True)
        # Views come first, because a clip with a line in the output is not analyzed again.
        unsaved += len(views.save(analyzer, result.report, request, file))
        results.add(file, result)
        if results.output is None:
            tell(result.report)
    return failures, unsaved
