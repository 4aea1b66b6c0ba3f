"""The command `probe`: run a dose-response test of a model, and compare two of them."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from emotion_qwen.console import WithDefault
from emotion_qwen.errors import SettingsError

LOST = 1
"""Exit code of `compare` when more was lost than allowed."""
PATH = click.Path(path_type=Path)
SUFFIXES = (".json", ".html")


@click.group("probe", cls=WithDefault)
def probe() -> None:
    """Measure from which intensity on a model reads an emotion in rendered faces.

    `emotion-qwen probe --model nano --output probe.html` renders faces of six emotions at growing intensity and shows
    them to the model; `emotion-qwen probe run --help` shows the options, `emotion-qwen probe compare A.json B.json`
    compares two models on the same faces.
    """


@probe.command("run")
@click.option("--model", default=None, help="nano, mini, a folder, a hub name, or module:function.")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, mps")
@click.option("--rig", type=PATH, default=None, help="A head with ARKit morphs: .glb, .gltf, or .npz of ICT.")
@click.option("--emotions", default=None, help="Separated by commas; default: the six except neutral.")
@click.option("--intensities", default=None, help="Ascending, separated by commas; default: 0.2,0.4,0.6,0.8,1.")
@click.option("--identities", default=None, help="Separated by commas; default: all four.")
@click.option(
    "--conditions", default=None, help="plain (default), yaw20, yaw40, dark, blur, no_mouth, no_eyes, small; or all."
)
@click.option("--output", "outputs", type=PATH, multiple=True, help="A .json or .html file; may be given twice.")
def run(
    model: str | None,
    device: str,
    rig: Path | None,
    emotions: str | None,
    intensities: str | None,
    identities: str | None,
    conditions: str | None,
    outputs: tuple[Path, ...],
) -> None:
    """Run a probe; print its table and write its answers (.json) and page (.html)."""
    from rich.progress import Progress

    from emotion_qwen.batch.following import terminal_progress
    from emotion_qwen.evaluation.probe.measures import dose_responses, summary_of
    from emotion_qwen.evaluation.probe.page import HEAD, table_rows, write_page
    from emotion_qwen.evaluation.probe.run import run_probe, write_probe
    from emotion_qwen.evaluation.probe.stimuli import CONDITIONS, ProbeGrid, stimuli_of
    from emotion_qwen.express.readers import reader_of
    from emotion_qwen.express.rigs import rig_of

    for path in outputs:
        if path.suffix.lower() not in SUFFIXES:
            raise SettingsError(f"--output {str(path)!r}: unknown suffix {path.suffix!r}; expected .json or .html")
    conditions = ",".join(CONDITIONS) if conditions == "all" else conditions
    given = {"emotions": emotions, "identities": identities, "conditions": conditions}
    values: dict[str, object] = {name: _parts(text) for name, text in given.items() if text is not None}
    if intensities is not None:
        values["intensities"] = _numbers(intensities)
    grid, face = ProbeGrid.of(values, "probe"), rig_of(rig)
    reader = reader_of(model, device)
    total = sum(1 for _ in stimuli_of(grid))
    with terminal_progress(*Progress.get_default_columns()) as bar:
        task = bar.add_task("faces", total=total)
        result = run_probe(grid, face, reader, watch=lambda done: bar.update(task, completed=done))
    _print_table(HEAD, table_rows(dose_responses(result)))
    for path in outputs:
        if path.suffix.lower() == ".json":
            write_probe(result, summary_of(result), path)
        else:
            write_page(result, face, path)
        print(f"{path}: {total} faces", file=sys.stderr)


@probe.command("compare")
@click.argument("before", type=PATH)
@click.argument("after", type=PATH)
@click.option(
    "--largest-loss",
    type=click.FloatRange(0, 1),
    default=None,
    help="Exit with code 1 if the rate of an emotion at full intensity falls by more than this share.",
)
def compare(before: Path, after: Path, largest_loss: float | None) -> int:
    """Compare two stored probes of the same faces: thresholds, and rates at full intensity."""
    from emotion_qwen.evaluation.probe.measures import changes
    from emotion_qwen.evaluation.probe.page import change_rows
    from emotion_qwen.evaluation.probe.run import read_probe

    first, second = read_probe(before), read_probe(after)
    pairs = changes(first, second)
    print(f"A: {first.model}  B: {second.model}  rig: {first.rig}")
    head = ("condition", "emotion", "threshold A", "threshold B", "read at full A", "read at full B", "points")
    _print_table(head, change_rows(pairs))
    lost = [pair for pair in pairs if largest_loss is not None and pair.loss > largest_loss + 1e-9]
    for pair in lost:
        print(f"lost: {pair.before.emotion} ({pair.before.condition}) by {100 * pair.loss:.0f} points", file=sys.stderr)
    return LOST if lost else 0


def _print_table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))


def _numbers(text: str) -> tuple[float, ...]:
    """Read numbers separated by commas.

    Raises:
        SettingsError: a part is no number.
    """
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError:
        raise SettingsError(f"--intensities {text!r}; expected numbers such as 0.2,0.6,1") from None
