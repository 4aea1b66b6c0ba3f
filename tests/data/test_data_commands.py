"""`emotion-qwen data check` and `data import`: what they print, where they write, how they end."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from emotion_qwen.cli import main
from emotion_qwen.data.commands import KINDS
from emotion_qwen.data.importers import IMPORTERS
from emotion_qwen.data.manifest import read_manifest


def picture(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(path)
    return path


def line(identity: str, image: str | None = None, **more) -> str:
    content: object = f"How? {identity}"
    if image:
        content = [{"type": "image", "image": image}, {"type": "text", "text": content}]
    chat = [{"role": "user", "content": content}, {"role": "assistant", "content": "sad"}]
    return json.dumps({"id": identity, "messages": chat, **more}) + "\n"


@pytest.fixture
def manifest(tmp_path) -> Path:
    picture(tmp_path / "media" / "a.png")
    path = tmp_path / "m.jsonl"
    path.write_text(
        line("a", "media/a.png", labels={"emotion": "sad"}, license="CC0") + line("b", "gone.png") + line("c")
    )
    return path


def test_check_prints_faults_with_their_place_then_counts(manifest, capsys):
    assert main(["data", "check", str(manifest)]) == 2
    out, err = capsys.readouterr()
    assert out.splitlines()[0].startswith(
        f"{manifest}:2: b: messages[0] part 0: image '{manifest.parent}/gone.png' does"
    )
    assert "2 good, 1 bad" in out
    rows = [tuple(cell.strip() for cell in row.split("│")[1:4]) for row in out.splitlines() if "│" in row]
    assert rows == [
        ("medium", "image", "1"),
        ("", "text", "1"),
        ("label", "sad", "1"),
        ("", "none", "1"),
        ("split", "train", "2"),
        ("license", "CC0", "1"),
        ("", "not stated", "1"),
    ]
    rejected = manifest.parent / "rejected.jsonl"
    assert err == (
        f"error: 1 of 3 samples cannot be used, 0 allowed; the first: {manifest}:2 (b): messages[0] part 0: image "
        f"'{manifest.parent}/gone.png' does not exist; correct the path, or name the folder that paths start from "
        f"(media_root, --media); all are listed in '{rejected}', correct or remove them, or allow more (max_rejected, "
        "--max-rejected)\n"
    )
    assert [json.loads(row)["line"] for row in rejected.read_text().splitlines()] == [2]


def test_check_allows_as_many_as_told_and_forgets_what_was_mended(manifest, capsys):
    assert main(["data", "check", str(manifest), "--max-rejected", "1"]) == 0
    picture(manifest.parent / "gone.png", 1)
    assert main(["data", "check", str(manifest)]) == 0
    out, err = capsys.readouterr()
    assert "3 good, 0 bad" in out and not err
    assert not (manifest.parent / "rejected.jsonl").exists()


def test_check_takes_several_manifests_and_other_folders(manifest, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    second = tmp_path / "other" / "n.jsonl"
    second.write_text(line("d", "a.png") + "{\n")
    bad = tmp_path / "bad.jsonl"
    assert main(["data", "check", str(second), "--media", str(tmp_path / "media"), "--rejected", str(bad)]) == 2
    assert main(["data", "check", str(manifest), str(second), "--rejected", str(bad), "--max-rejected", "2"]) == 2
    out, err = capsys.readouterr()
    assert "2 good, 3 bad" in out and "3 of 5 samples cannot be used, 2 allowed" in err
    assert [Path(json.loads(row)["file"]).name for row in bad.read_text().splitlines()] == ["m.jsonl", *2 * ["n.jsonl"]]


def test_check_without_decoding_only_looks_for_files(manifest, capsys):
    (manifest.parent / "gone.png").write_bytes(b"\0" * 100)
    assert main(["data", "check", str(manifest)]) == 2
    assert "gone.png' " in capsys.readouterr().err
    assert main(["data", "check", str(manifest), "--no-decode"]) == 0
    assert main(["data", "check", str(manifest.parent / "none.jsonl")]) == 2
    assert "none.jsonl' does not exist; give a file with one JSON object per line" in capsys.readouterr().err


def test_check_prints_what_no_terminal_can_show(tmp_path, capfdbinary):
    path = tmp_path / "m.jsonl"
    path.write_text('{"id": "\\ud800", "messages": [], "labels": {}}\n{"id": "a", "messages": "\\ud801"}\n')
    assert main(["data", "check", str(path)]) == 2
    out, err = capfdbinary.readouterr()
    assert rb"m.jsonl:1: \ud800: messages is []" in out and rb'2: a: messages is "\ud801" (str)' in out
    assert rb"m.jsonl:1 (\ud800): messages" in err
    assert [json.loads(row)["id"] for row in (tmp_path / "rejected.jsonl").read_text().splitlines()] == [r"\ud800", "a"]


def test_import_writes_a_manifest_and_says_what_it_holds(tmp_path, capsys):
    for number, name in enumerate(("happy/a.png", "happy/b.png", "contempt/c.png")):
        picture(tmp_path / "faces" / name, number)
    arguments = ["data", "import", "folder", str(tmp_path / "faces"), str(tmp_path / "out" / "m.jsonl")]
    arguments += ["--split", "test", "--source", "mine", "--license", "CC0", "--labels", "dfew7", "--language", "zh"]
    assert main(arguments) == 2
    assert "1 of 3 samples cannot be used, 0 allowed; the first: " in (capsys.readouterr().err)
    assert not (tmp_path / "out" / "m.jsonl").exists()
    assert main([*arguments, "--max-rejected", "1"]) == 0
    out = capsys.readouterr().out
    assert out.splitlines()[0].startswith(f"{tmp_path}/faces:1: contempt/c.png: unknown label 'contempt'; expected one")
    assert "2 good, 1 bad" in out and f"2 sample(s) written to {tmp_path}/out/m.jsonl" in out
    sample = read_manifest(tmp_path / "out" / "m.jsonl")[0]
    assert (sample.split, sample.source, sample.license) == ("test", "mine", "CC0")
    assert sample.messages[1]["content"] == "高兴" and sample.labels == {"emotion": "happy"}


def test_import_shows_the_first_faults_only(tmp_path, capsys):
    talk = [{"role": "user", "content": "<image>"}, {"role": "assistant", "content": "x"}]
    good = [{"role": "user", "content": "How?"}, {"role": "assistant", "content": "x"}]
    records = [*({"conversations": talk} for _ in range(25)), {"conversations": good}]
    (tmp_path / "set.json").write_text(json.dumps(records))
    assert (
        main(["data", "import", "release", f"{tmp_path}/set.json", f"{tmp_path}/m.jsonl", "--max-rejected", "25"]) == 0
    )
    out = capsys.readouterr().out
    assert f"{tmp_path}/set.json:20: " in out and "set.json:21: " not in out
    assert "and 5 more, see rejected.jsonl" in out


def test_import_says_what_it_does_not_know(tmp_path, capsys):
    assert main(["data", "import", "lava", "x", "y"]) == 2
    assert "'lava' is not one of 'release', 'llava', 'sharegpt', 'parquet', 'folder'" in capsys.readouterr().err
    assert main(["data", "import", "folder", str(tmp_path), "y", "--labels", "fer8"]) == 2
    assert "unknown label set 'fer8'" in capsys.readouterr().err
    assert main(["data", "import", "llava", f"{tmp_path}/gone.json", "y"]) == 2
    assert f"source '{tmp_path}/gone.json' does not exist; give a file or folder" in capsys.readouterr().err


def test_the_commands_know_every_importer_and_load_nothing_heavy():
    assert tuple(IMPORTERS) == KINDS
    code = "import sys; from emotion_qwen import cli; cli.main(['data', 'import', '--help'])"
    code += "; print({'torch', 'transformers', 'av', 'PIL', 'numpy'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "set()" and "one folder of pictures and videos per label" in done.stdout


@pytest.mark.parametrize("text", ["", "\n\n", "  \n"])
def test_a_manifest_without_a_sample_is_an_error(text, manifest, tmp_path, capsys):
    (tmp_path / "empty.jsonl").write_text(text)
    (tmp_path / "good.jsonl").write_text(line("a", "media/a.png"))
    for order in (["empty.jsonl"], ["good.jsonl", "empty.jsonl"], ["empty.jsonl", "good.jsonl"]):
        assert main(["data", "check", *(str(tmp_path / name) for name in order)]) == 2
        assert "empty.jsonl: no line with a sample" in capsys.readouterr().err


def test_an_import_of_nothing_is_an_error(tmp_path, capsys):
    (tmp_path / "none.json").write_text("[]")
    assert main(["data", "import", "llava", str(tmp_path / "none.json"), str(tmp_path / "out.jsonl")]) == 2
    assert "no sample" in capsys.readouterr().err
