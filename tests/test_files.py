"""Files are complete or as before, lines are kept completely or taken back, and one output has one writer."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time

import pytest
from tests.disk import room

from emotion_qwen import files
from emotion_qwen.errors import StorageError
from emotion_qwen.files import (
    append,
    files_below,
    is_full,
    is_hidden,
    json_line,
    locked,
    read_journal,
    remove_drafts,
    staged,
    truncate_partial_line,
    write_whole,
)


def names(folder) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_file_is_written_with_its_folders_and_nothing_else_is_left(tmp_path):
    write_whole(tmp_path / "deep" / "a.json", b"1")
    write_whole(tmp_path / "deep" / "a.json", "愤怒\n")
    assert (tmp_path / "deep" / "a.json").read_text(encoding="utf-8") == "愤怒\n"
    assert names(tmp_path / "deep") == ["a.json"]


@pytest.mark.parametrize("umask, mode", [(0o022, 0o644), (0o027, 0o640)])
def test_permissions_are_those_of_new_files_whatever_a_library_chooses(tmp_path, umask, mode):
    before = os.umask(umask)
    try:
        with staged(tmp_path / "a.bin") as draft:
            draft.unlink()
            os.close(os.open(draft, os.O_CREAT | os.O_WRONLY, 0o600))  # as the library of safetensors makes its files
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.bin").stat().st_mode) == mode


def test_an_error_or_an_interruption_leaves_the_file_as_it_was(tmp_path):
    target = tmp_path / "a.txt"
    target.write_text("before")
    for error in (ValueError("enough"), KeyboardInterrupt()):
        with pytest.raises(type(error)), staged(target) as draft:
            draft.write_text("half")
            raise error
    assert target.read_text() == "before" and names(tmp_path) == ["a.txt"]


def test_a_full_disk_is_one_line_and_leaves_the_file_as_it_was(tmp_path):
    target = tmp_path / "a.bin"
    target.write_bytes(b"before")
    with room(4096), pytest.raises(StorageError, match=r"a\.bin' cannot be written \(File too large\); free space"):
        write_whole(target, bytes(5000))
    assert target.read_bytes() == b"before" and names(tmp_path) == ["a.bin"]


def test_a_link_keeps_pointing_to_the_file_that_is_written(tmp_path):
    (tmp_path / "disk").mkdir()
    (tmp_path / "link.txt").symlink_to(tmp_path / "disk" / "real.txt")
    write_whole(tmp_path / "link.txt", "new")
    assert (tmp_path / "link.txt").is_symlink() and (tmp_path / "disk" / "real.txt").read_text() == "new"


def test_a_journal_that_is_a_folder_is_named(tmp_path):
    for journal in (lambda: list(read_journal(tmp_path)), lambda: append(tmp_path, "a\n")):
        with pytest.raises(StorageError, match="[Ii]s a (folder|directory)"):
            journal()


def test_places_that_cannot_be_written_are_named(tmp_path):
    (tmp_path / "file").write_text("")
    for target, match in (
        (tmp_path, "is a folder or a device"),
        (tmp_path.__class__(os.devnull), "is a folder or a device"),
        (tmp_path / "file" / "a.txt", "cannot be written .*; check the path"),
    ):
        with pytest.raises(StorageError, match=match):
            write_whole(target, "x")
    for call in (lambda: append(tmp_path, "x\n"), lambda: append(tmp_path / "file" / "a", "x\n")):
        with pytest.raises(StorageError, match="cannot be written"):
            call()


def test_an_error_of_another_file_inside_the_block_stays_what_it_is(tmp_path):
    with pytest.raises(FileNotFoundError), staged(tmp_path / "a.txt"):
        (tmp_path / "source.txt").read_text()


@pytest.mark.parametrize("name", ["愤" * 80 + ".jsonl", os.fsdecode(b"\xb2\xe2.jsonl"), "a" * 240 + "." + "b" * 10])
def test_long_names_and_names_that_are_no_text(tmp_path, name):
    with locked(tmp_path / name):
        write_whole(tmp_path / name, "a\n")
        append(tmp_path / name, json_line({"source": os.fsdecode(b"\xb2\xe2")}))
    lines = [line for _, line in read_journal(tmp_path / name)]
    assert lines[0] == b"a" and json.loads(lines[1])["source"] == os.fsdecode(b"\xb2\xe2")


DRAFT = """
import os, sys, time
from pathlib import Path
from emotion_qwen.files import staged
with staged(Path(sys.argv[1])) as draft:
    draft.write_text("half")
    print("ready", flush=True)
    time.sleep(60)
"""


def test_the_draft_of_a_killed_process_is_removed_and_that_of_a_running_one_kept(tmp_path):
    command = [sys.executable, "-c", DRAFT]
    killed = subprocess.Popen([*command, str(tmp_path / "a.txt")], stdout=subprocess.PIPE)
    running = subprocess.Popen([*command, str(tmp_path / "b.txt")], stdout=subprocess.PIPE)
    try:
        assert killed.stdout.readline() == running.stdout.readline() == b"ready\n"
        killed.kill()
        killed.wait()
        assert len(names(tmp_path)) == 2
        files._swept.discard(tmp_path)
        write_whole(tmp_path / "c.txt", "new")
        (draft,) = tmp_path.glob(".*")
        assert f"-{running.pid}-" in draft.name and names(tmp_path) == [draft.name, "c.txt"]
    finally:
        for process in (killed, running):
            process.kill()
            process.wait()
            process.stdout.close()
    remove_drafts(tmp_path.parent, below=True)
    assert names(tmp_path) == ["c.txt"]


def test_a_line_without_room_is_taken_back_though_a_part_of_it_was_written(tmp_path):
    path = tmp_path / "a.jsonl"
    append(path, json_line({"number": 1}))
    before = path.read_bytes()
    with room(2000), pytest.raises(StorageError, match="cannot be written .*; free space and run again"):
        append(path, json_line({"text": "x" * 4000}))
    assert path.read_bytes() == before
    append(path, json_line({"number": 2}))
    assert [json.loads(line) for _, line in read_journal(path)] == [{"number": 1}, {"number": 2}]


@pytest.mark.parametrize("whole", [b"", b"one\n", b"one\ntwo\n"])
@pytest.mark.parametrize("rest", [b"", b"x", b"x" * 70_000, b"\xe6\x84" * 100_000])
def test_the_half_line_at_the_end_is_no_line_and_is_cut_off(tmp_path, whole, rest):
    path = tmp_path / "a.jsonl"
    path.write_bytes(whole + rest)
    lines = [(place, line) for place, line in read_journal(path)]
    assert lines == [(0, b"one"), (4, b"two")][: whole.count(b"\n")]
    truncate_partial_line(path)
    assert path.read_bytes() == whole


def test_a_missing_journal_is_empty(tmp_path):
    truncate_partial_line(tmp_path / "a.jsonl")
    assert list(read_journal(tmp_path / "a.jsonl")) == [] and names(tmp_path) == []


def test_the_second_run_on_one_output_is_refused_until_the_first_has_ended(tmp_path):
    (tmp_path / "alias.jsonl").symlink_to(tmp_path / "a.jsonl")
    with locked(tmp_path / "a.jsonl"):
        for name in ("a.jsonl", "alias.jsonl"):
            with pytest.raises(StorageError, match=f"another run is writing to '.*{name}'"), locked(tmp_path / name):
                pass
        with locked(tmp_path / "b.jsonl"):
            pass
    with locked(tmp_path / "a.jsonl"):
        pass


def test_a_killed_run_holds_nothing(tmp_path):
    code = "import sys, time; from pathlib import Path; from emotion_qwen.files import locked\n"
    code += "with locked(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    run = subprocess.Popen([sys.executable, "-c", code, str(tmp_path / "a")], stdout=subprocess.PIPE)
    try:
        assert run.stdout.readline() == b"held\n"
        with pytest.raises(StorageError, match="another run is writing"), locked(tmp_path / "a"):
            pass
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
        run.stdout.close()
    began = time.monotonic()
    with locked(tmp_path / "a", wait=True):
        assert time.monotonic() - began < 2


def test_what_means_a_full_disk():
    assert is_full(OSError(28, "No space left on device")) and is_full(OSError(122, "Disk quota exceeded"))
    assert not is_full(OSError(2, "No such file")) and not is_full(ValueError())


def test_hidden_files_and_folders_are_left_out(tmp_path):
    home = tmp_path / ".cache" / "clips"  # that the folder itself is hidden does not matter
    names = (
        "b.mp4",
        "._b.mp4",
        "a/1.mp4",
        "a/.ipynb_checkpoints/1-checkpoint.mp4",
        ".Trash-1000/files/c.mp4",
        "__MACOSX/x.mp4",
    )
    for name in names:
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).touch()
    (home / "folder.mp4").mkdir()
    assert [path.relative_to(home).as_posix() for path in files_below(home)] == ["a/1.mp4", "b.mp4"]
    assert is_hidden(home / "a/.b/c", home) and not is_hidden(home / "a/b.c", home)
