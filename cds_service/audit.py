# SPDX-License-Identifier: Apache-2.0
"""What was answered to whom: an audit trail that cannot be changed unnoticed.

Each row carries a keyed digest (HMAC-SHA-256) of its number, its content and the digest of the row before.
Whoever changes, removes or reorders rows in the database would need the installation's key, which is not in
it. Rows taken off the end together with the head of the trail, as when an older backup is put back, can only
be seen by comparing with a head that was noted elsewhere: `hcc-cds audit verify` prints it, the log line of
every answer carries it.

Nothing of it is patient data: identifiers, requests and answers are keyed digests. A plain digest of a short
request would be no protection, for one could try every patient's number.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from datetime import UTC, datetime

from cds_service.store.audit import Also, AuditHead, AuditRow, AuditRows
from model.errors import ConfigError

_MOST_FAULTS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditEntry:
    """One call of an authenticated client. Absent where the call did not come so far."""

    at: datetime
    endpoint: str
    """discovery, service or feedback."""
    status: int
    iss: str
    tenant: str
    jti: str
    hook: str | None = None
    hook_instance: str | None = None
    patient: str | None = None
    """Keyed digest of server and Patient id."""
    user: str | None = None
    """Keyed digest of `userId`."""
    request: str | None = None
    """Keyed digest of the body as it came."""
    answer: str | None = None
    """Keyed digest of the body as it went."""
    fetched: tuple[str, ...] = ()
    """What was read from the client's FHIR server, by key of the prefetch."""
    record: str | None = None
    """Keyed digest of the record that the answer stands on, where some of it was fetched."""
    cards: tuple[str, ...] = ()
    suppressed: tuple[str, ...] = ()
    """Cards that were not shown, because their reader had dealt with them of late."""
    study_ref: str | None = None
    """Of the assessment that the cards show: as in the logs."""
    revision: int | None = None
    bundle: str | None = None
    """Digest of the model bundle."""
    rules: str | None = None
    """Version of the criteria."""
    software: str | None = None

    def as_json(self) -> str:
        """Return it as the text that is stored."""
        content = {name: getattr(self, name) for name in _FIELDS}
        content["at"] = self.at.astimezone(UTC).isoformat(timespec="milliseconds")
        return _AS_JSON({name: value for name, value in content.items() if value not in (None, ())})


_FIELDS = tuple(each.name for each in fields(AuditEntry))
_AS_JSON = json.JSONEncoder(ensure_ascii=True, separators=(",", ":")).encode


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditReport:
    """What checking the trail found."""

    count: int
    head: AuditHead
    faults: tuple[str, ...]
    """In words; empty when the trail is whole."""


def parse_head(text: str) -> AuditHead:
    """Return `NUMBER:DIGEST` as a head; of the digest the first digits suffice.

    Raises
    ------
    ConfigError
        It is none.
    """
    seq, _, digest = text.partition(":")
    if not re.fullmatch(r"[0-9]{1,18}", seq) or not re.fullmatch(r"[0-9a-f]{8,64}", digest):
        raise ConfigError("a noted head is NUMBER:DIGEST, with 8 digits of the digest at least")
    return AuditHead(seq=int(seq), digest=digest)


class AuditTrail:
    """Adds entries, and checks them all.

    Parameters
    ----------
    key
        Of this installation, the same in all its processes, and not in the database.
    """

    def __init__(self, rows: AuditRows, key: bytes) -> None:
        self._rows = rows
        self._key = key

    def digest(self, content: bytes) -> str:
        """Return a keyed digest that stands for `content`."""
        return self._mac(b"content", content)

    def append(self, entry: AuditEntry, *, also: Also | None = None) -> AuditHead:
        """Add `entry` at the end, and do what else belongs to it; returns where the trail ends now."""
        text = entry.as_json()

        def follow(head: AuditHead) -> AuditRow:
            return AuditRow(
                seq=head.seq + 1,
                entry=text,
                previous=head.digest,
                digest=self._chained(head.seq + 1, text, head.digest),
            )

        row = self._rows.append(follow, also=also)
        return AuditHead(seq=row.seq, digest=row.digest)

    def verify(self, *, noted: AuditHead | None = None) -> AuditReport:
        """Check every row.

        Parameters
        ----------
        noted
            A head of the trail that was noted earlier, whole or the first digits of its digest.
        """
        # In this order: the head is never behind the rows while others go on appending.
        last = self._rows.last_seq()
        head = self._rows.head()
        faults: list[str] = []
        count = 0
        before = AuditHead(seq=0, digest="")
        noted_found = noted is None
        for row in self._rows.rows(up_to=max(last, head.seq)):
            count += 1
            faults += self._faults(row, before)
            before = AuditHead(seq=row.seq, digest=row.digest)
            noted_found = noted_found or (
                noted is not None and row.seq == noted.seq and row.digest.startswith(noted.digest)
            )
            if len(faults) >= _MOST_FAULTS:
                faults.append("and perhaps more: checking stopped here")
                return AuditReport(count=count, head=head, faults=tuple(faults))
        if before != head:
            faults.append(f"the trail ends with row {before.seq}, its head says row {head.seq}")
        if noted is not None and not noted_found:
            faults.append(f"row {noted.seq} is not the one that was noted")
        return AuditReport(count=count, head=head, faults=tuple(faults))

    def _faults(self, row: AuditRow, before: AuditHead) -> Iterator[str]:
        if row.seq != before.seq + 1:
            yield f"rows {before.seq + 1} to {row.seq - 1} are missing"
        elif row.previous != before.digest:
            yield f"row {row.seq} does not follow row {before.seq}"
        if not hmac.compare_digest(row.digest, self._chained(row.seq, row.entry, row.previous)):
            yield f"row {row.seq} was changed"

    def _chained(self, seq: int, entry: str, previous: str) -> str:
        return self._mac(b"row", f"{seq}\n{previous}\n{entry}".encode())

    def _mac(self, purpose: bytes, content: bytes) -> str:
        return hmac.digest(self._key, purpose + b"\n" + content, hashlib.sha256).hex()
