"""Every form of a set can be read, splits never divide a video, reviewers decide, and figures add up."""

from __future__ import annotations

import io
import json

import pytest
from click.testing import CliRunner
from rich.console import Console
from tests.ver.sets import faces, settings
from tests.ver.teachers import ServedTeacher

from emotion_qwen.cli import main
from emotion_qwen.data.manifest import read_manifest
from emotion_qwen.data.parts import read_part
from emotion_qwen.errors import DataError, StorageError
from emotion_qwen.ver import export as exporting
from emotion_qwen.ver.card import card, draw_counts, escaped
from emotion_qwen.ver.commands import ver
from emotion_qwen.ver.estimate import extrapolate, guess
from emotion_qwen.ver.export import load_ver
from emotion_qwen.ver.pipeline import Build
from emotion_qwen.ver.settings import BuildSettings, ExportSettings
from emotion_qwen.ver.stats import figures, kind_of
from emotion_qwen.ver.store.decisions import FILE, Decisions
from emotion_qwen.ver.store.entries import split_of
from emotion_qwen.ver.store.folder import Cost

pytest.importorskip("scenedetect")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A built set of three clips, its server gone."""
    folder = tmp_path_factory.mktemp("export")
    with ServedTeacher() as teacher:
        built = Build(
            settings(faces(folder / "films"), folder / "set", teacher.url), console=Console(file=io.StringIO())
        )
        built.run()
    return built


@pytest.mark.parametrize("kind", ["release", "llava", "sharegpt"])
def test_what_is_written_for_others_reads_back_as_our_manifest(made, tmp_path, kind):
    out = tmp_path / "out.jsonl"
    code = main(["data", "import", kind, str(made.output / f"{kind}.json"), str(out)])
    assert code == 0
    ours = load_ver(made.output)
    theirs = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert len(theirs) == len(ours) == 6
    for one, other in zip(ours, theirs, strict=True):
        answers = [m["content"] for m in one.messages if m["role"] == "assistant"]
        assert answers == [
            m["content"] if isinstance(m["content"], str) else m["content"][0]["text"]
            for m in other["messages"]
            if m["role"] == "assistant"
        ]


def test_the_mixture_reads_a_set_directly(made):
    part = read_part("manifest", "mine", "emotion", made.output, "train")
    assert len(part) == 6 and part.sample(0, 0).labels == {"emotion": "happy"}
    with pytest.raises(DataError, match="manifest.jsonl"):
        read_part("manifest", "mine", "emotion", made.output / "work", "train")


def test_the_datasets_folder_holds_the_whole_descent(made):
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = parquet.read_table(made.output / "data" / "train.parquet").to_pylist()
    assert len(rows) == 3 and (made.output / rows[0]["video"]).is_file()
    row = rows[0]
    assert row["source_path"] == "film0.mp4" and (row["start"], row["end"]) == (0.0, 1.2)
    assert row["emotions_zh"] == '["happy"]' and "嘴角" in row["description_zh"] and row["valence_en"] == 0.7
    card = (made.output / "README.md").read_text(encoding="utf-8")
    assert card.startswith("---\nlanguage: [en, zh]\n") and "path: data/train.parquet" in card
    assert "| no face | 3 |" in card and "| CC-BY-4.0 | 3 |" in card
    assert (made.output / "plots" / "emotion.png").read_bytes().startswith(b"\x89PNG")


def test_splits_go_by_group_and_stay_as_a_set_grows():
    chosen = ExportSettings(validation=0.2, test=0.1)
    splits = [split_of(f"group{number}", chosen) for number in range(2000)]
    assert 0.17 < splits.count("validation") / 2000 < 0.23 and 0.08 < splits.count("test") / 2000 < 0.12
    assert split_of("group7", chosen) == splits[7]


def test_reviewers_decide_over_the_export(made):
    clips = [row["clip"] for row in made.tables["check"].rows()]
    reviews = Decisions(made.output / FILE)
    try:
        reviews.add(clips[0], "ann", "edit", {"zh": {"description": "改过的描述。"}}, "wording")
        reviews.add(clips[0], "bob", "accept")
        reviews.add(clips[1], "ann", "accept")
        reviews.add(clips[1], "bob", "reject")
        reviews.add(clips[2], "ann", "flag")
        exporting.export(made)
        found = load_ver(made.output, language="zh")
        assert [sample.id for sample in found] == [f"{clips[0]}/zh"]
        assert found[0].messages[1]["content"] == "改过的描述。"
        assert [path.stem for path in (made.output / "clips").iterdir()] == [clips[0]]
        figures = json.loads((made.output / "stats.json").read_text())
        assert figures["reviews"]["pairs"][0]["agree"] == 0.5
        reviews.add(clips[1], "bob", "accept")  # changed his mind; the earlier decision stays in the file
        reviews.add(clips[2], "ann", "accept")
        exporting.export(made)
        assert len(load_ver(made.output)) == 6
    finally:
        (made.output / FILE).unlink()
        exporting.export(made)


def test_what_reviewers_corrected_and_restored_is_in_every_form(made):
    clips = [row["clip"] for row in made.tables["check"].rows()]
    lost = next(row["clip"] for row in made.tables["select"].rows() if row["status"] == "rejected")
    reviews = Decisions(made.output / FILE)
    texts = {language: {"description": f"{language} text", "reasoning": "seen"} for language in ("en", "zh")}
    try:
        reviews.add(clips[0], "ann", "edit", {}, "", {"label": "sad", "valence": -0.5})
        reviews.add(lost, "ann", "edit", texts, "", {"label": "neutral", "valence": 0.0, "arousal": 0.0})
        exporting.export(made)
        samples = {sample.id: sample for sample in load_ver(made.output, language="en")}
        assert (
            samples[f"{clips[0]}/en"].labels["emotion"] == "sad"
            and samples[f"{lost}/en"].labels["emotion"] == "neutral"
        )
        assert samples[f"{lost}/en"].labels["restored_after"] == "no face"
        assert (made.output / "clips" / f"{lost}.mp4").is_file()
        rows = pytest.importorskip("pyarrow.parquet").read_table(made.output / "data" / "train.parquet").to_pylist()
        by_clip = {row["clip"]: row for row in rows}
        assert len(rows) == 4 and by_clip[clips[0]]["valence_zh"] == -0.5 and by_clip[clips[1]]["corrected"] == "{}"
        assert by_clip[lost]["description_en"] == "en text" and by_clip[lost]["teacher"] is None
        counts = json.loads((made.output / "stats.json").read_text())
        assert (counts["corrected"], counts["restored"], counts["emotion"]["sad"]) == (2, 1, 1)
        card = (made.output / "README.md").read_text(encoding="utf-8")
        assert "2 clips with texts or values corrected by a person, 1 restored after" in card
    finally:
        (made.output / FILE).unlink()
        exporting.export(made)


def test_what_reviewers_corrected_becomes_pairs_of_answers(made):
    clips = [row["clip"] for row in made.tables["check"].rows()]
    before = {sample.id: sample for sample in load_ver(made.output)}
    reviews = Decisions(made.output / FILE)
    try:
        reviews.add(clips[0], "ann", "edit", {"zh": {"description": "改过的描述。"}}, "", {"label": "sad"})
        reviews.add(clips[1], "ann", "accept")
        exporting.export(made)
        pairs = {sample.id: sample for sample in read_manifest(made.output / exporting.PAIRS)}
        teacher = before[f"{clips[0]}/zh"].messages
        assert set(pairs) == {f"{clips[0]}/{name}" for name in ("en/label", "zh/description", "zh/label")}
        described = pairs[f"{clips[0]}/zh/description"]
        assert described.messages[1]["content"] == "改过的描述。" and len(described.messages) == 2
        assert described.labels["rejected"] == teacher[1]["content"]
        label = pairs[f"{clips[0]}/en/label"]
        assert label.messages[-1]["content"] == "sad" and len(label.messages) == 6
        assert label.labels["rejected"] == before[f"{clips[0]}/en"].messages[-1]["content"] != "sad"
    finally:
        (made.output / FILE).unlink()
        exporting.export(made)
    assert not (made.output / exporting.PAIRS).exists()


def test_a_full_disk_leaves_the_old_files_whole(made, monkeypatch):
    before = (made.output / "release.json").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(exporting, "_write_list", full)
    with pytest.raises(StorageError, match=r"No space left on device\); free space"):
        exporting.export(made)
    assert (made.output / "release.json").read_bytes() == before
    assert not list(made.output.rglob(".part-*"))


def test_the_commands_tell_figures_and_extrapolate(made):
    done = CliRunner().invoke(ver, ["stats", str(made.output), "--json"])
    found = json.loads(done.output)
    assert found["clips"] == 3 and found["steps"]["select"] == {"clips": 6, "kept": 3}
    assert found["agreement"]["reader"]["agree"] == 1.0 and found["cost"]["calls"] == 12
    shown = CliRunner().invoke(ver, ["stats", str(made.output)]).output
    assert "3 clips of 3 videos" in shown and "no face" in shown
    told = CliRunner().invoke(ver, ["estimate", str(made.output), "--clips", "40000"]).output
    assert "40,000 accepted clips: 40,000 clips to describe: 160,000 calls" in told and "measured on 3 clips" in told
    assert extrapolate(made, 3).calls == 12


def test_an_estimate_knows_rate_limits_and_budgets():
    teacher = {"kind": "endpoint", "url": "http://x/v1", "model": "m"}
    chosen = BuildSettings.of(
        {"source": "a", "output": "b", "describe": {"teacher": teacher}, "check": {"reader": teacher},
         "calls": {"concurrency": 10, "per_minute": 60}}
    )  # fmt: skip
    found = guess(chosen, 900, Cost(10, 20_000, 20.0))
    assert (found.calls, found.tokens, found.call_hours) == (3600, 7_200_000, 1.0)


def test_what_is_no_set_is_named(tmp_path):
    assert main(["ver", "stats", str(tmp_path)]) == 2
    with pytest.raises(DataError, match="holds no built set"):
        load_ver(tmp_path)


@pytest.mark.parametrize(
    "reason, kind",
    [
        ("no face in 40% of the frames, at most 40%", "no face"),
        ("near duplicate of a-0", "near duplicate"),
        ("en: people: 2 described, 1 measured; zh: length: x", "people"),
        ("unreadable: 'x'", "unreadable"),
    ],
)
def test_reasons_are_counted_by_kind(reason, kind):
    assert kind_of(reason) == kind


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("CC-BY-4.0", "CC-BY-4.0"),
        ("a | b\nc\r\n# d", r"a \| b c # d"),
        ("<img src=x onerror=alert(1)> & more", "&lt;img src=x onerror=alert(1)&gt; &amp; more"),
        ("![p](y) `code` **b** $x$", r"!\[p\](y) \`code\` \*\*b\*\* \$x\$"),
        ("back\\|slash\u2028line\udcff", r"back\\\|slash line\\udcff"),
    ],
)
def test_what_others_wrote_stays_on_one_line_of_the_card(text, shown):
    assert escaped(text) == shown


def test_licences_and_reasons_break_no_table_and_no_plot(made, tmp_path):
    found = figures(made)
    found["license"] = {"MIT\n## Free | <b>now</b>": 2}
    found["rejections"] = {"costs $5 or $\\frac$\nmore": 3}
    lines = card(made, found, draw_counts(found, tmp_path)).splitlines()
    assert r"| MIT ## Free \| &lt;b&gt;now&lt;/b&gt; | 2 |" in lines
    assert not any(line.startswith("## Free") for line in lines)
    assert (tmp_path / "rejections.png").stat().st_size > 1000
