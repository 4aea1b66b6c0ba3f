"""The commands `eval` (run benchmarks, score again, compare runs) and `forgetting`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console

from emotion_qwen.console import WithDefault
from emotion_qwen.errors import SettingsError, listed, unknown_choice

if TYPE_CHECKING:
    from emotion_qwen.evaluation.run.score import Scored
    from emotion_qwen.evaluation.task import Task

LOST = 1
"""Exit code when more general skill was lost than allowed."""
FINISHED_WITH_FAULTS = 1
LANGUAGES = {"en": ["en"], "zh": ["zh"], "both": ["en", "zh"]}
_KEYS = ("tasks", "models", "data", "output", "languages", "split", "limit", "prompts", "device", "batch")


@click.group("eval", cls=WithDefault)
def evaluate() -> None:
    """Run benchmarks and score the answers.

    `emotion-qwen eval FILE.yaml` or `emotion-qwen eval --tasks fer,pope --model A --model B` answers and scores;
    existing answers are kept. `emotion-qwen eval run --help` shows the options, `emotion-qwen eval --list` the tasks,
    what they need, and where to ask. Exit code 0: all fine; 1: finished, but something failed; 2: could not run.
    """


@evaluate.command("run")
@click.argument("config", type=click.Path(path_type=Path, dir_okay=False), required=False)
@click.argument("overrides", nargs=-1)
@click.option("--tasks", default=None, help="Names and Python files of your own tasks, separated by commas.")
@click.option(
    "--model",
    "models",
    multiple=True,
    help="nano, a folder, openai:NAME@http://host/v1, file:answers.jsonl; NAME=MODEL names it.",
)
@click.option("--data", multiple=True, help="Folder of the files, or task=FOLDER; several times.")
@click.option("--output", type=click.Path(path_type=Path), default=None, help="Folder of the run.")
@click.option("--language", type=click.Choice(list(LANGUAGES)), default=None, help="Default: English.")
@click.option("--split", default=None, help="Default: the first split of each task.")
@click.option("--limit", type=click.IntRange(min=1), default=None, help="Number of items per task, evenly spaced.")
@click.option("--prompt", "prompts", multiple=True, help="Wording, such as ours or release; each is its own column.")
@click.option("--option", "options", multiple=True, metavar="TASK.NAME=VALUE", help="Set an option of a task.")
@click.option("--judge", default=None, help="Model that marks replies if a task needs a judge; named like --model.")
@click.option("--extractor", default=None, help="Model that extracts emotion words from prose; named like --model.")
@click.option("--device", default=None, help="auto, cpu, cuda, cuda:1, mps, balanced")
@click.option("--batch", type=click.IntRange(min=1), default=None, help="Items that a local model answers together.")
@click.option("--workers", type=click.IntRange(min=0), default=None, help="Processes that prepare media; 0 for none.")
@click.option("--replies", is_flag=True, default=None, help="Local models answer with text if a task asks for text.")
@click.option("--frames/--no-frames", default=None, help="Frames of the worst answers on the page.")
@click.option("--list", "listed", is_flag=True, help="List the tasks with their files, and exit.")
def run_benchmarks(config: Path | None, overrides: tuple[str, ...], listed: bool, **given: Any) -> int:
    """Answer tasks and score the answers; CONFIG is a YAML file, OVERRIDES are key=value.

    Options take precedence over the file. An interrupted run is continued.
    """
    if listed:
        _show_tasks(Console(), _load(given["tasks"]))
        return 0
    from emotion_qwen.evaluation.run.plan import EvalSettings, run
    from emotion_qwen.evaluation.run.runner import Place
    from emotion_qwen.extras import optional

    settings = EvalSettings.of(_values(config, overrides, given), str(config or "options"))
    settings.chosen()
    optional("matplotlib.figure", "eval")  # fail now rather than after an hour of answers
    outcome = run(settings, Console(stderr=True))
    if Place.here().rank:
        return 0
    scored = _report(settings.output, outcome.items, settings.frames)
    fine = not outcome.faults and all(column.whole for column in scored.columns) and not scored.unscored
    return 0 if fine else FINISHED_WITH_FAULTS


@evaluate.command("score")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--tasks", default=None, help="Python files of your own tasks in the run, separated by commas.")
@click.option("--frames/--no-frames", default=True, help="Frames of the worst answers on the page.")
def score(run: Path, tasks: str | None, frames: bool) -> int:
    """Score the answers of RUN again; loads no model and no data."""
    _load(tasks)
    scored = _report(run, {}, frames)
    return 0 if all(column.whole for column in scored.columns) and not scored.unscored else FINISHED_WITH_FAULTS


@evaluate.command("extract")
@click.argument("run", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--extractor", required=True, help="Model that extracts emotion words; named like --model.")
@click.option("--tasks", default=None, help="Python files of your own tasks in the run, separated by commas.")
def extract(run: Path, extractor: str, tasks: str | None) -> int:
    """Extract emotion words from the replies of RUN, and score it again; needs no data.

    Replies are cached, so a second call asks only for new ones.
    """
    from emotion_qwen.evaluation.run.extraction import ExtractorSettings, extract_run
    from emotion_qwen.evaluation.run.score import folders_of

    _load(tasks)
    faults = extract_run(folders_of(run), ExtractorSettings.of({"model": extractor}), run)
    if faults:
        print(f"fault: nothing extracted from {faults} replies", file=sys.stderr)
    _report(run, {}, False)
    return FINISHED_WITH_FAULTS if faults else 0


@evaluate.command("leaderboard")
@click.argument("runs", nargs=-1, required=True, metavar="RUNS...", type=click.Path(path_type=Path, exists=True))
@click.option("--output", type=click.Path(path_type=Path), default=None, help="Folder of the page; default: first RUN.")
@click.option(
    "--to",
    "files",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write x.tex, x.csv, x.json, x.yaml (model-index) or x.lmms.json; several times.",
)
@click.option("--trained", multiple=True, metavar="MODEL=TASKS", help="State the sets that a model was trained on.")
@click.option("--tasks", default=None, help="Python files of your own tasks in the runs, separated by commas.")
def leaderboard(
    runs: tuple[Path, ...], output: Path | None, files: tuple[Path, ...], trained: tuple[str, ...], tasks: str | None
) -> int:
    """Put the scores of all models in RUNS into one table; loads no model and no data.

    RUNS: folders of runs, or of models within runs (RUN/MODEL).
    """
    from emotion_qwen.evaluation.pages.leaderboard_page import print_board, write_board
    from emotion_qwen.evaluation.run.exports import export_board
    from emotion_qwen.evaluation.run.leaderboard import leaderboard as make_board

    _load(tasks)
    stated: dict[str, list[str]] = {}
    for text in trained:
        model, sign, names = text.partition("=")
        if not sign or not model:
            raise SettingsError(f"--trained {text!r}; expected MODEL=TASK,TASK, such as my-model=dfew,mafw")
        stated[model] = [name.strip() for name in names.split(",") if name.strip()]
    board = make_board(runs, stated)
    for path in files:
        export_board(board, path)
    pages = write_board(board, output or runs[0])
    print_board(board, Console())
    print(f"read {' or '.join(map(str, [*pages, *files]))}")
    return FINISHED_WITH_FAULTS if board.unscored else 0


@evaluate.command("compare")
@click.argument("first", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.argument("second", type=click.Path(path_type=Path, exists=True, file_okay=False))
@click.option("--output", type=click.Path(path_type=Path), default=None, help="Folder of the page; default: SECOND.")
@click.option("--tasks", default=None, help="Python files of your own tasks in the runs, separated by commas.")
def compare(first: Path, second: Path, output: Path | None, tasks: str | None) -> int:
    """Compare two runs of one model each, or the folders of two models within runs (RUN/MODEL)."""
    from emotion_qwen.evaluation.run.compare import compare_runs, print_comparison, write_comparison

    _load(tasks)
    compared = compare_runs(first, second)
    pages = write_comparison(compared, output or second)
    print_comparison(compared, Console())
    print(f"read {' or '.join(map(str, pages))}")
    return FINISHED_WITH_FAULTS if compared.left_out else 0


@evaluate.command("agree")
@click.argument("reports", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="REPORTS...")
@click.option(
    "--annotations", type=click.Path(path_type=Path), required=True, help="ELAN file or TextGrid, or a folder of them."
)
@click.option("--tier", "labels", multiple=True, help="Name of a tier with labels; several times, once per annotator.")
@click.option("--valence", default=None, help="Name of a tier with numbers.")
@click.option("--arousal", default=None, help="Name of a tier with numbers.")
@click.option("--person", type=click.IntRange(min=1), default=None, help="Number of the person; default: the clip.")
@click.option(
    "--step", type=click.FloatRange(0.001), default=0.1, show_default=True, help="Seconds between comparisons."
)
@click.option("--output", type=click.Path(path_type=Path), default=None, help="Write the figures to this JSON file.")
def agree(reports: tuple[Path, ...], annotations: Path, output: Path | None, **tiers: Any) -> None:
    """Compare annotators' tiers with stored reports, and with each other.

    REPORTS: files that `analyze --json` or `--output` wrote, or folders with such files. Labels are compared by Cohen's
    kappa, numbers by ICC(2,1) and the concordance correlation (CCC), over all steps of all clips at which both say
    something.
    """
    from emotion_qwen.evaluation.run.annotators import AnnotatorTiers, compare_annotators
    from emotion_qwen.export.reports import ReportFiles
    from emotion_qwen.files import json_line, write_whole

    done = compare_annotators(ReportFiles(reports), annotations, AnnotatorTiers(**tiers))
    for pair in done.pairs:
        figures = ", ".join(f"{name} {value:.3f}" for name, value in pair.figures.items())
        print(f"{pair.what}: {pair.first} and {pair.second}: {figures} ({pair.steps} steps of {tiers['step']:g} s)")
    notes = [f"{count} spans {text!r} are no label and were left out" for text, count in done.unknown.most_common()]
    if done.without:
        notes.append(f"no tiers for {listed(map(repr, done.without), 3)}")
    for note in notes:
        print(f"note: {note}", file=sys.stderr)
    if output:
        write_whole(output, json_line(done.to_dict()))


@evaluate.command("speaking")
@click.option("--model", required=True, help="nano, mini, a folder, or openai:NAME@http://host/v1.")
@click.option("--language", type=click.Choice(("en", "zh")), default="en", show_default=True)
@click.option("--verifier", "folder", type=click.Path(path_type=Path), default=None, help="Default: the shipped one.")
@click.option("--questions", type=click.IntRange(1, 20), default=20, show_default=True, help="Asked in every state.")
@click.option("--output", type=click.Path(path_type=Path), default=None, help="Write figures and answers as JSON.")
def speaking(model: str, language: str, folder: Path | None, questions: int, output: Path | None) -> None:
    """Measure whether a model speaks with the feeling that it is asked for.

    The model answers the same questions in twelve states of valence and arousal. Score: mean cosine between the state
    and what the verifier reads in the answer, with the value for randomly drawn states as a control. Refusals count as
    0.
    """
    from dataclasses import asdict

    from emotion_qwen.evaluation.run.answerers import EndpointSettings
    from emotion_qwen.evaluation.run.asking import asker
    from emotion_qwen.evaluation.run.speaking import score_speaking, speak
    from emotion_qwen.files import json_line, write_whole
    from emotion_qwen.verify.verifier import Verifier

    named = asker(model, EndpointSettings.of({}))
    answers = speak(named, language, Verifier.load(folder), questions)
    scores = score_speaking(answers)
    print(
        f"{named.name}: cosine {scores.cosine.value:.3f} ({scores.cosine.low:.3f} to {scores.cosine.high:.3f}), "
        f"shuffled states {scores.shuffled.value:.3f} ({scores.shuffled.low:.3f} to {scores.shuffled.high:.3f}), "
        f"{scores.refused:.1%} of {scores.answers} refused, {scores.distinct} different answers"
    )
    for name, value in (("valence", scores.valence), ("arousal", scores.arousal)):
        print(f"correlation of asked and read {name}: {'not defined' if value is None else f'{value:.3f}'}")
    if output:
        record = {"model": named.name, "language": language, **scores.to_dict(), "texts": list(map(asdict, answers))}
        write_whole(output, json_line(record))


@evaluate.command("replies")
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option(
    "--judge", "judges", required=True, multiple=True,
    help="Model that gives points; named like --model. Twice for two judges and their agreement.",
)  # fmt: skip
@click.option("--language", type=click.Choice(("en", "zh")), default="en", show_default=True, help="Of the prompt.")
@click.option("--output", type=click.Path(path_type=Path), default=None, help="Write the figures to this JSON file.")
def replies(file: Path, judges: tuple[str, ...], language: str, output: Path | None) -> None:
    """Compare two replies to each of several texts by four goals (EGS), judged in both orders.

    FILE: JSON lines with context, first and second. Each reply gets 1 to 10 points for each of four goals: it fits,
    does no harm, supports, and does the conversation good.
    """
    from emotion_qwen.evaluation.run.answerers import EndpointSettings
    from emotion_qwen.evaluation.run.asking import asker
    from emotion_qwen.evaluation.run.replies import judge_replies, judges_agreement, read_reply_pairs
    from emotion_qwen.files import json_line, write_whole

    if len(judges) > 2 or len(set(judges)) < len(judges):
        raise SettingsError(f"--judge {' --judge '.join(judges)}; expected one judge, or two different ones")
    pairs = read_reply_pairs(file)
    by_judge = {name: judge_replies(pairs, asker(name, EndpointSettings.of({})), language) for name in judges}
    for judge, scores in by_judge.items():
        if len(judges) > 1:
            print(f"judge {judge}")
        difference = scores.difference
        print(
            f"first {scores.first:.2f}, second {scores.second:.2f} of 40; difference {difference.value:+.2f} "
            f"({difference.low:+.2f} to {difference.high:+.2f}), {scores.pairs} of {len(pairs)} pairs"
        )
        for name, (first, second) in scores.goals.items():
            print(f"{name}: {first:.2f} and {second:.2f} of 10")
        print(f"preference for the first place: {scores.place:+.2f}; judgements without points: {scores.unread}")
    agreement = judges_agreement(*by_judge.values()) if len(judges) > 1 else None
    if agreement:
        shown = {k: "not defined" if v is None else f"{v:.2f}" for k, v in agreement.to_dict().items()}
        print(
            f"the judges prefer the same reply in {agreement.same:.1%} of {agreement.pairs} pairs; Cohen's kappa "
            f"{shown['kappa']}, ICC(2,1) of the differences {shown['correlation']}"
        )
    if output:
        figures = {name: scores.to_dict() for name, scores in by_judge.items()}
        write_whole(output, json_line({"judges": figures, "agreement": agreement and agreement.to_dict()}))


def _report(run: Path, items_of: dict[Path, Any], frames: bool) -> Scored:
    """Score, write the pages, print the table; return the scores."""
    from emotion_qwen.evaluation.pages.examples import keep_pictures
    from emotion_qwen.evaluation.pages.score_page import print_scores, write_report
    from emotion_qwen.evaluation.run.score import score_run

    scored = score_run(run)
    for column in scored.columns if frames else ():
        keep_pictures(column, [item for item in items_of.get(column.folder, ()) if item.language == column.language])
    pages = write_report(run, scored, frames=frames)
    print_scores(scored, Console())
    print(f"read {' or '.join(map(str, pages))}")
    return scored


def _values(config: Path | None, overrides: tuple[str, ...], given: dict[str, Any]) -> dict[str, Any]:
    """Bring the file and the options together.

    Raises:
        SettingsError: the file is missing, or an option is malformed.
    """
    from emotion_qwen.evaluation.run.plan import read_values

    if config is None and overrides:
        raise SettingsError(f"{overrides[0]!r} overrides a key of a YAML file, and none came; use the options")
    values = read_values(config, overrides) if config else {}
    given["tasks"] = given["tasks"] and [name.strip() for name in given["tasks"].split(",") if name.strip()]
    given["languages"] = LANGUAGES.get(given.pop("language"))
    given["data"] = _folders(given["data"])
    values |= {key: list(given[key]) if isinstance(given[key], tuple) else given[key] for key in _KEYS if given[key]}
    for text in given["options"]:
        place, sign, value = text.partition("=")
        task, dot, name = place.partition(".")
        if not sign or not dot:
            raise SettingsError(f"option {text!r}; expected TASK.NAME=VALUE")
        values.setdefault("options", {}).setdefault(task, {})[name] = value
    values |= {key: given[key] for key in ("frames", "replies", "workers") if given[key] is not None}
    for key in ("judge", "extractor"):
        if given[key]:
            values[key] = {**(values.get(key) or {}), "model": given[key]}
    return values


def _folders(given: tuple[str, ...]) -> str | dict[str, str] | None:
    named = dict(text.split("=", 1) for text in given if "=" in text and not Path(text).exists())
    plain = [text for text in given if "=" not in text or Path(text).exists()]
    if len(plain) > 1 or (named and plain):
        raise SettingsError(f"--data {' --data '.join(given)}; give one folder, or task=FOLDER for every task")
    return named or (plain[0] if plain else None)


def _load(tasks: str | None) -> list[str]:
    """Load the tasks of files, so that predictions of a run or a listing can contain them; return all names given."""
    from emotion_qwen.evaluation.tasks import load_tasks

    return [task.name for task in load_tasks(tasks)] if tasks else []


def _show_tasks(console: Console, chosen: Sequence[str]) -> None:
    """Print what every task needs, by domain; `chosen` limits the list to some tasks."""
    from emotion_qwen.evaluation.task import DOMAINS
    from emotion_qwen.evaluation.tasks import listing

    rows = [row for row in listing() if not chosen or row["name"] in chosen]
    for domain in DOMAINS:
        of_domain = [row for row in rows if row["domain"] == domain]
        if of_domain:
            console.print(f"{domain}: {len(of_domain)} tasks", style="bold underline", highlight=False)
        for row in of_domain:
            console.print(f"[bold]{row['name']}[/bold]  {row['title']} ({row['domain']})", highlight=False)
            for key in ("needs", "splits", "prompts", "options", "licence", "access"):
                if row[key] and row[key] != "ours":
                    console.print(f"    {key}: {row[key]}", markup=False, highlight=False, soft_wrap=True)
    console.print("Only some of them: emotion-qwen eval --list --tasks NAME,NAME", highlight=False)


@click.command()
@click.argument("before")
@click.argument("after")
@click.option(
    "--tasks", default="fer,lfw,cifar", show_default=True, help="Names and Python files, separated by commas."
)
@click.option("--data", type=click.Path(path_type=Path), default=None, help="Folder of the Parquet files.")
@click.option("--allow", type=float, default=1.5, show_default=True, help="General loss allowed, percentage points.")
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder for predictions and page.")
@click.option("--language", type=click.Choice(list(LANGUAGES)), default="en", show_default=True)
@click.option("--limit", type=click.IntRange(min=1), default=None, help="Number of items per task, evenly spaced.")
@click.option("--split", default="validation", show_default=True, help="validation or test")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:1, mps, balanced")
def forgetting(
    before: str,
    after: str,
    tasks: str,
    data: Path | None,
    allow: float,
    output: Path,
    language: str,
    limit: int | None,
    split: str,
    device: str,
) -> int:
    """Compare two models to measure how much general skill emotion training cost.

    BEFORE and AFTER are nano, model or adapter folders, or hub names. Answers are stored in OUTPUT, so an
    interrupted run can be continued. Exit code 1: more general skill was lost than allowed.
    """
    from emotion_qwen.evaluation.pages.forgetting_page import PAGE, print_forgetting, write_forgetting_page
    from emotion_qwen.evaluation.run.forgetting import check_domains, measure_forgetting
    from emotion_qwen.evaluation.task import SPLITS
    from emotion_qwen.evaluation.tasks import load_tasks
    from emotion_qwen.extras import optional
    from emotion_qwen.model.source import find_model

    chosen = load_tasks(tasks)
    check_domains(chosen)
    if split not in SPLITS:
        raise SettingsError(unknown_choice("split", split, SPLITS))
    for task in chosen:
        task.source.check(data)
    optional("matplotlib.figure", "eval")  # fail now rather than after an hour of answers
    for name in (before, after):
        find_model(name)
    from emotion_qwen.evaluation.pages.figures import draw_figures

    wanted = {"data": data, "languages": LANGUAGES[language], "split": split, "limit": limit}
    for name, side in ((before, "before"), (after, "after")):
        _answer_all(name, output / side, chosen, device, wanted)
    comparison = measure_forgetting(output / "before", output / "after", [task.name for task in chosen], allow)
    write_forgetting_page(comparison, output, draw_figures(comparison, output))
    print_forgetting(comparison, Console())
    print(f"read {output / PAGE}")
    return LOST if comparison.failed else 0


def _answer_all(model: str, folder: Path, tasks: Sequence[Task], device: str, wanted: dict[str, Any]) -> None:
    """Have one model answer every task; existing answers are kept."""
    from emotion_qwen.evaluation.run.plan import make_answerer
    from emotion_qwen.evaluation.run.runner import answer_task

    answerer = make_answerer(model, device=device)
    for task in tasks:
        answer_task(answerer, task, folder / task.column, **wanted)
