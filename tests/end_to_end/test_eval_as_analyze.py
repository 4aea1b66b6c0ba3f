"""What `eval` scores is what `analyze` tells a user: the same label for the same picture, clip or sound."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.artificial_clips import make_clips
from tests.detectors import bright

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.request import Request
from emotion_qwen.batch.folder import analyze_all
from emotion_qwen.errors import MediaError
from emotion_qwen.evaluation.run.answerers.local import LocalModel
from emotion_qwen.evaluation.run.runner import answer_task
from emotion_qwen.evaluation.tasks import TASKS
from emotion_qwen.evaluation.tasks.folder import folder_task

VOTED = ("neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear")
REAL = ("WolfgangLanger_Pexels.mp4", "single_face.mp4", "face_noface.mov", "asl_hungry.mkv", "asl_sorry.mkv",
        "asl_thanks.mkv")  # fmt: skip


def labels_of_analyze(engine, files: list[Path], detector=None) -> dict[str, str | None]:
    analyzer = Analyzer(engine, detector)
    found = analyze_all(analyzer, files, Request(labels="fer7"), workers=0)
    return {path.name: None if isinstance(one, MediaError) else one.report.label for path, one in found}


def labels_of_eval(engine, task, folder: Path, data: Path, detector=None, **more) -> dict[str, str | None]:
    done = answer_task(
        LocalModel(engine, 16, detector, workers=more.pop("workers", 0)), task, folder, data=data, **more
    )
    assert not done.failures and not done.missing
    return {Path(one.id).name: max(one.scores, key=one.scores.get) if one.scores else None for one in done.predictions}


def test_a_folder_is_scored_by_the_labels_of_analyze_whatever_the_workers(shallow, tmp_path):
    rng, data = np.random.default_rng(5), tmp_path / "set"
    for number, base in enumerate((150, 170, 190, *[20] * 14)):  # nobody is found in the dark ones
        path = data / ("happiness" if number % 2 else "sadness") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(base, base + 60, (70, 60, 3), dtype=np.uint8)).save(path)
    told = labels_of_analyze(shallow, sorted(data.rglob("*.png")), bright)
    alone = labels_of_eval(shallow, folder_task(), tmp_path / "alone", data, bright)
    assert alone == told and told["3.png"] is None and all(told[f"{n}.png"] for n in range(3))
    lines = (tmp_path / "alone" / "predictions.jsonl").read_text("utf-8")
    assert '"unanswered": "no face was found"' in lines
    assert labels_of_eval(shallow, folder_task(), tmp_path / "two", data, bright, workers=2) == alone


@pytest.mark.slow
def test_300_pictures_have_the_label_of_analyze(nano, shared_data, tmp_path, record_property):
    parquet = pytest.importorskip("pyarrow.parquet")
    told, scored = {}, {}
    for name in ("fer", "lfw"):
        folder = tmp_path / name
        folder.mkdir()
        for item in TASKS[name].items(shared_data, side=None, limit=100):
            (folder / Path(item.id).name).with_suffix(".jpg").write_bytes(item.parts[0]["image"].read())
        own = labels_of_analyze(nano, sorted(folder.iterdir()))
        told |= {Path(file).stem: label for file, label in own.items()}
        scored |= labels_of_eval(nano, TASKS[name], tmp_path / f"{name}.run", shared_data, limit=100)
    rows = parquet.read_table(shared_data / "faces_ferplus.parquet").to_pylist()
    rows = [row for row in rows if row["split"] == "validation" and max(row["votes"][:7]) > 5]
    home = tmp_path / "ferplus"
    for place in np.random.default_rng(0).permutation(len(rows))[:100]:
        path = home / VOTED[int(np.argmax(rows[place]["votes"][:7]))] / f"{Path(rows[place]['id']).name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(rows[place]["image"])
    told |= labels_of_analyze(nano, sorted(home.rglob("*.jpg")))
    scored |= labels_of_eval(nano, folder_task(), tmp_path / "ferplus.run", home)
    same, answered = sum(told[name] == scored[name] for name in told), sum(one is not None for one in told.values())
    print(f"{same} of {len(told)} pictures have the same label, {answered} are answered")
    assert len(told) == len(scored) == 300 and same >= 297 and answered >= 285


@pytest.mark.slow
def test_20_clips_have_the_label_of_analyze(nano, shared_data, tmp_path):
    home = tmp_path / "neutral"
    made = make_clips(shared_data, home, 20 - len(REAL))
    for name in REAL:
        shutil.copy(shared_data / "clips" / name, home / name)
    for extra in (*home.glob("*.jsonl"), *(clip.path.with_suffix(".srt") for clip in made)):
        if extra.suffix == ".jsonl":
            extra.unlink()
    files = sorted(path for path in home.iterdir() if path.suffix in (".mkv", ".mp4", ".mov"))
    told = labels_of_analyze(nano, files)
    scored = labels_of_eval(nano, folder_task(), tmp_path / "run", tmp_path)
    answered = sum(label is not None for label in told.values())
    print(f"{len(told)} clips, {answered} answered, {sum(told[n] == scored[n] for n in told)} with the same label")
    assert len(told) == 20 and scored == told and answered >= 19
