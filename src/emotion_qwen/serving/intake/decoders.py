"""Decoding processes; one that hangs or dies is replaced."""

from __future__ import annotations

import asyncio
import os
import re
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
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
JOBS = 500  # after which a process is replaced, to free memory that libraries leaked
_PASSED_ON = ("PATH", "LANG", "SYSTEMROOT", "TEMP", "TMP", "LD_LIBRARY_PATH")


class Decoders:
    """Decodes media in other processes.

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
            tries=2,  # a process may die for another reason
        )  # fmt: skip
        self._pool = Pool(decoder.do_job, settings.decoders, isolation)
        self._threads = ThreadPoolExecutor(settings.decoders, thread_name_prefix="decoders")

    @property
    def died(self) -> int:
        """Number of processes that died while decoding."""
        return self._pool.died

    def new_folder(self) -> Path:
        """Return a new folder for one request; the caller removes it."""
        return Path(tempfile.mkdtemp(dir=self.folder))

    @contextmanager
    def temporary_folder(self) -> Iterator[Path]:
        """Yield a new folder, which is removed when the block ends."""
        with tempfile.TemporaryDirectory(dir=self.folder, ignore_cleanup_errors=True) as folder:
            yield Path(folder)

    async def decode(
        self,
        path: Path,
        name: str,
        clip_settings: ClipSettings,
        *,
        sound: bool = False,
        words: bool = False,
        transcript: Path | None = None,
        start: float | None = None,
        end: float | None = None,
    ) -> Clip:
        """Decode a medium.

        Args:
            path: of the file.
            name: of the medium in the request, for errors and reports, which must not contain paths.
            clip_settings: of the model; the server's frame limit applies as well.
            sound: also read the sound.
            words: also read subtitles.
            transcript: a file of words that replaces those of the medium.
            start: of the span to read, seconds.
            end: of the span to read, seconds.

        Raises:
            ApiError: the medium is unreadable, too large, takes too long, or its decoder died.
        """
        frames = min(clip_settings.max_frames, self.settings.media_frames)
        bounded = clip_settings.model_copy(
            update={"max_frames": frames, "min_frames": min(clip_settings.min_frames, frames)}
        )
        job = {
            "task": "decode", "sound": sound, "words": words, "start": start, "end": end,
            "transcript": transcript and str(transcript),
            "settings": bounded.model_dump(),
        }  # fmt: skip
        with self.temporary_folder() as folder:
            fields = await self._timed(job, path, name, folder)
            return await asyncio.to_thread(load_clip, folder, fields, name)

    async def playable(self, path: Path, name: str, limit: int) -> tuple[Playable, dict[str, Any] | None]:
        """Return a medium in a form that browsers play, and the peaks of its sound; errors are those of `decode`."""
        with self.temporary_folder() as folder:
            fields = await self._timed({"task": "playable", "limit": limit}, path, name, folder)
            shown = Playable(fields["kind"], fields["mime"], (folder / "shown").read_bytes(), "", fields["copied"])
            return shown, fields["sound"]

    async def _timed(self, job: dict[str, Any], path: Path, name: str, folder: Path) -> Any:
        """Do a job with a time limit in proportion to the length of the medium, at least that for one minute."""
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
        except asyncio.CancelledError:  # the result is not needed any more
            handle.cancel()
            raise
        except WorkerLate as error:
            message = f"{name}: decoding took longer than {seconds:g} s; give a smaller medium"
            raise ApiError(422, message, "media_refused") from error
        except WorkerError as error:
            message = f"{name}: the decoder stopped at this medium; save it again"
            raise ApiError(422, message, "media_refused") from error
        if "error" in answer:
            message = answer["error"].replace(repr(str(path)), name).replace(str(path), name)
            message = re.sub(rf"{re.escape(str(self.folder))}/(\w+/)*", "", message)
            if answer["large"]:
                raise ApiError(413, message, "media_too_large")
            raise ApiError(400, message, "invalid_media")
        return answer["result"]

    async def close(self) -> None:
        """End the processes and remove the temporary folder."""
        await asyncio.to_thread(self._pool.close)
        self._threads.shutdown()
        self._scratch.close()
