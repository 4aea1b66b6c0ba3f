import pytest

from emotion_qwen.errors import MediaError
from emotion_qwen.media.subtitles import read_subtitles

from .words import EXPECTED, cue, plain, read, refusal


@pytest.mark.parametrize("ending", ["\r\n", "\r", "\r\r\n"])
def test_line_endings_of_other_systems_are_read(tmp_path, ending):
    text = "1\n00:00:01,000 --> 00:00:02,000\nOne\ntwo\n\n2\n00:00:03,000 --> 00:00:04,000\nThree\n"
    assert plain(read(tmp_path, text.replace("\n", ending))) == [(1, 2, "One two"), (3, 4, "Three")]


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_unicode_is_read_without_a_word(tmp_path, encoding):
    mark = "\ufeff" if encoding.endswith(("-le", "-be")) else ""
    words = read(tmp_path, mark + cue(1, 2, "Ça va, 你好?"), encoding=encoding)
    assert plain(words) == [(1, 2, "Ça va, 你好?")] and words.warnings == ()


@pytest.mark.parametrize(
    ("encoding", "name", "text"),
    [
        ("gbk", "gb18030", "你为什么不告诉我?因为我害怕。 You never asked me why."),
        ("gb18030", "gb18030", "他很开心,她却哭了"),
        ("big5", "big5hkscs", "你為什麼不告訴我?因為我害怕。 You never asked me why."),
        ("big5hkscs", "big5hkscs", "我好開心,佢喺邊度,我哋走啦"),
        ("cp1252", "windows-1252", "Ça va très bien, l’été où… “déjà” Äpfel größer £5"),
        ("latin-1", "latin-1", "déjà vu \x81"),
    ],
)
def test_other_encodings_are_guessed_and_named(tmp_path, encoding, name, text):
    words = read(tmp_path, cue(1, 2, text), encoding=encoding)
    assert plain(words) == [(1, 2, text)]
    assert words.warnings == (f"read as {name} (it is not UTF-8); save it as UTF-8 if its words look wrong",)


@pytest.mark.parametrize(
    ("encoding", "name", "text"),
    [
        ("cp932", "cp932", "どうして教えてくれなかったの？ とても悲しい。"),
        ("euc_jp", "euc_jis_2004", "ありがとうございます。私はとても嬉しいです。"),
        ("cp949", "cp949", "왜 나한테 말하지 않았어? 정말 기뻐요."),
        ("cp1251", "windows-1251", "Почему ты не сказал? Мне грустно."),
        ("koi8_r", "koi8-r", "Почему ты не сказал? Мне грустно."),
        ("cp1250", "windows-1250", "Dlaczego mi nie powiedziałeś? Jestem bardzo szczęśliwy że cię widzę"),
        ("cp1253", "windows-1253", "Γιατί δεν μου το είπες; Είμαι πολύ χαρούμενος"),
        ("cp1254", "windows-1254", "Neden bana söylemedin? Çok mutluyum, ağlıyordu ışık şeker"),
        ("cp1252", "windows-1252", "Hyvää päivää, äiti. Qué pasó señor? Café déjà vu"),
    ],
)
def test_encodings_of_other_languages_are_found(tmp_path, encoding, name, text):
    words = read(tmp_path, cue(1, 2, text), encoding=encoding)
    assert plain(words) == [(1, 2, text)] and f"read as {name} " in words.warnings[0]


def test_what_is_in_no_known_encoding_is_refused_unless_it_is_named(tmp_path):
    data = (cue(1, 2, "好") + "\n" + cue(3, 4, "嗯")).encode("gbk")
    assert "is in no encoding that can be told; save it as UTF-8, or name its --encoding" in refusal(tmp_path, data)
    path = tmp_path / "named.srt"
    path.write_bytes(data)
    words = read_subtitles(path, encoding="gbk")
    assert [one.text for one in words.utterances] == ["好", "嗯"] and words.warnings == ()
    assert read_subtitles(path, encoding="ascii").warnings[0] == "damaged characters: 4 (they are not ascii)"
    with pytest.raises(MediaError, match="unknown encoding 'gbq'; expected a name such as"):
        read_subtitles(path, encoding="gbq")


def test_damaged_utf8_is_not_taken_for_another_encoding(tmp_path):
    words = read(tmp_path, cue(1, 2, "我很高兴见到你,朋友们").encode() + b"\xe6\x88")
    assert plain(words) == [(1, 2, "我很高兴见到你,朋友们 \ufffd")]
    assert words.warnings == ("damaged characters: 1 (they are not UTF-8)",)


# --- refusals


def test_what_is_no_text_is_refused_in_one_line(tmp_path, monkeypatch):
    assert refusal(tmp_path, b"") == f"FILE is empty (0 bytes); {EXPECTED}, save it again or leave it out"
    assert refusal(tmp_path, "\ufeff \r\n\n", "a.txt") == (
        f"FILE is empty (7 bytes); {EXPECTED}, save it again or leave it out"
    )
    picture = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
    assert refusal(tmp_path, picture) == (
        f"FILE is not text (it begins with {picture[:12]!r}); {EXPECTED}, saved as UTF-8"
    )
    noise = bytes((7 * n * n + n) % 255 + 1 for n in range(999))
    assert f"FILE is not text (it begins with {noise[:12]!r})" in refusal(tmp_path, noise, "a.txt")
    assert "is not text (it begins with b'1\\x00" in refusal(tmp_path, cue(1, 2, "Hi").encode("utf-16-le"))
    monkeypatch.setattr("emotion_qwen.media.text.MOST_BYTES", 2**20)
    assert refusal(tmp_path, b"word\n" * 2**18, "a.txt") == (
        f"FILE is larger than 1 MiB; {EXPECTED}, give one clip's words"
    )


def test_what_is_no_file_is_refused_in_one_line(tmp_path, monkeypatch):
    with pytest.raises(MediaError) as caught:
        read_subtitles(tmp_path / "no.srt")
    assert str(caught.value) == f"{str(tmp_path / 'no.srt')!r} does not exist; {EXPECTED}, check the path"
    with pytest.raises(MediaError) as caught:
        read_subtitles(tmp_path)
    assert str(caught.value) == f"{str(tmp_path)!r} is a folder; {EXPECTED}, give one file"
    path = tmp_path / "a.srt"
    path.touch()

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(type(path), "open", refuse)
    with pytest.raises(MediaError) as caught:
        read_subtitles(path)
    assert str(caught.value) == f"{str(path)!r} cannot be read (Permission denied); check its permissions"
