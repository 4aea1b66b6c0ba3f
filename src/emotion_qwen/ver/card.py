"""The data card of a set: a README for Hugging Face, with plots if matplotlib is installed."""

from __future__ import annotations

import html
import io
import json
import re
from pathlib import Path
from typing import Any

from emotion_qwen.errors import printable
from emotion_qwen.files import write_whole
from emotion_qwen.ver.settings import TeacherSettings
from emotion_qwen.ver.stats import figures, kappa_text
from emotion_qwen.ver.store.folder import SetFolder

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M"))
_MARKS = re.compile(r"[\\`*_\[\]|~$]")  # characters with a meaning in Markdown text
_NAMES = {"en": "English", "zh": "Chinese"}


def write_card(folder: SetFolder) -> None:
    """Write `README.md`, `stats.json` and the plots of a set.

    Raises:
        OSError: a file cannot be written.
    """
    values = figures(folder)
    out = folder.output
    write_whole(out / "stats.json", json.dumps(values, indent=2, ensure_ascii=False) + "\n")
    plots = draw_counts(values, out / "plots")
    write_whole(out / "README.md", card(folder, values, plots))


def card(folder: SetFolder, values: dict[str, Any], plots: list[str]) -> str:
    """Compose the data card."""
    settings = folder.settings
    size = next((name for most, name in _SIZES if values["clips"] < most), "n>1M")
    files = "\n".join(f"  - split: {split}\n    path: data/{split}.parquet" for split in sorted(values["split"]))
    languages = " and ".join(_NAMES[language] for language in values["languages"])
    head = (
        f"---\nlanguage: [{', '.join(values['languages'])}]\nsize_categories: [{size}]\n"
        "task_categories: [video-text-to-text]\ntags: [emotion, video]\nconfigs:\n- config_name: default\n"
        f"  data_files:\n{files}\n---\n"
    )
    pictures = "".join(f"\n![{Path(plot).stem}]({plot})\n" for plot in plots)
    cost, check = values["cost"], values["agreement"]["check"]
    teacher, revised = settings.describe.teacher, check["accepted after a revision"]
    reader, second = (
        escaped(_model(settings.check.reader, "rules alone")),
        escaped(_model(settings.check.second, "none")),
    )
    return f"""{head}
# {escaped(settings.export.name)}

{values["clips"]:,} clips of {values["sources"]:,} videos, {values["hours"]:.2f} hours, each described in {languages}:
facial cues, body, voice, scene, context, a description with its reasoning, emotions, valence and arousal. Built by
`emotion-qwen ver build`; every clip names its source file and seconds.

- Teacher: {escaped(teacher.model or "nano")} ({teacher.kind}); reader: {reader}; second teacher: {second}.
- Cost: {cost["calls"]:,} calls, {cost["tokens"]:,} tokens, {cost["call_hours"]:.2f} hours of answers.
- Check: {check["without objection"]:,} of {check["clips"]:,} clips without objection, {revised:,} accepted after a
  revision.
{_criticized(values)}\
{_reviewed(values)}\
- Labels: {settings.describe.labels}. Descriptions are generated; a face shows an expression, not what a person feels.
- Faces are located and followed, never identified. Splits go by source video.
{pictures}
## Emotions

{_table("emotion", values["emotion"])}
## Splits

{_table("split", values["split"])}
## Licences

{_table("licence", values["license"])}
## Rejected clips, and why

{_table("reason", values["rejections"])}
| step | clips | kept |
| --- | --- | --- |
{"".join(f"| {name} | {step['clips']:,} | {step['kept']:,} |{chr(10)}" for name, step in values["steps"].items())}
## Agreement

{_agreement(values)}
## Files

`manifest.jsonl` (emotion-qwen), `release.json` (the Emotion-Qwen release), `llava.json`, `sharegpt.json`,
`data/*.parquet` (Hugging Face datasets; one row per clip with its provenance), `clips/`. `work/` holds the tables of
the build and may be removed.
"""


def _criticized(values: dict[str, Any]) -> str:
    """Return the line about the critic; "" if there was none."""
    if values["critic"] is None:
        return ""
    counts = ", ".join(f"{name} {count:,}" for name, count in values["critic"]["verdicts"].items())
    return f"- Critic: {counts}.\n"


def _reviewed(values: dict[str, Any]) -> str:
    """Return the line about changes by people, or "" if nobody reviewed the set."""
    if not values["reviews"]:
        return ""
    return (
        f"- Review: {values['corrected']:,} clips with texts or values corrected by a person, {values['restored']:,} "
        "restored after the build rejected them.\n"
    )


def _model(chosen: TeacherSettings | None, without: str) -> str:
    return (chosen.model or "local model") if chosen else without


def escaped(text: object) -> str:
    """Return an external text (a licence, a name, a reason) on one line, so that Markdown only displays it.

    It may be in a table or a heading: marks, links and HTML lose their meaning, and line breaks are removed.
    """
    shown = "".join(letter if letter.isprintable() else " " for letter in printable(str(text)))
    return _MARKS.sub(r"\\\g<0>", html.escape(" ".join(shown.split()), quote=False))


def _table(name: str, counts: dict[str, int]) -> str:
    if not counts:
        return "none\n"
    rows = "".join(f"| {escaped(key)} | {count:,} |\n" for key, count in counts.items())
    return f"| {name} | clips |\n| --- | --- |\n{rows}"


def _agreement(values: dict[str, Any]) -> str:
    pairs = [
        (f"teacher and {escaped(name)}", f"{pair['labels']:,} labels", pair)
        for name, pair in values["agreement"].items()
        if name != "check"
    ]
    for pair in (values["reviews"] or {}).get("pairs", []):
        names = " and ".join(map(escaped, pair["reviewers"]))
        pairs.append((f"reviewers {names}", f"{pair['clips']:,} clips", pair))
    if not pairs:
        return "There is no second judgement.\n"
    rows = [f"| {who} | {on} | {pair['agree']:.1%} | {kappa_text(pair['kappa'])} |" for who, on, pair in pairs]
    return "| between | on | agree | Cohen's kappa |\n| --- | --- | --- | --- |\n" + "\n".join(rows) + "\n"


def draw_counts(values: dict[str, Any], folder: Path) -> list[str]:
    """Draw emotions and rejections as bars; returns paths below the set, none without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError:
        return []
    drawn = []
    for name, title in (("emotion", "clips by emotion"), ("rejections", "rejections by reason")):
        counts = dict(list(values[name].items())[:14])
        if not counts:
            continue
        figure = Figure(figsize=(7, 0.8 + 0.32 * len(counts)), layout="constrained")
        FigureCanvasAgg(figure)
        axes = figure.subplots()
        labels = [printable(" ".join(str(key).split()))[:48] for key in counts]
        bars = axes.barh(labels, list(counts.values()), color="#4c72b0")
        axes.bar_label(bars, fmt="{:,.0f}", padding=3)
        axes.invert_yaxis()
        for label in axes.get_yticklabels():
            label.set_parse_math(False)  # dollar signs must not start a formula
        axes.set_title(title)
        axes.spines[["top", "right"]].set_visible(False)
        packed = io.BytesIO()
        figure.savefig(packed, format="png", dpi=110, metadata={"Software": None})
        write_whole(folder / f"{name}.png", packed.getvalue())
        drawn.append(f"plots/{name}.png")
    return drawn
