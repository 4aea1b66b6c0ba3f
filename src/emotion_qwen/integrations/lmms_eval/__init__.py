"""For lmms-eval 0.7.3: our model as an external model, our emotion tasks as task files.

The harness finds the model by the entry point `lmms_eval.models` (`manifest`) and the tasks by `--include_path` with
the folder that `python -m emotion_qwen.integrations.lmms_eval` prints. Only `model` and `manifest` touch the harness,
and only when it calls them: it wants packages that we do not (torchvision, av below 16).
"""

from __future__ import annotations

from pathlib import Path

TASK_FILES = Path(__file__).parent / "tasks"
"""Value of `--include_path`."""
