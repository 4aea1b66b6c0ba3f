"""Every settings file of the server is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

from emotion_qwen.serving.limits import ServeSettings
from emotion_qwen.settings import read_yaml

FILES = sorted((Path(__file__).parents[2] / "configs" / "serve").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_settings_file_is_taken(path):
    assert ServeSettings.of(read_yaml(path), path.name).slots > 0
