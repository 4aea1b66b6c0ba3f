import json
import re
from dataclasses import replace

import pytest

from emotion_qwen.cli import main
from emotion_qwen.evaluation.task import TaskFinding
from emotion_qwen.evaluation.tasks import TASKS

from .prediction_files import write_pictures
from .scripted import emotion_item, said, scripted_server, toy

LABELS = ["happiness", "fear", "happiness", "sadness"]


@pytest.fixture
def task(monkeypatch):
    found = toy([emotion_item(n, label) for n, label in enumerate(LABELS)], licence="Made up.")
    monkeypatch.setitem(TASKS, "toy", found)
    return found


def replies(path, *texts: str):
    rows = [{"id": f"toy/{n}", "text": text} for n, text in enumerate(texts)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return f"file:{path}"


def run(capsys, *arguments) -> tuple[int, str, str]:
    code = main(["eval", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, " ".join(out.split()), " ".join(err.split())


def test_a_page_with_everything_beside_every_score(task, tmp_path, capsys):
    model = replies(tmp_path / "theirs.jsonl", "She is happy.", "happy", "who knows <b>|</b>")
    code, out, err = run(capsys, "--tasks", "toy", "--model", model, "--output", tmp_path / "run")
    assert code == 1 and "3 of" not in err and "1 of 4 items have no answer" in err
    assert "WAR" in out and "25.0 %" in out and "75.0 %" in out and "report.html" in out
    page = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    row = next(line for line in page.splitlines() if "| WAR |" in line)
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[:4] == ["theirs", "en", "WAR", "25.0 %"] and cells[5:] == ["4", "66.7 %", "75.0 %", "0"]
    assert "Licence: Made up." in page and "Note: no items of: anger" in page and "| missing | 1 |" in page
    assert "who knows &lt;b>\\|&lt;/b>" in page, "what models say cannot change the page"
    web = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "who knows &lt;b&gt;|&lt;/b&gt;" in web
    sources = re.findall(r'src="([^"]{0,30})', web)
    assert len(sources) >= 3 and all(source.startswith("data:image/") for source in sources), "figure and frames inside"
    assert not re.search(r'(?:href|src)="(?!data:)', web)


def test_what_was_found_in_the_files_stands_on_the_page(tmp_path, capsys, monkeypatch):
    class Found(type(toy([]).source)):
        def findings(self, data, split, languages):
            told = [("differs", "4 rows; 9 published"), ("missing", "1 of 4 clips"), ("note", "2 songs are not read")]
            return [TaskFinding(*one) for one in told]

    source = Found([emotion_item(n, label) for n, label in enumerate(LABELS)])
    monkeypatch.setitem(TASKS, "toy", replace(toy([]), source=source))
    model = replies(tmp_path / "a.jsonl", *["happy"] * 4)
    code, _, err = run(capsys, "--tasks", "toy", "--model", model, "--output", tmp_path / "run")
    assert code == 1 and "fault: toy: missing: 1 of 4 clips" in err and "toy: differs: 4 rows; 9 published" in err
    page = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "Note: differs: 4 rows; 9 published." in page and "Note: missing: 1 of 4 clips." in page
    assert "Note: 2 songs are not read." in page


def test_a_fault_of_the_files_is_told_once_and_strange_ids_are_named(task, tmp_path, capsys):
    model = replies(tmp_path / "a.jsonl", *["happy"] * 6)
    code, _, err = run(
        capsys, "--tasks", "toy,dfew", "--data", tmp_path, "--model", model, "--output", tmp_path / "run"
    )
    assert code == 1 and err.count("holds no **/test(single-labeled)/set_*.csv") == 1
    assert f"{model}: 2 ids belong to no item, first 'toy/4'" in err


def rows_of(page: str, start: str) -> list[list[str]]:
    lines = [line for line in page.splitlines() if line.startswith(start)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_a_page_says_what_is_independent_and_shows_no_empty_columns(tmp_path, capsys, monkeypatch):
    items = [emotion_item(n, label, question="Which?", cluster=f"film {n // 2}") for n, label in enumerate(LABELS)]
    monkeypatch.setitem(TASKS, "toy", toy(items))
    path = tmp_path / "sure.jsonl"
    told = [{"id": f"toy/{n}", "scores": {"anger": 0.75, "happiness": 0.25}} for n in range(4)]
    path.write_text("".join(json.dumps(one) + "\n" for one in told), encoding="utf-8")
    words = replies(tmp_path / "words.jsonl", *["happy"] * 4)
    options = ["--tasks", "toy", "--model", words, "--model", f"file:{path}", "--output", tmp_path / "run"]
    assert run(capsys, *options, "--no-frames")[0] == 0
    page = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    overview = page[page.index("## Overview") : page.index("## A toy")]
    assert [row[:5] for row in rows_of(overview, "| toy ")] == [
        ["toy", "sure", "en", "WAR", "0.0 %"],
        ["toy", "words", "en", "WAR", "50.0 %"],
    ]
    assert rows_of(overview, "| toy ")[0][5] == "0.0 to 84.2", "two films are two observations: 1 - 0.025 ** (1 / 2)"
    note = "Note: 4 items in 2 groups with one picture, person or question, drawn together; with so few, intervals"
    assert page.count(f"{note} are rough and may be too narrow.") == 2
    assert 'Worst answers. All were asked: "Which?"' in page and "| item | correct | answer |" in page
    assert "anger (75%)" in page, "how sure the model was of what is wrong"
    assert "always happiness, the commonest label: WAR 50.0%" in page


def test_the_column_of_the_release_says_in_which_wording_it_is_to_be_read(tmp_path, capsys, monkeypatch):
    found = toy(
        [emotion_item(0)],
        as_released=lambda items, answers: {"WAR": 1.0},
        prompts={"ours": ("en",), "release": ("en",)},
    )
    monkeypatch.setitem(TASKS, "toy", found)
    model = replies(tmp_path / "a.jsonl", "happy")
    assert run(capsys, "--tasks", "toy", "--model", model, "--output", tmp_path / "run")[0] == 0
    page = (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert "The published numbers use the release's wording, which is the column toy.release." in page


def test_a_page_without_frames(task, tmp_path, capsys):
    model = replies(tmp_path / "a.jsonl", *["sad"] * 4)
    options = ["--tasks", "toy", "--model", model, "--output", tmp_path / "run"]
    assert run(capsys, *options, "--no-frames")[0] == 0
    page = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert "image/jpeg" not in page and not (tmp_path / "run" / "a" / "toy" / "frames").exists()
    assert run(capsys, *options)[0] == 0
    assert "image/jpeg" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert run(capsys, "score", tmp_path / "run", "--no-frames")[0] == 0
    assert "image/jpeg" not in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_a_judge_that_cannot_be_asked_is_a_fault_and_scores_are_made(tmp_path, capsys, monkeypatch):
    judged = toy([emotion_item(n, label) for n, label in enumerate(LABELS)], judge=("clue",))
    monkeypatch.setitem(TASKS, "toy", judged)
    model = replies(tmp_path / "a.jsonl", *["happy"] * 4)
    options = ["--tasks", "toy", "--model", model, "--output", tmp_path / "run"]
    code, out, err = run(capsys, *options, "--judge", "openai:nowhere#j")
    assert code == 1 and "fault: judge:" in err and "is not a valid model address" in err and "50.0 %" in out


def test_all_fine_exits_with_0_and_models_stand_side_by_side(task, tmp_path, capsys):
    models = [replies(tmp_path / f"{name}.jsonl", *[word] * 4) for name, word in (("a", "happy"), ("b", "sad"))]
    options = [option for model in models for option in ("--model", model)]
    code, _, err = run(capsys, "--tasks", "toy", *options, "--output", tmp_path / "run")
    assert code == 0, err
    record = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))
    told = {column["model"]: column["scores"]["WAR"]["value"] for column in record["columns"]}
    assert told == {"a": 0.5, "b": 0.25}


def test_a_file_of_settings_with_overrides(task, tmp_path, capsys):
    model = replies(tmp_path / "a.jsonl", *["happy"] * 4)
    config = tmp_path / "run.yaml"
    config.write_text(f"tasks: [toy]\nmodels: ['{model}']\noutput: {tmp_path / 'run'}\nlanguages: [en]\n")
    assert run(capsys, config, "limit=2")[0] == 0
    record = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))
    assert record["columns"][0]["items"] == 2
    assert run(capsys, config, "--limit", "3")[0] == 0
    record = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))
    assert record["columns"][0]["items"] == 3


def test_an_endpoint_with_faults_ends_with_1_and_is_resumed(task, tmp_path, capsys):
    broken = [True]

    def answer(body):
        question = body["messages"][0]["content"][-1]["text"]
        return (400, "no such picture") if broken and question.startswith("Question 1") else said("happy")

    with scripted_server(answer) as (address, _):
        arguments = ["--tasks", "toy", "--model", f"openai:{address}#theirs", "--output", tmp_path / "run"]
        code, _, err = run(capsys, *arguments)
        assert code == 1 and "1 items failed, first 'toy/1'" in err and "answered 400: no such picture" in err
        assert run(capsys, "score", tmp_path / "run")[0] == 1
        broken.clear()
        assert run(capsys, *arguments)[0] == 0 == run(capsys, "score", tmp_path / "run")[0]


def test_one_bad_task_and_one_bad_model_do_not_stop_the_others(task, tmp_path, capsys):
    model = replies(tmp_path / "a.jsonl", *["happy"] * 4)
    options = ["--model", model, "--model", f"file:{tmp_path / 'gone.jsonl'}"]
    code, _, err = run(capsys, "--tasks", "toy,cifar", "--data", tmp_path, *options, "--output", tmp_path / "run")
    assert code == 1 and "cifar" in err and "does not exist" in err and "gone.jsonl: cannot be read" in err
    assert (tmp_path / "run" / "a" / "toy" / "predictions.jsonl").is_file()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--tasks", "toi"], "unknown task 'toi'"),
        (["--tasks", "toy", "--model", "file:gone.jsonl"], "gone.jsonl: cannot be read"),
        (["--tasks", "toy", "--prompt", "release"], "no chosen task has the prompt 'release'; they have: ours"),
        (["--tasks", "toy", "--option", "toy.x=1"], "task toy has no option 'x'"),
        (["--tasks", "toy", "--option", "x=1"], "option 'x=1'; expected TASK.NAME=VALUE"),
        (["--tasks", "toy", "--split", "train", "--model", "file:{file}"], "unknown split 'train'"),
        (["--tasks", "toy", "--data", "a", "--data", "b"], "give one folder, or task=FOLDER"),
        (["gone.yaml"], "gone.yaml' does not exist"),
        ([], "tasks"),
    ],
)
def test_what_cannot_run_exits_with_2(task, tmp_path, capsys, arguments, told):
    replies(tmp_path / "a.jsonl", "happy")
    arguments = [text.replace("{file}", str(tmp_path / "a.jsonl")) for text in arguments]
    code, _, err = run(capsys, *arguments, "--output", tmp_path / "run")
    assert code == 2 and told in err, err


def test_the_list_of_tasks(task, capsys):
    code, out, _ = run(capsys, "--list")
    assert code == 0 and "toy A toy (emotion)" in out and "licence: Made up." in out


def test_two_runs_are_compared(task, tmp_path, capsys):
    for name, words in (("a", ["happy"] * 4), ("b", ["happy", "afraid", "happy", "happy"])):
        model = replies(tmp_path / f"{name}.jsonl", *words)
        assert run(capsys, "--tasks", "toy", "--model", model, "--output", tmp_path / name)[0] == 0
    code, out, err = run(capsys, "compare", tmp_path / "a", tmp_path / "b" / "b", "--output", tmp_path / "page")
    assert code == 0, err
    assert "+25.0" in out
    record = json.loads((tmp_path / "page" / "comparison.json").read_text(encoding="utf-8"))
    (pair,) = record["pairs"]
    assert pair["differences"]["WAR"]["difference"] == pytest.approx(0.25) and record["left_out"] == {}
    assert pair["mcnemar"] == {"only_first": 0, "only_second": 1, "p": 1.0}
    page = (tmp_path / "page" / "comparison.md").read_text(encoding="utf-8")
    assert "| toy | en | WAR | 50.0 | 75.0 | +25.0 |" in page and "McNemar" in page
    assert "<table>" in (tmp_path / "page" / "comparison.html").read_text(encoding="utf-8")


def test_runs_that_cannot_be_compared(task, tmp_path, capsys):
    for name in ("a", "b"):
        model = replies(tmp_path / f"{name}.jsonl", *["happy"] * 4)
        assert run(capsys, "--tasks", "toy", "--model", model, "--output", tmp_path / "run")[0] == 0
    code, _, err = run(capsys, "compare", tmp_path / "run", tmp_path / "run" / "a")
    assert code == 2 and "holds 2 models; give the folder of one of them" in err
    model = replies(tmp_path / "c.jsonl", *["happy"] * 4)
    assert run(capsys, "--tasks", "toy", "--model", model, "--output", tmp_path / "few", "--limit", "2")[0] == 0
    code, _, err = run(capsys, "compare", tmp_path / "few", tmp_path / "run" / "a")
    assert code == 2 and "nothing to compare (toy, en: 2 items" in err


def test_a_model_of_ours_in_both_languages(tmp_path, capsys):
    write_pictures(tmp_path / "pictures_cifar10.parquet", ["cat", "dog", "ship"])
    options = ["--data", f"cifar={tmp_path}", "--language", "both", "--device", "cpu", "--output", tmp_path / "run"]
    code, _, err = run(capsys, "--tasks", "cifar", *options)
    assert code == 0, err
    record = json.loads((tmp_path / "run" / "scores.json").read_text(encoding="utf-8"))
    assert [(column["model"], column["language"]) for column in record["columns"]] == [("nano", "en"), ("nano", "zh")]
    assert record["columns"][0]["made_by"]["scoring"] == "likelihood less blank per token"


OWN_TASK = """
from emotion_qwen.evaluation.scoring.closed import score_closed
from emotion_qwen.evaluation.task import Item, Task


class Sums:
    def check(self, data):
        pass

    def items(self, data, split, languages, side, limit):
        return [Item(f"sum/{n}", "en", (), f"1 + {n}?", ("1", "2"), str(n + 1), "sums") for n in range(2)]


TASKS = (Task("sums_of_a_file", "Sums", "general", Sums(), score=score_closed, splits=("test",)),)
"""


def test_a_task_of_a_file_is_asked_scored_and_compared(tmp_path, capsys, tasks_as_before):
    own, answers = tmp_path / "sums_for_a_test.py", tmp_path / "theirs.jsonl"
    own.write_text(OWN_TASK)
    rows = [{"id": f"sum/{n}", "scores": {"1": 0.75, "2": 0.25}} for n in range(2)]
    answers.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    code, out, err = run(capsys, "--tasks", own, "--model", f"file:{answers}", "--output", tmp_path / "run")
    assert code == 0 and "50.0" in out, err
    TASKS.pop("sums_of_a_file")
    assert run(capsys, "score", tmp_path / "run")[0] == 1
    assert "name its file with --tasks" in (tmp_path / "run" / "report.md").read_text(encoding="utf-8")
    assert run(capsys, "score", tmp_path / "run", "--tasks", own)[0] == 0
    TASKS.pop("sums_of_a_file")
    assert run(capsys, "compare", tmp_path / "run", tmp_path / "run", "--tasks", own)[0] == 0
    TASKS.pop("sums_of_a_file")
    assert "sums_of_a_file" in run(capsys, "--list", "--tasks", own)[1]
