"""Files that file managers leave behind (`._clip.mp4`, `.Trash-1000/clip.mp4`, `__MACOSX/`) are no items of any set."""

from pathlib import Path

import pytest

from ..all_files import BENCHMARKS, with_wheels

LITTER = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X \xff\xfe"
"""The beginning of an AppleDouble file."""


def add_litter(folder: Path) -> int:
    """Leave a hidden file beside every file, another one in a folder like that of an unpacked archive, and a copy."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    for path in files:
        place = path.relative_to(folder)
        path.with_name(f"._{path.name}").write_bytes(LITTER)
        archived = folder / "__MACOSX" / place.with_name(f"._{path.name}")
        deleted = folder / ".Trash-1000" / "files" / place
        for copy, content in ((archived, LITTER), (deleted, path.read_bytes())):
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(content)
    return len(files)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_hidden_files_change_nothing(name, tmp_path):
    task, home = with_wheels(name, tmp_path / "wheels")[0], BENCHMARKS[name](tmp_path / "set")
    before, found = task.items(home, side=None), task.check(home)
    assert add_litter(home) and before
    after = task.items(home, side=None)
    assert [(item.id, item.answer, str(item.parts)) for item in after] == [
        (item.id, item.answer, str(item.parts)) for item in before
    ]
    assert task.check(home) == found
