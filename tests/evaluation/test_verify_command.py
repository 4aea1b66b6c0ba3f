"""`emotion-qwen verify`: figures of reports and runs beside their floors, and training from files."""

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner
from tests.verify.conftest import LINES, small_verifier  # noqa: F401

from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.run.explanations import (
    CLAIMS,
    CUES,
    KEPT,
    References,
    read_references,
    score_predictions,
    score_reports,
    score_sources,
)
from emotion_qwen.evaluation.run.verifier import train_verifier
from emotion_qwen.evaluation.scoring.explanations import FLOOR, GAIN, score_explanations
from emotion_qwen.evaluation.verify_commands import verify
from emotion_qwen.records import EmotionReport, Person, Verification
from emotion_qwen.verify.measures import Measured

TEXTS = {"happy": "She smiles, so happy and glad.", "sad": "He cries, sad and lonely.", "angry": "He shouts, furious."}


def report(number: int, label: str, said: str, reflected: str | None = None) -> EmotionReport:
    shares = {name: 0.8 if name == label else 0.1 for name in TEXTS}
    person = Person(1, label, shares, 0.0, 0.0, 1, (0.1, 0.1, 0.3, 0.3), {})
    steps = {"seen": TEXTS[said], "conclusion": label}
    verified = Verification(None, {}, None, 0, 0, reflected) if reflected else None
    return EmotionReport(
        f"clips/{number}.jpg", label, shares, (person,), {}, "", "en", reasoning=steps, verification=verified,
        provenance={"label_set": "dfew7"},
    )  # fmt: skip


def test_a_score_has_its_floor_and_a_paired_gain():
    measured = Measured("EPC", np.array([1.0, 1, 1, 0]), np.full(4, 0.5), clips="abcd")
    scores = score_explanations(measured)
    assert scores["EPC"].value == 0.75 and scores[FLOOR].value == 0.5 and scores[GAIN].value == 0.25
    assert scores[FLOOR].low == scores[FLOOR].high == 0.5 and scores[GAIN].low < 0.25 < scores[GAIN].high <= 0.5
    assert scores["EPC"].items == 4


def test_reports_are_measured_by_label_claims_cues_and_reflection(small_verifier):  # noqa: F811
    reports = [report(n, label, label, "happy") for n, label in enumerate(["happy", "sad"] * 6)]
    reports.append(report(12, "angry", "sad"))
    truths = {f"{n}.jpg": ("joy", "sadness")[n % 2] for n in range(10)}
    scores = score_reports(reports, small_verifier, References(truths, {"0": TEXTS["happy"], "1.jpg": TEXTS["sad"]}))
    rows = {row[0].name: row for row in scores.rows}
    assert list(rows) == ["EEA", "EPC", "FCR", CLAIMS, KEPT, CUES] and scores.items == 13 and not scores.empty
    assert rows["EEA"][0].value == 1 and rows["EEA"][0].items == 10 and rows["EEA"][3] == 0.5
    assert rows["EPC"][0].value == pytest.approx(12 / 13) and rows["EPC"][2].value > 0.3
    assert rows[CLAIMS][0].value == pytest.approx(12 / 13)  # "sad" beside the measured "angry"
    assert rows[KEPT][0].value == 0.5 and rows[KEPT][0].items == 12
    assert rows[CUES][0].value == pytest.approx(1) and rows[CUES][1].value < 0.5 and rows[CUES][0].items == 2


def test_reports_without_an_answer_or_a_known_label_are_counted(small_verifier):  # noqa: F811
    reports = [report(n, label, label) for n, label in enumerate(["happy", "sad", "happy"])]
    reports.append(replace(reports[0], label=None, source="4.jpg"))
    reports.append(replace(reports[0], reasoning={}, source="5.jpg"))
    reports.append(replace(reports[0], reasoning={}, label="contempt", provenance={}, source="6.jpg"))
    scores = score_reports(reports, small_verifier, References())
    assert (scores.items, scores.empty) == (5, 2) and scores.unknown == {"contempt": 1}
    assert scores.rows[0][0].value == 3 / 4 and "1 reports without an answer" in scores.notes[0]


def test_references_need_a_clip_and_a_label_or_a_text(tmp_path):
    (tmp_path / "a.csv").write_text("clip,emotion,text\na.mp4,joy,\nb.mp4,,She smiles.\n")
    assert read_references(tmp_path / "a.csv") == References({"a.mp4": "joy"}, {"b.mp4": "She smiles."})
    (tmp_path / "b.csv").write_text("file,label\na.mp4,joy\n")
    with pytest.raises(DataError, match="has the columns file, label; expected clip"):
        read_references(tmp_path / "b.csv")


def write_run(folder, lines) -> None:
    folder.mkdir(parents=True)
    (folder / "task.json").write_text(json.dumps({"task": "fer", "model": "m"}))
    items, predictions = [], []
    for n, (text, answer, choices) in enumerate(lines):
        item = {"id": str(n), "language": "en", "parts": [], "question": "?", "choices": choices, "answer": answer}
        items.append({**item, "group": "all"})
        predictions.append({
            "id": str(n), "language": "en", "group": "all", "answer": answer, "predicted": None, "scores": None,
            "gate": None, "options": len(choices), "asked": "", "text": text,
        })  # fmt: skip
    for name, rows in (("items.jsonl", items), ("predictions.jsonl", predictions)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in rows))


def test_replies_of_a_run_are_measured_by_their_answers_or_their_cues(small_verifier, tmp_path):  # noqa: F811
    choices = ["happy", "sad", "angry"]
    think = "<think>{}</think><answer>{}</answer>"
    write_run(
        tmp_path / "m" / "fer",
        [(think.format(TEXTS["happy"], "happy"), "happy", choices), (think.format(TEXTS["sad"], "sad"), "sad", choices),
         (think.format(TEXTS["sad"], "happy"), "happy", choices), ("sad", "sad", choices)],
    )  # fmt: skip
    (scores,) = score_sources([tmp_path], small_verifier)
    rows = {row[0].name: row for row in scores.rows}
    assert scores.name == "m/fer" and scores.items == 4
    assert rows["EEA"][0].value == rows["EPC"][0].value == rows["FCR"][0].value == 3 / 4
    write_run(tmp_path / "m" / "free", [(TEXTS["happy"], TEXTS["happy"], []), (TEXTS["sad"], TEXTS["sad"], [])])
    (row,) = score_predictions(tmp_path / "m" / "free", small_verifier).rows
    assert row[0].name == CUES and row[0].value == pytest.approx(1) and row[1].value < 0.9


def sentences_file(path) -> None:
    rows = [(f"{line} {n}", label) for label, lines in LINES["en"].items() for line in lines for n in range(8)]
    rows.append(("proud of it", "pride"))
    path.write_text("text,label\n" + "".join(f'"{text}",{label}\n' for text, label in rows))


def test_a_verifier_is_trained_measured_and_used_by_the_command(tmp_path):
    sentences_file(tmp_path / "s.csv")
    run = CliRunner(mix_stderr=False) if "mix_stderr" in CliRunner.__init__.__code__.co_varnames else CliRunner()
    done = run.invoke(verify, ["train", str(tmp_path / "s.csv"), "--to", str(tmp_path / "v")])
    assert done.exit_code == 0, done.output
    assert "en: macro F1 " in done.stdout and "1 rows have none of the emotions" in done.stderr
    facts = json.loads((tmp_path / "v" / "verifier.json").read_text())
    assert facts["sentences"] == {"s.csv": 121} and facts["validation"]["en"]["macro_f1"]["value"] > 0.8

    from emotion_qwen.views.render import as_json

    lines = [as_json(report(n, label, label)) + "\n" for n, label in enumerate(["happy", "sad"] * 3)]
    (tmp_path / "r.jsonl").write_text("".join(lines))
    arguments = [str(tmp_path / "r.jsonl"), "--verifier", str(tmp_path / "v"), "--output", str(tmp_path / "out.json")]
    done = run.invoke(verify, arguments)
    assert done.exit_code == 0, done.output
    (figures,) = json.loads((tmp_path / "out.json").read_text())
    assert figures["measures"]["EPC"]["score"]["value"] == 1 and figures["measures"]["EPC"]["constant"] == 0.5
    assert (
        0 < figures["measures"]["EPC"]["floor"]["value"] < 1
        and "EPC " in done.stdout
        and "claims confirmed" in done.stdout
    )
    assert max(map(len, done.stdout.splitlines()[:4])) <= 80  # fits a terminal


def test_a_file_without_emotions_trains_nothing(tmp_path):
    (tmp_path / "s.csv").write_text("text,label\na,pride\nb,pride\n")
    with pytest.raises(DataError, match=r"0 labelled sentence\(s\).*other labels: pride 2.*give more data"):
        train_verifier([tmp_path / "s.csv"])
