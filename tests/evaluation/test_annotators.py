"""Tiers of annotators beside reports."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from tests.views import reports

from emotion_qwen.cli import main
from emotion_qwen.errors import DataError, SettingsError
from emotion_qwen.evaluation.run.annotators import AnnotatorTiers, compare_annotators
from emotion_qwen.export.annotations import labelled_spans, rated_spans
from emotion_qwen.export.elan import write_eaf
from emotion_qwen.export.praat import write_textgrid
from emotion_qwen.export.reports import FailedClip
from emotion_qwen.export.tiers import Tier, TierSpan
from emotion_qwen.records import Episode, Moment
from emotion_qwen.taxonomy import label_set
from emotion_qwen.views.render import as_json

pytest.importorskip("pympi")
pytest.importorskip("praatio")


def tier(name: str, *spans: tuple[int, int, str]) -> Tier:
    return Tier(name, "emotion", tuple(TierSpan(*span) for span in spans))


def moment(start: float, end: float, valence: float) -> Moment:
    return Moment(start, end, "sad", {"sad": 1.0}, {"sad": 1.0}, (valence, -valence), ("picture",))


def report(source: str = "clips/a.mp4"):
    """Return a clip of 10 s: sad until 6 s, then happy; its first person is happy throughout."""
    made = reports.two_people()
    first = replace(made.people[0], episodes=(Episode("happy", 0.0, 10.0, 1.0, 0.9),), timeline=())
    return replace(
        made, source=source, people=(first,),
        episodes=(Episode("sad", 0.0, 6.0, 3.0, 0.9), Episode("happy", 6.0, 10.0, 8.0, 0.9)),
        timeline=(moment(0, 2, -0.5), moment(1, 3, 0.0), moment(3, 5, 0.5)),
        provenance=reports.provenance(seconds=[0.0, 10.0]),
    )  # fmt: skip


ANN = tier("Ann", (0, 4000, "Sadness"), (4000, 8000, "高兴"), (8000, 9000, "tired of it"))
BEA = tier("Bea", (0, 10_000, "happy"))
NUMBERS = tier("V", (0, 1000, "-0,5"), (1000, 2000, "0.25"), (2000, 6000, "−0.5"))


@pytest.fixture
def annotated(tmp_path):
    write_eaf(tmp_path / "a.eaf", [ANN, BEA, NUMBERS], "a.mp4")
    return tmp_path


def test_labels_are_read_under_any_name():
    spans, unknown = labelled_spans(ANN, label_set("dfew7"))
    assert spans == [TierSpan(0, 4000, "sad"), TierSpan(4000, 8000, "happy")] and unknown == {"tired of it": 1}


def test_numbers_are_read_with_comma_and_minus():
    assert [value for _, _, value in rated_spans(NUMBERS)] == [-0.5, 0.25, -0.5]
    with pytest.raises(DataError, match="tier 'Ann': 'Sadness' at 0.000 s is no number"):
        rated_spans(ANN)


def test_kappa_over_the_steps_at_which_both_say_something(annotated):
    done = compare_annotators([report()], annotated, AnnotatorTiers(("Ann", "Bea"), step=1.0))
    pairs = {(pair.first, pair.second): pair for pair in done.pairs}
    # Eight steps, six equal; sad: the model 6, Ann 4: chance (6 * 4 + 2 * 4) / 64 = 1/2.
    ann = pairs["model", "tier Ann"]
    assert ann.steps == 8 and ann.figures == pytest.approx({"kappa": 0.5, "agreement": 0.75})
    bea = pairs["model", "tier Bea"]
    assert bea.steps == 10 and bea.figures == pytest.approx({"kappa": 0.0, "agreement": 0.4})
    assert pairs["tier Ann", "tier Bea"].steps == 8 and done.unknown == {"tired of it": 1}


def test_numbers_against_the_window_whose_middle_is_nearest(annotated):
    done = compare_annotators([report()], annotated, AnnotatorTiers(valence="V", step=1.0))
    # Steps at .5 to 4.5 s: the model -.5, -.5, 0, .5, .5; at 1.5 s two windows are as near, the earlier counts.
    (pair,) = done.pairs
    assert (pair.what, pair.steps) == ("valence", 5)
    # hers: -.5, .25, -.5, -.5, -.5: means 0 and -.35, variances .2 and .09, covariance -.075.
    assert pair.figures["ccc"] == pytest.approx(2 * -0.075 / (0.2 + 0.09 + 0.35**2))
    done = compare_annotators([report()], annotated, AnnotatorTiers(arousal="V", step=1.0))
    assert done.pairs[0].figures["ccc"] == pytest.approx(2 * 0.075 / (0.2 + 0.09 + 0.35**2))


def test_a_person_instead_of_the_clip(annotated):
    done = compare_annotators([report()], annotated, AnnotatorTiers(("Bea",), person=1, step=1.0))
    assert done.pairs[0].figures["agreement"] == 1.0 and done.pairs[0].steps == 10
    assert done.to_dict()["pairs"][0]["figures"] == {"kappa": None, "agreement": 1.0}
    done = compare_annotators([report()], annotated, AnnotatorTiers(("Bea",), person=2, step=1.0))
    assert done.pairs[0].steps == 0


def test_the_steps_of_all_clips_count_together(annotated):
    write_textgrid(annotated / "b.TextGrid", [tier("Bea", (0, 10_000, "sad"))], 10_000)
    entries = [report(), report("b.mp4"), report("c.mp4"), FailedClip("d.mp4", "broken")]
    done = compare_annotators(entries, annotated, AnnotatorTiers(("Bea",), step=1.0))
    assert (done.clips, done.without) == (2, ["c.mp4"])
    assert done.pairs[0].steps == 20 and done.pairs[0].figures["agreement"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("place", "chosen", "message"),
    [
        ("a.eaf", AnnotatorTiers(), "no tier to compare; give --tier, --valence or --arousal"),
        ("a.eaf", AnnotatorTiers(("Cleo",)), r"a.eaf' has no tier 'Cleo'; it has 'Ann', 'Bea', 'V'"),
        ("gone", AnnotatorTiers(("Ann",)), "gone' does not exist; expected a file of tiers"),
        (
            "empty",
            AnnotatorTiers(("Ann",)),
            r"empty' has no file of tiers named like one of the 1 clips \(the first: clips/a",
        ),
    ],
)
def test_faults_of_a_comparison(place, chosen, message, annotated):
    (annotated / "empty").mkdir()
    with pytest.raises((DataError, SettingsError), match=message):
        compare_annotators([report()], annotated / place, chosen)


def test_one_file_is_of_one_clip(annotated):
    with pytest.raises(DataError, match="is one file, but there are 2 reports; give a folder"):
        compare_annotators([report(), report("b.mp4")], annotated / "a.eaf", AnnotatorTiers(("Ann",)))


def test_the_command(annotated, capsys):
    (annotated / "r.jsonl").write_text(as_json(report()) + "\n")
    command = [
        "eval",
        "agree",
        str(annotated / "r.jsonl"),
        "--annotations",
        str(annotated),
        "--tier",
        "Ann",
        "--step",
        "1",
    ]
    assert main([*command, "--output", str(annotated / "figures.json")]) == 0
    out, err = capsys.readouterr()
    assert out == "label: model and tier Ann: kappa 0.500, agreement 0.750 (8 steps of 1 s)\n"
    assert err == "note: 1 spans 'tired of it' are no label and were left out\n"
    assert json.loads((annotated / "figures.json").read_text())["pairs"][0]["figures"]["kappa"] == 0.5
