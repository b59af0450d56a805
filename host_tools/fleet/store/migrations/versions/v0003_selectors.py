"""Groups that take devices by themselves, the group in which a device is otherwise, and the one that its configuration names."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the columns; every device is at home where it is."""
    op.add_column("device_group", sa.Column("selector", sa.Text))
    op.add_column("device", sa.Column("home", sa.Text, nullable=False, server_default=""))
    op.add_column("device", sa.Column("configured", sa.Text, nullable=False, server_default=""))
    device = sa.table("device", sa.column("home", sa.Text), sa.column("group", sa.Text))
    op.execute(device.update().values(home=device.c.group))
    op.create_index("device_placed_anywhere", "device", ["placed_seconds"])
