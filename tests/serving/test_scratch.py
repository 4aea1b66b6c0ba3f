"""What requests sent lies in a folder that goes with the server, also with one that was killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile

from emotion_qwen.serving.intake.scratch import PREFIX, Scratch

KEPT = """
import sys, time
from emotion_qwen.serving.intake.scratch import Scratch
scratch = Scratch()
(scratch.folder / "request").mkdir()
(scratch.folder / "request" / "upload").write_text("somebody's film")
print(scratch.folder, flush=True)
time.sleep(60)
"""


def test_the_next_server_removes_what_a_killed_one_left_and_nothing_else(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    servers = [
        subprocess.Popen([sys.executable, "-c", KEPT], env=environment, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    try:
        folders = [tmp_path / server.stdout.readline().strip() for server in servers]
        others = tmp_path / f"{PREFIX}of-somebody"
        others.mkdir()
        servers[0].send_signal(signal.SIGKILL)
        servers[0].wait(10)
        assert (folders[0] / "request" / "upload").exists()
        scratch = Scratch()
        assert not folders[0].exists(), "nobody holds it"
        assert (folders[1] / "request" / "upload").exists() and others.is_dir()
        scratch.close()
        assert not scratch.folder.exists()
    finally:
        for server in servers:
            server.kill()
            server.wait(10)
            server.stdout.close()
