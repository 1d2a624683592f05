# SPDX-License-Identifier: Apache-2.0
"""JWTs that were seen, so that none is accepted twice."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from cds_service.store import tables
from cds_service.store.database import Database


class SeenJwts:
    """Tokens by issuer and `jti`, until they expire."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def remember(self, iss: str, jti: str, expires_at: datetime, *, now: datetime) -> bool:
        """Note a token as seen until it expires; False when it was seen before (a replay)."""
        with self._database.write() as connection:
            connection.execute(sa.delete(tables.seen_tokens).where(tables.seen_tokens.c.expires_at < now))
            return self._database.insert_if_absent(
                connection, tables.seen_tokens, iss=iss, jti=jti, expires_at=expires_at
            )
