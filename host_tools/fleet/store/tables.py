"""The schema. `migrations` makes it; a test holds the two against each other."""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)

METADATA: Final = MetaData()

GROUP: Final = Table(
    "device_group",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("note", Text, nullable=False),
    Column("artifacts", Text, nullable=False),  # JSON: what its devices run, by capability profile
    Column("created_seconds", Double, nullable=False),
    Column("selector", Text),  # JSON; NULL: people put devices into it
)
DEVICE: Final = Table(
    "device",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("group", Text, ForeignKey("device_group.name"), nullable=False),
    Column("state", Text, nullable=False),
    Column("targets", Text, nullable=False),  # JSON: capability profiles, best first
    Column("engine", Text, nullable=False),
    Column("agent_version", Text, nullable=False),
    Column("memory_bytes", BigInteger),
    Column("artifact", Text),
    Column("desired_serial", BigInteger),
    Column("health", Text, nullable=False),
    Column("last_seen_seconds", Double),
    Column("added_seconds", Double, nullable=False),
    Column("placed_seconds", Double, nullable=False),  # when that last changed by which it is placed
    Column("home", Text, nullable=False, server_default=""),  # the group into which people put it
    Column("configured", Text, nullable=False, server_default=""),  # the group that its configuration names
    Index("device_of_group", "group", "state"),
    Index("device_placed", "group", "placed_seconds"),
    Index("device_placed_anywhere", "placed_seconds"),
    Index("device_with_artifact", "artifact"),
)
DEVICE_TAG: Final = Table(
    "device_tag",
    METADATA,
    Column("device", Text, ForeignKey("device.id", ondelete="CASCADE"), primary_key=True),
    Column("tag", Text, primary_key=True),
    Index("device_with_tag", "tag"),
)
PIN: Final = Table(
    "pin",
    METADATA,
    Column("device", Text, primary_key=True),  # which the fleet may not know yet
    Column("serial", BigInteger, nullable=False),
    Column("artifacts", Text, nullable=False),  # JSON: what it shall run, by capability profile
)
RELEASE: Final = Table(
    "release",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("model", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("counter", BigInteger, nullable=False),
    Column("artifacts", Text, nullable=False),  # JSON: artifact by capability profile
    Column("created_by", Text, nullable=False),
    Column("created_seconds", Double, nullable=False),
    UniqueConstraint("model", "version", name="release_version_once"),
    UniqueConstraint("model", "counter", name="release_counter_once"),
)
_OCCUPIES: Final = text("state IN ('running', 'paused', 'rolling_back')")
ROLLOUT: Final = Table(
    "rollout",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("group", Text, ForeignKey("device_group.name"), nullable=False),
    Column("release", Text, ForeignKey("release.id"), nullable=False),
    Column("plan", Text, nullable=False),  # JSON
    Column("previous", Text, nullable=False),  # JSON: artifact by capability profile
    Column("state", Text, nullable=False),
    Column("stages", Text, nullable=False),  # JSON: progress of each
    Column("findings", Text, nullable=False),  # JSON: what its gates found last
    Column("reason", Text, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_seconds", Double, nullable=False),
    Column("changed_seconds", Double, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Index("rollout_of_group", "group"),
    Index("rollout_in_state", "state"),
    # A group has one desired state, so one rollout at a time can say what stands in it.
    Index(
        "rollout_alone_in_group",
        "group",
        unique=True,
        sqlite_where=_OCCUPIES,
        postgresql_where=_OCCUPIES,
    ),
)
JOB: Final = Table(
    "job",
    METADATA,
    Column("rollout", Text, ForeignKey("rollout.id"), primary_key=True),
    Column("device", Text, ForeignKey("device.id"), primary_key=True),
    Column("stage", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("wanted", Text, nullable=False),
    Column("previous", Text),
    Column("attempts", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_seconds", Double, nullable=False),
    Column("changed_seconds", Double, nullable=False),
    Column("heard_seconds", Double),
    Index("job_of_stage", "rollout", "stage", "state", "result"),
    Index("job_of_device", "device", "state"),
)
AUDIT: Final = Table(
    "audit",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("seconds", Double, nullable=False),
    Column("actor", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("details", Text, nullable=False),  # JSON, as it was digested
    Column("previous", Text, nullable=False),
    Column("digest", Text, nullable=False),
    Index("audit_of_actor", "actor", "seconds"),
    Index("audit_of_subject", "subject"),
)
EFFECT: Final = Table(
    "effect",
    METADATA,
    Column("kind", Text, primary_key=True),
    Column("subject", Text, primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("document", Text, nullable=False),  # JSON
    Column("wanted_seconds", Double, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failure", Text, nullable=False),
    Column("due_seconds", Double, nullable=False),
    Index("effect_due", "due_seconds"),
)
COUNTER: Final = Table(
    "counter",
    METADATA,
    Column("name", Text, primary_key=True),
    Column("value", BigInteger, nullable=False),
)
CHANGE: Final = Table(
    "change",
    METADATA,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("seconds", Double, nullable=False),
    Column("kind", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("document", Text, nullable=False),  # JSON
)
API_TOKEN: Final = Table(
    "api_token",
    METADATA,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("digest", Text, nullable=False, unique=True),  # of the token, which is kept nowhere
    Column("created_by", Text, nullable=False),
    Column("created_seconds", Double, nullable=False),
    Column("expires_seconds", Double, nullable=False),
    Column("revoked_seconds", Double),
)
DDI_TOKEN: Final = Table(
    "ddi_token",
    METADATA,
    Column("kind", Text, primary_key=True),  # target or gateway
    Column("subject", Text, primary_key=True),  # the device, or the group
    Column("digest", Text, nullable=False, unique=True),  # of the token, which is kept nowhere
    Column("created_by", Text, nullable=False),
    Column("created_seconds", Double, nullable=False),
)
DDI_ACTION: Final = Table(
    "ddi_action",
    METADATA,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("device", Text, ForeignKey("device.id"), nullable=False),
    Column("digest", Text, nullable=False),  # of the artifact that it brings
    Column("path", Text, nullable=False),
    Column("size_bytes", BigInteger, nullable=False),
    Column("name", Text, nullable=False),
    Column("version", Text, nullable=False),
    Column("made_seconds", Double, nullable=False),
    Column("ended_seconds", Double),
    Column("result", Text, nullable=False),
    Column("is_fetched", Boolean, nullable=False),  # the device has asked for its file
    Column("is_kept", Boolean, nullable=False),  # the device will not cancel it
    Index("ddi_action_of_device", "device", "number"),
)
