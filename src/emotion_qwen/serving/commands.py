"""The command `serve`."""

from __future__ import annotations

import logging
import os
import signal
import sys
from pathlib import Path
from typing import Any

import click
import yaml

from emotion_qwen.batch.replicas import ARGUMENTS, RememberedCommand
from emotion_qwen.console import run_command
from emotion_qwen.errors import MissingPackage, SettingsError
from emotion_qwen.serving.limits import KEY_VARIABLE, ServeSettings
from emotion_qwen.serving.replicas import serve_replicas, shared_listener
from emotion_qwen.settings import read_yaml

PATH = click.Path(path_type=Path)
ENGINES = ("own", "vllm")


@click.command(cls=RememberedCommand)
@click.argument("overrides", nargs=-1, metavar="[KEY=VALUE]...")
@click.option("--config", type=PATH, default=None, help="YAML file of settings; options and KEY=VALUE come on top.")
@click.option("--model", default=None, help="nano, mini (if fetched), a model or adapter folder, or a hub name.")
@click.option("--device", default=None, help="auto, cpu, cuda, cuda:1, mps, balanced")
@click.option("--host", default=None, help="Address to listen on; 127.0.0.1 accepts this machine only.")
@click.option("--port", type=click.IntRange(0, 65535), default=None, help="Port to listen on; 8000 by default.")
@click.option("--key-file", type=PATH, default=None, help=f"File with the API key; default: ${KEY_VARIABLE}.")
@click.option("--allow-anyone", is_flag=True, help="Serve other machines without an API key.")
@click.option("--allow-remote", is_flag=True, help="Allow public https addresses in requests.")
@click.option("--media-root", type=PATH, default=None, help="Folder whose files may be named in requests as file://.")
@click.option("--replicas", type=click.IntRange(1), default=1, help="Copies of the model, one process each.")
@click.option("--engine", type=click.Choice(ENGINES), default="own", show_default=True, help="What runs the model.")
def serve(
    overrides: tuple[str, ...], config: Path | None, key_file: Path | None, engine: str, replicas: int, **options: Any
) -> int:
    """Serve OpenAI's chat protocol, reports of emotion, and a page at /."""
    values = read_yaml(config, overrides) if config else _from_overrides(overrides)
    values |= {name: value for name, value in options.items() if value not in (None, False)}
    settings = ServeSettings.of(values, str(config or "serve"))
    key = _read_key(key_file)
    settings.check_access(key)
    if engine == "vllm":
        from emotion_qwen.serving.vllm.plugin import exec_vllm

        return exec_vllm(settings, key)
    if replicas > 1:
        return serve_replicas(settings, click.get_current_context().meta[ARGUMENTS], replicas)
    return run_server(settings, key)


def run_server(settings: ServeSettings, key: str | None = None) -> int:
    """Serve until SIGTERM or SIGINT, then finish running requests without accepting new ones, and return 0.

    Raises:
        MissingPackage: the extra `serve` is not installed.
        SettingsError: the server cannot listen on the address.
    """
    try:
        import uvicorn
        from transformers.utils import logging as transformers_logging

        from emotion_qwen.serving.http.app import create_app
        from emotion_qwen.serving.http.live import MAX_MESSAGE_BYTES
        from emotion_qwen.serving.http.security import HEADER_BYTES
        from emotion_qwen.serving.http.transport import PromptProtocol
    except ImportError as error:
        raise MissingPackage(
            f"serving needs {error.name!r}, which is not installed; pip install 'emotion-qwen[serve]'"
        ) from error
    transformers_logging.disable_progress_bar()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    app = create_app(settings, key)
    service = app.state.service

    class Server(uvicorn.Server):
        """Marks the service as draining as soon as a signal arrives."""

        def handle_exit(self, sig: int, frame: Any) -> None:
            service.draining = True
            self.force_exit = self.should_exit and sig == signal.SIGINT  # a second Ctrl-C ends at once
            self.should_exit = (
                True  # uvicorn's own handler raises the signal again at the end, so the exit code would not be 0
            )

    server = Server(
        uvicorn.Config(
            app, host=settings.host, port=settings.port, log_level="warning", access_log=False,
            http=PromptProtocol, h11_max_incomplete_event_size=HEADER_BYTES, server_header=False,
            ws_max_size=MAX_MESSAGE_BYTES, ws_max_queue=8, ws_per_message_deflate=False,
            timeout_graceful_shutdown=max(1, round(settings.drain_seconds)), timeout_keep_alive=15,
            limit_concurrency=settings.queue + settings.slots + 256,
        )
    )  # fmt: skip
    click.echo(f"serving on http://{settings.host}:{settings.port}  (Ctrl-C ends it)", err=True)
    try:
        listener = shared_listener()
        if listener is not None:  # connections that another process could serve must not wait for this one's model
            service.load()
        server.run(sockets=listener)
    except SystemExit as error:  # raised by uvicorn if it cannot start
        raise SettingsError(
            f"cannot serve on {settings.host}:{settings.port}; is the port taken? Try another --port"
        ) from error
    return 0


def _from_overrides(overrides: tuple[str, ...]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for override in overrides:
        key, sign, text = override.partition("=")
        if not sign:
            raise SettingsError(f"override {override!r} has no '='; write key=value, for example slots=8")
        values[key] = yaml.safe_load(text)
    return values


def _read_key(file: Path | None) -> str | None:
    if file is None:
        return os.environ.get(KEY_VARIABLE, "").strip() or None
    try:
        key = file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise SettingsError(f"key file {str(file)!r} cannot be read ({error.strerror}); check the path") from error
    if not key:
        raise SettingsError(f"key file {str(file)!r} is empty; write the API key into it")
    return key


if __name__ == "__main__":  # a process of `--replicas`
    sys.exit(run_command(serve, name="emotion-qwen serve"))
