"""The tiny checkpoints of the model's tests serve here, too."""

from tests.model.conftest import (  # noqa: F401  fixtures
    config,
    edit_config,
    model,
    one_thread,
    published,
    qwen,
    qwen_config,
    rewrite,
)
