"""A report as text for people and as JSON for programs."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from emotion_qwen.records import EmotionReport
from emotion_qwen.taxonomy import LABEL_SETS

BAR = 28


def as_json(report: EmotionReport) -> str:
    """Return the report as one line of JSON; distributions keep four decimals."""
    return json.dumps(_rounded(dataclasses.asdict(report)), ensure_ascii=False)


def _rounded(value):
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def show(report: EmotionReport, console: Console) -> None:
    """Print the terminal view: the answer, its distribution, every person, the gate, and where it comes from."""
    facts = report.provenance
    parts: list[RenderableType] = [_headline(report), Text(f"“{report.summary}”", style="italic"), Text()]
    parts.append(_bars(report))
    if report.people:
        parts += [Text(), _people(report)]
    else:
        parts += [Text(), Text("no face was found; the answer comes from the whole picture alone", style="yellow")]
    parts += [Text(), _gate(report), _origin(report)]
    parts += [Text(f"warning: {text}", style="yellow") for text in facts["warnings"]]
    console.print(Panel(Group(*parts), title=report.source, title_align="left", border_style="cyan"))


def save_picture(console: Console, path: Path) -> None:
    """Save what a recording console has shown as SVG, without the web addresses that rich writes into it."""
    svg = console.export_svg(title="emotion-qwen analyze")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(re.sub(r"@font-face \{.*?\}\s*|<!--.*?-->", "", svg, flags=re.DOTALL), encoding="utf-8")


def _headline(report: EmotionReport) -> Text:
    name = _translated(report, report.label)
    return Text.assemble((name, "bold magenta"), f"  {report.distribution[report.label]:.0%}")


def _translated(report: EmotionReport, label: str) -> str:
    labels = LABEL_SETS[report.provenance["label_set"]]
    return label if report.language == "en" else labels.chinese[labels.labels.index(label)]


def _bars(report: EmotionReport) -> Table:
    table = Table.grid(padding=(0, 2))
    for label, share in sorted(report.distribution.items(), key=lambda pair: -pair[1]):
        table.add_row(_translated(report, label), Text("█" * round(share * BAR), style="magenta"), f"{share:6.1%}")
    return table


def _people(report: EmotionReport) -> Table:
    table = Table("person", "seen", "frames", "feels", "", box=None, padding=(0, 2), header_style="dim")
    for person in report.people:
        ranked = sorted(person.distribution.items(), key=lambda pair: -pair[1])[:3]
        rest = ", ".join(f"{_translated(report, name)} {share:.0%}" for name, share in ranked[1:])
        table.add_row(
            str(person.person + 1),
            f"{person.start:.1f}–{person.end:.1f} s",
            str(person.frames),
            Text(f"{_translated(report, ranked[0][0])} {ranked[0][1]:.0%}", style="bold"),
            Text(rest, style="dim"),
        )
    return table


def _gate(report: EmotionReport) -> Text:
    return Text(f"gate: general expert {report.gate['general']:.2f}, emotion expert {report.gate['emotion']:.2f}")


def _origin(report: EmotionReport) -> Text:
    facts = report.provenance
    return Text(
        f"model {facts['model']} ({facts['weights']}), label set {facts['label_set']}, {facts['frames']} frame(s), "
        f"{facts['took']:.1f} s; a face shows an expression, not what is felt inside",
        style="dim",
    )
