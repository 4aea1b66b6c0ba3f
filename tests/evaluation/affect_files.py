"""Invented files in the owners' layouts of emotion sets, with odd, missing and repeated rows. No real data."""

import json
from pathlib import Path

from .benchmark_files import clip, picture, write_bytes, write_csv

SOUND = b"RIFF"


def write_mer2023(home: Path) -> Path:
    for part, rows in {
        "test1": [
            ["s1", "sad", -2.5],
            ["s2", "happy", 3],
            ["s3", "bored", 1],
            ["s1", "sad", -2.5],
            ["s4", "neutral", "x"],
        ],
        "test2": [["n1", "angry", -3]],
        "test3": [["u1", "worried", -10]],
    }.items():
        write_csv(home / f"{part}-label.csv", ["name", "discrete", "valence"], rows)
    for name in ("test1/s1.mp4", "test1/s2.avi", "test2/n1.mp4", "test3/u1.mp4", "train/s1.mp4"):
        write_bytes(home / name, clip())
    return home


def write_challenge(home: Path) -> Path:
    """MER2025 and MER2026: labels of both tracks, open words, preferences, subtitles with gaps."""
    for name in ("track1_test_dis.csv", "track1_test.csv"):
        write_csv(home / name, ["name", "discrete"], [["samplenew3_1", "happy"], ["samplenew3_2", "Sad"], ["x", "?"]])
    words = [["samplenew3_1", "happy,excited"], ["samplenew3_2", "[sad]"], ["samplenew3_3", ""]]
    for name in ("track2_test_ovlabel.csv", "track2_train_ovmerd.csv", "track2_train_human.csv"):
        write_csv(home / name, ["name", "openset"], words)
    pairs = [
        ["samplenew3_1", "He\nsmiles.", "He frowns.", "a1"],
        ["samplenew3_1", "Glad.", "Sad.", "a1"],
        ["samplenew3_2", "Glad.", "Sad.", "a2"],
        ["samplenew3_3", "Calm.", "Quiet.", "same"],
        ["samplenew3_3", "Calm.", "Quiet.", "both"],
    ]
    for name in ("track3_test.csv", "track3_emoprefer.csv", "track3_emopreferv2.csv"):
        write_csv(home / name, ["name", "a1", "a2", "preference"], pairs)
    told = [["samplenew3_1", "你好", "Hello"], ["samplenew3_2", "", "nan"]]
    write_csv(home / "subtitle_chieng.csv", ["name", "chinese", "english"], told)
    for name in ("samplenew3_1", "samplenew3_2"):
        write_bytes(home / "video" / f"{name}.mp4", clip())
    return home


def write_meld(home: Path) -> Path:
    head = ["Sr No.", "Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID", "Utterance_ID"]
    rows = [
        [1, "Oh my God!", "Ross", "surprise", "positive", 0, 0],
        [2, "nan", "Joey", "joy", "positive", 0, 1],
        [3, "No.", "Joey", "boredom", "negative", 1, 0],
        [4, "Well.", "Joey", "sadness", "negative", 2, 0],
    ]
    write_csv(home / "test_sent_emo.csv", head, rows)
    write_csv(home / "dev_sent_emo.csv", head, rows[:1])
    for name in ("output_repeated_splits_test/dia0_utt0.mp4", "output_repeated_splits_test/dia0_utt1.mp4"):
        write_bytes(home / name, clip())
    write_bytes(home / "dev_splits_complete" / "dia0_utt0.mp4", clip())
    return home


def write_unibench_basic(home: Path) -> Path:
    """Labels that the invented wheels know."""
    write_csv(home / "test1-label.csv", ["name", "discrete", "valence"], [["s1", "happy", 3], ["s2", "sad", -3]])
    write_csv(home / "reference-semi.csv", ["name", "discrete"], [["s1", "happy"], ["s2", "neutral"]])
    head = ["Utterance", "Emotion", "Dialogue_ID", "Utterance_ID"]
    write_csv(home / "test_sent_emo.csv", head, [["Hi", "neutral", 0, 0]])
    write_csv(home / "dev_sent_emo.csv", head, [["Hi", "sad", 0, 0], ["Oh", "happy", 0, 1]])
    write_bytes(home / "s1.mp4", clip())
    return home


def write_sentiment(home: Path, name: str = "label.csv", scale: float = 1.0) -> Path:
    head = ["video_id", "clip_id", "text", "label", "annotation", "mode"]
    rows = [
        ["v_1", "0001", "I like it.", 0.8 * scale, "Positive", "test"],
        ["v_1", "0002", "So so.", 0, "Neutral", "test"],
        ["v_2", "0001", "不好。", -0.6 * scale, "Negative", "test"],
        ["v_2", "0003", "", "much", "Negative", "test"],
        ["v_3", "0001", "Hm.", 0.2, "Positive", "train"],
        ["v_4", "0001", "Hm.", -1, "Negative", "valid"],
    ]
    write_csv(home / name, head, rows)
    for place in ("v_1/0001", "v_1/0002", "v_2/1", "v_3/0001"):
        write_bytes(home / "Raw" / f"{place}.mp4", clip())
    return home


def write_emobank(home: Path) -> Path:
    rows = [
        ["a", "test", 3.2, 3, 2.9, "Good news."],
        ["b", "test", 1.5, 4, 2, "He, too."],
        ["c", "test", "", 3, 3, "x"],
    ]
    write_csv(home / "emobank.csv", ["id", "split", "V", "A", "D", "text"], [*rows, ["d", "dev", 3, 3, 3, "Hm."]])
    return home


def write_affectnet(home: Path) -> Path:
    head = ["subDirectory_filePath", "face_x", "expression", "valence", "arousal"]
    rows = [
        ["103/a1.jpg", 1, 1, 0.8, 0.3],
        ["103/a2.JPG", 1, 7, -0.5, 0.4],
        ["9/a3.jpg", 1, 8, -2, -2],
        ["9/a4.jpg", 1, 0, 0, 0],
    ]
    write_csv(home / "validation.csv", head, rows)
    for name in ("103/a1.jpg", "103/a2.JPG", "9/a3.jpg"):
        write_bytes(home / "Manually_Annotated_Images" / name, picture(kind="JPEG"))
    return home


def write_rafdb(home: Path) -> Path:
    lines = "train_00001.jpg 5\ntest_0001.jpg 4\ntest_0002.jpg 7\ntest_0003.jpg 8\n"
    write_bytes(home / "EmoLabel" / "list_patition_label.txt", lines.encode())
    write_bytes(home / "Image" / "aligned" / "test_0001_aligned.jpg", picture(kind="JPEG"))
    return home


def write_ferplus(home: Path) -> Path:
    head = [
        "Usage",
        "Image name",
        "neutral",
        "happiness",
        "surprise",
        "sadness",
        "anger",
        "disgust",
        "fear",
        "contempt",
    ]
    rows = [
        ["PrivateTest", "fer0032220.png", 1, 8, 1, 0, 0, 0, 0, 0, 0, 0],
        ["PrivateTest", "fer0032221.png", 5, 0, 0, 5, 0, 0, 0, 0, 0, 0],
        ["PrivateTest", "fer0032222.png", 0, 0, 0, 0, 0, 0, 0, 0, 8, 2],
        ["PrivateTest", "", 0, 0, 0, 0, 0, 0, 0, 0, 0, 10],
        ["PrivateTest", "fer0032223.png", 0, 0, 0, 0, 0, 0, 0, 7, 3, 0],
        ["PublicTest", "fer0028638.png", 9, 1, 0, 0, 0, 0, 0, 0, 0, 0],
        ["Training", "fer0000000.png", 9, 1, 0, 0, 0, 0, 0, 0, 0, 0],
    ]
    write_csv(home / "fer2013new.csv", [*head, "unknown", "NF"], rows)
    for name in ("FER2013Test/fer0032220.png", "FER2013Valid/fer0028638.png"):
        write_bytes(home / name, picture())
    return home


def write_cremad(home: Path) -> Path:
    for name in ("1001_DFA_ANG_XX", "1002_IEO_HAP_LO", "1001_TIE_XXX_XX", "notes"):
        write_bytes(home / "VideoFlash" / f"{name}.flv", clip())
        write_bytes(home / "AudioWAV" / f"{name}.wav", SOUND)
    return home


def write_emodb(home: Path) -> Path:
    for name in ("03a01Fa", "08b10Wd", "16a05Lb", "03a01Xa", "readme"):
        write_bytes(home / "wav" / f"{name}.wav", SOUND)
    return home


def write_artphoto(home: Path) -> Path:
    for name in ("amusement_0001", "awe_0002", "love_0003", "anger_x"):
        write_bytes(home / "testImages_artphoto" / f"{name}.jpg", picture(kind="JPEG"))
    return home


def write_fi(home: Path) -> Path:
    for name in ("amusement/1.jpg", "fear/a.jpg", "fear/1.jpg", "holiday/1.jpg"):
        write_bytes(home / name, picture(kind="JPEG"))
    return home


def write_iemocap(home: Path) -> Path:
    for session, name in (("Session5", "Ses05F_impro01"), ("Session1", "Ses01F_impro01")):
        turns = [("neu", 6.29, 8.24), ("exc", 9.0, 11.5), ("fru", 12.0, 13.0), ("sad", 14.0, 15.0)]
        lines = ["% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]", ""]
        lines += [
            f"[{start:.4f} - {end:.4f}]\t{name}_F{number:03d}\t{label}\t[2.5000, 2.5000, 2.5000]\nC-E2:\tNeutral;\t()"
            for number, (label, start, end) in enumerate(turns)
        ]
        write_bytes(home / session / "dialog" / "EmoEvaluation" / f"{name}.txt", "\n".join(lines).encode())
        spoken = f"{name}_F000 [006.2900-008.2400]: Excuse me.\n{name}_F001 [009.0000-011.5000]: Yes!\n"
        write_bytes(home / session / "dialog" / "transcriptions" / f"{name}.txt", spoken.encode())
    write_bytes(home / "Session5" / "dialog" / "avi" / "DivX" / "Ses05F_impro01.avi", clip())
    write_bytes(home / "cut" / "Ses05F_impro01_F001.mp4", clip())
    return home


def write_ckplus(home: Path) -> Path:
    for name, written in {
        "S005_001_00000011": "   3.0000000e+00\n",
        "S010_002_00000014": " 7.0",
        "S011_001_00000016": "",
    }.items():
        subject, number, _ = name.split("_")
        write_bytes(home / "Emotion" / subject / number / f"{name}_emotion.txt", written.encode())
    write_bytes(home / "cohn-kanade-images" / "S005" / "001" / "S005_001_00000011.png", picture())
    return home


def write_emotion6(home: Path) -> Path:
    head = "[image_filename]\t[valence]\t[arousal]" + "".join(f"\t[prob. {name}]" for name in ["anger", "disgust"])
    rows = [
        ["anger/1.jpg", 3, 5, 0.6, 0.1, 0.1, 0, 0.1, 0.1, 0],
        ["joy/1.jpg", 7, 5, 0, 0, 0, 0.9, 0, 0.1, 0],
        ["joy/2.jpg", 7, 5, 0, 0, 0, 0.5, 0, 0.5, 0],
        ["fear/1.jpg", 7],
    ]
    text = "\n".join([head, *("\t".join(map(str, row)) for row in rows)])
    write_bytes(home / "ground_truth.txt", text.encode())
    for name in ("anger/1.jpg", "joy/1.jpg"):
        write_bytes(home / "images" / name, picture(kind="JPEG"))
    return home


def write_afew_va(home: Path) -> Path:
    frames = {f"{n:05d}": {"landmarks": [], "valence": 3.0 - n, "arousal": 2.0 * n} for n in range(3)}
    write_bytes(home / "001" / "001.json", json.dumps({"video_id": "001", "frames": frames}).encode())
    write_bytes(home / "002" / "002.json", b'{"frames": {"00000": {"valence": "x"}}}')
    for n in range(2):
        write_bytes(home / "001" / f"{n:05d}.png", picture())
    return home


def write_affwild2(home: Path) -> Path:
    folder = home / "VA_Estimation_Challenge" / "Validation_Set"
    write_bytes(folder / "a-1.txt", b"valence,arousal\n0.1,0.25\n-5,-5\n-0.3,0.5\n")
    write_bytes(folder / "b.txt", b"happy\n1\n")
    write_bytes(home / "cropped_aligned" / "a-1" / "00001.jpg", picture(kind="JPEG"))
    return home


def write_mme_emotion(home: Path) -> Path:
    labels = ["Anger", "Happiness", "Weak Positive", "Positive"]
    rows = [
        {"video_id": "IEMOCAP/video/a.mp4", "label": "Anger", "label_set": labels},
        {"video_id": "b", "label": "Weak Positive", "label_set": labels},
        {"video_id": "c", "label": "Boredom", "label_set": labels},
        {"video_id": "d"},
    ]
    several = [{"video_id": "b", "label": ["Anger", "Happiness"], "label_set": labels}]
    write_bytes(home / "ER-Lab" / "question" / "ER_Lab.json", json.dumps(rows).encode())
    write_bytes(home / "ML-ER" / "question" / "ML_ER.json", json.dumps(several).encode())
    write_bytes(home / "XX" / "question" / "XX.json", b"[]")
    write_bytes(home / "ER-Lab" / "video" / "a.mp4", clip())
    return home


def write_emobench_m(home: Path) -> Path:
    ask = "Determine the emotion conveyed. Choose one of the following labels."
    rows = {
        "MELD": [
            {"video": "a.mp4", "instruction": ask, "expected_value": "joy"},
            {"video": "b.mp4", "prompt": ask, "expected_value": "Anger"},
            {"video": "c.mp4", "instruction": ask, "expected_value": "bored"},
            {"video": "d.mp4", "expected_value": "joy"},
        ],
        "mc-eiu": [
            {"modal_path": "/p/e.mp4", "prompt": ask, "expected_emotion": "happy", "expected_intent": "wishing"},
        ],
        "SMILE": [
            {"video": "f.mp4", "prompt": "Why do they laugh?", "reference": "Because he fell."},
            {"video": "g.mp4", "prompt": "Why do they laugh?", "reference": ""},
        ],
    }
    for name, entries in rows.items():
        write_bytes(home / "json" / f"{name}.json", json.dumps(entries).encode())
    for name in ("a", "e", "f"):
        write_bytes(home / "videos" / f"{name}.mp4", clip())
    return home


def write_emobench(home: Path) -> Path:
    base = {"scenario": "Sam's car broke down.", "subject": "Sam"}
    application = [
        {**base, "qid": "1", "language": "en", "choices": ["Cry", "Call for help"], "label": "Call for help"},
        {**base, "qid": "2", "language": "en", "choices": ["Cry", "Laugh"], "label": "Run"},
        {**base, "qid": "1", "language": "zh", "scenario": "车坏了。", "choices": ["哭", "求助"], "label": "求助"},
    ]
    cause = {"emotion_choices": ["Joy", "Anger"], "emotion_label": "Anger", "cause_choices": ["The car", "The sun"]}
    understanding = [{**base, **cause, "qid": "1", "language": name, "cause_label": "The car"} for name in ("en", "zh")]
    for name, rows in (("EA", application), ("EU", understanding)):
        text = "\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        write_bytes(home / "data" / f"{name}.jsonl", f"{text}\n\n".encode())
    return home


def write_eqbench(home: Path) -> Path:
    full = {f"emotion{n}": word for n, word in enumerate(("Hurt", "Pride", "Hope", "Anger"), 1)}
    full |= {f"emotion{n}_score": str(n) for n in range(1, 5)}
    rows = {"1": {"prompt": "Rate these emotions.", "reference_answer_fullscale": full}, "2": {"prompt": "Rate."}}
    write_bytes(home / "data" / "eq_bench_v2_questions_171.json", json.dumps(rows).encode())
    return home


def write_hallucer(home: Path) -> Path:
    rows = [
        {"id": "1b", "pair": "1", "question": "Does fear prepare for flight?", "answer": "yes", "kind": "theory"},
        {"id": "1h", "pair": "1", "question": "Does fear prepare for sleep?", "answer": "No", "kind": "theory"},
        {"id": "2b", "pair": "2", "question": "Is the man sad?", "answer": "yes", "kind": "image", "file": "a.jpg"},
        {"id": "2h", "pair": "2", "question": "Is the man glad?", "answer": "no", "kind": "image", "file": "a.jpg"},
        {"id": "3b", "pair": "3", "question": "Is it loud?", "answer": "yes", "kind": "audio", "file": "b.wav"},
        {"id": "4b", "pair": "4", "question": "Is it?", "answer": "perhaps"},
        {"id": "5"},
    ]
    write_bytes(home / "pairs.jsonl", "\n".join(map(json.dumps, rows)).encode())
    write_bytes(home / "a.jpg", picture(kind="JPEG"))
    return home


WRITERS = {
    "mer2023_multi": write_mer2023,
    "mer2023_noise": write_mer2023,
    "mer2023_semi": write_mer2023,
    "mer2025_track1": write_challenge,
    "mer2026_cross": write_challenge,
    "mer2025_track2": write_challenge,
    "mer2026_fg": write_challenge,
    "mer2026_prefer": write_challenge,
    "meld": write_meld,
    "mosi": write_sentiment,
    "mosei": write_sentiment,
    "sims": write_sentiment,
    "simsv2": lambda home: write_sentiment(home, "meta.csv"),
    "unibench_mer2023": write_unibench_basic,
    "unibench_mer2024": write_unibench_basic,
    "unibench_meld": write_unibench_basic,
    "unibench_iemocap": write_iemocap,
    "unibench_mosi": write_sentiment,
    "unibench_mosei": write_sentiment,
    "unibench_sims": write_sentiment,
    "unibench_simsv2": write_sentiment,
    "emobank": write_emobank,
    "affectnet": write_affectnet,
    "affectnet_va": write_affectnet,
    "rafdb": write_rafdb,
    "ferplus": write_ferplus,
    "cremad": write_cremad,
    "cremad_voices": write_cremad,
    "emodb_files": write_emodb,
    "artphoto": write_artphoto,
    "fi": write_fi,
    "iemocap": write_iemocap,
    "ckplus": write_ckplus,
    "emotion6": write_emotion6,
    "afew_va": write_afew_va,
    "affwild2": write_affwild2,
    "mme_emotion": write_mme_emotion,
    "emobench_m": write_emobench_m,
    "emobench_m_smile": write_emobench_m,
    "emobench": write_emobench,
    "eqbench": write_eqbench,
    "emotionhallucer": write_hallucer,
}
"""Task -> writer of its folder."""
