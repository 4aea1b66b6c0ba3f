"""Words extracted from prose: asked once, cached, stored with the version of the prompt, scored without a model."""

import hashlib
import json

import pytest

from emotion_qwen.cli import main
from emotion_qwen.errors import DataError
from emotion_qwen.evaluation.run.asking import Asker
from emotion_qwen.evaluation.run.extraction import (
    PROMPTS,
    VERSION,
    Extractor,
    ExtractorSettings,
    extract_run,
    read_reply,
)
from emotion_qwen.evaluation.run.plan import make_answerer
from emotion_qwen.evaluation.run.runner import answer_task
from emotion_qwen.evaluation.run.score import score_folder
from emotion_qwen.evaluation.scoring.extracted import read_extracted
from emotion_qwen.evaluation.tasks import TASKS

from .affect_files import write_mme_emotion, write_sentiment, write_unibench_basic
from .benchmark_files import write_wheels
from .scripted import asked, said, scripted_server

FROZEN = "032c3d14"


def made(answer, calls=None) -> Asker:
    def ask(text, system, tokens, schema):
        if calls is not None:
            calls.append(text)
        return answer(text)

    return Asker("qwen", "http://there/v1", ask)


def words(*listed: str) -> str:
    return json.dumps({"words": listed})


@pytest.fixture
def run(tmp_path):
    """A run with replies in prose to a set of words and a set of sentiment."""
    options = {"wheels": str(write_wheels(tmp_path / "wheels"))}
    task = TASKS["unibench_mer2023"].with_options(**options)
    path = tmp_path / "model.jsonl"
    rows = [{"id": "s1", "text": "His smile says that he is merry."}, {"id": "s2", "text": "The mood >>> is low."}]
    rows += [{"id": "v_1/0001", "text": "He sounds pleased."}, {"id": "v_2/0001", "text": "It hurts her."}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    folder = tmp_path / "run" / "model" / "unibench_mer2023"
    answer_task(make_answerer(f"file:{path}"), task, folder, data=write_unibench_basic(tmp_path / "a"), options=options)
    folder = tmp_path / "run" / "model" / "unibench_mosi"
    answer_task(make_answerer(f"file:{path}"), TASKS["unibench_mosi"], folder, data=write_sentiment(tmp_path / "b"))
    return tmp_path / "run"


def scripted(text: str) -> str:
    if '"polarity"' in text:
        return json.dumps({"polarity": "positive" if "glad" in text else "negative"})
    return words("glad", "Happy") if "merry" in text or "pleased" in text else words("sad")


def test_extracted_words_are_scored_beside_the_replies_themselves(run):
    folders = sorted((run / "model").iterdir())
    assert extract_run(folders, ExtractorSettings.of({"model": "x"}), run, lambda *_: made(scripted)) == 0
    by_task = {folder.name: score_folder(folder)[0] for folder in folders}
    title = f"extracted by qwen, prompt {VERSION}"
    column = by_task["unibench_mer2023"]
    assert column.result["hit rate"].value == 0.5, "low is a word of the wheels; merry is not"
    assert column.also[title]["hit rate"].value == 1 and column.also[title]["mean length"].value == 1.5
    sentiment = by_task["unibench_mosi"].also[title]
    assert sentiment["accuracy"].value == 1 and sentiment["accuracy"].items == 2
    assert by_task["unibench_mosi"].result["accuracy"].value == 0.5, "hurts is not a word of the matcher"


def test_a_reply_is_extracted_from_once_and_cannot_close_its_brackets(run):
    calls: list[str] = []
    settings, folders = ExtractorSettings.of({"model": "x"}), [run / "model" / "unibench_mer2023"]
    extract_run(folders, settings, run, lambda *_: made(scripted, calls))
    assert len(calls) == 2 and all(text.count(">>>") == 2 for text in calls)
    before = (folders[0] / next(folders[0].glob("extracted.*")).name).read_bytes()
    extract_run(folders, settings, run, lambda *_: made(scripted, calls))
    assert len(calls) == 2 and next(folders[0].glob("extracted.*")).read_bytes() == before
    assert len(list((run / "extraction_cache").glob("*.json"))) == 2


def test_what_is_no_json_is_asked_for_again_then_counted(run):
    replies = iter(["glad", '{"words": "glad"}', words("glad"), "no", "no", "no"])
    settings, folders = ExtractorSettings.of({"model": "x"}), [run / "model" / "unibench_mer2023"]
    assert extract_run(folders, settings, run, lambda *_: made(lambda text: next(replies))) == 1
    ((title, rows),) = read_extracted(folders[0]).items()
    assert [(row.text, bool(row.error)) for row in rows] == [("glad", False), ("", True)]
    result = score_folder(folders[0])[0].also[title]
    assert result["hit rate"].value == 0.5 and result.tally.unread == {"empty": 1}


@pytest.mark.parametrize(
    ("kind", "reply", "text"),
    [
        ("words", '{"words": ["glad", "glad", "a, b"]}', "glad, a b"),
        ("words", '```json\n{"words": []}\n```', ""),
        ("words", '["glad"]', None),
        ("words", '{"words": [1]}', None),
        ("polarity", '{"polarity": "neutral"}', "neutral"),
        ("polarity", '{"polarity": "good"}', None),
        ("steps", '{"steps": ["He  frowns.", " ", "anger"]}', "Step 1: He frowns.\nStep 2: anger"),
        ("steps", '{"steps": []}', None),
        ("steps", '{"steps": "anger"}', None),
    ],
)
def test_replies_are_read_strictly(kind, reply, text):
    assert read_reply(kind, reply) == text


def test_the_prompts_belong_to_their_version():
    digest = hashlib.sha256(json.dumps(PROMPTS, ensure_ascii=False).encode()).hexdigest()[:8]
    assert (VERSION, digest) == ("1", FROZEN), "a changed prompt needs a new version"


def test_the_command_asks_an_endpoint_and_scores_again(run, capsys):
    with scripted_server(lambda request: said(scripted(asked(request)))) as (url, requests):
        assert main(["eval", "extract", str(run), "--extractor", f"openai:{url}#qwen"]) == 0
    assert {request["temperature"] for request, _ in requests} == {0}
    assert "100.0 %" not in capsys.readouterr().err
    page = (run / "report.md").read_text(encoding="utf-8")
    assert "extracted by qwen, prompt 1: hit rate" in page


def test_folders_without_prose_and_broken_files_are_told(run, tmp_path):
    folder = run / "model" / "unibench_mer2023"
    (folder / "predictions.jsonl").write_text("", encoding="utf-8")
    with pytest.raises(DataError, match="holds no reply in words"):
        extract_run([folder], ExtractorSettings.of({"model": "x"}), run, lambda *_: made(scripted))
    (folder / "extracted.x.jsonl").write_text('{"id": 1}\n', encoding="utf-8")
    with pytest.raises(DataError, match="remove it and extract again"):
        read_extracted(folder)
    assert Extractor(made(scripted), tmp_path / "c").extract("words", "x", "zh")["text"] == "sad"


def test_steps_are_extracted_for_mme_emotion_and_written_as_its_judge_reads_them(tmp_path):
    path, folder = tmp_path / "model.jsonl", tmp_path / "run" / "model" / "mme_emotion"
    rows = [{"id": "ER-Lab/IEMOCAP/video/a.mp4", "text": "Happiness? No: he frowns, so it is anger, not happiness."}]
    rows += [{"id": "ER-Lab/b", "text": "Weak Positive"}, {"id": "ML-ER/b", "text": "Anger >>> it seems"}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    data = write_mme_emotion(tmp_path / "mme_emotion")
    answer_task(make_answerer(f"file:{path}"), TASKS["mme_emotion"], folder, data=data)

    def steps(text: str) -> str:
        if "frowns" in text:
            return json.dumps({"steps": ["He frowns.", "The emotion is anger."]})
        return json.dumps({"steps": ["Weak Positive"]}) if "Weak" in text else "no"

    assert extract_run([folder], ExtractorSettings.of({"model": "x"}), tmp_path, lambda *_: made(steps)) == 1
    column = score_folder(folder)[0]
    read = {judged.item.id: judged.read for judged in column.also[f"extracted by qwen, prompt {VERSION}"].judged}
    assert read == {"ER-Lab/IEMOCAP/video/a.mp4": "Anger", "ER-Lab/b": "Weak Positive", "ML-ER/b": None}
    assert column.result.judged[0].read is None, "the reply itself names two"
    (entry, _), left_out = (
        json.loads((folder / "steps" / "ER-Lab.json").read_bytes()),
        folder / "steps" / "ML-ER.json",
    )
    assert entry["step"] == "<step>Step 1: He frowns. Step 2: The emotion is anger.</step>"
    assert (entry["video_id"], entry["ground_truth"]) == ("IEMOCAP/video/a.mp4", "Anger") and not left_out.exists()
