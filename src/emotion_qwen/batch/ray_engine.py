"""Analyze clips on a Ray cluster: Ray Data hands groups of clips to processes with a model each, in order.

Every process reads the clips itself, so that all of them must be able to read the paths. Results come back to the
process that started the run and stores them, which makes resuming, failures and the order those of a single process.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.request import Request
from emotion_qwen.batch.folder import Result, analyze_all
from emotion_qwen.batch.sharding import TOGETHER
from emotion_qwen.errors import SettingsError
from emotion_qwen.extras import connected_ray, optional


class ClipActor:
    """A process with a model: analyzes one group of clips after another.

    Args:
        options: of `Analyzer.load`.
        request: the options of the run.
    """

    def __init__(self, options: dict[str, Any], request: Request) -> None:
        self.analyzer, self.request = Analyzer.load(**options), request

    def __call__(self, batch: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the results of the files in `batch["file"]`, in order, as `batch["result"]`.

        A separate process reads the clips, so that a clip that crashes it fails without affecting others.
        """
        files = [Path(str(file)) for file in batch["file"]]
        results = [result for _, result in analyze_all(self.analyzer, files, self.request, workers=1)]
        column = np.empty(len(results), dtype=object)
        column[:] = results
        return {"result": column}


def analyze_on_ray(
    options: dict[str, Any], files: Sequence[Path], request: Request, replicas: int | None, address: str | None = None
) -> Iterator[tuple[Path, Result]]:
    """Analyze files on a Ray cluster.

    Args:
        options: of `Analyzer.load`.
        files: to analyze; every process of the cluster must be able to read them by these paths.
        request: the options of the run.
        replicas: number of processes with a model; None is one per GPU of the cluster, or one.
        address: of a running cluster, such as "auto" or "ray://HOST:10001"; None starts one on this machine.

    Yields:
        Every file in order, with its analysis or error.

    Raises:
        MissingPackage: ray is not installed.
        RemoteError: the cluster does not answer, or does not start in time.
        SettingsError: the request has a speech recogniser, which cannot be sent to other processes.
    """
    optional("ray", "scale")
    if request.sources is not None and request.sources.recognizer is not None:
        raise SettingsError("--transcribe cannot be sent to other processes; give --transcript files with --engine ray")
    if not files:
        return
    ray, data = connected_ray(address, "--ray-address"), optional("ray.data", "scale")
    gpus = int(ray.cluster_resources().get("GPU", 0)) if options.get("device", "auto") != "cpu" else 0
    data.DataContext.get_current().execution_options.preserve_order = True
    data.DataContext.get_current().enable_progress_bars = False
    groups = -(-len(files) // TOGETHER)
    rows = data.from_items([{"file": str(file.absolute())} for file in files], override_num_blocks=groups)
    results = rows.map_batches(
        ClipActor,
        fn_constructor_args=(options, request),
        batch_size=TOGETHER,
        concurrency=min(replicas or max(gpus, 1), groups),
        num_gpus=1 if gpus else 0,
        num_cpus=0 if gpus else 1,
    )
    for file, row in zip(files, results.iter_rows(), strict=True):
        yield file, row["result"]
