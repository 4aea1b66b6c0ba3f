import pytest
import torch


@pytest.fixture(autouse=True)
def one_thread():
    """Tiny products are quicker on one thread, and a busy machine then disturbs them less."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
