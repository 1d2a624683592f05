# SPDX-License-Identifier: Apache-2.0
"""Run by Alembic: migrates over the connection that `store.migrate` hands in."""

from alembic import context

context.configure(connection=context.config.attributes["connection"], transactional_ddl=False)
context.run_migrations()
