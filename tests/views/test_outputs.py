"""Every clip has its own files, whatever its name, and no input or other output is overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from emotion_qwen.cli import main
from emotion_qwen.errors import SettingsError
from emotion_qwen.views.outputs import check_outputs, view_names, view_path


def targets(*names: str) -> list[str]:
    files = [Path(name) for name in names]
    named = view_names(files)
    return [view_path(Path("out"), ".html", file, named).name for file in files]


def test_a_view_is_named_by_its_clip_where_that_is_enough():
    assert targets("a.mp4", "b.c.mov") == ["a.html", "b.c.html"]


@pytest.mark.parametrize(
    "names",
    [
        ("a.mp4", "a.mov", "a-1.mp4"),
        ("a.mp4", "a.mp4.mov", "a.mp4.mp4.mkv"),
        ("a.mp4", "A.MP4", "A.mov"),
        ("a.mp4", "a.html.mp4", "a.html.mov"),
        ("x/a.mp4", "y/a.mp4", "z/a.mov"),
        ("é.mp4", "e\u0301.mp4", "É.mov"),
        ("straße.mp4", "strasse.mp4"),
        ("a.mkv", "a.copy.mp4", "a.copy.copy.mkv"),
        ("a", "a.mp4", "a.b", "a.b.c"),
    ],
)
def test_no_two_clips_share_a_file_and_a_page_shares_none_with_a_copied_clip(names):
    made = targets(*names)
    pages = {name.casefold().replace("e\u0301", "é") for name in made}
    copies = {name.removesuffix(".html") + ".copy" for name in pages}
    assert len(pages) == len(names) and not copies & {name.removesuffix(".html") for name in pages}
    assert targets(*reversed(names)) == made[::-1], "whatever their order"


def test_files_added_later_take_no_name_that_was_given_before():
    before = targets("a.mp4", "b/c.mov", "d/c.mov")
    after = targets("0.mp4", "a.avi", "a.mov", "a.mp4", "b/c.mov", "c.mov", "d/c.mov")
    taken = {"a.mp4": before[0], "b/c.mov": before[1], "d/c.mov": before[2]}
    others = {name for place, name in enumerate(after) if place not in (3, 4, 6)}
    assert not others & set(taken.values())


def test_one_file_is_written_where_the_user_says(tmp_path):
    named = view_names([Path("a.mp4")])
    assert view_path(tmp_path / "x.html", ".html", Path("a.mp4"), named) == tmp_path / "x.html"
    assert view_path(tmp_path, ".html", Path("a.mp4"), named) == tmp_path / "a.html"
    assert (
        view_path(tmp_path / "frames", ".csv", Path("a.mp4"), named) == tmp_path / "frames" / "a.csv"
    )  # not there yet


def test_outputs_that_would_overwrite_an_input_or_each_other_are_refused(tmp_path):
    (tmp_path / "a.mp4").touch()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "a.mp4")
    files = [tmp_path / "a.mp4", tmp_path / "b.mp4"]
    check_outputs({"html": [tmp_path / "a.html"], "output": [tmp_path / "r.jsonl"]}, files)
    for name in ("a.mp4", "b.mp4", "link.mp4", "c/../a.mp4"):
        with pytest.raises(SettingsError, match=r"--picture '.*' is the analyzed file itself; choose another"):
            check_outputs({"picture": [tmp_path / name]}, files)
    with pytest.raises(SettingsError, match=r"--features and --output would both write '.*r\.jsonl'; give each"):
        check_outputs({"output": [tmp_path / "r.jsonl"], "features": [tmp_path / "r.jsonl"]}, files)


def test_an_output_that_is_a_folder_is_refused_in_one_line(tmp_path, capsys):
    Image.new("RGB", (64, 64)).save(tmp_path / "photo.png")
    assert main(["analyze", str(tmp_path / "photo.png"), "--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "is a folder or a device; expected the name of a file" in error
