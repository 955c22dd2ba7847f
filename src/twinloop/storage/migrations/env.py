"""Alembic runs this file by its path, under the name `env_py`; imported as a module it does nothing."""

from alembic import context

from twinloop.storage.schema import METADATA, VERSION_TABLE

if __name__ == "env_py":
    context.configure(
        connection=context.config.attributes["connection"], target_metadata=METADATA, version_table=VERSION_TABLE
    )
    context.run_migrations()
