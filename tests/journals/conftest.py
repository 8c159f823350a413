"""Fixtures: each store in turn, and a schema of the server for one test."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .stores import KINDS, Schemas, Store, need_server, store_of, without_server


@pytest.fixture
def schemas() -> Iterator[Schemas]:
    """Names of schemas, dropped behind the test."""
    names = Schemas()
    yield names
    if not without_server():
        names.drop()


@pytest.fixture
def schema(schemas: Schemas) -> str:
    """The name of a schema on the server that does not exist yet."""
    need_server()
    return schemas.new()


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, schemas: Schemas) -> Store:
    """Each kind of store in turn."""
    return store_of(request.param, tmp_path, schemas)
