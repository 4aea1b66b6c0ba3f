import dataclasses
import io
import json

import av
import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from tests.media.footage import write_film

from emotion_qwen.analysis.analyzer import Analyzer
from emotion_qwen.analysis.reading import ClipReading
from emotion_qwen.analysis.report import other_language
from emotion_qwen.analysis.request import Request
from emotion_qwen.errors import MediaError, SettingsError
from emotion_qwen.faces import Detections, ScriptedDetector
from emotion_qwen.media.clip import Sources
from emotion_qwen.records import OMITTED_IF_EMPTY, EmotionReport, Utterance
from emotion_qwen.views.html import compose_page
from emotion_qwen.views.markdown import as_markdown
from emotion_qwen.views.render import as_json, show_report

OPTIONAL = OMITTED_IF_EMPTY["EmotionReport"]  # of reasoning and examples only
KEYS = [field.name for field in dataclasses.fields(EmotionReport) if field.name not in OPTIONAL]


@pytest.fixture(scope="module")
def analyzer(nano):
    return Analyzer(nano)


@pytest.fixture(scope="module")
def deaf_analyzer(deaf):
    return Analyzer(deaf)


@pytest.fixture(scope="module")
def face_file(astronaut, tmp_path_factory):
    path = tmp_path_factory.mktemp("faces") / "astronaut.png"
    Image.fromarray(astronaut).save(path)
    return path


def test_a_face_becomes_a_person_with_their_own_distribution(analyzer, face_file):
    report = analyzer.analyze(face_file)
    (person,) = report.people
    assert sum(report.distribution.values()) == pytest.approx(1) and report.label in report.distribution
    assert report.distribution == pytest.approx(person.distribution)  # nano reads people alone, and there is one
    assert all(0 <= share <= 1 for share in person.box) and person.frames == 1
    assert sum(report.gate.values()) == pytest.approx(1)
    facts = report.provenance
    assert facts["label_set"] == "dfew7" and facts["channels"] == ["picture"] and facts["frames"] == 1


def test_words_and_context_are_channels_and_are_said_to_be(deaf_analyzer, face_file, tmp_path):
    analyzer = deaf_analyzer
    (tmp_path / "said.txt").write_text("I have lost everything.")
    sources = Sources(words=True, transcript=tmp_path / "said.txt")
    report = analyzer.analyze(face_file, sources=sources, context=" They have just been told. ")
    assert report.provenance["channels"] == ["picture", "words", "context"]
    told = [text for text in report.provenance["warnings"] if "never trained for the channel" in text]
    assert len(told) == 2 and "'words'" in told[0] and "'context'" in told[1]  # it learned pictures alone
    assert report.context == "They have just been told." and report.utterances[0].text == "I have lost everything."
    by_name = {channel.channel: channel for channel in report.channels}
    assert list(by_name) == ["picture", "sound", "words", "context"] and by_name["sound"].label == ""
    assert sum(by_name["words"].distribution.values()) == pytest.approx(1)
    alone = analyzer.analyze(face_file)
    by_picture = pytest.approx(alone.people[0].distribution, abs=1e-6)  # sums of another batch round otherwise
    assert report.people[0].distribution == by_picture
    assert report.distribution != pytest.approx(alone.distribution)
    cues = {cue.modality: cue for cue in report.cues}
    assert set(cues) == {"picture", "words", "context"} and all(cue.kind == "measured" for cue in report.cues)
    assert cues["words"].measures["share"] == pytest.approx(report.distribution[report.label])
    assert "I have lost everything." in cues["words"].text


def test_the_face_cue_is_what_covering_a_part_does(analyzer, face_file):
    report = analyzer.analyze(face_file)
    (cue,) = report.cues
    (person,) = report.people
    assert (cue.modality, cue.person, cue.kind) == ("picture", 1, "measured") and cue.measures["share"] > 0
    assert person.box[0] <= cue.box[0] + 0.01 and cue.box[3] <= person.box[3] + 0.01
    assert report.rationale[0].kind == "generated"


def test_influence_of_the_only_channel_is_against_knowing_nothing(analyzer, face_file):
    report = analyzer.analyze(face_file)
    picture = report.channels[0]
    assert picture.agrees and picture.moved == pytest.approx(np.log(report.distribution[report.label] * 7))


def test_a_report_abstains_below_the_threshold(analyzer, face_file):
    sure, unsure = (analyzer.analyze(face_file, abstain_below=t).uncertainty for t in (0.0, 1.0))
    assert not sure.abstains and unsure.abstains and sure.confidence == unsure.confidence
    assert 0 <= sure.entropy <= 1


def test_a_clip_has_a_timeline_and_its_people_theirs(nano, gray_clip):
    one = Detections(np.array([[4, 8, 20, 30]], np.float32), np.array([0.9], np.float32))
    report = Analyzer(nano, ScriptedDetector([one] * 4)).analyze(gray_clip)
    (person,) = report.people
    assert len(report.timeline) == 1 and report.timeline[0].channels == ("picture",)
    assert report.timeline[0].raw == pytest.approx(report.distribution)
    assert report.episodes[0].label == report.label and person.episodes[0].onset == report.episodes[0].onset
    assert [round(seen.time, 1) for seen in person.seen] == [0.0, 0.3, 0.6, 0.9] and person.seen[0].box[1] > 0


def test_nothing_to_analyze_is_one_line(analyzer, deaf_analyzer, tmp_path):
    silent = tmp_path / "silent.wav"
    with av.open(str(silent), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    with pytest.raises(MediaError, match=r"silent\.wav' has no picture, no words, and no sound that is not silence"):
        analyzer.analyze(silent, sources=Sources(sound=True))
    with pytest.raises(MediaError, match=r"silent\.wav' holds only sound \(pcm_s16le\)"):
        deaf_analyzer.analyze(silent)


def test_two_faces_stay_two_people(nano, gray_clip):
    two = Detections(np.array([[4, 8, 20, 30], [40, 8, 58, 30]], np.float32), np.array([0.9, 0.8], np.float32))
    report = Analyzer(nano, ScriptedDetector([two] * 4)).analyze(gray_clip, "ekman", "zh")
    assert [p.person for p in report.people] == [1, 2]
    assert [p.frames for p in report.people] == [4, 4] and report.language == "zh"


def test_without_a_face_nothing_is_answered_unless_the_whole_picture_is_wanted(analyzer, gray_clip):
    report = analyzer.analyze(gray_clip)
    assert (report.label, report.distribution, report.valence_arousal, report.people) == (None, {}, None, ())
    assert (report.timeline, report.episodes, report.cues, report.rationale, report.summary) == ((), (), (), (), "")
    assert [(gap.start, round(gap.end, 1), gap.reason) for gap in report.gaps] == [(0.0, 0.9, "no face was found")]
    doubt = report.uncertainty
    assert doubt.abstains and doubt.reason == "no face was found" and doubt.confidence is None
    forced = analyzer.analyze(gray_clip, about="whole")
    assert forced.about == "whole" and sum(forced.distribution.values()) == pytest.approx(1)
    assert forced.gaps == () and forced.people == () and forced.timeline[0].channels == ("picture",)
    chinese = analyzer.analyze(gray_clip, language="zh")
    assert chinese.uncertainty.reason == chinese.gaps[0].reason == "没有找到人脸"


def test_what_a_picture_evokes_is_asked_of_all_of_it(analyzer, face_file, monkeypatch):
    asked = []
    score = analyzer.engine.score
    monkeypatch.setattr(
        analyzer.engine, "score", lambda views, *more: asked.append((views, more)) or score(views, *more)
    )
    report = analyzer.analyze(face_file, about="evoked")
    assert report.about == "evoked" and report.people == () and report.label is not None
    assert all(question.startswith("Which emotion does the picture evoke?") for _, (question, _) in asked)
    assert "the model was never asked what pictures evoke" in " ".join(report.provenance["warnings"])
    assert report.summary == ""  # a sentence about a question it was never trained for would be babble
    shown = analyzer.analyze(face_file)
    assert shown.people and report.provenance["prompt"] != shown.provenance["prompt"]
    with pytest.raises(SettingsError, match="reasoning is about a person"):
        analyzer.analyze(face_file, about="evoked", reasoning="steps")
    with pytest.raises(SettingsError, match="unknown about 'all'"):
        analyzer.analyze(face_file, about="all")


def test_words_alone_answer_without_a_person(analyzer, gray_clip, tmp_path):
    (tmp_path / "said.srt").write_text("1\n00:00:00,000 --> 00:00:00,900\nI am so happy!\n")
    sources = Sources(words=True, transcript=tmp_path / "said.srt")
    report = analyzer.analyze(gray_clip, sources=sources)
    assert report.label is not None and report.people == () and report.gaps == ()
    assert report.provenance["channels"] == ["words"] and report.timeline[0].channels == ("words",)
    assert {one.channel for one in report.channels if one.label} == {"words"}
    assert all(cue.box is None and cue.modality != "picture" for cue in report.cues)
    told = analyzer.analyze(gray_clip, context="They have just won.")
    assert told.provenance["channels"] == ["context"] and told.timeline == () and len(told.gaps) == 1


def test_a_conclusion_is_the_answer_of_the_report(analyzer, face_file, gray_clip, tmp_path):
    files = [face_file, gray_clip]
    reader = analyzer.reader(Request())
    readings = [ClipReading(reader, analyzer.prepare(file), Request()) for file in files]
    seen, nothing = analyzer.conclude(reader, readings)
    report = analyzer.analyze(face_file)
    assert seen.label == report.label and seen.distribution == pytest.approx(report.distribution, abs=1e-6)
    assert seen.gate == pytest.approx(report.gate, abs=1e-6) and (seen.channels, seen.people) == (("picture",), (1,))
    assert (nothing.label, nothing.distribution, nothing.reason) == (None, {}, "no face was found")


def test_the_features_of_a_clip_without_an_answer_are_those_of_the_clip(analyzer, gray_clip):
    reader = analyzer.reader(Request())
    (found,) = analyzer.read(reader, [analyzer.prepare(gray_clip)], Request())
    assert found.report.label is None
    assert np.isfinite(found.features.visual).all() and np.isfinite(found.features.pooled).all()
    assert found.features.gate.sum() == pytest.approx(1)


def test_a_face_in_which_the_model_sees_nobody_is_no_answer(analyzer, face_file, monkeypatch):
    monkeypatch.setattr(analyzer.engine, "write", lambda views, *_, **__: ["No person can be seen."] * len(views))
    report = analyzer.analyze(face_file)
    assert len(report.people) == 1 and report.summary == "" and report.uncertainty.abstains
    assert report.uncertainty.reason.startswith("the face cannot be read")
    assert all("No person" not in sentence.text for sentence in report.rationale)


@pytest.mark.parametrize(
    ("text", "language", "warned"),
    [("我很难过", "en", True), ("I am sad", "zh", True), ("我很难过", "zh", False), ("I am sad", "en", False),
     ("OK，我走了再见", "en", True), ("“…” 123", "zh", False)],
)  # fmt: skip
def test_words_in_another_script_than_the_questions_are_told(text, language, warned):
    assert bool(other_language([Utterance(0.0, 1.0, text)], language)) == warned


def test_an_untrained_label_set_is_said_to_be_so(analyzer, face_file):
    report = analyzer.analyze(face_file, "mikels8")
    assert report.provenance["label_set_trained"] is False
    assert "never trained for the label set 'mikels8'" in report.provenance["warnings"][0]
    assert analyzer.analyze(face_file, "dfew7").provenance["label_set_trained"] is True


def test_unknown_choices_are_named(analyzer, face_file):
    with pytest.raises(SettingsError, match="unknown label set 'dfew'.*Did you mean 'dfew7'"):
        analyzer.analyze(face_file, "dfew")
    with pytest.raises(SettingsError, match="unknown language 'fr'"):
        analyzer.analyze(face_file, language="fr")


def test_json_is_one_line_with_the_promised_keys(analyzer, face_file):
    line = as_json(analyzer.analyze(face_file, language="zh"))
    assert "\n" not in line and list(json.loads(line)) == KEYS


def test_the_terminal_view_says_what_matters(analyzer, face_file, gray_clip):
    console = Console(record=True, width=100, file=open("/dev/null", "w"))  # noqa: SIM115
    report = analyzer.analyze(face_file, "mikels8")
    show_report(report, console)
    show_report(analyzer.analyze(gray_clip, language="zh"), console)
    text = console.export_text()
    for expected in (report.label, "person", "gate: general expert", "never trained", "没有找到人脸", "mikels8"):
        assert expected in text


def test_a_question_about_a_clip_without_a_face_is_asked_about_all_of_it(analyzer, tmp_path, monkeypatch):
    """All frames and all words, not those around its middle, as `analyze` asks."""
    path = write_film(tmp_path / "long.mp4", count=60)
    (tmp_path / "a.srt").write_text("".join(f"{n}\n00:00:0{n},000 --> 00:00:0{n},900\nWord{n}\n\n" for n in range(6)))
    asked = []
    monkeypatch.setattr(
        analyzer.engine, "write", lambda views, question, *_, **__: asked.append((views, question)) or ["so"]
    )
    sources = Sources(words=True, transcript=tmp_path / "a.srt")
    assert analyzer.ask(path, "Why?", sources=sources, context="A quarrel.") == "so"
    (((video, *told),), question) = asked[0]
    assert question == "Why?" and video["type"] == "video"
    texts = [part["text"] for part in told]
    assert "Word0 Word1 Word2 Word3 Word4 Word5" in texts[0] and "A quarrel." in texts[1] and len(texts) == 2


def test_sound_named_for_a_deaf_model_is_refused(deaf_analyzer, tmp_path):
    analyzer = deaf_analyzer
    with pytest.raises(SettingsError, match="model '.*deaf' has no audio input; leave --audio and --audio-track out"):
        analyzer.sources(audio=tmp_path / "voice.wav")
    assert analyzer.sources() == Sources(sound=False, words=False)
    assert analyzer.sources(transcript=tmp_path / "a.srt").words


@pytest.mark.parametrize("language", ["en", "zh"])
def test_labels_of_ones_own_are_answered_and_said_to_be_untrained(analyzer, face_file, language):
    report = analyzer.analyze(face_file, ["amused", "moved", "puzzled"], language)
    assert set(report.distribution) == {"amused", "moved", "puzzled"} == set(report.people[0].distribution)
    assert sum(report.distribution.values()) == pytest.approx(1) and not report.uncertainty.calibrated
    assert report.provenance["label_set"] == "amused,moved,puzzled" and report.provenance["label_set_trained"] is False
    assert report.valence_arousal is None is report.people[0].valence_arousal  # where "moved" lies is not known
    warning = {"en": "no model was trained on them", "zh": "模型没有用这些标签训练过"}[language]
    assert warning in report.provenance["warnings"][0]
    console = Console(record=True, width=100, file=io.StringIO())
    show_report(report, console)
    mark = {"en": "labels of your own, untrained", "zh": "自定义标签，未经训练"}[language]
    page = compose_page(report, None, None)
    for view in (console.export_text(), as_markdown(report), page):
        assert report.label in view and mark in view and warning[:8] in view
    assert 'id="plane"' not in page


def test_own_labels_that_are_known_emotions_have_valence_and_arousal(analyzer, face_file):
    report = analyzer.analyze(face_file, "bored，amused")  # a Chinese comma
    assert report.provenance["label_set"] == "bored,amused" and report.valence_arousal is not None
    assert analyzer.analyze(face_file, "感动、好笑", "zh").label in ("感动", "好笑")
