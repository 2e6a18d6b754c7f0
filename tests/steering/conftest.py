"""A stage for each test that asks for one, and the compiled programs for all."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .servers import Server
from .stage import Stage


@pytest.fixture(scope="session")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("programs")


@pytest.fixture
def stage() -> Iterator[Stage]:
    stage = Stage()
    try:
        yield stage
    finally:
        stage.close()


@pytest.fixture
def server(stage: Stage, cache: Path) -> Iterator[Server]:
    server = Server(stage, "s1", cache)
    yield server
    server.steering.close()
