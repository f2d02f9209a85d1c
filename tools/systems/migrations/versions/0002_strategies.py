"""Splits: whether the challenger is mirrored, the salt that shares ids out, and who answers at which endpoint."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    with op.batch_alter_table("splits") as splits:
        splits.add_column(sa.Column("mirrored", sa.Boolean(), nullable=False, server_default=sa.false()))
        splits.add_column(sa.Column("salt", sa.String(length=120), nullable=False, server_default=""))
        splits.add_column(sa.Column("endpoints", sa.JSON(), nullable=False, server_default="{}"))
