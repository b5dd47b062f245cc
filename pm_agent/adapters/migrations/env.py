"""What Alembic runs for each command: configure it for the connection it was given."""

from alembic import context

from pm_agent.adapters.migrations import LOCK_TIMEOUT_S
from pm_agent.adapters.postgres import SCHEMA

connection = context.config.attributes["connection"]
is_postgres = context.config.attributes["dialect"] == "postgres"
if is_postgres:
    connection.exec_driver_sql(f"SET lock_timeout = '{LOCK_TIMEOUT_S}s'")
    connection.exec_driver_sql(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    connection.commit()
context.configure(
    connection=connection,
    transaction_per_migration=True,
    version_table_schema=SCHEMA if is_postgres else None,
)
with context.begin_transaction():
    context.run_migrations()
