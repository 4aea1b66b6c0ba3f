"""A report in Python: one line, a page in a cell, tables, figures, files."""

from __future__ import annotations

import html
import json
import re
import sys
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from tests.conftest import write_clip
from tests.views import reports

from emotion_qwen import FailedClip, Report, read_reports, save_reports, to_frame
from emotion_qwen.errors import MediaError, MissingPackage, SettingsError
from emotion_qwen.export.tables import TABLE_NAMES
from emotion_qwen.records import Gap
from emotion_qwen.views.colours import colour_of
from emotion_qwen.views.html import compose_page
from emotion_qwen.views.render import as_json

MADE = Report.of(reports.two_people())


@pytest.fixture
def clip(tmp_path):
    return write_clip(tmp_path / "clip.mp4", np.full((20, 36, 64, 3), 90, np.uint8))


def test_one_line_says_the_answer_its_arc_and_the_people():
    line = "<Report 'clips/interview.mp4': happy 55%; sad 0.0-9.0 s, happy 9.0-20.0 s; 2 people>"
    assert repr(MADE) == line


@pytest.mark.parametrize("kind", reports.KINDS)
def test_every_kind_of_report_is_one_short_line_and_a_page(kind):
    report = Report.of(reports.KINDS[kind]())
    assert len(repr(report)) < 400 and "\n" not in repr(report)
    assert report._repr_html_().startswith("<iframe srcdoc=")


def test_many_episodes_and_doubt_are_shortened():
    doubt = replace(MADE.uncertainty, abstains=True)
    report = replace(MADE, episodes=MADE.episodes * 4, uncertainty=doubt, people=MADE.people[:1])
    assert repr(report).endswith("not sure (happy 55%?); " + repr(report).split("; ")[1] + "; 1 person>")
    assert "4 more" in repr(report) and repr(replace(MADE, label=None, distribution={})).count("no answer") == 1


def test_it_is_the_same_report():
    assert as_json(MADE) == as_json(reports.two_people()) == MADE.to_json()
    assert MADE.to_dict() == json.loads(MADE.to_json())
    assert isinstance(replace(MADE, context="later"), Report)


def test_a_cell_shows_the_page_in_a_frame_of_its_own():
    cell = MADE._repr_html_()
    page = html.unescape(re.search(r'srcdoc="([^"]*)"', cell).group(1))
    assert page == compose_page(MADE, None, None)
    assert 'sandbox="allow-scripts allow-downloads"' in cell and cell.endswith("</iframe>")


def test_a_name_cannot_leave_the_frame():
    cell = Report.of(replace(MADE, source='"><script>alert(1)</script>'))._repr_html_()
    assert "<script" not in cell and cell.count("<") == 2


def test_a_cell_holds_the_clip_if_it_is_there_and_small(clip, monkeypatch):
    report = replace(MADE, source=str(clip))
    assert len(report._repr_html_()) > len(MADE._repr_html_()) + 1000
    assert sorted(path.name for path in clip.parent.iterdir()) == ["clip.mp4"]  # nothing beside it
    monkeypatch.setattr("emotion_qwen.notebook.report.EMBEDDED", 10)
    assert len(report._repr_html_()) < len(MADE._repr_html_()) + 1000
    clip.write_bytes(b"no clip")
    assert report._repr_html_()


@pytest.mark.parametrize("table", TABLE_NAMES)
def test_every_table_is_a_frame(table):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: extra notebook")
    report = Report.of(reports.moving()) if table == "movements" else MADE
    frame = report.to_frame(table)
    assert isinstance(frame, pandas.DataFrame) and len(frame) and (frame["file"] == report.source).all()


def test_the_columns_of_a_frame_have_the_types_of_the_dictionary():
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: extra notebook")
    failed = FailedClip("broken.mp4", "it is text")
    frame = to_frame([MADE, failed])
    assert [str(frame[name].dtype) for name in ("happy", "people", "abstains")] == ["float64", "Int64", "boolean"]
    assert frame.loc[0, "people"] == 2 and pandas.isna(frame.loc[1, "people"])
    assert frame.loc[1, "error"] == "it is text" and pandas.isna(frame.loc[1, "happy"])
    assert to_frame(MADE, "people", shape="long").groupby("person")["share"].sum().tolist() == pytest.approx([1, 1])
    assert not len(to_frame([failed], "timeline")) and "start" in to_frame([failed], "timeline")


def test_a_table_of_pandas_is_the_file_of_export(tmp_path):
    pandas = pytest.importorskip("pandas", reason="pandas is not installed: extra notebook")
    MADE.save(tmp_path / "timeline.csv", table="timeline")
    stored, frame = pandas.read_csv(tmp_path / "timeline.csv"), MADE.to_frame()
    assert list(stored) == list(frame) and np.allclose(stored["valence"], frame["valence"])


@pytest.mark.parametrize(("module", "use"), [("pandas", Report.to_frame), ("matplotlib.pyplot", Report.plot)])
def test_a_missing_package_is_one_line_with_its_extra(monkeypatch, module, use):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingPackage, match=r"^package .* is not installed.*emotion-qwen\[notebook\]'$"):
        use(MADE)


def test_unknown_choices_name_what_there_is():
    with pytest.raises(SettingsError, match="unknown table 'timelines'; expected one of: .* Did you mean 'timeline'?"):
        MADE.to_frame("timelines")
    with pytest.raises(SettingsError, match="unknown shape 'tall'; expected one of: long, wide"):
        to_frame(MADE, shape="tall")
    with pytest.raises(SettingsError, match=r"person 3 is not in 'clips/interview.mp4'; expected one of: 1, 2"):
        MADE.plot(3)


def faces_of(axes) -> list[tuple]:
    return [tuple(np.round(area.get_facecolor()[0][:3] * 255).astype(int)) for area in axes.collections]


def test_a_plot_has_the_shares_in_the_colours_of_the_views_and_both_dimensions():
    figure = MADE.plot()
    shares, affect = figure.axes
    colours = [tuple(bytes.fromhex(colour_of(label)[1:])) for label in MADE.distribution]
    assert faces_of(shares) == colours
    assert [text.get_text() for text in shares.get_legend().get_texts()] == list(MADE.distribution)[::-1]
    valence, arousal = affect.get_lines()[:2]
    assert valence.get_ydata() == pytest.approx([moment.valence_arousal[0] for moment in MADE.timeline])
    assert arousal.get_linestyle() == "--" and shares.get_xlim() == (0, 20)


def test_a_plot_shows_one_person_and_leaves_gaps_open():
    assert "person 2" in MADE.plot(2).get_suptitle()
    early, late = MADE.timeline[:8], MADE.timeline[20:]
    report = replace(MADE, timeline=(*early, *late), gaps=(Gap(early[-1].end, late[0].start, "nobody"),))
    shares = report.plot().axes[0]
    edges = [area.get_paths()[0].get_extents().intervalx for area in shares.collections[:: len(MADE.distribution)]]
    assert [edge.tolist() for edge in edges] == [[early[0].start, early[-1].end], [late[0].start, late[-1].end]]


def test_a_picture_is_drawn_as_bars():
    report = Report.of(reports.picture_only())
    bars = report.plot().axes[0].patches
    assert sorted(bar.get_width() for bar in bars) == pytest.approx(sorted(report.distribution.values()))


@pytest.mark.parametrize("name", ["a.html", "a.md", "a.json", "a.csv", "a.srt", "a.vtt"])
def test_save_writes_by_suffix(tmp_path, name):
    assert MADE.save(tmp_path / name) == tmp_path / name and (tmp_path / name).stat().st_size > 100


def test_stored_reports_come_back(tmp_path):
    MADE.save(tmp_path / "a.json")
    (report,) = read_reports(tmp_path / "a.json")
    assert isinstance(report, Report) and report.to_json() == MADE.to_json()
    assert MADE.save(str(tmp_path / "A.JSON")).read_text("utf-8") == MADE.to_json() + "\n"


def test_save_draws_into_the_clip(clip, tmp_path):
    report = replace(MADE, source=str(clip))
    assert report.save(tmp_path / "drawn.mp4").stat().st_size > 1000
    with pytest.raises(SettingsError, match="is the analyzed file itself; choose another file"):
        report.save(clip)
    picture = tmp_path / "picture.png"
    Image.new("RGB", (64, 36)).save(picture)
    assert replace(report, source=str(picture)).save(tmp_path / "drawn.png").exists()


def test_save_says_what_it_cannot_do(tmp_path):
    with pytest.raises(SettingsError, match=r"no format has the suffix '.doc'; expected .html .md .csv .xlsx"):
        MADE.save(tmp_path / "a.doc")
    with pytest.raises(SettingsError, match="holds no tables; leave table='people' out"):
        MADE.save(tmp_path / "a.md", table="people")
    with pytest.raises(MediaError, match="clips/interview.mp4"):
        MADE.save(tmp_path / "a.mp4")


def test_reports_are_saved_together(tmp_path):
    files = save_reports([MADE, FailedClip("broken.mp4", "it is text")], tmp_path / "study.csv")
    assert [file.name for file in files] == ["study.csv", "study_data_dictionary.csv"]
    assert "it is text" in (tmp_path / "study.csv").read_text("utf-8")
    assert len(save_reports(MADE, tmp_path / "tables")) == len(TABLE_NAMES) + 1
