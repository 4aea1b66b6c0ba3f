"""Kinds of parts: manifests of the package, readers of a file that is named, and those of installed distributions."""

import sys

import pytest

from emotion_qwen.data.manifest import write_manifest
from emotion_qwen.data.parts import GROUP, read_part
from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.records import Sample

OWN_PART = """
from emotion_qwen.data.mixture import SampleList
from emotion_qwen.records import Sample


def sums(name, domain, split, *, highest, lowest=1):
    numbers = range(lowest, highest + 1)
    told = [({"role": "user", "content": f"1 + {n}?"}, {"role": "assistant", "content": str(n + 1)}) for n in numbers]
    return SampleList(name, domain, [Sample(f"{split}/{n}", pair, {}) for n, pair in zip(numbers, told)])
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """A file with a reader of its own, in a folder that is no package."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    path = tmp_path / "sums_of_a_test.py"
    path.write_text(OWN_PART)
    yield path
    sys.modules.pop(path.stem, None)


def test_a_manifest_is_read_by_split_from_its_file_or_its_folder(tmp_path):
    talk = ({"role": "user", "content": "Hello"}, {"role": "assistant", "content": "happy"})
    other = ({"role": "user", "content": "Goodbye"}, {"role": "assistant", "content": "sad"})
    samples = [Sample("a", talk, {}, split="train"), Sample("b", other, {}, split="validation")]
    write_manifest(samples, tmp_path / "manifest.jsonl")
    for path in (tmp_path, tmp_path / "manifest.jsonl"):
        part = read_part("manifest", "talk", "emotion", path, "validation")
        assert (part.name, part.domain, len(part), part.sample(0, 3).id) == ("talk", "emotion", 1, "b")


def test_a_reader_of_a_file_takes_its_own_options(own):
    part = read_part(f"{own}:sums", "sums", "general", None, "train", highest=3)
    assert len(part) == 3 and part.sample(2, 0).messages[1]["content"] == "4" and part.sample(0, 0).id == "train/1"
    assert len(read_part(f"{own}:sums", "sums", "general", None, "train", highest=3, lowest=3)) == 1


def test_an_installed_distribution_brings_kinds(own, tmp_path, monkeypatch):
    info = tmp_path / "brings_parts-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: brings-parts\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{GROUP}]\nsums = sums_of_a_test:sums\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert len(read_part("sums", "sums", "general", None, "train", highest=2)) == 2
    with pytest.raises(SettingsError, match="unknown kind of data 'sum'; expected one of: manifest, sums"):
        read_part("sum", "sums", "general", None, "train")


def test_wrong_kinds_and_options_are_told_in_one_line(own, tmp_path):
    with pytest.raises(
        SettingsError, match=r"unknown kind of data 'manifes'.*'manifest'\? Or name a file: FILE.py:NAME"
    ):
        read_part("manifes", "a", "emotion", tmp_path, "train")
    with pytest.raises(SettingsError, match="gone.py' does not exist; give the path of a Python file"):
        read_part(f"{tmp_path / 'gone.py'}:sums", "a", "general", None, "train")
    for kind in (f"{own}:sum", str(own)):
        with pytest.raises(SettingsError, match="kind .*: unknown function '.*'; expected one of: sums"):
            read_part(kind, "a", "general", None, "train")
    with pytest.raises(DataError, match="part 'a': unknown option 'high'.*Did you mean 'highest'"):
        read_part(f"{own}:sums", "a", "general", None, "train", high=3)
    with pytest.raises(DataError, match="part 'a' of kind .* has no highest; give it among the options"):
        read_part(f"{own}:sums", "a", "general", None, "train")
    with pytest.raises(DataError, match="part 'a' of kind 'manifest' has no path; give the file"):
        read_part("manifest", "a", "general", None, "train")
    with pytest.raises(DataError, match="part 'a': unknown option 'media'.*Did you mean 'media_root'"):
        read_part("manifest", "a", "general", tmp_path, "train", media="x")
