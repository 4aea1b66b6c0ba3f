import dataclasses
import json

import av
import numpy as np
import pytest
from footage import write_film
from PIL import Image
from rich.console import Console

from emotion_qwen.errors import MediaError, SettingsError
from emotion_qwen.faces import Detections, ScriptedDetector
from emotion_qwen.inference.analyzer import EmotionQwen
from emotion_qwen.inference.render import as_json, show
from emotion_qwen.media.clip import Sources
from emotion_qwen.records import EmotionReport

KEYS = [field.name for field in dataclasses.fields(EmotionReport)]


@pytest.fixture(scope="module")
def analyzer(nano):
    return EmotionQwen(nano)


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


def test_words_and_context_are_channels_and_are_said_to_be(analyzer, face_file, tmp_path):
    (tmp_path / "said.txt").write_text("I have lost everything.")
    sources = Sources(words=True, transcript=tmp_path / "said.txt")
    report = analyzer.analyze(face_file, sources=sources, context=" They have just been told. ")
    assert report.provenance["channels"] == ["picture", "words", "context"]
    told = [text for text in report.provenance["warnings"] if "never trained for the channel" in text]
    assert len(told) == 2 and "'words'" in told[0] and "'context'" in told[1]  # nano learned pictures alone
    assert report.context == "They have just been told." and report.utterances[0].text == "I have lost everything."
    by_name = {channel.channel: channel for channel in report.channels}
    assert list(by_name) == ["picture", "sound", "words", "context"] and by_name["sound"].label == ""
    assert sum(by_name["words"].distribution.values()) == pytest.approx(1)
    alone = analyzer.analyze(face_file)
    assert report.people[0].distribution == pytest.approx(alone.people[0].distribution)  # people are read by picture
    assert report.distribution != pytest.approx(alone.distribution)
    cues = {cue.modality: cue for cue in report.cues}
    assert set(cues) == {"picture", "words", "context"} and all(cue.kind == "measured" for cue in report.cues)
    assert cues["words"].measures["share"] == pytest.approx(report.distribution[report.label])
    assert "I have lost everything." in cues["words"].text


def test_the_face_cue_is_what_covering_a_part_does(analyzer, face_file):
    report = analyzer.analyze(face_file)
    (cue,) = report.cues
    (person,) = report.people
    assert (cue.modality, cue.person, cue.kind) == ("picture", 0, "measured") and cue.measures["share"] > 0
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
    report = EmotionQwen(nano, ScriptedDetector([one] * 4)).analyze(gray_clip)
    (person,) = report.people
    assert len(report.timeline) == 1 and report.timeline[0].channels == ("picture",)
    assert report.timeline[0].raw == pytest.approx(report.distribution)
    assert report.episodes[0].label == report.label and person.episodes[0].onset == report.episodes[0].onset
    assert [round(seen.time, 1) for seen in person.seen] == [0.0, 0.3, 0.6, 0.9] and person.seen[0].box[1] > 0


def test_nothing_to_analyze_is_one_line(analyzer, tmp_path):
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
        analyzer.analyze(silent)


def test_two_faces_stay_two_people(nano, gray_clip):
    two = Detections(np.array([[4, 8, 20, 30], [40, 8, 58, 30]], np.float32), np.array([0.9, 0.8], np.float32))
    report = EmotionQwen(nano, ScriptedDetector([two] * 4)).analyze(gray_clip, "ekman", "zh")
    assert [p.person for p in report.people] == [0, 1]
    assert [p.frames for p in report.people] == [4, 4] and report.language == "zh"


def test_without_a_face_the_frames_answer(analyzer, gray_clip):
    report = analyzer.analyze(gray_clip)
    assert report.people == () and sum(report.distribution.values()) == pytest.approx(1)


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
    show(report, console)
    show(dataclasses.replace(analyzer.analyze(gray_clip), language="zh"), console)
    text = console.export_text()
    for expected in (report.label, "person", "gate: general expert", "never trained", "没有找到人脸", "mikels8"):
        assert expected in text


def test_a_question_about_a_clip_without_a_face_is_asked_about_all_of_it(analyzer, tmp_path, monkeypatch):
    """All frames and all words, not those around its middle, as `analyze` asks."""
    path = write_film(tmp_path / "long.mp4", count=60)
    (tmp_path / "a.srt").write_text("".join(f"{n}\n00:00:0{n},000 --> 00:00:0{n},900\nWord{n}\n\n" for n in range(6)))
    asked = []
    monkeypatch.setattr(analyzer.engine, "write", lambda views, question: asked.append((views, question)) or ["so"])
    sources = Sources(words=True, transcript=tmp_path / "a.srt")
    assert analyzer.ask(path, "Why?", sources=sources, context="A quarrel.") == "so"
    (((video, *told),), question) = asked[0]
    assert question == "Why?" and video["type"] == "video"
    texts = [part["text"] for part in told]
    assert "Word0 Word1 Word2 Word3 Word4 Word5" in texts[0] and "A quarrel." in texts[1] and len(texts) == 2


def test_sound_named_for_a_deaf_model_is_refused(analyzer, tmp_path):
    with pytest.raises(SettingsError, match="model 'nano' does not hear; leave --audio and --audio-track out"):
        analyzer.sources(audio=tmp_path / "voice.wav")
    assert analyzer.sources() == Sources(sound=False, words=False)
    assert analyzer.sources(transcript=tmp_path / "a.srt").words
