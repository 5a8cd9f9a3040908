"""Alembic's entry: on the connection that the service hands over, or on the one that the settings name."""

from alembic import context
from sqlalchemy import Connection

from service.settings import load_settings
from service.store.database import migrating, open_engine
from service.store.tables import Base


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        # SQLite cannot alter a table in place: Alembic copies it.
        render_as_batch=connection.dialect.name == "sqlite",
        compare_type=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
else:
    settings = load_settings()
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with migrating(open_engine(settings.resolved_database_url)) as connection:
        run(connection)
