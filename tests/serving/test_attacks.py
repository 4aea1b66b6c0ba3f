"""Attacks on a real server process that are no hostile chat request: reports, films, forms, bodies, connections."""

from __future__ import annotations

import io
import json
import socket
import struct
import time
import zlib
from fractions import Fraction

import av
import numpy as np
import pytest
from PIL import Image
from tests.serving.conftest import image_part, png, serving
from tests.serving.test_hostile import HOSTILE, INSIDE, JSON, chat, chunk, png_of_size

ANALYZE = "/v1/emotion/analyze"
ROUTES = ("/v1/chat/completions", ANALYZE)


@pytest.fixture(scope="module")
def strict(tmp_path_factory):
    """A server that waits a second for a body."""
    with serving(tmp_path_factory.mktemp("strict"), "slots=1", "decoders=1", "upload_seconds=1") as running:
        yield running


def check_refusal(answer, statuses: set[int]) -> None:
    assert answer.status_code in statuses, answer.text
    if answer.status_code >= 400:
        assert set(answer.json()["error"]) == {"message", "type", "param", "code"}
        assert not [word for word in INSIDE if word in answer.text], answer.text


# ---- the chat's hostile media, sent for a report ----


def one_medium(name: str) -> dict | None:
    messages = HOSTILE[name][0].get("messages") if isinstance(HOSTILE[name][0], dict) else None
    content = messages[0]["content"] if isinstance(messages, list) and messages else None
    return content[0] if isinstance(content, list) and len(content) == 2 else None


@pytest.mark.parametrize("name", [name for name in HOSTILE if one_medium(name)])
def test_a_hostile_medium_gets_no_report(server, media_root, name):
    part = json.loads(json.dumps(one_medium(name)).replace("MEDIA", str(media_root)))
    answer = server.http.post(ANALYZE, json={"content": [part]})
    check_refusal(answer, HOSTILE[name][2])


@pytest.mark.parametrize("name", [name for name, (body, *_) in HOSTILE.items() if isinstance(body, bytes)])
def test_a_hostile_body_gets_no_report(server, name):
    body, headers, statuses = HOSTILE[name]
    check_refusal(server.http.post(ANALYZE, content=body, headers=headers), statuses | {415})


# ---- films that are more than they seem ----


def sparse_film(kind: str, hours: float = 10.0) -> bytes:
    """A real film of `hours` with a picture and a packet of silent AAC a minute, in a few ten kilobytes."""
    written = io.BytesIO()
    options = {"live": "1"} if kind == "matroska" else {}  # a stream that is still written tells no length
    with av.open(written, "w", format=kind, options=options) as container:
        picture, sound = container.add_stream("mpeg4", rate=1), container.add_stream("aac", rate=8000)
        picture.width = picture.height = 32
        picture.pix_fmt = "yuv420p"
        picture.codec_context.time_base = Fraction(1, 1)
        silence = av.AudioFrame(format="fltp", layout="mono", samples=1024)
        silence.planes[0].update(b"\0" * silence.planes[0].buffer_size)
        silence.sample_rate = 8000
        (packet,) = [one for one in (*sound.encode(silence), *sound.encode(None)) if one.size][:1]
        packed = bytes(packet)
        for minute in range(round(60 * hours)):
            frame = av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")
            frame.pts, frame.time_base = 60 * minute, Fraction(1, 1)
            container.mux(picture.encode(frame))
            piece = av.Packet(packed)
            piece.stream, piece.time_base = sound, Fraction(1, 8000)
            piece.pts = piece.dts = 60 * 8000 * minute
            container.mux(piece)
        container.mux(picture.encode())
    return written.getvalue()


def many_pictures(count: int) -> bytes:
    """A GIF of many pictures of one pixel's change."""
    first = io.BytesIO()
    Image.new("P", (8, 8)).save(first, "GIF")
    whole = first.getvalue()
    start = whole.index(b"\x2c")
    return whole[:start] + whole[start:-1] * count + b";"


def packed(count: int) -> bytes:
    """Pack `count` times 16 MiB of zeros, of which one is packed and then repeated."""
    pack, zeros, check = zlib.compressobj(9, wbits=-15), bytes(2**24), 1
    block = pack.compress(zeros) + pack.flush(zlib.Z_FULL_FLUSH)
    for _ in range(count):
        check = zlib.adler32(zeros, check)
    return b"\x78\xda" + block * count + pack.flush() + check.to_bytes(4, "big")


def packed_zeros() -> bytes:
    """A PNG of 4 million pixels whose packed data go on for a gigabyte."""
    return png_of_size(2000, 2000, packed(64))


def a_list(text: str) -> bytes:
    return text.encode() + b"\n#\0\n"


FILMS = {
    "ten hours of silence": (lambda: sparse_film("mp4"), {413}),
    "ten hours that tell no length": (lambda: sparse_film("matroska"), {413, 422}),
    "a list of itself": (lambda: a_list("ffconcat version 1.0\nfile upload"), {400}),
    "a list of others": (lambda: a_list("#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:3,\n/etc/hostname\n"), {400}),
    "fifty thousand pictures": (lambda: many_pictures(50_000), {200, 413, 422}),
    "a gigabyte of packed zeros": (packed_zeros, {200, 400, 413}),
    "a frame of four billion pixels": (lambda: b"YUV4MPEG2 W65000 H65000 F1:1 C420\nFRAME\n\0\0\0", {400, 413}),
    "a WAV of a million channels": (
        lambda: b"RIFF\xff\xff\xff\x7fWAVEfmt " + struct.pack("<IHHIIHH", 16, 1, 65535, 8000, 8000, 2, 16)
        + b"data\xff\xff\xff\x7f" + b"\0" * 1000, {400, 413},
    ),
    "a PNG within a PNG's text": (
        lambda: png(0)[:33] + chunk(b"iCCP", b"a\0\0" + packed(18)) + png(0)[33:],
        {200, 400, 413},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FILMS)
def test_a_film_that_is_more_than_it_seems_is_refused_in_time(server, name):
    make, statuses = FILMS[name]
    data, before = make(), server.metric("resident_bytes")
    assert len(data) < 1_900_000, "small, or the size alone would refuse it"
    began = time.monotonic()
    check_refusal(server.http.post(ANALYZE, files={"file": ("film", data)}), statuses)
    assert time.monotonic() - began < 50  # decode_seconds, twice, and a slow machine
    assert server.metric("resident_bytes") < before + 300e6
    assert server.http.post(ANALYZE, files={"file": ("a.png", png(0))}).status_code == 200


# ---- forms ----


def form(*parts: tuple[str, bytes], boundary: str = "edge", end: bool = True) -> tuple[bytes, dict]:
    body = b"".join(f"--{boundary}\r\n{head}\r\n\r\n".encode() + data + b"\r\n" for head, data in parts)
    return body + (f"--{boundary}--\r\n".encode() if end else b""), {
        "content-type": f"multipart/form-data; boundary={boundary}"
    }


def field(name: str, data: bytes = b"") -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="{name}"', data


def upload(data: bytes, name: str = "a.png") -> tuple[str, bytes]:
    return f'Content-Disposition: form-data; name="file"; filename="{name}"', data


FORMS = {
    "five thousand fields": form(upload(png(0)), *[field(f"a{number}") for number in range(5000)]),
    "five thousand files": form(*[upload(b"a")] * 5000),
    "two files": form(upload(png(0)), upload(png(1))),
    "the same field twice": form(upload(png(0)), field("labels", b"dfew7"), field("labels", b"no")),
    "an unknown field": form(upload(png(0)), field("admin", b"1")),
    "a field of a megabyte": form(upload(png(0)), field("context", b"a" * 2**20)),
    "a context that is too long": form(upload(png(0)), field("context", b"a" * 5000)),
    "no file": form(field("labels", b"dfew7")),
    "a file that is a field": form(field("file", png(0))),
    "an empty file": form(upload(b"")),
    "no end": form(upload(png(0)), end=False),
    "no boundary": (form(upload(png(0)))[0], {"content-type": "multipart/form-data"}),
    "another boundary": (form(upload(png(0)))[0], {"content-type": "multipart/form-data; boundary=other"}),
    "a boundary of ten thousand": form(upload(png(0)), boundary="e" * 10_000),
    "a part with ten thousand headers": form(("X-A: b\r\n" * 10_000 + upload(b"")[0], b"a")),
    "a part with a long header": form(("X-A: " + "b" * 1_000_000 + "\r\n" + upload(b"")[0], b"a")),
    "nothing": (b"", {"content-type": "multipart/form-data; boundary=edge"}),
    "not a number": form(upload(png(0)), field("start", b"nan")),
    "an endless span": form(upload(png(0)), field("start", b"1e400")),
    "another character set": (form(upload(png(0)), field("labels", b"a"))[0],
                              {"content-type": "multipart/form-data; boundary=edge; charset=no-such"}),
}  # fmt: skip


@pytest.mark.parametrize("name", FORMS)
def test_a_hostile_form_is_refused(server, name):
    body, headers = FORMS[name]
    check_refusal(server.http.post(ANALYZE, content=body, headers=headers), {400, 413})


@pytest.mark.parametrize(
    "name", ["../../etc/passwd", "..\\..\\a.png", "/etc/passwd", "a\x01b.png", "x" * 300, "%2e%2e"]
)
def test_a_hostile_file_name_is_only_a_name(server, name):
    body, headers = form(upload(png(0), name))
    answer = server.http.post(ANALYZE, content=body, headers=headers)
    assert answer.status_code == 200, answer.text
    source = answer.json()["source"]
    assert "/" not in source and "\\" not in source and source.isprintable() and len(source) <= 100


# ---- bodies and connections ----


def talk(server, data: bytes, then: float = 0.0, more: bytes = b"") -> bytes:
    """Send bytes as they are, and read until the server closes or is silent."""
    with socket.create_connection(("127.0.0.1", server.port), 20) as one:
        answer = b""
        try:
            one.sendall(data)
            time.sleep(then)
            one.sendall(more)
            one.settimeout(20)
            while piece := one.recv(65536):
                answer += piece
        except (TimeoutError, ConnectionError):
            pass
        return answer


def head(route: str, **headers: str) -> bytes:
    told = {"Host": "localhost", "Content-Type": "application/json", "Connection": "close", **headers}
    lines = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in told.items())
    return f"POST {route} HTTP/1.1\r\n{lines}\r\n".encode()


@pytest.mark.parametrize("route", ROUTES)
def test_a_body_in_pieces_is_counted_and_too_large(server, route):
    def pieces():
        for _ in range(70):
            yield b" " * 65536

    answer = server.http.post(route, content=pieces(), headers=JSON)
    assert answer.status_code == 413 and answer.json()["error"]["code"] == "request_too_large"


@pytest.mark.parametrize("route", ROUTES)
def test_an_upload_that_drips_is_ended(strict, route):
    began = time.monotonic()
    answer = talk(strict, head(route, Content_Length="100") + b"{")
    assert answer.startswith(b"HTTP/1.1 408") and b'"code":"request_too_slow"' in answer.replace(b'": "', b'":"')
    assert time.monotonic() - began < 10
    kind = {"Content_Type": "multipart/form-data; boundary=edge", "Content_Length": "100000"}
    if route == ANALYZE:
        assert talk(strict, head(route, **kind) + form(upload(b"a" * 500))[0][:300]).startswith(b"HTTP/1.1 408")


OPEN = b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"


@pytest.mark.parametrize(
    "data",
    [
        OPEN + b"".join(b"X-%d: a\r\n" % one for one in range(5000)) + b"\r\n",
        OPEN + b"X: " + b"a" * 200_000 + b"\r\n\r\n",
        OPEN.replace(b" / ", b" /" + b"a" * 100_000 + b" ") + b"\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: gzip\r\n\r\n",
        OPEN.replace(b"GET", b"POST") + b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffffffff\r\na",
        b"GET / HTTP/2\r\nHost: localhost\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200,
        b"GET  /  HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX : a\r\n b\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    ],
    ids=["many headers", "a long header", "a long path", "two hosts", "no host", "negative", "two lengths", "gzip",
         "a huge chunk", "a new version", "TLS", "spaces", "a space in a name", "HTTP 2"],
)  # fmt: skip
def test_no_http_ends_the_connection_and_nothing_else(server, data):
    answer = talk(server, data)
    assert answer == b"" or answer.split(b" ")[1] in (b"400", b"403", b"405", b"431"), answer[:200]
    assert b"Traceback" not in answer and server.http.get("/health").status_code == 200


def test_a_page_elsewhere_cannot_send_a_form_or_text(server):
    """What a browser sends without asking first: a form, or plain text that happens to be JSON."""
    origin = {"origin": "https://evil.example"}
    answer = server.http.post(ANALYZE, files={"file": ("a.png", png(0))}, headers=origin)
    assert answer.status_code == 403 and answer.json()["error"]["code"] == "origin_refused"
    plain = {"content-type": "text/plain"}
    body = json.dumps(chat(image_part(png(0)))).encode()
    assert server.http.post(ROUTES[0], content=body, headers=plain | origin).status_code == 403
    assert server.http.post(ROUTES[0], content=body, headers=plain).status_code == 400
    asked = {"access-control-request-method": "POST", **origin}
    answer = server.http.options(ROUTES[0], headers=asked)
    assert answer.status_code == 403 and "access-control-allow-origin" not in answer.headers
