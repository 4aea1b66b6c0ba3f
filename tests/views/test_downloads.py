"""What the page offers for download: its table is that of `export`, byte for byte, and its JSON is the report."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import replace
from importlib.resources import files

import pytest
from tests.views.reports import HOSTILE, KINDS, two_people

from emotion_qwen.export.columns import DICTIONARY
from emotion_qwen.export.layout import survey
from emotion_qwen.export.reports import read_report
from emotion_qwen.export.tables import report_tables
from emotion_qwen.export.writers import CSV, table_files
from emotion_qwen.views.columns import report_labels, share_column
from emotion_qwen.views.html import compose_page
from emotion_qwen.views.render import as_json

SCRIPT = (files("emotion_qwen.views") / "downloads.js").read_text(encoding="utf-8")


def odd():
    """Return a report with a name and channels that need quotes, and with labels that are names of columns."""
    report = two_people()
    names = {"happy": "label", "sad": "my, own", "fear": 'the "other"'}

    def renamed(moment):
        shares, raw = ({names.get(k, k): v for k, v in d.items()} for d in (moment.distribution, moment.raw))
        return replace(moment, label=names.get(moment.label, moment.label), distribution=shares, raw=raw)

    people = tuple(
        replace(p, timeline=tuple(map(renamed, p.timeline)), distribution={}, seen=()) for p in report.people
    )
    timeline = tuple(replace(renamed(m), valence_arousal=None) for m in report.timeline)
    distribution = {names.get(k, k): v for k, v in report.distribution.items()}
    return replace(report, source=f'a, "b" {HOSTILE}.mp4', people=people, timeline=timeline, distribution=distribution,
                   label="label")  # fmt: skip


def exported(report, folder) -> str:
    layout = survey([report])
    tables = [table for table in report_tables(layout) if table.name == "timeline"]
    paths = {"timeline": folder / "timeline.csv", DICTIONARY: folder / "dictionary.csv"}
    with table_files(paths, CSV, tables) as add:
        add(report)
    return (folder / "timeline.csv").read_bytes().decode()


@pytest.mark.skipif(shutil.which("node") is None, reason="needs Node.js, to run the page's script")
def test_the_table_of_the_page_is_that_of_export(tmp_path):
    reports = [read_report(as_json(make())) for make in (*KINDS.values(), odd)]
    cases = [[json.loads(as_json(r)), {label: share_column(label) for label in report_labels(r)}] for r in reports]
    (tmp_path / "cases.json").write_text(json.dumps(cases), encoding="utf-8")
    code = f"{SCRIPT}\nconst cases = JSON.parse(require('fs').readFileSync(process.argv[1]));" + (
        "console.log(JSON.stringify(cases.map((c) => timelineTable(...c))))"
    )
    done = subprocess.run(
        ["node", "-e", code, str(tmp_path / "cases.json")], capture_output=True, text=True, check=True, timeout=60
    )
    tables = json.loads(done.stdout)
    assert len(tables) == len(reports) and tables[0].count("\r\n") > 60
    for report, table in zip(reports, tables, strict=True):
        if report.timeline:
            assert table == exported(report, tmp_path)


def test_downloads_are_offered_where_there_is_something():
    page = compose_page(two_people(), None, None)
    assert 'id="save-table"' in page and 'id="save-report"' in page
    still = compose_page(KINDS["picture_only"](), None, None)
    assert 'id="save-table"' not in still and 'id="save-report"' in still
    assert "fetch(" not in SCRIPT and "http" not in SCRIPT.replace("https", "")
