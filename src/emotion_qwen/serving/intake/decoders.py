"""A few processes that decode, each for one medium at a time; one that hangs or dies is replaced."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from emotion_qwen.media.write.playable import Playable
from emotion_qwen.records import Clip
from emotion_qwen.serving.failures import ApiError
from emotion_qwen.serving.intake import decoder
from emotion_qwen.serving.intake.decoder import limit_process, load_clip
from emotion_qwen.serving.intake.scratch import Scratch
from emotion_qwen.serving.limits import ServeSettings
from emotion_qwen.settings import ClipSettings
from emotion_qwen.workers import Isolation, Job, Pool, WorkerError, WorkerLate

MINUTE = 60.0  # seconds of a medium
JOBS = 500  # after which a process is replaced, whatever the libraries in it have kept
_PASSED_ON = ("PATH", "LANG", "SYSTEMROOT", "TEMP", "TMP", "LD_LIBRARY_PATH")


class Decoders:
    """Decode in other processes.

    Args:
        settings: of the server.
    """

    def __init__(self, settings: ServeSettings) -> None:
        self.settings = settings
        self._scratch = Scratch()
        self.folder = self._scratch.folder
        passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}  # no keys
        isolation = Isolation(
            setup=partial(limit_process, settings.decode_bytes, settings.media_pixels),
            environment={**passed_on, "TMPDIR": str(self.folder)},
            trusted=False, folder=self.folder, quiet=True, jobs=JOBS,
            tries=2,  # a process may have died of something else
        )  # fmt: skip
        self._pool = Pool(decoder.do_job, settings.decoders, isolation)
        self._threads = ThreadPoolExecutor(settings.decoders, thread_name_prefix="decoders")

    @property
    def died(self) -> int:
        """Processes that died at a medium."""
        return self._pool.died

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
        bounded = clip_settings.model_copy(
            update={"max_frames": frames, "min_frames": min(clip_settings.min_frames, frames)}
        )
        job = {
            "task": "decode", "sound": sound, "words": words, "start": start, "end": end,
            "settings": bounded.model_dump(),
        }  # fmt: skip
        folder = self.new_folder()
        try:
            fields = await self._timed(job, path, name, folder)
            return await asyncio.to_thread(load_clip, folder, fields, name)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def playable(self, path: Path, name: str, limit: int) -> tuple[Playable, dict[str, Any] | None]:
        """Return a medium as a browser plays it, and the drawing of its sound; errors are those of `decode`."""
        folder = self.new_folder()
        try:
            fields = await self._timed({"task": "playable", "limit": limit}, path, name, folder)
            shown = Playable(fields["kind"], fields["mime"], (folder / "shown").read_bytes(), "", fields["copied"])
            return shown, fields["sound"]
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    async def _timed(self, job: dict[str, Any], path: Path, name: str, folder: Path) -> Any:
        """Do a job in a time in proportion to the minutes of the medium, at least that of one."""
        seconds = self.settings.decode_seconds
        length = await self._run({"task": "length"}, path, name, folder, seconds)
        return await self._run(job, path, name, folder, seconds * max(1.0, length / MINUTE))

    async def _run(self, job: dict[str, Any], path: Path, name: str, folder: Path, seconds: float) -> Any:
        limits = {"pixels": self.settings.media_pixels, "seconds": self.settings.media_seconds}
        item = {**job, **limits, "path": str(path), "folder": str(folder)}
        handle = Job()
        waiting = asyncio.get_running_loop().run_in_executor(self._threads, self._pool.do, item, seconds, handle)
        try:
            answer = await waiting
        except asyncio.CancelledError:  # what the process is doing then, nobody waits for
            handle.cancel()
            raise
        except WorkerLate as error:
            message = f"{name}: decoding took longer than {seconds:g} s; give a smaller medium"
            raise ApiError(422, message, "media_refused") from error
        except WorkerError as error:
            message = f"{name}: the decoder stopped at this medium; save it anew"
            raise ApiError(422, message, "media_refused") from error
        if "error" in answer:
            message = answer["error"].replace(repr(str(path)), name).replace(str(path), name)
            message = re.sub(rf"{re.escape(str(self.folder))}/(\w+/)*", "", message)
            if answer["large"]:
                raise ApiError(413, message, "media_too_large")
            raise ApiError(400, message, "invalid_media")
        return answer["found"]

    async def close(self) -> None:
        """End the processes and remove what is left of requests."""
        await asyncio.to_thread(self._pool.close)
        self._threads.shutdown()
        self._scratch.close()
