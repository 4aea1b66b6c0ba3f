"""A few processes that decode, each for one medium at a time; one that hangs or dies is replaced."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from pathlib import Path
from typing import Any

from emotion_qwen.inference.playable import Playable
from emotion_qwen.records import Clip
from emotion_qwen.serving.decoder import load_clip
from emotion_qwen.serving.failures import ApiError
from emotion_qwen.serving.limits import ServeSettings
from emotion_qwen.settings import ClipSettings

JOBS = 500  # after which a process is replaced, whatever the libraries in it have kept
_PASSED_ON = ("PATH", "PYTHONPATH", "LANG", "SYSTEMROOT", "TEMP", "TMP", "LD_LIBRARY_PATH")


class Decoders:
    """Decode in other processes.

    Args:
        settings: of the server.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self.folder = Path(tempfile.mkdtemp(prefix="emotion-qwen-serve-"))
        self.died = 0
        self._idle: asyncio.Queue[Process | None] = asyncio.Queue()
        self._jobs: dict[int, int] = {}
        for _ in range(settings.decoders):
            self._idle.put_nowait(None)  # started when needed

    def new_folder(self) -> Path:
        """Make a folder for one request; whoever asks removes it."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    async def decode(
        self,
        path: Path,
        name: str,
        clip_settings: ClipSettings,
        *,
        sound: bool = False,
        words: bool = False,
        start: float | None = None,
        end: float | None = None,
    ) -> Clip:
        """Decode a medium.

        Args:
            path: of the file.
            name: by which its sender knows it; errors and reports tell no path of this machine.
            clip_settings: the model's; the server's limit of frames holds, too.
            sound: read it, too.
            words: read subtitles, too.
            start: seconds, `end`: seconds.

        Raises:
            ApiError: the medium is unreadable, too large, takes too long, or its decoder died.
        """
        frames = min(clip_settings.max_frames, self.settings.media_frames)
        own = clip_settings.model_copy(
            update={"max_frames": frames, "min_frames": min(clip_settings.min_frames, frames)}
        )
        job = {
            "task": "decode", "sound": sound, "words": words, "start": start, "end": end,
            "settings": own.model_dump(),
        }  # fmt: skip
        folder = self.new_folder()
        try:
            found = await self._run(job, path, name, folder)
            return await asyncio.to_thread(load_clip, folder, found, name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def show(self, path: Path, name: str, limit: int) -> tuple[Playable, dict[str, Any] | None]:
        """Return a medium as a browser plays it, and the drawing of its sound; errors are those of `decode`."""
        folder = self.new_folder()
        try:
            found = await self._run({"task": "show", "limit": limit}, path, name, folder)
            shown = Playable(found["kind"], found["mime"], (folder / "shown").read_bytes(), "", found["copied"])
            return shown, found["sound"]
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _run(self, job: dict[str, Any], path: Path, name: str, folder: Path) -> Any:
        limits = {"pixels": self.settings.media_pixels, "seconds": self.settings.media_seconds}
        line = json.dumps({**job, **limits, "path": str(path), "folder": str(folder)}) + "\n"
        for last in (False, True):  # a process may have died of something else, so there is a second try
            if await self._ask(line.encode(), name):
                break
            self.died += 1
            if last:
                raise ApiError(422, f"{name}: the decoder stopped at this medium; save it anew", "media_refused")
        answer = json.loads((folder / "answer.json").read_text(encoding="utf-8"))
        if "error" in answer:
            message = answer["error"].replace(repr(str(path)), name).replace(str(path), name)
            raise (
                ApiError(413, message, "media_too_large")
                if answer["large"]
                else ApiError(400, message, "invalid_media")
            )
        return answer["found"]

    async def _ask(self, line: bytes, name: str) -> bool:
        """Give a job to an idle process; return whether it lived to the end."""
        process = await self._idle.get()
        whole = False
        try:
            if process is None or process.returncode is not None:
                process = await self._start()
            assert process.stdin is not None and process.stdout is not None
            try:
                process.stdin.write(line)
                await process.stdin.drain()
                told = await asyncio.wait_for(process.stdout.readline(), self.settings.decode_seconds)
            except (BrokenPipeError, ConnectionResetError):
                return False
            except TimeoutError as error:
                raise ApiError(
                    422,
                    f"{name}: decoding took longer than {self.settings.decode_seconds:g} s; give a smaller medium",
                    "media_refused",
                ) from error
            self._jobs[process.pid] = self._jobs.get(process.pid, 0) + 1
            whole = told == b"done\n"
            return whole
        finally:  # also when the request was cancelled: what a process was doing then, nobody knows
            if process is not None and (not whole or self._jobs.get(process.pid, 0) >= JOBS):
                await asyncio.shield(self._end(process))
                process = None
            self._idle.put_nowait(process)

    async def _start(self) -> Process:
        limits = json.dumps({"memory": self.settings.decode_bytes, "pixels": self.settings.media_pixels})
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}  # no keys
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "emotion_qwen.serving.decoder", limits,
            stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment, cwd=self.folder,
        )  # fmt: skip

    async def _end(self, process: Process) -> None:
        self._jobs.pop(process.pid, None)
        if process.returncode is None:
            try:
                process.kill()
            except ProcessLookupError:
                return
            await process.wait()

    async def close(self) -> None:
        """End the processes and remove what is left of requests."""
        while not self._idle.empty():
            process = self._idle.get_nowait()
            if process is not None:
                await self._end(process)
        shutil.rmtree(self.folder, ignore_errors=True)
