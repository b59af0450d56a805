"""Tokens and actions of devices that poll over hawkBit's Direct Device Integration API."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "ddi_token",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_seconds", sa.Double, nullable=False),
    )
    op.create_table(
        "ddi_action",
        sa.Column("number", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("device", sa.Text, sa.ForeignKey("device.id"), nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
        sa.Column("path", sa.Text, nullable=False),
        sa.Column("size_bytes", sa.BigInteger, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("made_seconds", sa.Double, nullable=False),
        sa.Column("ended_seconds", sa.Double),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("is_fetched", sa.Boolean, nullable=False),
        sa.Column("is_kept", sa.Boolean, nullable=False),
    )
    op.create_index("ddi_action_of_device", "ddi_action", ["device", "number"])
