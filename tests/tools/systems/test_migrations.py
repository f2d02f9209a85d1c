"""The state store's schema: what the revisions make is what the tables say, from any version on."""

from __future__ import annotations

from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, text

from policies.errors import InputError
from tools.systems.migrations import HEAD, VERSION_TABLE, alembic_config
from tools.systems.store import Store
from tools.systems.tables import Base


def test_the_revisions_make_the_tables_of_today(store_url: str) -> None:
    with create_engine(store_url).begin() as connection:
        config = alembic_config(connection)
        assert ScriptDirectory.from_config(config).get_current_head() == HEAD
        command.upgrade(config, HEAD)
    with create_engine(store_url).connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": VERSION_TABLE})
        assert compare_metadata(context, Base.metadata) == []
    Store(store_url).close()


def test_a_new_store_has_the_newest_schema(store_url: str) -> None:
    Store(store_url).close()
    with create_engine(store_url).connect() as connection:
        assert connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar() == HEAD


@pytest.mark.parametrize(
    ("statement", "told"),
    [
        (f"UPDATE {VERSION_TABLE} SET version_num = '9999'", "has schema 9999"),
        (f"DROP TABLE {VERSION_TABLE}", "without a schema version"),
    ],
)
def test_a_store_of_another_version_is_refused_and_left_alone(tmp_path: Path, statement: str, told: str) -> None:
    url = f"sqlite:///{tmp_path}/state.db"
    Store(url).close()
    with create_engine(url).begin() as connection:
        connection.execute(text(statement))
    before = (tmp_path / "state.db").read_bytes()
    with pytest.raises(InputError, match=told):
        Store(url)
    assert (tmp_path / "state.db").read_bytes() == before
