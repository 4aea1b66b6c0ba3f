import json
from pathlib import Path

import pytest
from tests.conftest import copy_model

import emotion_qwen
from emotion_qwen.cli import main
from emotion_qwen.evaluation.run.predictions import LINES

from .prediction_files import write_pictures

NANO = Path(emotion_qwen.__file__).parent / "nano"


pytestmark = pytest.mark.usefixtures("nano_in_commands")


@pytest.fixture
def data(tmp_path):
    write_pictures(tmp_path / "pictures_cifar10.parquet", ["cat", "dog", "ship", "bird"])
    write_pictures(tmp_path / "faces_fer_aligned.parquet", ["fear", "anger", "happiness"])
    return tmp_path


def run(capsys, data, *arguments) -> tuple[int, str, str]:
    options = ["--data", data, "--output", data / "out", "--device", "cpu"]
    code = main(["forgetting", *map(str, [*arguments, *options])])
    out, err = capsys.readouterr()
    return code, " ".join(out.split()), err


def test_a_model_forgets_nothing_against_itself(capsys, data):
    code, out, err = run(capsys, data, "nano", NANO, "--tasks", "fer,cifar", "--language", "both")
    assert code == 0, err
    assert "scores the same" in out and str(data / "out" / "forgetting.md").split("/")[-1] in out
    record = json.loads((data / "out" / "forgetting.json").read_text(encoding="utf-8"))
    assert record["general_loss"] == {"value": 0.0, "low": 0.0, "high": 0.0, "allowed": 1.5}
    assert record["languages"] == ["en", "zh"] and record["tasks"]["cifar"]["items"] == 4
    assert record["models"]["before"]["weights"] == record["models"]["after"]["weights"]
    assert sorted(path.name for path in (data / "out").glob("*.png")) == ["accuracy.png", "classes.png", "gate.png"]


def test_a_loss_over_the_allowance_exits_with_1(capsys, data):
    assert run(capsys, data, "nano", "nano", "--tasks", "cifar")[0] == 0
    for side, right in (("before", True), ("after", False)):
        path = data / "out" / side / "cifar" / LINES
        lines = [json.loads(text) for text in path.read_text(encoding="utf-8").splitlines()]
        for fields in lines:
            chosen = next(name for name in fields["scores"] if (name == fields["answer"]) == right)
            fields |= {"predicted": chosen, "scores": {name: float(name == chosen) for name in fields["scores"]}}
        path.write_text("".join(json.dumps(fields) + "\n" for fields in lines), encoding="utf-8")
    code, out, _ = run(capsys, data, "nano", "nano", "--tasks", "cifar")
    assert code == 1 and "General skill is not kept" in out and "100.0 points lower" in out
    assert run(capsys, data, "nano", "nano", "--tasks", "cifar", "--allow", "100")[0] == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tasks", "cifer"], "unknown task 'cifer'"),
        (["--tasks", "fer"], "no general task among fer"),
        (["--tasks", "lfw,cifar"], "faces_lfw_expressions.parquet' does not exist"),
        (["--tasks", "cifar", "--split", "train"], "unknown split 'train'"),
        (["--tasks", "cifar", "--limit", "0"], "--limit"),
        (["--tasks", "cifar", "--language", "de"], "--language"),
    ],
)
def test_bad_input_exits_with_2_before_a_model_is_loaded(capsys, data, arguments, said, monkeypatch):
    monkeypatch.setattr("emotion_qwen.engine.engine.Engine.load", None)
    code, _, err = run(capsys, data, "nano", "nano", *arguments)
    assert code == 2 and said in err and not (data / "out").exists()


def test_a_folder_without_a_model_and_a_folder_of_another_model(capsys, data):
    code, _, err = run(capsys, data, "nano", data, "--tasks", "cifar", "--limit", "1")
    assert code == 2 and "no config.json" in err
    assert run(capsys, data, "nano", "nano", "--tasks", "cifar", "--limit", "1")[0] == 0
    other = copy_model(data / "other")
    config = json.loads((other / "config.json").read_text(encoding="utf-8"))
    (other / "config.json").write_text(json.dumps({**config, "gate_mode": "general"}), encoding="utf-8")
    code, _, err = run(capsys, data, other, "nano", "--tasks", "cifar", "--limit", "1")
    assert code == 2 and "holds predictions made with other settings (weights" in err
