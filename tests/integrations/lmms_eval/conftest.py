import pytest

from .invented import write_all


@pytest.fixture(scope="session")
def home(tmp_path_factory):
    return write_all(tmp_path_factory.mktemp("benchmarks"))
