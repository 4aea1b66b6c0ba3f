"""What analyzes the clips of `analyze`: this process, copies of it, or a Ray cluster; and which clips are left."""

from __future__ import annotations

import sys
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

from emotion_qwen.batch.addresses import Addresses
from emotion_qwen.batch.following import Following
from emotion_qwen.batch.sharding import Shard
from emotion_qwen.batch.view_files import ViewFiles
from emotion_qwen.errors import SettingsError


def copies(engine: dict[str, Any], output: Path | None, shard: Shard | None) -> int:
    """Return the number of processes that this one starts for copies of the model, with a part of the clips each.

    Raises:
        SettingsError: options that belong to another engine, or copies whose results nothing joins.
    """
    if engine["engine"] == "ray":
        return 1
    if engine["ray_address"] is not None:
        raise SettingsError("--ray-address belongs to --engine ray; add it, or leave the address out")
    count = engine["replicas"] or 1
    if count > 1 and (output is None or shard is not None):
        raise SettingsError("--replicas divides the clips by itself and joins them in --output; give it, no --shard")
    return count


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
