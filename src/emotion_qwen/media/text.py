"""Text of unknown encoding: reading a file of words whole, and telling which encoding its bytes are in."""

from __future__ import annotations

import re
from pathlib import Path

from emotion_qwen.errors import MediaError

MOST_BYTES = 8 * 2**20  # the words of a long film have less than one
_SAMPLE = 2**16  # bytes that tell the encoding
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x19\x1b\x7f-\x84\x86-\x9f]")


def read_text(path: Path, expected: str) -> tuple[str, list[str]]:
    """Read a whole text file of unknown encoding, without its mark and blank lines before the first word.

    Every line ends with a line feed, whatever system the file is from.

    Args:
        path: the file.
        expected: what it should be, for the messages.

    Returns:
        The text, and a warning if the encoding is a guess or the text is damaged.

    Raises:
        MediaError: the file is missing, a folder, not readable, too large, not text, or empty.
    """
    if path.is_dir():
        raise MediaError(f"{str(path)!r} is a folder; {expected}, give one file")
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except FileNotFoundError as error:
        raise MediaError(f"{str(path)!r} does not exist; {expected}, check the path") from error
    except OSError as error:
        raise MediaError(f"{str(path)!r} cannot be read ({error.strerror}); check its permissions") from error
    encoding, note = guess_encoding(data)
    # Some converters end lines with CR CR LF, which must not become a blank line.
    text = data.decode(encoding, "replace").replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
    text = text.lstrip("\ufeff\n ")
    if "\0" in text or len(_CONTROL.findall(text)) > 1 + len(text) / 100:
        raise MediaError(f"{str(path)!r} is not text (it begins with {data[:12]!r}); {expected}, saved as UTF-8")
    if len(data) > MOST_BYTES:
        raise MediaError(f"{str(path)!r} is larger than {MOST_BYTES >> 20} MiB; {expected}, give one clip's words")
    if not text.strip("\x1a\n\t "):
        raise MediaError(f"{str(path)!r} is empty ({len(data)} bytes); {expected}, save it again or leave it out")
    return text, [note] if note else []


def guess_encoding(data: bytes) -> tuple[str, str]:
    """Tell the encoding of a text, and what to say about it if it is a guess or the text is damaged.

    It is UTF-16 if a mark says so; UTF-8 if at most one place is broken for every ten characters beyond ASCII; GB18030
    or Big5 if at least half of those characters are common ones of it, side by side; else Windows-1252 or Latin-1.

    Args:
        data: the bytes; of a long text, the first 64 KiB choose between the Chinese encodings.

    Returns:
        A name that `bytes.decode` knows, and a warning, or "".
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", ""
    sound = data.decode("utf-8", "ignore")
    broken = len(data.decode("utf-8", "replace")) - len(sound)
    if 10 * broken <= sum(character > "\x7f" for character in sound):
        return "utf-8", f"damaged characters: {broken} (they are not UTF-8)" if broken else ""
    shares = {
        name: _common_share(data[:_SAMPLE].decode(name, "replace"), charset, last_row)
        for name, charset, last_row in (("gb18030", "gb2312", b"\xd7"), ("big5hkscs", "big5", b"\xc6"))
    }
    guess = max(shares, key=lambda name: shares[name])  # GB18030 if both are equal
    if shares[guess] < 0.5:
        unused = b"\x81\x8d\x8f\x90\x9d"  # in Windows-1252
        guess = "latin-1" if set(unused) & set(data) else "windows-1252"
    return guess, f"read as {guess} (it is not UTF-8); save it as UTF-8 if its words look wrong"


def _common_share(text: str, charset: str, last_row: bytes) -> float:
    """Tell the share of characters beyond ASCII that stand side by side and are common.

    GB 2312 and Big5 both list the characters of everyday use first, up to the end of a row, and then the rare ones. A
    text that is read by the wrong table falls on rare ones or, in a Western language, on single ones between letters.
    """
    beyond = [character > "\x7f" for character in f" {text} "]
    rows = [character.encode(charset, "ignore")[:1] for character in text]
    common = [b"\x7f" < row <= last_row and (beyond[at] or beyond[at + 2]) for at, row in enumerate(rows)]
    return sum(common) / max(sum(beyond), 1)
