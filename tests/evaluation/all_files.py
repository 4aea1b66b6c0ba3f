"""The writers of invented files for all tasks, in one table."""

from pathlib import Path

from emotion_qwen.evaluation.task import Task
from emotion_qwen.evaluation.tasks import TASKS

from . import affect_files, benchmark_files, general_files, own_files

BENCHMARKS = benchmark_files.WRITERS | affect_files.WRITERS | general_files.WRITERS
"""Task -> writer of its folder, for sets in the layouts of their owners."""
WRITERS = BENCHMARKS | own_files.WRITERS
"""The same for every task of the package."""


def with_wheels(name: str, folder: Path) -> tuple[Task, dict[str, str]]:
    """Return a task and its options; a task that needs emotion wheels gets invented ones, written to the folder."""
    task = TASKS[name]
    options = {"wheels": str(benchmark_files.write_wheels(folder))} if "wheels" in task.options else {}
    return task.with_options(**options), options
