"""Alembic runs this file; `storage.database.migrate` hands in a connection with an open transaction."""

from alembic import context

from storage.database import accountability  # noqa: F401 - its tables join the metadata
from storage.database.schema import VERSION_TABLE, metadata

context.configure(
    connection=context.config.attributes["connection"], target_metadata=metadata, version_table=VERSION_TABLE
)
context.run_migrations()
