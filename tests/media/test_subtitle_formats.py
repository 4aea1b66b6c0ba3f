import math

import pytest

from emotion_qwen.media.subtitle_formats import read_cues

from .words import ASS_HEAD, EXPECTED, cue, plain, read, refusal

# --- formats


def test_subrip_gives_words_with_times(tmp_path):
    words = read(tmp_path, "1\n00:00:01,000 --> 00:00:02,500\nI am\nfine.\n\n2\n01:00:03,000 --> 01:00:04,000\nYou?\n")
    assert plain(words) == [(1.0, 2.5, "I am fine."), (3603.0, 3604.0, "You?")]
    assert (words.warnings, words.source, words.language) == ((), str(tmp_path / "a.srt"), "")


@pytest.mark.parametrize(
    "text",
    [
        "1\n00:00:01,000 --> 00:00:02,000\nOne\n2\n00:00:03,000 --> 00:00:04,000\nTwo\n",  # no blank line
        "00:00:01,000 --> 00:00:02,000\nOne\n\n00:00:03,000 --> 00:00:04,000\nTwo\n",  # no numbers
        "\n\n1\n\n00:00:01,000 --> 00:00:02,000\n\nOne\n\n2\n\n00:00:03,000 --> 00:00:04,000\n\nTwo",  # spaced out
        "1\n00:00:01.000 --> 00:00:02.000\nOne\n\n2\n00:00:03.000 -> 00:00:04.000\nTwo\n",  # points, short arrow
        "1\n0:01,0-->0:02,0\nOne\n\n9\n00:03 --> 00:04 X1:1 X2:2\nTwo\n",  # no hours, no spaces, places, any number
        "1\n00:00:01,000 --> 00:00:02,000\nOne\n\n2\n00:00:03,000 --> 00:00:04,000\nTwo\n\x1a",  # mark of DOS
        "1\n00:00:03,000 --> 00:00:04,000\nTwo\n\n2\n00:00:01,000 --> 00:00:02,000\nOne\n",  # out of order
    ],
)
def test_careless_subrip_is_read(tmp_path, text):
    words = read(tmp_path, text)
    assert plain(words) == [(1, 2, "One"), (3, 4, "Two")] and not words.warnings


def test_numbers_that_are_words_stay(tmp_path):
    text = cue(1, 2, "Born in\n1984") + cue(3, 4, "42", 2) + cue(5, 6, "", 3) + "00:07 --> 00:08\nNot before\n1999\n"
    assert plain(read(tmp_path, text)) == [(1, 2, "Born in 1984"), (3, 4, "42"), (7, 8, "Not before 1999")]
    assert plain(read(tmp_path, "00:01 --> 00:02\n42\n\n00:03 --> 00:04\nYes\n")) == [(1, 2, "42"), (3, 4, "Yes")]


def test_webvtt_without_hours_and_with_notes_styles_and_names_of_cues(tmp_path):
    text = (
        "\ufeffWEBVTT - a title\nKind: captions\nLanguage: en\n\nSTYLE\n::cue { color: lime }\n\nNOTE one line\n\n"
        "intro\n00:01.000 --> 00:02.000 align:start position:0%\n<v.loud Anna>Hello &amp; <i>you</i></v>\n\n"
        "NOTE two\nlines\n\n"
        "2\n01:00:03.000 --> 01:00:04.000\n<c.red>I</c> <00:00:03.500>am<00:00:03.700> fine\nREGION\n"
    )
    words = read(tmp_path, text, "a.vtt")
    assert plain(words) == [(1, 2, "Hello & you"), (3603, 3604, "I am fine REGION")]
    assert words.language == "en" and words.warnings == ()


def test_webvtt_without_blank_lines_is_read(tmp_path):
    text = "WEBVTT\n00:01.000 --> 00:02.000\nOne\n2\n00:03.000 --> 00:04.000\nTwo"
    assert plain(read(tmp_path, text, "a.vtt")) == [(1, 2, "One"), (3, 4, "Two")]


def test_the_content_decides_where_the_suffix_misleads(tmp_path):
    vtt = "WEBVTT\n\n00:01.000 --> 00:02.000\nOne\n\nNOTE hidden\n"
    ass = ASS_HEAD + "Dialogue: 0,0:00:01.00,0:00:02.00,Default,,0,0,0,,One\n"
    for text in (vtt, ass, cue(1, 2, "One")):
        for name in ("a.srt", "a.vtt", "a.ass", "a.txt", "a.sub", "a"):
            assert plain(read(tmp_path, text, name)) == [(1, 2, "One")]
    assert plain(read(tmp_path, vtt.removeprefix("WEBVTT\n\n"), "a.vtt")) == [(1, 2, "One")]


def test_ass_gives_dialogue_without_overrides_drawings_comments_and_names(tmp_path):
    text = ASS_HEAD + (
        "Comment: 0,0:00:00.00,0:00:09.00,Default,,0,0,0,,a note\n"
        "Dialogue: 0,0:00:01.00,0:00:02.50,Default,Anna,0,0,0,,{\\an8\\pos(1,2)}Oh, <you>\\Nand\\hme &amp; {low}us\n"
        "Dialogue: 1,0:00:03.00,0:00:04.00,Default,,0,0,0,,{\\p1}m 0 0 l 9 9{\\p0}Drawn{\\p2}m 1 1\n"
        "Dialogue: 1,0:00:05.00,0:00:06.00,Default,,0,0,0,,{\\an7\\p1}m 0 0 l 9 9\n"
    )
    words = read(tmp_path, text, "a.ass")
    assert plain(words) == [(1, 2.5, "Oh, <you> and me &amp; us"), (3, 4, "Drawn")] and not words.warnings


def test_ass_with_its_own_order_of_fields_and_without_styles_is_read(tmp_path):
    text = "[Events]\nFormat: Start, End, Text\nDialogue: 0:00:01.00,0:00:02.00,One, two\n"
    assert plain(read(tmp_path, text, "a.ass")) == [(1, 2, "One, two")]
    ssa = "[Script Info]\nLanguage: de\n\n[Events]\n"
    ssa += "Dialogue: Marked=0,0:00:01.00,0:00:02.00,*Default,,0,0,0,,Eins, zwei\n"
    words = read(tmp_path, ssa, "a.ssa")
    assert plain(words) == [(1, 2, "Eins, zwei")] and words.language == "de"


@pytest.mark.parametrize("name", ["a.srt", "a.vtt", "a.ass"])
def test_cues_with_unreadable_times_are_counted_and_left_out(tmp_path, name):
    if name == "a.ass":
        line = "0,x,0:00:02.00,Default,,0,0,0,,Lost"
        text = f"{ASS_HEAD}Dialogue: {line}\nDialogue: 0,0:00:03.00,0:00:04.00,Default,,0,0,0,,Kept\n"
    else:
        line = "00:00:01;00 --> 00:00:02;00"
        text = ("WEBVTT\n\n" if name == "a.vtt" else "") + f"{line}\nLost\n\n" + cue(3, 4, "Kept")
    words = read(tmp_path, text, name)
    assert plain(words) == [(3, 4, "Kept")]
    assert words.warnings == (f"1 of 2 cues are left out: their times cannot be read ({line!r})",)


def test_what_has_no_cue_is_refused_in_one_line(tmp_path):
    assert refusal(tmp_path, "Just words.\nMore") == (
        f"FILE has no cue (it begins with 'Just words.'); {EXPECTED}, give words without times as .txt"
    )
    assert "FILE has no cue (it begins with 'WEBVTT')" in refusal(tmp_path, "WEBVTT\n\nNOTE nothing\n", "a.vtt")
    assert "FILE has no cue (it begins with '[Script Info]')" in refusal(tmp_path, ASS_HEAD, "a.ass")
    assert "FILE has no cue (time '00:01;2 --> 00:02;3' cannot be read)" in refusal(tmp_path, "00:01;2 --> 00:02;3\nA")


# --- transcripts


def test_a_transcript_without_times_is_one_utterance(tmp_path):
    assert plain(read(tmp_path, "I am so\nglad.\n\nYes.\n", "a.txt")) == [(0, math.inf, "I am so glad. Yes.")]
    assert plain(read(tmp_path, "12:30 is late", "a.en.txt", duration=8.5)) == [(0, 8.5, "12:30 is late")]


@pytest.mark.parametrize(
    "text",
    [
        "[00:01] One\n[00:02.5] Two\nmore\n[01:00:03.250] Three",
        "00:01 One\n00:02.5 Two\nmore\n01:00:03,250\nThree\n",
        "(0:01)One\n\n(0:02.5)\nTwo\nmore\n(1:00:03.25) Three",
    ],
)
def test_a_transcript_with_stamps_is_timed(tmp_path, text):
    expected = [(1, 2.5, "One"), (2.5, 3603.25, "Two more"), (3603.25, 4000, "Three")]
    assert plain(read(tmp_path, text, "a.txt", duration=4000)) == expected


def test_a_transcript_with_spans_keeps_their_ends(tmp_path):
    text = "[00:01.000 --> 00:02.000]  One\n[00:03.000 --> 00:04.000]  Two\n"
    assert plain(read(tmp_path, text, "a.txt")) == [(1, 2, "One"), (3, 4, "Two")]


# --- markup


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("<i>Go</i> <font color='#fff'>on</font>", "Go on"),
        ("{\\an8}Go\\Non", "Go on"),
        ("- Go &lt;on&gt;&nbsp;&#33;&quot;", '- Go <on> !"'),
        ("I <3 you, a < b & {so} AT&T", "I <3 you, a < b & {so} AT&T"),
        ("\u202aGo\u202c\u200b  on\t!", "Go on !"),
        ("<ruby>心<rt>xīn</rt></ruby>", "心"),
        ("[sighs] ♪ la la ♪", "[sighs] ♪ la la ♪"),
        ("ANNA: Nan", "ANNA: Nan"),
        ("Nan", "Nan"),
        ("Dialogue: what is it?", "Dialogue: what is it?"),
        ("A --> B", "A --> B"),
    ],
)
def test_text_is_freed_of_markup_only(tmp_path, raw, text):
    assert plain(read(tmp_path, cue(1, 2, raw))) == [(1, 2, text)]


def test_the_head_of_song_words_is_not_words():
    text = "[ti:A song]\n[ar:Somebody]\n[offset:0]\n[00:01.00]First\n[00:03.50]Second\n"
    cues, broken = read_cues(text, ".txt", 9.0)
    assert [(cue.start, cue.end, cue.lines) for cue in cues] == [
        (1, 3.5, ["First"]),
        (3.5, 9, ["Second"]),
    ] and not broken
