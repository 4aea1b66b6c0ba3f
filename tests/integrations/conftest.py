from tests.training.conftest import hearing_start, tiny, tiny_start  # noqa: F401
