"""A few processes that decode, each for one medium at a time; one that hangs or dies is replaced."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sys
import tempfile
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emotion_qwen.inference.playable import Playable
from emotion_qwen.records import Clip
from emotion_qwen.serving.decoder import load_clip
from emotion_qwen.serving.failures import ApiError
from emotion_qwen.serving.limits import ServeSettings
from emotion_qwen.serving.scratch import Scratch
from emotion_qwen.settings import ClipSettings

MINUTE = 60.0  # seconds of a medium
JOBS = 500  # after which a process is replaced, whatever the libraries in it have kept
_PASSED_ON = ("PATH", "PYTHONPATH", "LANG", "SYSTEMROOT", "TEMP", "TMP", "LD_LIBRARY_PATH")


@dataclass(eq=False)
class _Worker:
    """A decoding process, and how many jobs it has done."""

    process: Process
    jobs: int = 0

    async def do(self, line: bytes) -> bool:
        """Do a job; return whether the process lived to its end."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line)
        await self.process.stdin.drain()
        self.jobs += 1
        return await self.process.stdout.readline() == b"done\n"

    async def end(self) -> None:
        """Kill the process and wait until it is gone."""
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()


class Decoders:
    """Decode in other processes.

    Args:
        settings: of the server.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self._scratch = Scratch()
        self.folder = self._scratch.folder
        self.died = 0
        self._idle: asyncio.Queue[_Worker | None] = asyncio.Queue()
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
            found = await self._timed(job, path, name, folder)
            return await asyncio.to_thread(load_clip, folder, found, name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def show(self, path: Path, name: str, limit: int) -> tuple[Playable, dict[str, Any] | None]:
        """Return a medium as a browser plays it, and the drawing of its sound; errors are those of `decode`."""
        folder = self.new_folder()
        try:
            found = await self._timed({"task": "show", "limit": limit}, path, name, folder)
            shown = Playable(found["kind"], found["mime"], (folder / "shown").read_bytes(), "", found["copied"])
            return shown, found["sound"]
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _timed(self, job: dict[str, Any], path: Path, name: str, folder: Path) -> Any:
        """Do a job in a time in proportion to the minutes of the medium, at least that of one."""
        seconds = self.settings.decode_seconds
        length = await self._run({"task": "length"}, path, name, folder, seconds)
        return await self._run(job, path, name, folder, seconds * max(1.0, length / MINUTE))

    async def _run(self, job: dict[str, Any], path: Path, name: str, folder: Path, seconds: float) -> Any:
        limits = {"pixels": self.settings.media_pixels, "seconds": self.settings.media_seconds}
        line = json.dumps({**job, **limits, "path": str(path), "folder": str(folder)}) + "\n"
        for last in (False, True):  # a process may have died of something else, so there is a second try
            if await self._ask(line.encode(), name, seconds):
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

    async def _ask(self, line: bytes, name: str, seconds: float) -> bool:
        """Give a job to an idle process; return whether it lived to the end.

        Raises:
            ApiError: it took too long.
        """
        worker = await self._idle.get()
        whole = False
        try:
            if worker is None or worker.process.returncode is not None:
                worker = _Worker(await self._start())
            try:
                whole = await asyncio.wait_for(worker.do(line), seconds)
            except (BrokenPipeError, ConnectionResetError):
                return False
            except TimeoutError as error:
                raise ApiError(
                    422,
                    f"{name}: decoding took longer than {seconds:g} s; give a smaller medium",
                    "media_refused",
                ) from error
            return whole
        finally:  # also when the request was cancelled: what a process was doing then, nobody knows
            fit = worker is not None and whole and worker.jobs < JOBS
            self._idle.put_nowait(worker if fit else None)  # first: nothing may come between a place and its return
            if worker is not None and not fit:
                await asyncio.shield(worker.end())

    async def _start(self) -> Process:
        limits = json.dumps({"memory": self.settings.decode_bytes, "pixels": self.settings.media_pixels})
        environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}  # no keys
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "TMPDIR": str(self.folder)}
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "emotion_qwen.serving.decoder", limits,
            stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment, cwd=self.folder,
        )  # fmt: skip

    async def close(self) -> None:
        """End the processes and remove what is left of requests."""
        while not self._idle.empty():
            worker = self._idle.get_nowait()
            if worker is not None:
                await worker.end()
        self._scratch.close()
