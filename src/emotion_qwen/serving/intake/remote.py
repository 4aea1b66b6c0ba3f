"""Fetches media from https addresses on the public network; every resolution and redirect is checked.

The connection goes to the address that was checked, so a name cannot resolve to another one in between. When the time
limit is reached the connection is shut down at any stage, so a server that sends one byte per second cannot block it.
"""

from __future__ import annotations

import http.client
import ipaddress
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from emotion_qwen.serving.failures import ApiError

REDIRECTS = 3
_CHUNK = 2**16
_PUBLIC_V6 = ipaddress.ip_network("2000::/3")  # the range that IANA assigns as global unicast (RFC 4291, 2.4)
_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052: the last 32 bits are an IPv4 address
Resolver = Callable[[str], Sequence[str]]


def resolve(host: str) -> list[str]:
    """Return the addresses of a host name from the system's resolver."""
    return list(dict.fromkeys(str(entry[4][0]) for entry in socket.getaddrinfo(host, 443, type=socket.SOCK_STREAM)))


def check_address(text: str) -> str:
    """Return an address without its zone if it is on the public network.

    Raises:
        ApiError: it is private, link-local, loopback, reserved or multicast, or an IPv6 address that embeds one.
    """
    address: Any = ipaddress.ip_address(text.partition("%")[0])
    inner = [address]
    if address.version == 6:
        inner += address.teredo or ()
        if address.sixtofour is not None:  # Python 3.13 calls none of these global, 3.11 all
            inner = [address.sixtofour]
        elif address in _NAT64:
            inner = [ipaddress.ip_address(int(address) & 0xFFFFFFFF)]
        elif address not in _PUBLIC_V6:  # mapped, compatible, translated, local: none is needed
            inner = [ipaddress.ip_address("::")]
    if any(part is not None and (not part.is_global or part.is_multicast) for part in inner):
        raise ApiError(400, "the address is not on the public network; give a public https address", "url_refused")
    return str(address)


def check_url(url: str) -> SplitResult:
    """Return the parts of an https address.

    Raises:
        ApiError: the address has another scheme or port, a user name, or no host.
    """
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError as error:
        raise ApiError(400, "the address cannot be read; give https://host/path", "url_refused") from error
    if parts.scheme != "https" or not parts.hostname or port not in (None, 443) or "@" in parts.netloc:
        raise ApiError(
            400, "only https on its own port and without a user name is fetched; give https://host/path", "url_refused"
        )
    return parts


class PinnedConnection(http.client.HTTPSConnection):
    """An https connection to a checked address; the certificate is checked against the host name."""

    def __init__(self, host: str, address: str, timeout: float, context: ssl.SSLContext) -> None:
        super().__init__(host, timeout=timeout, context=context)
        self.wire: socket.socket | None = None
        """The socket; `sock` is set to None as soon as a response that closes the connection begins."""
        self._address, self._tls = address, context

    def connect(self) -> None:
        """Connect to the address and check the certificate against the name."""
        plain = socket.create_connection((self._address, 443), self.timeout)
        tls = self._tls.wrap_socket(plain, server_hostname=self.host, do_handshake_on_connect=False)
        self.sock = self.wire = tls
        tls.do_handshake()


def fetch(
    url: str,
    target: Path,
    limit: int,
    seconds: float,
    *,
    resolver: Resolver = resolve,
    connect: Callable[..., http.client.HTTPConnection] = PinnedConnection,
) -> None:
    """Fetch a URL into a file.

    Args:
        url: https address.
        target: file that is written.
        limit: maximum bytes.
        seconds: time limit of the whole fetch, redirects included.
        resolver: returns the addresses of a host name.
        connect: opens a connection.

    Raises:
        ApiError: the URL is refused, unreachable, too large or too slow, or the status is not 200.
    """
    until, context = time.monotonic() + seconds, ssl.create_default_context()
    for _ in range(REDIRECTS + 1):
        parts = check_url(url)
        assert parts.hostname is not None
        address = _public_address(parts.hostname, resolver)
        connection = connect(parts.hostname, address, _left(until), context)
        try:
            with _shut_down_at(connection, until):
                path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                connection.request("GET", path, headers={"User-Agent": "emotion-qwen", "Accept-Encoding": "identity"})
                response = connection.getresponse()
                if response.status in (301, 302, 303, 307, 308):
                    url = urljoin(url, response.getheader("Location") or "")
                    continue
                if response.status != 200:
                    raise ApiError(400, f"the address answered with status {response.status}", "url_failed")
                _save(response, target, limit, until)
                return
        except (OSError, http.client.HTTPException, ValueError) as error:
            _left(until)  # a shut-down connection fails in many ways
            raise ApiError(400, "the address could not be fetched; check that it is reachable", "url_failed") from error
        finally:
            connection.close()
    raise ApiError(400, f"the address redirects more than {REDIRECTS} times; give the last one", "url_refused")


def _left(until: float) -> float:
    """Return the seconds that are left.

    Raises:
        ApiError: the time is over.
    """
    left = until - time.monotonic()
    if left <= 0:
        raise ApiError(408, "fetching the medium took too long; send it in the request", "url_failed")
    return left


@contextmanager
def _shut_down_at(connection: Any, until: float) -> Iterator[None]:
    """Shut the connection down when the time is over; a socket's own timeout applies to single reads only."""

    def cut() -> None:
        if (wire := getattr(connection, "wire", None)) is not None:
            with suppress(OSError):
                wire.shutdown(socket.SHUT_RDWR)

    watch = threading.Timer(_left(until), cut)
    watch.daemon = True
    watch.start()
    try:
        yield
    finally:
        watch.cancel()


def _public_address(host: str, resolver: Resolver) -> str:
    try:
        addresses = [host] if _is_address(host) else list(resolver(host))
    except (OSError, UnicodeError) as error:
        raise ApiError(400, "the name of the address cannot be resolved; check it", "url_failed") from error
    if not addresses:
        raise ApiError(400, "the name of the address cannot be resolved; check it", "url_failed")
    for address in addresses:  # a single private address is enough to refuse the name
        check_address(address)
    return addresses[0]


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _save(response: http.client.HTTPResponse, target: Path, limit: int, until: float) -> None:
    declared = response.getheader("Content-Length")
    if declared and declared.isdigit() and int(declared) > limit:
        raise ApiError(413, f"the medium has {int(declared):,} bytes, expected at most {limit:,}", "media_too_large")
    total = 0
    with target.open("wb") as file:
        while chunk := response.read1(_CHUNK):  # `read` would wait until a chunk is full
            total += len(chunk)
            if total > limit:
                raise ApiError(413, f"the medium has more than {limit:,} bytes; give a smaller one", "media_too_large")
            _left(until)
            file.write(chunk)
    _left(until)
    if declared and declared.isdigit() and total < int(declared):
        raise ApiError(400, f"the address sent {total:,} of {int(declared):,} bytes; try again", "url_failed")
