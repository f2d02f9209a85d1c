"""Alembic's entry: runs the revisions in the transaction of the connection that is handed over."""

from alembic import context

from tools.systems.migrations import VERSION_TABLE
from tools.systems.tables import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    version_table=VERSION_TABLE,
    render_as_batch=connection.dialect.name == "sqlite",
    transactional_ddl=False,  # the caller's transaction holds all of it
)
context.run_migrations()
