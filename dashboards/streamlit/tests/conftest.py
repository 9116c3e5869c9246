"""What tests share: a filled store of each kind, and a clean slate before each test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import streamlit as st

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

import shop  # noqa: E402
from servers import Postgres  # noqa: E402

from board.address import parse  # noqa: E402
from board.store import Store  # noqa: E402


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    st.cache_data.clear()
    st.cache_resource.clear()
    for name in ("MILLRACE_STORE_URL", "MILLRACE_DATA_DIR"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A running PostgreSQL 15."""
    server = Postgres()
    yield server
    server.close()


@pytest.fixture(params=["sqlite", "postgres"])
def filled(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    """The small shop, in SQLite and in PostgreSQL."""
    if request.param == "sqlite":
        shop.write_sqlite(tmp_path / "millrace.db", shop.rows())
        url = f"sqlite://{tmp_path}/millrace.db"
    else:
        server: Postgres = request.getfixturevalue("postgres")
        name = f"shop_{abs(hash(tmp_path.as_posix())):x}"
        url = server.create(name)
        shop.write_postgres(url, shop.rows())
    store = Store(parse(url))
    yield store
    store.close()
