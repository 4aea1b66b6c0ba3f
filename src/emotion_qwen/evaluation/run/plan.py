"""The settings of a benchmark run, from YAML or the command line, and its execution."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field
from rich.console import Console

from emotion_qwen.client import ENDPOINT, parse_endpoint
from emotion_qwen.errors import EmotionQwenError, SettingsError
from emotion_qwen.evaluation.run.answerers import FILE, Answerer, EndpointSettings
from emotion_qwen.evaluation.run.extraction import ExtractorSettings, extract_run
from emotion_qwen.evaluation.run.judge import JudgeSettings, judge_run
from emotion_qwen.evaluation.run.predictions import FINDINGS, SURPLUS, text_digest
from emotion_qwen.evaluation.run.runner import Place, answer_task
from emotion_qwen.evaluation.task import Item, Task
from emotion_qwen.evaluation.tasks import TASKS, load_tasks
from emotion_qwen.extensions import beside
from emotion_qwen.files import write_whole
from emotion_qwen.settings import Settings, read_yaml

_NAMED_MODEL = re.compile(r"(\w[\w.-]*)=(.+)")


class EvalSettings(Settings):
    """A run of benchmarks."""

    tasks: tuple[str, ...] = Field(min_length=1)
    """Names shown by `emotion-qwen eval --list`, and Python files of your own tasks; see `tasks.load_tasks`."""
    models: tuple[str, ...] = ("nano",)
    """"nano", "mini", a model folder or hub name, "openai:NAME@http://host/v1", "file:predictions.jsonl"; with a name
    for folders and pages as "NAME=MODEL"."""
    data: Path | dict[str, Path] | None = None
    """Folder with the files of a task, or with a subfolder per task; or task -> folder."""
    output: Path
    """Folder of the run."""
    languages: tuple[Literal["en", "zh"], ...] = ("en",)
    """A task uses those that it supports."""
    split: str | None = None
    """None uses the first split of each task."""
    limit: int | None = Field(None, ge=1)
    """Number of items per task, evenly spaced."""
    prompts: tuple[str, ...] = ("ours",)
    """Wordings; each is a separate column, for the tasks that have it."""
    options: dict[str, dict[str, str]] = Field(default_factory=dict)
    """Task -> option -> value."""
    device: str = "auto"
    """Of local models: auto, cpu, cuda, cuda:1, mps; with several processes, auto uses one GPU each."""
    batch: int | None = Field(None, ge=1)
    """Batch size of local models."""
    workers: int | None = Field(None, ge=0)
    """Processes that prepare media for a local model; None chooses by the number of cores."""
    replies: bool = False
    """Local models answer emotion tasks with text if the task asks for text, instead of like `analyze`."""
    endpoint: EndpointSettings = Field(default_factory=lambda: EndpointSettings.of({}))
    judge: JudgeSettings | None = None
    extractor: ExtractorSettings | None = None
    """Model that extracts emotion words from replies in prose, for the tasks that score words."""
    frames: bool = True
    """Show frames of the worst answers on the page; the terms of the data set then also apply to the page."""

    def chosen(self) -> list[Task]:
        """Return the tasks in every requested wording, with their options.

        Raises:
            SettingsError: a task, wording or option is unknown.
        """
        tasks = []
        for task in load_tasks(self.tasks):
            set_up = task.with_options(**self.options.get(task.name, {}))
            tasks += [set_up.with_prompt(prompt) for prompt in self.prompts if prompt in task.prompts]
        for prompt in self.prompts:
            if not any(task.prompt == prompt for task in tasks):
                wordings = dict.fromkeys(name for task in tasks or TASKS.values() for name in task.prompts)
                raise SettingsError(f"no chosen task has the prompt {prompt!r}; they have: {', '.join(wordings)}")
        unknown = set(self.options) - {task.name for task in tasks}
        if unknown:
            raise SettingsError(f"options for {', '.join(sorted(unknown))}, not a chosen task; add it to tasks")
        return tasks

    def folder_of(self, task: Task) -> Path | None:
        """Return the folder with the files of a task."""
        return self.data.get(task.name) if isinstance(self.data, dict) else self.data


def read_values(path: Path, overrides: Iterable[str] = ()) -> dict[str, Any]:
    """Read the settings of a run; task files are searched for next to them first.

    Raises:
        SettingsError: see `settings.read_yaml`.
    """
    values = read_yaml(path, overrides)
    if isinstance(values.get("tasks"), list):
        values["tasks"] = [beside(str(text), path.parent) for text in values["tasks"]]
    return values


@dataclass(eq=False)
class EvalOutcome:
    """The outcome of a run.

    Attributes:
        items: folder of predictions -> items with their media, for the pictures of the page.
        faults: failures, one line each; the rest was completed.
        notes: what a reader of the scores must know, without repetition.
    """

    items: dict[Path, Sequence[Item]] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)


def run(settings: EvalSettings, console: Console) -> EvalOutcome:
    """Have every model answer every task; a task or model that fails is reported, and the others continue.

    Raises:
        EmotionQwenError: nothing could be answered.
    """
    tasks, outcome, place = settings.chosen(), EvalOutcome(), Place.here()
    folders = folder_names(settings.models)
    last: EmotionQwenError | None = None
    for name in settings.models:
        try:
            answerer = make_answerer(
                split_model(name)[1], device=device_of_process(settings.device), batch=settings.batch,
                endpoint=settings.endpoint, workers=settings.workers, replies=settings.replies,
            )  # fmt: skip
        except EmotionQwenError as error:
            last = error
            outcome.faults.append(f"{name}: {error}")
            continue
        repeated = getattr(answerer, "repeated", [])
        if repeated:
            outcome.faults.append(f"{name}: {len(repeated)} ids answered more than once, first {repeated[0]!r}")
        if getattr(answerer, "torn", False):
            outcome.faults.append(f"{name}: the last line is incomplete and was left out")
        for task in tasks:
            try:
                _answer(settings, answerer, task, settings.output / folders[name] / task.column, outcome)
            except EmotionQwenError as error:
                last = error
                repeated_fault = any(
                    fault.startswith(f"{task.column}: ") and str(error) in fault for fault in outcome.faults
                )
                outcome.faults += [] if repeated_fault else [f"{name}, {task.column}: {error}"]
        strays = getattr(answerer, "strays", [])
        if strays:
            outcome.notes[f"{name}: {len(strays)} ids belong to no item, first {strays[0]!r}"] = None
        if place.rank == 0 and hasattr(answerer, "repeated"):
            _tell_surplus(outcome, [settings.output / folders[name] / task.column for task in tasks], repeated, strays)
    if not outcome.items and last is not None:
        raise last
    if place.rank == 0:
        places, judge, extractor = list(outcome.items), settings.judge, settings.extractor
        if judge:
            marks = partial(judge_run, places, judge, settings.output)
            _read_replies(outcome, "judge", marks, "{count} replies without a mark")
        if extractor:
            words = partial(extract_run, places, extractor, settings.output)
            _read_replies(outcome, "extractor", words, "nothing extracted from {count} replies")
        for line in outcome.notes:
            console.print(line, markup=False, highlight=False, soft_wrap=True)
        for line in dict.fromkeys(outcome.faults):
            console.print(f"fault: {line}", style="yellow", markup=False, highlight=False, soft_wrap=True)
    return outcome


def make_answerer(
    name: str,
    *,
    device: str = "auto",
    batch: int | None = None,
    endpoint: EndpointSettings | None = None,
    workers: int | None = None,
    replies: bool = False,
) -> Answerer:
    """Return the answerer for a name.

    Args:
        name: "nano", a model folder, an adapter folder or a hub name; "openai:NAME@http://host/v1";
            "file:predictions.jsonl" or ".csv".
        device: of a local model.
        batch: batch size of a local model; None is the default.
        endpoint: settings for calling an endpoint.
        workers: processes that prepare media for a local model; None chooses by the number of cores.
        replies: see `answerers.local.LocalModel`.

    Raises:
        CheckpointError: there is no such model, or it does not fit.
        SettingsError: the device does not exist on this machine, or the address is invalid.
        DataError: the file cannot be read.
    """
    if name.startswith(ENDPOINT):
        from emotion_qwen.evaluation.run.answerers.endpoint import Endpoint

        return Endpoint.at(name, endpoint or EndpointSettings.of({}))
    if name.startswith(FILE):
        from emotion_qwen.evaluation.run.answerers.file import PredictionFile

        return PredictionFile(Path(name.removeprefix(FILE)))
    from transformers.utils import logging

    from emotion_qwen.engine.engine import Engine
    from emotion_qwen.evaluation.run.answerers.local import BATCH, LocalModel

    logging.disable_progress_bar()  # our own progress bar counts items
    logging.set_verbosity_error()
    return LocalModel(Engine.load(name, device), batch=batch or BATCH, workers=workers, replies=replies)


def _tell_surplus(outcome: EvalOutcome, places: Sequence[Path], repeated: Sequence[str], strays: Sequence[str]) -> None:
    """Write which ids of a prediction file are repeated, and which belong to no item, next to the predictions."""
    for folder in places:
        ids = {item.id for item in outcome.items.get(folder, ())}
        if ids:
            surplus = {"duplicates": [name for name in dict.fromkeys(repeated) if name in ids], "strays": list(strays)}
            write_whole(folder / SURPLUS, json.dumps(surplus, indent=1, ensure_ascii=False) + "\n")


def _read_replies(outcome: EvalOutcome, reader: str, read: Callable[[], int], fault: str) -> None:
    """Have another model read the replies; its error, or the number of replies that it could not read, is a fault."""
    try:
        unread = read()
    except EmotionQwenError as error:
        outcome.faults.append(f"{reader}: {error}")
        return
    outcome.faults += [f"{reader}: {fault.format(count=unread)}"] if unread else []


def _answer(settings: EvalSettings, answerer: Answerer, task: Task, folder: Path, outcome: EvalOutcome) -> None:
    languages = [language for language in settings.languages if language in task.languages]
    if not languages:
        raise SettingsError(f"supports only {', '.join(task.languages)}; add one of these to the languages")
    data = settings.folder_of(task)
    findings = [(finding.kind, finding.text) for finding in task.check(data, settings.split, languages)]
    outcome.faults += [f"{task.column}: missing: {text}" for kind, text in findings if kind == "missing"]
    outcome.faults += [f"{task.column}: {text}" for kind, text in findings if kind == "fault"]
    outcome.notes |= {f"{task.column}: {kind}: {text}": None for kind, text in findings if kind == "differs"}
    done = answer_task(
        answerer, task, folder, data=data, languages=languages, split=settings.split, limit=settings.limit,
        options=settings.options.get(task.name, {}),
    )  # fmt: skip
    outcome.items[folder] = done.items
    if Place.here().rank == 0:
        write_whole(folder / FINDINGS, json.dumps(findings, indent=1, ensure_ascii=False) + "\n")
    place = f"{answerer.name}, {task.column}"
    if done.rejected:
        name, why = next(iter(done.rejected.items()))
        outcome.faults.append(f"{place}: {len(done.rejected)} items are not usable, first {name!r}: {why}")
    if done.failures:
        first = next(prediction for prediction in done.predictions if prediction.error)
        outcome.faults.append(f"{place}: {done.failures} items failed, first {first.id!r}: {first.error}")
    without = [prediction for prediction in done.predictions if prediction.unanswered]
    if without:
        outcome.notes[
            f"{place}: {len(without)} of {len(done.items)} items have no answer, first {without[0].id!r}: "
            f"{without[0].unanswered}"
        ] = None
    if done.missing:
        outcome.faults.append(f"{place}: {done.missing} of {len(done.items)} items have no answer")


def split_model(text: str) -> tuple[str, str]:
    """Split "NAME=MODEL" into the name and the model; the name is empty for a model alone.

    An existing path counts as a model, so that a folder may have "=" in its name.
    """
    match = _NAMED_MODEL.fullmatch(text)
    return ("", text) if match is None or Path(text).exists() else (match[1], match[2])


def folder_names(models: Sequence[str]) -> dict[str, str]:
    """Return the folder of each model: its given name, or the last part of its path.

    Where two models without a given name would share a folder, an endpoint gets its host as a suffix, others a hash.

    Raises:
        SettingsError: two models have the same given name, or one has the folder of another.
    """
    given = {text: split_model(text)[0] for text in models}
    names = {text: _short(text) for text in models if not given[text]}
    several = {short for short in names.values() if list(names.values()).count(short) > 1}
    named = {text: f"{short}-{_host(text)}" if short in several else short for text, short in names.items()}
    again = {full for full in named.values() if list(named.values()).count(full) > 1}
    folders = {t: given[t] or (f"{names[t]}-{text_digest(t)[:6]}" if named[t] in again else named[t]) for t in given}
    for text, folder in folders.items():
        if list(folders.values()).count(folder) > 1:
            raise SettingsError(f"two models are called {folder!r}, one of them {text!r}; give each its own name")
    return folders


def _short(model: str) -> str:
    if model.startswith(FILE):
        return Path(model.removeprefix(FILE)).stem
    return _plain(parse_endpoint(model)[1] if model.startswith(ENDPOINT) else Path(model).name) or text_digest(model)


def _host(model: str) -> str:
    return _plain(urlsplit(parse_endpoint(model)[0]).netloc) if model.startswith(ENDPOINT) else text_digest(model)[:6]


def _plain(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "-" for letter in name).strip(".")


def device_of_process(device: str) -> str:
    """Return the device of this process: "auto" becomes the GPU of its local rank."""
    if device != "auto" or "LOCAL_RANK" not in os.environ:
        return device
    import torch

    count = torch.cuda.device_count()
    return f"cuda:{int(os.environ['LOCAL_RANK']) % count}" if count else "auto"
