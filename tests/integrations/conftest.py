from tests.training.conftest import hearing_start, no_leftover_precision, tiny, tiny_start  # noqa: F401
