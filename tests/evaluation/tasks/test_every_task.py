"""Every task on invented files in its owners' layout: its items per split, a run that was killed and went on, and its
figures again where torch is not installed and the files are gone."""

import json
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.run.predictions import LINES, prediction, read_all, text_digest
from emotion_qwen.evaluation.run.runner import answer_task
from emotion_qwen.evaluation.run.score import score_record, score_run
from emotion_qwen.evaluation.tasks import TASKS

from ..all_files import WRITERS, with_wheels
from ..scripted import Echo

KILLED = "mme"
"""The task whose first run is ended by SIGKILL; the others are interrupted by an exception."""


class Mixed(Echo):
    """Gives right, wrong, unreadable and no answers, each in the form that the item asks for; stops after a number of
    answers if told to."""

    def __init__(self, stop_after: int = 0, stop=None):
        super().__init__()
        self.stop_after, self.stop = stop_after, stop

    def answer(self, task, items):
        for item in items:
            self.asked.append((item.id, item.language))
            yield reply_to(task, item)
            if len(self.asked) == self.stop_after:
                self.stop()


def reply_to(task, item):
    number = int(text_digest(f"{item.language} {item.id}"), 16)
    form = item.answered or task.answered
    if form == "continuation":
        return prediction(item, continuation=(-0.5 * len(item.answer), 3, False))
    choices = item.allowed or item.choices
    if choices and (form == "likelihood" or number % 4 == 0):
        shares = [2.0 ** -((place + number) % len(choices) + 1) for place in range(len(choices))]
        scores = {choice: share / sum(shares) for choice, share in zip(choices, shares, strict=True)}
        return prediction(item, predicted=max(scores, key=scores.get), scores=scores)
    if number % 7 == 3:
        return prediction(item, unanswered="no face was found")
    return prediction(
        item, text=(item.answer, "I cannot tell.", f"Not {item.answer}, but yes, A or happy.")[number % 3]
    )


def answer(model: Mixed, name: str, folder: Path, run: str) -> None:
    task, options = with_wheels(name, folder / "wheels")
    data, output = folder / "sets" / name, folder / run / "mixed" / name
    answer_task(model, task, output, data=data, languages=task.languages, options=options)


def interrupt():
    raise KeyboardInterrupt


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


WITHOUT_TORCH = """
import json, sys
from pathlib import Path
class NotInstalled:
    def find_spec(self, name, *_):
        if name.partition(".")[0] in ("torch", "transformers", "pyarrow"):
            raise ModuleNotFoundError(f"No module named {name}", name=name)
sys.meta_path.insert(0, NotInstalled())
from emotion_qwen.evaluation.run.score import score_record, score_run
print(json.dumps(score_record(score_run(Path(sys.argv[1])))))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return the folder of two runs over all tasks, one of them killed half-way, and name -> the models that were asked
    in each: in the whole run, before the kill, and after it."""
    folder, models = tmp_path_factory.mktemp("every task"), {}
    for name, write in WRITERS.items():
        write(folder / "sets" / name)
        whole = Mixed()
        answer(whole, name, folder, "whole")
        half = (len(whole.asked) + 1) // 2
        first, second = Mixed(half, interrupt), Mixed()
        if name == KILLED:
            process = multiprocessing.get_context("fork").Process(
                target=answer, args=(Mixed(half, kill), name, folder, "killed")
            )
            process.start()
            process.join()
            assert process.exitcode == -signal.SIGKILL
            first.asked = [line.key for line in read_all(folder / "killed" / "mixed" / name)]
        else:
            with pytest.raises(KeyboardInterrupt):
                answer(first, name, folder, "killed")
        with (folder / "killed" / "mixed" / name / LINES).open("a", encoding="utf-8") as file:
            file.write('{"id": "half of a li')
        answer(second, name, folder, "killed")
        models[name] = (whole, first, second)
    return folder, models


@pytest.fixture(scope="module")
def figures(runs):
    """Return run -> task -> figures per language: of the whole run, and of the killed one scored in a process without
    torch after the files have been removed."""
    folder, _ = runs
    shutil.rmtree(folder / "sets")
    command = [sys.executable, "-c", WITHOUT_TORCH, str(folder / "killed")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    records = {"whole": score_record(score_run(folder / "whole")), "killed": json.loads(done.stdout)}
    assert not [record["unscored"] for record in records.values() if record["unscored"]]
    by_task = {run: {} for run in records}
    for run, record in records.items():
        for column in json.loads(json.dumps(record["columns"])):
            by_task[run].setdefault(column["task"], {})[column["language"]] = column
    return by_task


@pytest.mark.parametrize("name", TASKS)
def test_a_killed_run_goes_on_as_if_it_had_not_been(name, runs):
    folder, models = runs
    whole, first, second = models[name]
    assert first.asked == whole.asked[: (len(whole.asked) + 1) // 2], "answers that were given are kept"
    assert second.asked == whole.asked[len(first.asked) :], "no item is asked twice"
    lines, expected = (folder / run / "mixed" / name / LINES for run in ("killed", "whole"))
    assert lines.read_bytes() == expected.read_bytes()


@pytest.mark.parametrize("name", TASKS)
def test_figures_are_the_same_without_torch_and_files(name, runs, figures):
    assert figures["killed"][name] == figures["whole"][name]
    assert set(figures["whole"][name]) == {language for _, language in runs[1][name][0].asked}
    for column in figures["whole"][name].values():
        assert column["scores"] and column["coverage"] + column["unanswered"] / column["items"] == 1


# Task -> split -> items that can be asked in the task's last language; the files also hold odd rows and other splits.
ITEMS = {
    "fer": {"validation": 3, "test": 1},
    "lfw": {"validation": 3, "test": 1},
    "cifar": {"validation": 3, "test": 1},
    "emodb": {"validation": 3, "test": 1},
    "goemotions": {"validation": 2, "test": 1},
    "ravdess_voices": {"validation": 3, "test": 1},
    "nemo": {"validation": 3, "test": 1},
    "emotiontts": {"validation": 2, "test": 1},
    "meld_lines": {"validation": 2, "test": 1},
    "dailydialog_lines": {"validation": 2, "test": 1},
    "emorynlp_lines": {"validation": 2, "test": 1},
    "cped_lines": {"validation": 2, "test": 1},
    "dfew": {"test": 7},
    "mer2024_semi": {"test": 2},
    "mer2024_noise": {"test": 1},
    "mafw": {"test": 3},
    "ravdess": {"test": 3},
    "emoset": {"test": 3, "validation": 1},
    "mer2023_multi": {"test": 2},
    "mer2023_noise": {"test": 1},
    "mer2023_semi": {"test": 1},
    "mer2025_track1": {"test": 2},
    "mer2026_cross": {"test": 2},
    "meld": {"test": 3, "validation": 1},
    "mosi": {"test": 3, "validation": 1},
    "mosei": {"test": 3, "validation": 1},
    "sims": {"test": 3, "validation": 1},
    "simsv2": {"test": 3, "validation": 1},
    "unibench_mer2023": {"test": 2},
    "unibench_mer2024": {"test": 2},
    "unibench_meld": {"test": 1, "validation": 2},
    "unibench_mosi": {"test": 3, "validation": 1},
    "unibench_mosei": {"test": 3, "validation": 1},
    "unibench_sims": {"test": 3, "validation": 1},
    "unibench_simsv2": {"test": 3, "validation": 1},
    "emobank": {"test": 2, "validation": 1},
    "affectnet": {"validation": 3},
    "affectnet_va": {"validation": 3},
    "rafdb": {"test": 2},
    "ferplus": {"test": 2, "validation": 1},
    "emer": {"test": 3},
    "mer_unibench": {"test": 3},
    "mer2025_track2": {"test": 3, "ovmerd": 3},
    "mer2026_fg": {"test": 3, "human": 3},
    "mer2026_prefer": {"test": 4, "emoprefer": 4, "emopreferv2": 4},
    "cremad": {"test": 2},
    "cremad_voices": {"test": 2},
    "emodb_files": {"test": 3},
    "artphoto": {"test": 2},
    "fi": {"test": 3},
    "iemocap": {"test": 3, "all": 6},
    "unibench_iemocap": {"test": 3},
    "ckplus": {"test": 2},
    "emotion6": {"test": 2},
    "afew_va": {"test": 3},
    "affwild2": {"validation": 2},
    "mme_emotion": {"test": 3},
    "emobench_m": {"test": 3},
    "emobench_m_smile": {"test": 1},
    "ver": {"test": 1, "validation": 0},
    "folder": {"test": 3},
    "pope": {"test": 4},
    "mme": {"test": 8},
    "mmbench": {"validation": 1},
    "mmbench_circular": {"validation": 2},
    "scienceqa": {"test": 3, "validation": 2},
    "seedbench": {"test": 2},
    "textvqa": {"validation": 1},
    "vqav2": {"validation": 1},
    "mmmu": {"validation": 2},
    "mathvista": {"test": 4},
    "realworldqa": {"test": 3},
    "videomme": {"test": 2},
    "mvbench": {"test": 2},
    "emobench": {"test": 3},
    "eqbench": {"test": 1},
    "emotionhallucer": {"test": 4},
    "skills": {"validation": 14, "test": 1},
    "text_perplexity": {"validation": 1, "test": 0},
    "general_prompts": {"validation": 3, "test": 0},
}


@pytest.mark.parametrize("name", TASKS)
def test_every_split_has_its_items(name, tmp_path):
    home, task = WRITERS[name](tmp_path), TASKS[name]
    counts = {}
    for split in task.splits:
        try:
            counts[split] = len(task.items(home, side=32, split=split, languages=task.languages[-1:]))
        except DataError as error:
            assert "\n" not in str(error) and (str(home) in str(error) or split in str(error)), error
            counts[split] = 0
    assert counts == ITEMS[name]
