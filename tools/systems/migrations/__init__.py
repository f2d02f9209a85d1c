"""The state store's schema, as numbered Alembic revisions in `versions/`.

A change of `tools/systems/tables.py` comes with a revision there, and with its number here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

from policies.errors import InputError

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection, MetaData

HEAD = "0004"
VERSION_TABLE = "guardian_schema"
"""Of its own: MLflow keeps its own `alembic_version`, maybe in the same database."""


def current(connection: Connection) -> str | None:
    """The schema version of the database, None where it has none."""
    if VERSION_TABLE not in inspect(connection).get_table_names():
        return None
    return str(connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar())


def prepare(connection: Connection, metadata: MetaData) -> None:
    """Brings the schema behind `connection` to HEAD; needs a write transaction that excludes other writers.

    An empty database gets today's tables at once (which a test holds equal to what the revisions make).
    Raises InputError where it was written by a later version, or before schema versions were kept.
    """
    found = current(connection)
    if found is not None:
        if found != HEAD:
            _upgrade(connection, found)
    elif set(inspect(connection).get_table_names()) & set(metadata.tables):
        raise InputError(
            "holds tables without a schema version: it was written before those were kept. Start with a new one",
            where="state store",
        )
    else:
        metadata.create_all(connection)
        _stamp(connection)


def _stamp(connection: Connection) -> None:
    connection.execute(text(f"CREATE TABLE {VERSION_TABLE} (version_num VARCHAR(32) NOT NULL PRIMARY KEY)"))
    connection.execute(text(f"INSERT INTO {VERSION_TABLE} (version_num) VALUES (:head)"), {"head": HEAD})


def _upgrade(connection: Connection, found: str) -> None:
    from alembic import command
    from alembic.script import ScriptDirectory

    config = alembic_config(connection)
    if found not in {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}:
        raise InputError(
            f"has schema {found}, this Guardian knows up to {HEAD}: a later version wrote it, install that one",
            where="state store",
        )
    command.upgrade(config, HEAD)


def alembic_config(connection: Connection) -> Config:
    """Alembic's configuration over an open connection."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "tools.systems:migrations")
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
