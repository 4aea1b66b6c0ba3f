import pytest
from accelerate.state import AcceleratorState


@pytest.fixture(autouse=True)
def no_leftover_precision():
    """Forget the accelerator of an earlier test: its mixed precision is shared by the whole process."""
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)
