"""Read text files of unknown encoding, and detect the encoding."""

from __future__ import annotations

import codecs
import re
from pathlib import Path

from emotion_qwen.errors import MediaError

MOST_BYTES = 8 * 2**20  # the subtitles of a long film have less than 1 MiB
_SAMPLE = 2**16  # bytes used for detection
_SURE = 0.05  # chardet's confidence; below it, no detection in tests with single words of each script was reliable
_EAST_ASIAN = ("gb18030", "big5hkscs", "cp932", "euc_jis_2004", "cp949")
_OTHER_SCRIPTS = ("cp1251", "koi8-r", "cp866", "cp1253", "cp1255", "cp1256", "cp874")
_LATIN = ("cp1250", "cp1252", "cp1254", "cp1257", "cp1258")
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x19\x1b\x7f-\x84\x86-\x9f]")


def read_text(path: Path, expected: str, encoding: str | None = None) -> tuple[str, list[str]]:
    """Read a whole text file of unknown encoding, without byte order mark and leading blank lines.

    Line endings are normalised to line feeds.

    Args:
        path: the file.
        expected: what the file should contain, for messages.
        encoding: of the file; None detects it.

    Returns:
        The text, and a warning if the encoding is a guess or the text is damaged.

    Raises:
        MediaError: the file is missing, a folder, unreadable, too large, not text, or empty; its encoding is unknown,
            or `encoding` does not exist.
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
    name, note = guess_encoding(data) if encoding is None else (_checked(encoding), "")
    # Some converters end lines with CR CR LF, which must not produce blank lines.
    text = data.decode(name or "latin-1", "replace").replace("\r\r\n", "\n").replace("\r\n", "\n").replace("\r", "\n")
    text = text.lstrip("\ufeff\n ")
    if "\0" in text or len(_CONTROL.findall(text)) > 1 + len(text) / 100:
        raise MediaError(f"{str(path)!r} is not text (it begins with {data[:12]!r}); {expected}, saved as UTF-8")
    if len(data) > MOST_BYTES:
        raise MediaError(f"{str(path)!r} is larger than {MOST_BYTES >> 20} MiB; {expected}, give one clip's words")
    if not text.strip("\x1a\n\t "):
        raise MediaError(f"{str(path)!r} is empty ({len(data)} bytes); {expected}, save it again or leave it out")
    if not name:
        raise MediaError(f"{str(path)!r} is in no encoding that can be told; save it as UTF-8, or name its --encoding")
    damaged = text.count("\ufffd") if encoding is not None else 0
    if damaged:
        note = f"damaged characters: {damaged} (they are not {encoding})"
    return text, [note] if note else []


def _checked(encoding: str) -> str:
    try:
        return codecs.lookup(encoding).name
    except LookupError as error:
        raise MediaError(
            f"unknown encoding {encoding!r}; expected a name such as utf-8, gb18030, big5, shift_jis, euc_kr or cp1251"
        ) from error


def guess_encoding(data: bytes) -> tuple[str, str]:
    """Detect the encoding of a text.

    A text is UTF-16 if it has that byte order mark, and UTF-8 if it has at most one invalid sequence per ten non-ASCII
    characters. For others, `chardet` finds the likeliest encoding; if it is unsure, text of mostly ASCII letters is
    read in a Western encoding, and anything else is unknown.

    Args:
        data: the bytes; `chardet` looks at the first 64 KiB.

    Returns:
        An encoding name for `bytes.decode`, or "" if none fits; and a warning if the encoding is a guess or the text is
            damaged, or "".
    """
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return "utf-16", ""
    sound = data.decode("utf-8", "ignore")
    broken = len(data.decode("utf-8", "replace")) - len(sound)
    if 10 * broken <= sum(character > "\x7f" for character in sound):
        return "utf-8", f"damaged characters: {broken} (they are not UTF-8)" if broken else ""
    guess = _likeliest(data[:_SAMPLE], _EAST_ASIAN + _OTHER_SCRIPTS + _LATIN)
    if _is_latin(data[:_SAMPLE]) and guess not in _EAST_ASIAN:
        unused = b"\x81\x8d\x8f\x90\x9d"  # in Windows-1252
        guess = _likeliest(data[:_SAMPLE], _LATIN) or ("latin-1" if set(unused) & set(data) else "cp1252")
    guess = guess.replace("cp125", "windows-125")
    return guess, f"read as {guess} (it is not UTF-8); save it as UTF-8 if its words look wrong" if guess else ""


def _likeliest(data: bytes, encodings: tuple[str, ...]) -> str:
    """Return the likeliest of the given encodings; "" if none is likely enough."""
    import chardet

    likeliest = chardet.detect(
        data,
        include_encodings=("ascii", *encodings),
        prefer_superset=True,
        compat_names=False,
        no_match_encoding="ascii",
    )
    name = likeliest["encoding"] or "ascii"
    return "" if name == "ascii" or likeliest["confidence"] < _SURE else name


def _is_latin(data: bytes) -> bool:
    """Return whether most non-ASCII bytes occur alone or in pairs within words of ASCII letters."""
    inside = re.findall(
        rb"(?<=[A-Za-z])[\x80-\xff]{1,2}(?![\x80-\xff])|(?<![\x80-\xff])[\x80-\xff]{1,2}(?=[A-Za-z])", data
    )
    return 2 * sum(map(len, inside)) > len(re.findall(rb"[\x80-\xff]", data))
