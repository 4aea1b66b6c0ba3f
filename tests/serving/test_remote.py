"""Fetching: what is refused before a connection, after a resolution, and after a redirect. No network is used."""

from __future__ import annotations

import io

import pytest

from emotion_qwen.serving.failures import ApiError
from emotion_qwen.serving.remote import check_address, fetch

PUBLIC = "93.184.216.34"


class Response:
    def __init__(self, status: int, body: bytes = b"", headers: dict | None = None) -> None:
        self.status, self._body, self._headers = status, io.BytesIO(body), headers or {}

    def getheader(self, name: str) -> str | None:
        return self._headers.get(name)

    def read(self, size: int) -> bytes:
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
        "64:ff9b::7f00:1", "2002:7f00:1::", "::",
    ],
)  # fmt: skip
def test_addresses_that_are_not_public(address, tmp_path):
    with pytest.raises(ApiError, match="not on the public network"):
        check_address(address)
    web = Web({}, {"inside.example": [PUBLIC, address]})
    with pytest.raises(ApiError, match="not on the public network"):
        run(web, "https://inside.example/a", tmp_path / "t")
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
        (Response(404), 400),
        (Response(500), 400),
    ],
)
def test_too_large_or_not_there(response, status, tmp_path):
    web = Web({("a.org", "/"): response}, {"a.org": [PUBLIC]})
    with pytest.raises(ApiError) as caught:
        run(web, "https://a.org/", tmp_path / "t")
    assert caught.value.status == status
