"""Serve with several copies of the model on one machine: one process per copy, behind one address.

All processes accept connections of the same listening socket, each once its model is loaded and whenever its event loop
is free, so that connections go to processes that are free. A connection stays with its process.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from typing import Any

from emotion_qwen.batch.replicas import replica_devices
from emotion_qwen.errors import SettingsError
from emotion_qwen.serving.limits import ServeSettings

LISTENER = "EMOTION_QWEN_LISTENER"
"""Environment variable with the number of the inherited listening socket."""
BACKLOG = 2048
POLL = 0.2  # seconds between two looks at the processes


def shared_listener() -> list[socket.socket] | None:
    """Return the listening socket that this process inherited, for uvicorn; None if it listens on its own."""
    number = os.environ.pop(LISTENER, None)
    return None if number is None else [socket.socket(fileno=int(number))]


def serve_replicas(settings: ServeSettings, arguments: Sequence[str], count: int) -> int:
    """Serve with several processes until SIGTERM or SIGINT, which all of them get; return the largest exit code.

    If one process ends by itself, the others are stopped, so that a supervisor can restart all of them.

    Args:
        settings: of the server.
        arguments: of the command, as they were given.
        count: number of copies; GPUs are used in turn.

    Raises:
        SettingsError: the server cannot listen on the address.
    """
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((settings.host, settings.port))
        except OSError as error:
            raise SettingsError(
                f"cannot serve on {settings.host}:{settings.port} ({error.strerror}); is the port taken? Try another"
            ) from error
        listener.listen(BACKLOG)
        number = listener.fileno()
        command = [sys.executable, "-m", f"{__package__}.commands", *arguments, "--replicas", "1"]
        environment = {**os.environ, LISTENER: str(number)}
        processes = [
            subprocess.Popen([*command, "--device", device], pass_fds=[number], env=environment)
            for device in replica_devices(count)
        ]

    def forward(received: int, frame: Any) -> None:
        for process in processes:
            process.send_signal(signal.SIGTERM)

    before = {kind: signal.signal(kind, forward) for kind in (signal.SIGTERM, signal.SIGINT)}
    try:
        while all(process.poll() is None for process in processes):
            time.sleep(POLL)
        forward(signal.SIGTERM, None)
        return max(abs(process.wait()) for process in processes)
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
