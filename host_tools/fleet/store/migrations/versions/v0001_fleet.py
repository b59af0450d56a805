"""Devices, groups, releases, rollouts, jobs, audit, effects, changes, tokens."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_OCCUPIES = sa.text("state IN ('running', 'paused', 'rolling_back')")
_REFUSALS = {
    "sqlite": (
        "CREATE TRIGGER audit_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'audit entries are only ever added'); END",
        "CREATE TRIGGER audit_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'audit entries are only ever added'); END",
    ),
    "postgresql": (
        "CREATE FUNCTION refuse_audit_change() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'audit entries are only ever added'; END $$",
        "CREATE TRIGGER audit_change BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION refuse_audit_change()",
        "CREATE TRIGGER audit_truncate BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change()",
    ),
}


def upgrade() -> None:
    """Make the tables."""
    _make_fleet()
    _make_rollouts()
    _make_ledgers()
    for statement in _REFUSALS[op.get_bind().dialect.name]:
        op.execute(statement)


def _make_fleet() -> None:
    op.create_table(
        "device_group",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("note", sa.Text, nullable=False),
        sa.Column("artifacts", sa.Text, nullable=False),
        sa.Column("created_seconds", sa.Double, nullable=False),
    )
    op.create_table(
        "device",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("group", sa.Text, sa.ForeignKey("device_group.name"), nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("targets", sa.Text, nullable=False),
        sa.Column("engine", sa.Text, nullable=False),
        sa.Column("agent_version", sa.Text, nullable=False),
        sa.Column("memory_bytes", sa.BigInteger),
        sa.Column("artifact", sa.Text),
        sa.Column("desired_serial", sa.BigInteger),
        sa.Column("health", sa.Text, nullable=False),
        sa.Column("last_seen_seconds", sa.Double),
        sa.Column("added_seconds", sa.Double, nullable=False),
        sa.Column("placed_seconds", sa.Double, nullable=False),
    )
    op.create_index("device_of_group", "device", ["group", "state"])
    op.create_index("device_placed", "device", ["group", "placed_seconds"])
    op.create_index("device_with_artifact", "device", ["artifact"])
    op.create_table(
        "device_tag",
        sa.Column("device", sa.Text, sa.ForeignKey("device.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("tag", sa.Text, primary_key=True),
    )
    op.create_index("device_with_tag", "device_tag", ["tag"])


def _make_rollouts() -> None:
    op.create_table(
        "release",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("model", sa.Text, nullable=False),
        sa.Column("version", sa.Text, nullable=False),
        sa.Column("counter", sa.BigInteger, nullable=False),
        sa.Column("artifacts", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_seconds", sa.Double, nullable=False),
        sa.UniqueConstraint("model", "version", name="release_version_once"),
        sa.UniqueConstraint("model", "counter", name="release_counter_once"),
    )
    op.create_table(
        "rollout",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("group", sa.Text, sa.ForeignKey("device_group.name"), nullable=False),
        sa.Column("release", sa.Text, sa.ForeignKey("release.id"), nullable=False),
        sa.Column("plan", sa.Text, nullable=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("stages", sa.Text, nullable=False),
        sa.Column("findings", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_seconds", sa.Double, nullable=False),
        sa.Column("changed_seconds", sa.Double, nullable=False),
        sa.Column("revision", sa.BigInteger, nullable=False),
    )
    op.create_index("rollout_of_group", "rollout", ["group"])
    op.create_index("rollout_in_state", "rollout", ["state"])
    op.create_index(
        "rollout_alone_in_group",
        "rollout",
        ["group"],
        unique=True,
        sqlite_where=_OCCUPIES,
        postgresql_where=_OCCUPIES,
    )
    op.create_table(
        "job",
        sa.Column("rollout", sa.Text, sa.ForeignKey("rollout.id"), primary_key=True),
        sa.Column("device", sa.Text, sa.ForeignKey("device.id"), primary_key=True),
        sa.Column("stage", sa.Integer, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("wanted", sa.Text, nullable=False),
        sa.Column("previous", sa.Text),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("created_seconds", sa.Double, nullable=False),
        sa.Column("changed_seconds", sa.Double, nullable=False),
        sa.Column("heard_seconds", sa.Double),
    )
    op.create_index("job_of_stage", "job", ["rollout", "stage", "state", "result"])
    op.create_index("job_of_device", "job", ["device", "state"])


def _make_ledgers() -> None:
    op.create_table(
        "audit",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("details", sa.Text, nullable=False),
        sa.Column("previous", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False),
    )
    op.create_index("audit_of_actor", "audit", ["actor", "seconds"])
    op.create_index("audit_of_subject", "audit", ["subject"])
    op.create_table(
        "effect",
        sa.Column("kind", sa.Text, primary_key=True),
        sa.Column("subject", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("wanted_seconds", sa.Double, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("failure", sa.Text, nullable=False),
        sa.Column("due_seconds", sa.Double, nullable=False),
    )
    op.create_index("effect_due", "effect", ["due_seconds"])
    op.create_table(
        "counter",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "change",
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("seconds", sa.Double, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("subject", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_table(
        "api_token",
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("role", sa.Text, nullable=False),
        sa.Column("digest", sa.Text, nullable=False, unique=True),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("created_seconds", sa.Double, nullable=False),
        sa.Column("expires_seconds", sa.Double, nullable=False),
        sa.Column("revoked_seconds", sa.Double),
    )
