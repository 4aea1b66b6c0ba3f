"""One table over several models and sets: headline scores, marks, training data, exports; without torch."""

import csv
import io
import json
import subprocess
import sys

import pytest
import yaml

from emotion_qwen.cli import main
from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.evaluation.pages.leaderboard_page import write_board
from emotion_qwen.evaluation.run.contamination import NOT_STATED, TRAINED, UNKNOWN, training_note
from emotion_qwen.evaluation.run.exports import WIDTH_OF_95, export_board, latex
from emotion_qwen.evaluation.run.leaderboard import SKILLS, chance_of, leaderboard, skill_of
from emotion_qwen.evaluation.run.plan import make_answerer
from emotion_qwen.evaluation.run.runner import answer_task
from emotion_qwen.evaluation.run.score import Column
from emotion_qwen.evaluation.scoring.records import Response
from emotion_qwen.evaluation.task import Item
from emotion_qwen.evaluation.tasks import TASKS

from .affect_files import write_challenge, write_meld, write_sentiment, write_unibench_basic
from .benchmark_files import write_wheels

REPLIES = {
    "good": {"dia0_utt0": "surprise", "dia0_utt1": "joy", "dia2_utt0": "sad", "s1": "happy", "s2": "sad",
             "v_1/0001": "positive", "v_2/0001": "negative", "v_1/0002": "neutral",
             "samplenew3_1": "a1", "samplenew3_1#2": "a1", "samplenew3_2": "a2", "samplenew3_3": "same"},
    "R1-Omni & co": {"dia0_utt0": "surprise", "dia0_utt1": "who knows", "v_1/0001": "negative", "s1": "low"},
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    home = tmp_path_factory.mktemp("board")
    wheels = {"wheels": str(write_wheels(home / "wheels"))}
    data = {
        "meld": write_meld(home / "meld"),
        "unibench_mer2023": write_unibench_basic(home / "basic"),
        "unibench_mosi": write_sentiment(home / "mosi"),
        "mer2026_prefer": write_challenge(home / "mer2026"),
    }
    for model, replies in REPLIES.items():
        path = home / f"{model}.jsonl"
        path.write_text("".join(json.dumps({"id": k, "text": v}) + "\n" for k, v in replies.items()), encoding="utf-8")
        for name, folder in data.items():
            options = wheels if name.startswith("unibench_mer") else {}
            task = TASKS[name].with_options(**options)
            place = home / "run" / model / name
            answer_task(make_answerer(f"file:{path}"), task, place, data=folder, options=options)
    return home / "run"


def test_every_set_has_its_headline_score_per_model(run):
    board = leaderboard([run])
    assert board.models == ("R1-Omni & co", "good")
    named = {(s.task.name, s.model): (s.score.name, s.score.value) for s in board.standings}
    assert named["meld", "good"] == ("WAF", 1) and named["unibench_mer2023", "good"] == ("hit rate", 1)
    assert named["unibench_mosi", "R1-Omni & co"][1] == 0 and named["mer2026_prefer", "good"] == ("WAF", 1)
    assert [row[0] for row in board.rows] == ["meld", "unibench_mer2023", "unibench_mosi", "mer2026_prefer"]
    score, note = board.means["good", "en", ""]
    assert score.value == 1 and score.name == "MER-UniBench mean of 2 of 9 sets" and "without unibench_mer2024" in note


def test_the_page_marks_poor_cells_and_keeps_the_authors_figures_apart(run, tmp_path):
    board = leaderboard([run], {"good": ["meld"]})
    text, page = (path.read_text(encoding="utf-8") for path in write_board(board, tmp_path))
    line = next(line for line in text.splitlines() if line.startswith("| MELD, 7 emotions |"))
    cells = [cell.strip() for cell in line.split("|")]
    assert cells[2:5] == ["WAF", "", "16.7 %"], "guessing has no expected WAF"
    assert cells[5].endswith("*") and cells[6].startswith("100.0 % (") and cells[6].endswith(" †")
    assert "## Emotion in video" in text and "- good is above chance and the commonest answer on " in text
    assert "MER-UniBench mean of 2 of 9 sets" in text and "not comparable with a published mean" in text
    assert text.index("As released") > text.index("Answers and training data")
    assert f"| {TRAINED} (stated by the user) |" in text and "| WAF |" in text.partition("As released")[2]
    assert "&amp; co" in page and "<script" not in page and "http" not in page.partition("<body>")[2]


def test_sets_are_grouped_by_skill_and_stand_beside_guessing(tmp_path):
    choices, picture = ("happiness", "neutral", "anger"), {"type": "image", "file": "x"}
    faces = [
        Item(str(n), "en", (picture,), "Which?", choices, choices[n % 2], choices[n % 2], choices[:2]) for n in range(8)
    ]
    words = [Item("w", "en", ({"type": "text", "text": "x"},), "Which?", ("a", "b", "c", "d"), "a", "arc_easy")]
    assert skill_of(TASKS["lfw"], faces) == SKILLS[0] and skill_of(TASKS["cifar"], faces) == SKILLS[4]
    assert skill_of(TASKS["goemotions"], words) == SKILLS[3] and skill_of(TASKS["skills"], words) == SKILLS[5]
    for name, items, chance in (("lfw", faces, 0.5), ("skills", words, 0.25)):
        result = TASKS[name].score([i.scored() for i in items], [Response(i.id, i.answer) for i in items])
        assert chance_of(Column("m", TASKS[name], "en", tmp_path, {}, items, {}, result)) == chance


def test_training_facts_may_name_the_rows_of_one_source():
    used = {"trained_on": ["speech_more.parquet:nEMO", "faces_lfw_expressions.parquet:part"]}
    notes = {
        name: training_note("m", used, TASKS[name]).partition(" (")[0] for name in ("nemo", "emotiontts", "lfw", "fer")
    }
    assert notes == {"nemo": TRAINED, "emotiontts": NOT_STATED, "lfw": TRAINED, "fer": NOT_STATED}


def test_it_is_made_without_torch_from_stored_answers(run, tmp_path):
    code = (
        "import sys; from emotion_qwen.cli import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'transformers', 'pyarrow', 'av', 'matplotlib'} & set(sys.modules);"
        "assert not heavy, heavy; sys.exit(code)"
    )
    files = [tmp_path / name for name in ("x.tex", "x.csv", "x.json", "x.yaml")]
    to = [text for path in files for text in ("--to", str(path))]
    call = [sys.executable, "-c", code, "eval", "leaderboard", str(run), "--output", str(tmp_path), *to]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "read " in done.stdout and all(path.is_file() for path in files)


def test_exports_hold_the_same_numbers(run, tmp_path):
    board = leaderboard([run])
    for name in ("x.csv", "x.json", "x.tex", "x.yml"):
        export_board(board, tmp_path / name)
    rows = list(csv.DictReader(io.StringIO((tmp_path / "x.csv").read_text(encoding="utf-8"))))
    record = json.loads((tmp_path / "x.json").read_text(encoding="utf-8"))
    assert len(rows) == len(record["standings"]) == 8 and record["unscored"] == {}
    for row, entry in zip(rows, record["standings"], strict=True):
        assert (row["model"], row["task"], float(row["value"])) == (entry["model"], entry["task"], entry["value"])
    assert {"accuracy", "WAF"} == set(record["standings"][-1]["as_released"])
    tex = (tmp_path / "x.tex").read_text(encoding="utf-8")
    assert r"R1-Omni \& co & good \\" in tex and tex.count(r"\midrule") == 2 and r"100.0 {\scriptsize [" in tex
    index = yaml.safe_load((tmp_path / "x.yml").read_text(encoding="utf-8"))["model-index"]
    assert [entry["name"] for entry in index] == ["R1-Omni & co", "good"]
    first = index[1]["results"][0]
    assert first["dataset"] == {"name": "MELD, 7 emotions", "type": "meld", "split": "test"}
    assert first["metrics"] == [{"type": "waf", "name": "WAF (percent)", "value": 100.0, "verified": False}]
    with pytest.raises(SettingsError, match="unknown ending of an export '.txt'"):
        export_board(board, tmp_path / "x.txt")
    assert latex("a_b & 5 % {x}") == r"a\_b \& 5 \% \{x\}"


def test_lmms_evals_form_holds_one_model(run, tmp_path):
    with pytest.raises(SettingsError, match="2 models"):
        export_board(leaderboard([run]), tmp_path / "x.lmms.json")
    board = leaderboard([run / "good"])
    export_board(board, tmp_path / "x.lmms.json")
    record = json.loads((tmp_path / "x.lmms.json").read_text(encoding="utf-8"))
    meld = record["results"]["emotion_qwen_meld"]
    score = next(s for s in board.standings if s.task.name == "meld").result["WAF"]
    assert meld["waf,none"] == 1 and meld["alias"] == "MELD, 7 emotions" and meld["read_rate,none"] == 1
    assert meld["waf_stderr,none"] == pytest.approx((score.high - score.low) / WIDTH_OF_95, abs=1e-6)
    assert record["n-samples"]["emotion_qwen_meld"] == {"original": 3, "effective": 3}


def test_training_data_are_told_only_as_far_as_they_are_stated():
    fer, meld, dfew, emoset = (TASKS[name] for name in ("fer", "meld", "dfew", "emoset"))
    nano = {"trained_on": ["faces_fer_aligned.parquet"]}
    assert training_note("nano", nano, fer).startswith(TRAINED) and training_note("nano", nano, meld).startswith(
        NOT_STATED
    )
    assert training_note("R1_Omni 0.5B", {}, dfew).startswith(TRAINED) and "arXiv" in training_note("r1-omni", {}, dfew)
    assert training_note("r1-omni", {}, meld).startswith(UNKNOWN), "its authors do not list everything"
    assert training_note("x", {"model": "EMO-R3"}, emoset).startswith(TRAINED)
    assert training_note("x", {}, dfew) == UNKNOWN
    assert training_note("x", nano, dfew, {"x": ["dfew"]}) == f"{TRAINED} (stated by the user)"


def test_what_cannot_be_put_together_is_told(run, tmp_path, capsys):
    with pytest.raises(DataError, match="answered meld twice"):
        leaderboard([run / "good", run / "good"])
    with pytest.raises(DataError, match="holds no predictions"):
        leaderboard([tmp_path])
    assert main(["eval", "leaderboard", str(run), "--trained", "good", "--output", str(tmp_path)]) == 2
    assert "expected MODEL=TASK,TASK" in capsys.readouterr().err
