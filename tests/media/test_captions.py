import pytest

from .words import cue, plain, read

# --- words


@pytest.mark.parametrize("absent", ["", " \u200b", "♪", "♪♫ ♪", "...", "nan", "<i>NaN</i>", "{\\an8}", "&nbsp;"])
def test_cues_without_words_are_absence(tmp_path, absent):
    words = read(tmp_path, cue(1, 2, absent) + cue(3, 4, "Yes", 2))
    assert plain(words) == [(3, 4, "Yes")] and words.warnings == ()


def test_a_file_without_words_gives_none_and_says_so(tmp_path):
    words = read(tmp_path, cue(1, 2, "♪") + cue(3, 4, "nan", 2))
    assert (words.utterances, words.warnings) == ((), ("none of 2 cues holds words",))
    words = read(tmp_path, "nan\n", "a.txt")
    assert (words.utterances, words.warnings) == ((), ("none of 1 cues holds words",))


# --- times


def test_overlapping_cues_stay_and_equal_ones_are_kept_once(tmp_path):
    text = cue(2, 5, "Two") + cue(1, 4, "One") + cue(2, 5, "Two") + cue(2, 6, "Two")
    assert plain(read(tmp_path, text)) == [(1, 4, "One"), (2, 5, "Two"), (2, 6, "Two")]


def test_wrong_ends_are_taken_from_the_next_cue_or_five_seconds(tmp_path):
    text = cue(3, 2, "Back") + cue(4, 4, "None") + cue(4, 5, "Fine") + cue(20, 20, "Far") + cue(40, 30, "Last")
    words = read(tmp_path, text)
    expected = [(3, 4, "Back"), (4, 9, "None"), (4, 5, "Fine"), (20, 25, "Far"), (40, 45, "Last")]
    assert plain(words) == expected
    assert words.warnings == (
        "4 of 5 cues do not end after they begin; their end is taken from the next cue, at most 5 s later",
    )


def test_negative_times_are_cut_at_the_start_of_the_clip(tmp_path):
    text = "-00:00:03,000 --> -00:00:02,000\nBefore\n\n-00:00:01,500 --> 00:00:02,000\nInto\n\n" + cue(3, 4, "In")
    words = read(tmp_path, text)
    assert plain(words) == [(0, 2, "Into"), (3, 4, "In")]
    assert words.warnings == (
        "1 of 3 cues end before the clip begins and are left out",
        "1 of 3 cues begin before the clip and now begin with it",
    )


# --- repeats


def test_rolling_captions_are_taken_apart(tmp_path):
    text = (
        "WEBVTT\nKind: captions\nLanguage: en\n\n"
        "00:00:00.000 --> 00:00:02.000 align:start position:0%\n \nhello<00:00:00.500><c> world</c>\n\n"
        "00:00:02.000 --> 00:00:02.010 align:start position:0%\nhello world\n \n\n"
        "00:00:02.010 --> 00:00:04.000 align:start position:0%\nhello world\nthis<00:00:02.500><c> is</c>\n\n"
        "00:00:04.000 --> 00:00:04.010 align:start position:0%\nthis is\n \n\n"
        "00:00:04.010 --> 00:00:06.000 align:start position:0%\nthis is\nme\n\n"
    )
    assert plain(read(tmp_path, text, "a.vtt")) == [(0, 2.01, "hello world"), (2.01, 4.01, "this is"), (4.01, 6, "me")]


def test_captions_that_pile_up_lines_are_taken_apart(tmp_path):
    text = cue(1, 2, "A") + cue(2, 3, "A\nB") + cue(3, 4, "A\nB\nC") + cue(4, 5, "C\nD")
    assert plain(read(tmp_path, text)) == [(1, 2, "A"), (2, 3, "B"), (3, 4, "C"), (4, 5, "D")]


def test_a_speaker_who_repeats_herself_is_heard_twice(tmp_path):
    text = cue(1, 2, "No.") + cue(2, 3, "No.") + cue(3, 4, "Please.") + cue(4, 5, "Stop.")
    assert [one.text for one in read(tmp_path, text).utterances] == ["No.", "No.", "Please.", "Stop."]
    text = cue(1, 2, "No.") + cue(2, 3, "No.") + cue(3, 4, "No.")
    assert [one.text for one in read(tmp_path, text).utterances] == ["No.", "No.", "No."]
    text = cue(1, 2, "No.") + cue(5, 6, "No.\nStop.") + cue(9, 10, "Stop.\nNo.")  # not close on each other
    assert [one.text for one in read(tmp_path, text).utterances] == ["No.", "No. Stop.", "Stop. No."]
