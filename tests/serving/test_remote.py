"""Fetching: what is refused before a connection, after a resolution, and after a redirect. No network is used."""

from __future__ import annotations

import io
import shutil
import socket
import ssl
import subprocess
import threading
import time

import pytest

from emotion_qwen.serving.failures import ApiError
from emotion_qwen.serving.intake.remote import check_address, fetch

PUBLIC = "93.184.216.34"


class Response:
    def __init__(self, status: int, body: bytes = b"", headers: dict | None = None) -> None:
        self.status, self._body, self._headers = status, io.BytesIO(body), headers or {}

    def getheader(self, name: str) -> str | None:
        return self._headers.get(name)

    def read1(self, size: int) -> bytes:
        return self._body.read(size)


class Web:
    """A network of a table: (host, path) -> response; every connection is written down."""

    def __init__(self, pages: dict, names: dict) -> None:
        self.pages, self.names, self.connected = pages, names, []

    def resolve(self, host: str) -> list[str]:
        if host not in self.names:
            raise OSError("unknown")
        found = self.names[host]
        return found.pop(0) if isinstance(found[0], list) else found

    def connect(self, host: str, address: str, timeout: float, context: object) -> Web:
        self.connected.append((host, address))
        self._host = host
        return self

    def request(self, method: str, path: str, headers: dict) -> None:
        self._path = path

    def getresponse(self) -> Response:
        return self.pages[self._host, self._path]

    def close(self) -> None:
        pass


def run(web: Web, url: str, target, limit: int = 1000) -> None:
    fetch(url, target, limit, 5.0, resolver=web.resolve, connect=web.connect)


def test_a_public_address_is_fetched_by_the_address_that_was_checked(tmp_path):
    web = Web({("a.org", "/x?y=1"): Response(200, b"picture")}, {"a.org": [PUBLIC]})
    run(web, "https://a.org/x?y=1", tmp_path / "t")
    assert (tmp_path / "t").read_bytes() == b"picture" and web.connected == [("a.org", PUBLIC)]


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "0.0.0.0", "224.0.0.1",
        "255.255.255.255", "198.18.0.1", "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "ff02::1", "::ffff:127.0.0.1",
        "64:ff9b::7f00:1", "64:ff9b:1::a00:1", "2002:7f00:1::", "::", "::ffff:93.184.216.34", "::127.0.0.1",
        "::ffff:0:127.0.0.1", "fec0::1", "2001:db8::1", "2001:0:0:0:0:0:80ff:fffe",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address, tmp_path):
    with pytest.raises(ApiError, match="not on the public network"):
        check_address(address)
    web = Web({}, {"inside.example": [PUBLIC, address]})
    with pytest.raises(ApiError, match="not on the public network"):
        run(web, "https://inside.example/a", tmp_path / "t")
    assert not web.connected


@pytest.mark.parametrize("address", [PUBLIC, "2606:2800:220:1::1", "64:ff9b::5db8:d822", "2002:5db8:d822::1"])
def test_addresses_that_are_public(address):
    assert check_address(address) == address


@pytest.mark.parametrize(
    "host", ["2130706433", "0x7f000001", "0177.0.0.1", "127.1", "0", "[::ffff:127.0.0.1]", "ⓛocalhost", "localhost"]
)
def test_other_spellings_of_this_machine_are_known_by_what_they_resolve_to(host, tmp_path):
    """The system's own resolver, which reads numbers as C does and needs no network for these."""
    web = Web({}, {})
    with pytest.raises(ApiError, match="not on the public network|cannot be resolved"):
        fetch(f"https://{host}/", tmp_path / "t", 1000, 5.0, connect=web.connect)
    assert not web.connected


@pytest.mark.parametrize(
    "url",
    [
        "http://a.org/", "https://a.org:8443/", "https://user@a.org/", "https://user:pw@a.org/", "https:///a",
        "ftp://a.org/", "https://[::1/", "https://a.org:port/", "//a.org/",
    ],
)  # fmt: skip
def test_urls_that_are_not_fetched(url, tmp_path):
    web = Web({}, {"a.org": [PUBLIC]})
    with pytest.raises(ApiError) as caught:
        run(web, url, tmp_path / "t")
    assert caught.value.code == "url_refused" and not web.connected


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("https://169.254.169.254/latest", "not on the public network"),
        ("https://127.1/", "cannot be resolved"),
        ("https://inside.example/", "not on the public network"),
        ("http://a.org/", "only https"),
        ("file:///etc/passwd", "only https"),
        ("/again", "redirects more than 3 times"),
    ],
)
def test_a_redirect_is_checked_like_the_first_address(location, told, tmp_path):
    page = Response(302, headers={"Location": location})
    names = {"a.org": [PUBLIC], "inside.example": ["10.0.0.8"]}
    web = Web({("a.org", "/"): page, ("a.org", "/again"): page}, names)
    with pytest.raises(ApiError, match=told):
        run(web, "https://a.org/", tmp_path / "t")
    assert {address for _, address in web.connected} == {PUBLIC}


def test_a_name_that_changes_its_address_is_checked_each_time(tmp_path):
    web = Web({("a.org", "/"): Response(302, headers={"Location": "/"})}, {"a.org": [[PUBLIC], ["127.0.0.1"]]})
    with pytest.raises(ApiError, match="not on the public network"):
        run(web, "https://a.org/", tmp_path / "t")
    assert web.connected == [("a.org", PUBLIC)]


@pytest.mark.parametrize(
    ("response", "status"),
    [
        (Response(200, b"a" * 1001), 413),
        (Response(200, b"", {"Content-Length": "1000000"}), 413),
        (Response(200, b"cut", {"Content-Length": "30"}), 400),
        (Response(404), 400),
        (Response(500), 400),
    ],
)
def test_too_large_or_not_there(response, status, tmp_path):
    web = Web({("a.org", "/"): response}, {"a.org": [PUBLIC]})
    with pytest.raises(ApiError) as caught:
        run(web, "https://a.org/", tmp_path / "t")
    assert caught.value.status == status


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    """A certificate for a.org that signs itself, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("no openssl here to make a certificate")
    folder = tmp_path_factory.mktemp("tls")
    made = folder / "certificate.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=a.org"]
    command += ["-addext", "subjectAltName=DNS:a.org", "-out", str(made[0]), "-keyout", str(made[1])]
    subprocess.run(command, check=True, capture_output=True)
    return made


class Tls:
    """A server on this machine that speaks TLS, and the way to it for connections to port 443 of public addresses."""

    def __init__(self, certificate, monkeypatch, answer) -> None:
        self.asked: list[tuple[str, int]] = []
        self.listening = socket.create_server(("127.0.0.1", 0))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))
        really = socket.create_connection

        def to_here(address, timeout):
            self.asked.append(address)
            return really(self.listening.getsockname(), timeout)

        monkeypatch.setattr(socket, "create_connection", to_here)

        def serve() -> None:
            plain, _ = self.listening.accept()
            try:
                answer(plain, context)
            except OSError:
                pass  # the client cut the connection
            finally:
                plain.close()

        self.thread = threading.Thread(target=serve, daemon=True)
        self.thread.start()


def whole_answer(plain, context) -> None:
    with context.wrap_socket(plain, server_side=True) as tls:
        tls.recv(4096)
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nConnection: close\r\n\r\npicture")


def drip(tls) -> None:
    for _ in range(600):
        tls.sendall(b"a")
        time.sleep(0.05)


def slow_head(plain, context) -> None:
    with context.wrap_socket(plain, server_side=True) as tls:
        tls.sendall(b"HTTP/1.1 200 OK\r\nX-Long: ")
        drip(tls)


def slow_body(plain, context) -> None:
    with context.wrap_socket(plain, server_side=True) as tls:
        tls.recv(4096)
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\nConnection: close\r\n\r\n")
        drip(tls)


def slow_handshake(plain, context) -> None:
    plain.sendall(b"\x16\x03\x03\x40\x00")  # a record of 16 KiB, which comes byte by byte
    drip(plain)


def test_the_certificate_is_that_of_the_name_and_the_connection_that_to_the_address(tmp_path, certificate, monkeypatch):
    tls = Tls(certificate, monkeypatch, whole_answer)
    fetch("https://a.org/x", tmp_path / "t", 1000, 5.0, resolver=lambda host: [PUBLIC])
    assert (tmp_path / "t").read_bytes() == b"picture" and tls.asked == [(PUBLIC, 443)]


def test_a_certificate_of_another_name_is_refused(tmp_path, certificate, monkeypatch):
    Tls(certificate, monkeypatch, whole_answer)
    with pytest.raises(ApiError, match="could not be fetched"):
        fetch("https://b.org/x", tmp_path / "t", 1000, 5.0, resolver=lambda host: [PUBLIC])
    assert not (tmp_path / "t").exists()


@pytest.mark.parametrize("answer", [slow_head, slow_body, slow_handshake])
def test_a_server_that_sends_a_byte_now_and_then_is_left_in_time(tmp_path, certificate, monkeypatch, answer):
    Tls(certificate, monkeypatch, answer)
    began = time.monotonic()
    with pytest.raises(ApiError, match="took too long") as caught:
        fetch("https://a.org/x", tmp_path / "t", 1000, 0.5, resolver=lambda host: [PUBLIC])
    assert caught.value.status == 408 and time.monotonic() - began < 5
