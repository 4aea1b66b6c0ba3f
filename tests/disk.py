"""A disk without room, for the tests of everything that writes."""

from __future__ import annotations

import resource
from contextlib import contextmanager


@contextmanager
def room(size: int):
    """Let no file grow beyond `size` bytes: as on a full disk, a write is short first and an error then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
