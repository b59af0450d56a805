"""What Alembic runs: the versions, in the transaction of the connection that it is given."""

from alembic import context

from host_tools.fleet.store.tables import METADATA

context.configure(connection=context.config.attributes["connection"], target_metadata=METADATA)
context.run_migrations()
