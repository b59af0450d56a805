"""How the schema came to be as it is; Alembic runs it from `opening`."""
