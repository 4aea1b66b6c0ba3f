"""Requests made up by schemathesis from the OpenAPI document, sent to a real server process: at least 2,000 of them.

schemathesis is a program of its own, `pip install schemathesis` in whatever environment; it is found on the PATH, or
named by SCHEMATHESIS=/path/to/schemathesis.

python -m pytest -m slow tests/serving/test_schema.py
"""

from __future__ import annotations

import base64
import os
import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from tests.serving.conftest import png, serving
from tests.serving.test_client import wav
from tests.serving.test_hostile import long_film

SCHEMATHESIS = os.environ.get("SCHEMATHESIS") or shutil.which("schemathesis")
pytestmark = [pytest.mark.slow, pytest.mark.skipif(SCHEMATHESIS is None, reason="no schemathesis here")]
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "response_headers_conformance",
)  # fmt: skip
EXAMPLES = 500  # of each route, beside those of every edge of the schema
SECONDS = 540


def statuses(server) -> dict[str, Counter]:
    """Count the answers by route and status, as the server itself counted them."""
    found: dict[str, Counter] = {}
    lines = re.findall(r'requests_total{route="([^"]*)",status="(\d+)"} (\d+)', server.http.get("/metrics").text)
    for route, status, count in lines:
        found.setdefault(route, Counter())[int(status)] = int(count)
    return found


def test_no_made_up_request_gets_a_fault_or_a_status_that_the_document_does_not_tell(tmp_path):
    media = {"png": png(0, 48), "mp4": long_film(2), "wav": wav(0.5)}
    told = " ".join(f"{kind}:{base64.b64encode(data).decode()}" for kind, data in media.items())
    hooks = Path(__file__).with_name("schema_hooks.py")
    with serving(tmp_path, "default_tokens=8", "decoders=2") as server:
        command = [
            SCHEMATHESIS, "run", f"{server.url}/openapi.json", "--max-examples", str(EXAMPLES), "--seed", "7",
            "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--continue-on-failure",
            "--no-shrink", "--suppress-health-check", "all", "--request-timeout", "60",
        ]  # fmt: skip
        environment = {**os.environ, "SCHEMATHESIS_HOOKS": str(hooks), "MEDIA": told}
        environment.pop("PYTHONPATH", None)
        done = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path, timeout=SECONDS)
        counted = statuses(server)
        print(done.stdout[-1500:], counted)
        assert done.returncode == 0, done.stdout[-6000:]
        assert sum(sum(one.values()) for one in counted.values()) >= 2000
        assert not [one for one in counted.values() if any(status >= 500 and status != 503 for status in one)], counted
        assert counted["/v1/emotion/analyze"][200] >= 100 and counted["/v1/chat/completions"][200] >= 50, counted
        assert "Traceback" not in server.log.read_text()
