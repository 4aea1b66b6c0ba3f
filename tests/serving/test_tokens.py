"""Text as it comes."""

from emotion_qwen.serving.scheduling.tokens import Detokenizer


def test_a_writer_gives_whole_letters_and_holds_back_what_may_be_a_stop():
    writer = Detokenizer(["END", "NO"])
    assert [writer.add(bytes([byte])) for byte in "é".encode()] == ["", "é"]
    assert writer.add(b"an E") == "an " and writer.add(b"N") == "" and writer.add(b"x") == "ENx"
    assert writer.add(b"and EN") == "and " and writer.add(b"D more") == "" and writer.stopped
    assert writer.close() == "" and Detokenizer(["ab"]).close() == ""
    open_ended = Detokenizer(["abc"])
    assert open_ended.add(b"xab\xff") == "xab\N{REPLACEMENT CHARACTER}" and open_ended.add(b"ab") == ""
    assert open_ended.close() == "ab"
