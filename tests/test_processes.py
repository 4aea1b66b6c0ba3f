"""The processes that tests fork."""

from __future__ import annotations

import importlib.util

import pytest
from tests.processes import PRELOADED, start_command


@pytest.mark.parametrize("name", PRELOADED)
def test_what_is_imported_before_the_fork_exists(name: str) -> None:
    """The fork server passes over a module that it cannot find, and every process would import everything anew."""
    assert importlib.util.find_spec(name)


def test_a_command_runs_with_its_own_output_and_exit_code(tmp_path) -> None:
    process = start_command(tmp_path / "log", "analyze", str(tmp_path / "missing.mp4"))
    assert process.wait(60) == 2 and "missing.mp4" in process.output()
