"""What R, LibreOffice and ffprobe make of our files; skipped where the program is not installed."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess

import numpy as np
import pytest
from tests.media.films import write_video
from tests.views import reports

from emotion_qwen.cli import main
from emotion_qwen.media.clip import every_frame
from emotion_qwen.views.render import as_json

NAMES = ("two_people", "chinese", "unanswered", "picture_only")


def program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        pytest.skip(f"{name} is not installed")
    return path


@pytest.fixture
def stored(tmp_path):
    """Reports with commas, quotes, line breaks and Chinese in their texts."""
    path = tmp_path / "reports.jsonl"
    made = [reports.KINDS.get(name, getattr(reports, name, None))() for name in NAMES]
    path.write_text("".join(as_json(report) + "\n" for report in made), encoding="utf-8")
    return path


def rows_of(path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_r_reads_every_table_with_its_types(stored, tmp_path):
    r = program("Rscript")
    assert main(["export", str(stored), "--to", str(tmp_path / "tables")]) == 0
    script = (
        "for (path in commandArgs(TRUE)) { t <- read.csv(path, encoding='UTF-8', check.names=FALSE);"
        "cat(basename(path), nrow(t), ncol(t), paste(sapply(t, class), collapse=','), sep=';'); cat('\\n') }"
    )
    paths = sorted((tmp_path / "tables").glob("*.csv"))
    lines = subprocess.run([r, "-e", script, *map(str, paths)], capture_output=True, text=True, check=True).stdout
    read = {line.split(";")[0]: line.split(";")[1:] for line in lines.splitlines()}
    types = {(row["table"], row["column"]): row["type"] for row in rows_of(tmp_path / "tables" / "data_dictionary.csv")}
    allowed = {"text": {"character", "logical"}, "boolean": {"logical"}, "integer": {"integer", "logical"},
               "number": {"numeric", "integer", "logical"}}  # fmt: skip
    for path in paths:
        rows = rows_of(path)
        count, columns, classes = read[path.name]
        assert int(count) == len(rows), path.name
        if not rows:
            continue
        assert int(columns) == len(rows[0]), path.name
        for name, kind in zip(rows[0], classes.split(","), strict=True):
            expected = types.get((path.stem, name), "text")
            assert kind in allowed[expected], f"{path.name}: {name} is {expected}, but R reads {kind}"


def test_libreoffice_opens_the_workbook(stored, tmp_path):
    office = program("soffice")
    assert main(["export", str(stored), "--to", str(tmp_path / "study.xlsx")]) == 0
    assert main(["export", str(stored), "--to", str(tmp_path / "tables")]) == 0
    command = [office, "--headless", f"-env:UserInstallation=file://{tmp_path}/profile", "--convert-to",
               "csv:Text - txt - csv (StarCalc):44,34,76,1,,0,false,true,false,false,false,-1", "--outdir",
               str(tmp_path / "opened"), str(tmp_path / "study.xlsx")]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True, timeout=180)
    for name in ("clips", "people", "timeline", "episodes"):
        opened = rows_of(tmp_path / "opened" / f"study-{name}.csv")
        ours = rows_of(tmp_path / "tables" / f"{name}.csv")
        assert [row["file"] for row in opened] == [row["file"] for row in ours]
        column = "label"
        assert [row[column] for row in opened] == [row[column] for row in ours]


@pytest.mark.parametrize(
    "stamps", [None, [0, 33, 70, 101, 400, 433, 900, 1234, 1267, 3001]], ids=["constant", "variable"]
)
def test_times_of_frames_are_those_of_ffprobe(tmp_path, stamps):
    probe = program("ffprobe")
    path = write_video(tmp_path / "film.mkv", count=10, rate=30, stamps=stamps)
    command = [
        probe,
        "-v",
        "error",
        "-select_streams",
        "v:0",
        "-show_entries",
        "frame=pts_time",
        "-of",
        "json",
        str(path),
    ]
    frames = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)["frames"]
    theirs = np.array([float(frame["pts_time"]) for frame in frames])
    ours = np.concatenate([clip.times for _, clip in every_frame(path, 64).parts(4)])
    assert ours == pytest.approx(theirs - theirs[0], abs=1e-3) and len(ours) == 10
