# SPDX-License-Identifier: Apache-2.0
"""What is kept of each call: the audit trail, the cards that were shown, the feedback on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from cds_service.audit import AuditEntry, AuditTrail
from cds_service.auth import Client
from cds_service.logs import StudyRef
from cds_service.store import Store
from cds_service.store.audit import AuditHead
from cds_service.store.feedback import Feedback, ShownCards
from model.domain import Assessment, Outcome
from model.eligibility.regimens import RULES_VERSION


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CallRecords:
    """Where calls are recorded."""

    trail: AuditTrail
    feedback: Feedback
    study_ref: Callable[[str], str]
    software_version: str

    def append(self, entry: AuditEntry, assessed: Outcome | None) -> AuditHead:
        """Record one call and the cards it shows; returns where the audit trail ends."""
        if entry.endpoint == "service" and entry.cards:
            entry = replace(entry, rules=RULES_VERSION, software=self.software_version)
        if assessed is not None:
            entry = replace(
                entry,
                study_ref=self.study_ref(assessed.study.study_instance_uid),
                revision=assessed.revision,
                bundle=assessed.model.bundle_digest if isinstance(assessed, Assessment) else None,
            )
        return self.trail.append(entry, shown=_shown(entry, assessed))


def _shown(entry: AuditEntry, assessed: Outcome | None) -> ShownCards | None:
    if not entry.cards:
        return None
    return ShownCards(
        iss=entry.iss,
        tenant=entry.tenant,
        cards=entry.cards,
        study_instance_uid=assessed.study.study_instance_uid if assessed else "",
        revision=assessed.revision if assessed else 0,
        shown_at=entry.at,
    )


def call_records(store: Store, study_ref: StudyRef, *, software_version: str) -> CallRecords:
    """Return where a process of this installation records calls."""
    return CallRecords(
        trail=AuditTrail(store.audit, study_ref.key_for("audit trail")),
        feedback=store.feedback,
        study_ref=study_ref,
        software_version=software_version,
    )


@dataclass(slots=True, kw_only=True)
class Call:
    """What is known of the call that is being answered; filled in as it proceeds."""

    client: Client
    jti: str
    hook: str | None = None
    hook_instance: str | None = None
    patient: str | None = None
    user: str | None = None
    request: str | None = None
    cards: Sequence[dict[str, Any]] = ()
    shown: Outcome | None = None
    """The outcome of imaging that the cards show."""

    def entry(self, *, at: datetime, endpoint: str, status: int, answer: str | None) -> AuditEntry:
        """Return what the audit trail keeps of it."""
        return AuditEntry(
            at=at,
            endpoint=endpoint,
            status=status,
            iss=self.client.iss,
            tenant=self.client.tenant,
            jti=self.jti,
            hook=self.hook,
            hook_instance=self.hook_instance,
            patient=self.patient,
            user=self.user,
            request=self.request,
            answer=answer,
            cards=tuple(str(card["uuid"]) for card in self.cards if "uuid" in card),
        )
