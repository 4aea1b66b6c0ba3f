"""The words in which every task asks, frozen. `python -m pytest` compares; what changes here changes scores.

To write the file anew: remove it and run this test once; it fails, and writes what there is for you to read.
"""

from pathlib import Path

from emotion_qwen.evaluation.tasks import TASKS
from emotion_qwen.evaluation.tasks.parquet import PictureFile, TextFile
from emotion_qwen.evaluation.tasks.prompts import emotion_question, spoken
from emotion_qwen.evaluation.tasks.skills import SUITES, TextRows

from ..all_files import BENCHMARKS
from ..skill_files import write_skill_files

FROZEN = Path(__file__).with_name("prompts.txt")


def _shown(item) -> str:
    parts = [part["text"] if part["type"] == "text" else f"<{part['type']}>" for part in item.parts]
    choices = f"\n-- choices: {' | '.join(item.choices)}" if item.choices else ""
    return "".join(parts) + item.question + choices


def _of_files(task, home: Path):
    """Yield heading and text of the first item, and of the first that is told or shown other things."""
    for prompt in task.prompts:
        asked = task.with_prompt(prompt)
        for language in asked.languages:
            kinds = {}
            for item in asked.items(home, side=48, languages=(language,)):
                kinds.setdefault(tuple(part["type"] for part in item.parts), item)
            for item in kinds.values():
                yield f"{task.name}, {prompt}, {language}, item {item.id}", _shown(item)


def _of_own(task):
    source = task.source
    for language in task.languages:
        ask = source.question if isinstance(source, PictureFile) else emotion_question
        told = spoken(language, "...") if isinstance(source, TextFile) else ""
        yield f"{task.name}, ours, {language}", told + ask(source.labels, language)


def _of_text(task, home: Path):
    """Yield how every suite is asked and answered, and the first item of tasks without suites of their own."""
    home.mkdir()
    if task.name == "skills":
        for name, suite in SUITES.items():
            per = ", per character" if suite.by_length and suite.answered == "likelihood" else ""
            way = suite.answered + per + (f", {suite.max_new_tokens} tokens" if suite.max_new_tokens else "")
            yield f"skills, ours, suite {name}: {way}", f"{suite.prompt}\n{suite.chinese}".strip()
    else:
        item = task.items(write_skill_files(home), side=None)[0]
        yield f"{task.name}, ours, item {item.id}: {item.answered}", item.question or item.answer


def all_prompts(folder: Path) -> str:
    """Return every task's prompts, one below the other; line ends and blanks at the end of a line are shown as ¶."""
    pieces = []
    for name, task in TASKS.items():
        if isinstance(task.source, TextRows):
            told = _of_text(task, folder / name)
        else:
            told = _of_files(task, BENCHMARKS[name](folder / name)) if name in BENCHMARKS else _of_own(task)
        pieces += [f"## {heading}\n{text.replace(chr(10), '¶' + chr(10))}¶\n" for heading, text in told]
    return "\n".join(pieces)


def test_no_prompt_has_changed(tmp_path):
    prompts = all_prompts(tmp_path)
    if not FROZEN.is_file():
        FROZEN.write_text(prompts, encoding="utf-8")
        raise AssertionError(f"{FROZEN.name} was not there and has been written; read it")
    assert prompts == FROZEN.read_text(encoding="utf-8")


def test_every_task_stands_in_the_file():
    headings = [line for line in FROZEN.read_text(encoding="utf-8").splitlines() if line.startswith("## ")]
    assert {line[3:].partition(",")[0] for line in headings} == set(TASKS)
