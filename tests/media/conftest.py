from __future__ import annotations

from pathlib import Path

import pytest

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"


@pytest.fixture
def clips() -> Path:
    """Real clips beside the repository."""
    folder = DATA / "clips"
    if not folder.is_dir():
        pytest.skip(f"real clips are not here ({folder})")
    return folder
