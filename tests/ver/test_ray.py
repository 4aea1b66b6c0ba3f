"""The same build on Ray gives equal tables; without Ray one line says what to install."""

from __future__ import annotations

import importlib.util
import io
from functools import partial

import pytest
from rich.console import Console
from tests.ver.sets import faces, settings
from tests.ver.teachers import ServedTeacher

from emotion_qwen.errors import MissingPackage
from emotion_qwen.ver.pipeline import Build
from emotion_qwen.ver.pools import RayPool, local_pool

pytest.importorskip("scenedetect")
RAY = importlib.util.find_spec("ray") is not None


@pytest.mark.slow
@pytest.mark.skipif(not RAY, reason="ray is not installed (extra: scale)")
def test_two_ray_workers_give_the_tables_of_one_process(tmp_path):
    folder, tables = faces(tmp_path / "films"), []
    with ServedTeacher() as teacher:
        for name, pool in (("local", local_pool(1)), ("ray", partial(RayPool, count=2))):
            made = Build(settings(folder, tmp_path / name, teacher.url), pool, Console(file=io.StringIO()))
            made.run()
            tables.append({step: list(table.rows()) for step, table in made.tables.items()})
    assert tables[0] == tables[1] and len(tables[0]["check"]) == 3


@pytest.mark.skipif(RAY, reason="ray is installed")
def test_without_ray_one_line_says_what_to_install():
    with pytest.raises(MissingPackage, match=r"pip install 'emotion-qwen\[scale\]'"):
        RayPool(len)
