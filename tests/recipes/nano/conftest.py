from tests.training.conftest import tiny, tiny_start  # noqa: F401
