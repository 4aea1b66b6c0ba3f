"""Terminal views of reports on five real clips, in both languages, as snapshots that were read.

`snapshots/NAME.json` are reports of nano, `NAME.txt` their views. After a change that was meant, `python
tests/views/test_snapshots.py` writes the views anew; read them before you commit them.
"""

import io
from pathlib import Path

import pytest
from rich.cells import cell_len
from rich.console import Console

from emotion_qwen.export.reports import read_report
from emotion_qwen.views.brief import LONGEST, show_brief
from emotion_qwen.views.render import show_report

SNAPSHOTS = Path(__file__).parent / "snapshots"
REPORTS = sorted(SNAPSHOTS.glob("*.json"))
WIDTHS = (80, 120)
HEADING = "$ emotion-qwen analyze {name}  # {kind}, {width} columns\n"


def views_of(path: Path) -> dict[str, str]:
    """Return heading -> view of a report: brief and whole, at every width."""
    report, views = read_report(path.read_text(encoding="utf-8")), {}
    for kind, show in (("brief", show_brief), ("whole", show_report)):
        for width in WIDTHS:
            console = Console(file=io.StringIO(), width=width, force_terminal=False, legacy_windows=False)
            show(report, console)
            views[HEADING.format(name=report.source, kind=kind, width=width)] = console.file.getvalue()
    return views


def test_five_clips_in_both_languages_are_here():
    assert len(REPORTS) == 10 and {path.suffixes[0] for path in REPORTS} == {".en", ".zh"}


@pytest.mark.parametrize("path", REPORTS, ids=lambda path: path.stem)
def test_terminal_views_are_those_that_were_read(path):
    views = views_of(path)
    assert "\n".join(heading + view for heading, view in views.items()) == path.with_suffix(".txt").read_text("utf-8")
    for heading, view in views.items():
        width = WIDTHS[0] if f", {WIDTHS[0]} " in heading else WIDTHS[1]
        assert {cell_len(line) for line in view.splitlines()} == {width}
        assert "brief" not in heading or len(view.splitlines()) <= LONGEST


if __name__ == "__main__":
    for each in REPORTS:
        text = "\n".join(heading + view for heading, view in views_of(each).items())
        each.with_suffix(".txt").write_text(text, encoding="utf-8")
