"""Clips at addresses: copied by fsspec where a folder is named, each on its own."""

import json

import fsspec
import numpy as np
import pytest
from tests.conftest import write_clip

from emotion_qwen.batch import addresses
from emotion_qwen.batch.addresses import Addresses, local_name
from emotion_qwen.cli import main
from emotion_qwen.errors import MediaError, MissingPackage, SettingsError

pytestmark = pytest.mark.usefixtures("nano_in_commands")


@pytest.fixture
def store(tmp_path, monkeypatch):
    """A store in memory with three clips, of which the second cannot be read, and a text."""
    monkeypatch.setitem(addresses.SCHEMES, "memory", "fsspec")
    system = fsspec.filesystem("memory")
    noise = np.random.default_rng(0)
    for name in ("a", "b", "c"):
        clip = write_clip(tmp_path / "local.mp4", noise.integers(0, 255, (1, 48, 48, 3), dtype=np.uint8).repeat(4, 0))
        system.pipe(f"/clips/{name}.mp4", clip.read_bytes())
    system.pipe("/clips/notes.md", b"text")
    opened = type(system).open

    def broken(self, path, *args, **kwargs):
        if path.endswith("b.mp4") and self.broken:
            raise OSError("403 Forbidden")
        return opened(self, path, *args, **kwargs)

    monkeypatch.setattr(type(system), "open", broken)
    type(system).broken = True
    yield system
    system.rm("/clips", recursive=True)


def reports(path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_an_address_that_fails_costs_its_clip_alone_and_is_tried_again(store, tmp_path, capsys):
    copies, output = tmp_path / "copies", tmp_path / "o.jsonl"
    command = ["analyze", "memory://clips/", "--remote", str(copies), "--output", str(output)]
    assert main(command) == 0
    assert "'/clips/b.mp4' cannot be read (OSError: 403 Forbidden)" in capsys.readouterr().err
    named = {line["source"].rsplit("/", 1)[1]: "error" in line for line in reports(output)}
    assert named == {"a.mp4": False, "b.mp4": True, "c.mp4": False}
    assert not (copies / "memory" / "clips" / "b.mp4").exists() and not list(copies.rglob(".part*"))
    before = (copies / "memory" / "clips" / "a.mp4").stat().st_mtime_ns
    type(store).broken = False
    assert main(command) == 0
    assert "1 clips analyzed, 2 before, 0 failed" in capsys.readouterr().err
    assert sorted("error" in line for line in reports(output)) == [False] * 3
    assert (copies / "memory" / "clips" / "a.mp4").stat().st_mtime_ns == before  # a copy that is there is kept


def test_patterns_lists_and_local_files_are_found_in_order(store, tmp_path):
    local = tmp_path / "local.mp4"
    listing = tmp_path / "list.txt"
    listing.write_text(f"# comment\nmemory://clips/c.mp4\n\n{local}\nmemory://clips/c.mp4\n")
    files = Addresses(tmp_path / "x").find([str(listing), "memory://clips/*.mp4"], sounds=False)
    names = [file.name for file in files]
    assert names == ["c.mp4", "local.mp4", "a.mp4", "b.mp4"] and files[1] == local


def test_a_truncated_copy_is_a_failure(store, tmp_path, monkeypatch):
    type(store).broken = False
    info = type(store).info
    monkeypatch.setattr(type(store), "info", lambda self, path, **k: {**info(self, path, **k), "size": 10**6})
    remote = Addresses(tmp_path / "x")
    files = remote.find(["memory://clips/a.mp4"], sounds=False)
    assert remote.fetch(files) == [] and "of 1000000 bytes arrived" in str(remote.failures[files[0]])


def test_addresses_are_refused_without_a_folder_or_a_known_scheme(store, tmp_path, capsys, monkeypatch):
    assert main(["analyze", "memory://clips/a.mp4"]) == 2
    assert "does not exist" in capsys.readouterr().err
    remote = Addresses(tmp_path / "x")
    with pytest.raises(SettingsError, match=r"address 'ssh://host/a.mp4': expected s3://, gs://"):
        remote.find(["ssh://host/a.mp4"], sounds=False)
    with pytest.raises(MediaError, match="holds no picture or video"):
        remote.find(["memory://nothing/"], sounds=False)
    monkeypatch.setitem(addresses.SCHEMES, "s3", "no_such_package")
    with pytest.raises(MissingPackage, match=r"pip install 'emotion-qwen\[scale\]'"):
        remote.find(["s3://bucket/a.mp4"], sounds=False)


@pytest.mark.parametrize(
    "name", ["../../etc/passwd.mp4", "https://host/a b.mp4?sign=1", "https://host/..%2f..%2fx.mp4", "a/./b.mp4", "/"]
)
def test_copies_stay_in_their_folder(name, tmp_path):
    path = tmp_path / local_name(name)
    assert path.resolve().is_relative_to(tmp_path.resolve()) and ".." not in path.parts
    assert local_name("bucket/x/a.mp4").as_posix() == "bucket/x/a.mp4"
    assert local_name("https://h/v.mp4?id=1") != local_name("https://h/v.mp4?id=2")
