"""The steps that decode, on Ray Data: on this machine, or on a cluster that is running.

Items go out in blocks, a shard of each step's table; what comes back is written to the same journal by this process, so
a run that is stopped is taken up at the item, and the tables are those of the local engine. Workers must see the source
videos and the output folder under the same paths. Calls to teachers stay in this process: they wait for a network and
not for a processor, and one process keeps the rate limit and the budget.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from types import ModuleType
from typing import Any

from emotion_qwen.errors import MissingPackage, RemoteError
from emotion_qwen.ver.engines import Outcome, Work, attempt
from emotion_qwen.ver.store.table import Postponed, Row

SHARD = 256
"""Items that are handed to Ray at once; so many are in memory at most."""


@dataclass(frozen=True)
class RayEngine:
    """Ray Data with `workers` workers of one processor each.

    Args:
        workers: how many items are done at a time.
        address: of a running cluster; "" starts Ray on this machine.
    """

    workers: int = 2
    address: str = ""

    def run(self, work: Work, items: Iterable[Row]) -> Iterator[Outcome]:
        """Do the items; see `Engine`.

        Raises:
            MissingPackage: Ray is not installed.
            RemoteError: the cluster does not answer.
        """
        ray = _ray()
        self._connect(ray)
        left = iter(items)
        while shard := list(islice(left, SHARD)):
            data = ray.data.from_items([{"item": json.dumps(item)} for item in shard])
            blocks = max(1, min(len(shard), 4 * self.workers))
            done = data.repartition(blocks).map(_do, fn_kwargs={"work": work}, concurrency=self.workers, num_cpus=1)
            for row in done.iter_rows():
                told = json.loads(row["outcome"])
                item = json.loads(row["item"])
                yield item, Postponed(told["postponed"]) if "postponed" in told else told["rows"]

    def _connect(self, ray: ModuleType) -> None:
        if ray.is_initialized():
            return
        options: dict[str, Any] = {"log_to_driver": False, "logging_level": "warning"}
        if not self.address:
            options |= {"num_cpus": self.workers, "include_dashboard": False}
        try:
            ray.init(address=self.address or None, **options)
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise RemoteError(
                f"Ray at {self.address or 'this machine'!r} does not answer ({' '.join(str(error).split())[:200]}); "
                "check --address, or leave it out to start Ray here"
            ) from error


def _do(row: dict[str, str], work: Work) -> dict[str, str]:
    """Do one item in a worker; rows travel as JSON, so that no column's type is guessed from the first block."""
    outcome = attempt(work, json.loads(row["item"]))
    told = {"postponed": str(outcome)} if isinstance(outcome, Postponed) else {"rows": outcome}
    return {"item": row["item"], "outcome": json.dumps(told, ensure_ascii=False)}


def _ray() -> ModuleType:
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise MissingPackage(
            "package 'ray' is not installed; --engine ray needs it: pip install 'emotion-qwen[scale]', or leave "
            "--engine out"
        ) from error
    return ray
