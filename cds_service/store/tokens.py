# SPDX-License-Identifier: Apache-2.0
"""JWTs that were seen, so that none is accepted twice."""

from __future__ import annotations

from datetime import datetime

import sqlalchemy as sa

from cds_service.store.database import Database
from cds_service.store.tables import seen_tokens as _seen

_KNOWN = sa.select(sa.literal(1)).where(
    _seen.c.iss == sa.bindparam("iss"), _seen.c.jti == sa.bindparam("jti")
)
_FORGET = sa.delete(_seen).where(_seen.c.expires_at < sa.bindparam("now"))


class SeenJwts:
    """Tokens by issuer and `jti`, until they expire."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def has(self, iss: str, jti: str) -> bool:
        """Whether a token was seen before; two calls at once may both hear no, until one is remembered."""
        return bool(self._database.look_up(_KNOWN, iss=iss, jti=jti))

    def remember(self, iss: str, jti: str, expires_at: datetime, *, now: datetime) -> bool:
        """Note a token as seen until it expires; False when it was seen before (a replay)."""
        with self._database.write() as connection:
            return remember_jwt(self._database, connection, iss, jti, expires_at, now=now)


def remember_jwt(
    database: Database, connection: sa.Connection, iss: str, jti: str, expires_at: datetime, *, now: datetime
) -> bool:
    """Note a token within a transaction; False when it was seen before."""
    database.change(connection, _FORGET, {"now": now})
    return database.insert_if_absent(connection, _seen, iss=iss, jti=jti, expires_at=expires_at)
