# SPDX-License-Identifier: Apache-2.0
"""Storage commitment without its network: what we commit to, and what destinations commit to."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cds_service.config import Config
from cds_service.store import AskedState, DeliveryState, Store
from cds_service.store.commitments import Failure, HeldInstance
from dicom_listener.commitment import CommitmentRequest, CommitmentResult, FailureReason, Referenced
from dicom_listener.commitment_handlers import CommitmentServices
from dicom_listener.encoded import MalformedDataSet, split_file

_HEAD_BYTES = 65536
"""More than the preamble and File Meta Information that we write take."""


class Committer:
    """Keeps requests and results of storage commitment; listener and worker have one each.

    Parameters
    ----------
    now
        The clock, with time zone.
    jitter
        Returns a number in [0, 1).
    """

    def __init__(
        self,
        *,
        config: Config,
        store: Store,
        log: Any,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self._settings = config.deliver
        self._with_address = frozenset(each.ae_title for each in config.listen.peers if each.host)
        self._store = store
        self._log = log
        self._now = now
        self._jitter = jitter

    @property
    def services(self) -> CommitmentServices:
        """What the listener's messages lead to."""
        return CommitmentServices(
            asked=self.asked, result_for=self.result_here, told=self.told_here, answered=self.answered
        )

    def asked(self, request: CommitmentRequest) -> bool:
        """Keep a peer's request; False when it contradicts an earlier one of the same UID."""
        now = self._now()
        return self._store.commitments.record_asked(
            request.calling_ae_title,
            request.transaction_uid,
            [(each.sop_class_uid, each.sop_instance_uid) for each in request.instances],
            now=now,
            due_at=now if request.calling_ae_title in self._with_address else None,
        )

    def result_here(self, request: CommitmentRequest) -> CommitmentResult | None:
        """Return what we commit to, for a peer that has no address; others are told by the worker."""
        if request.calling_ae_title in self._with_address:
            return None
        return self.result(
            request.transaction_uid,
            [(each.sop_class_uid, each.sop_instance_uid) for each in request.instances],
        )

    def told_here(self, request: CommitmentRequest) -> None:
        """Note that a peer without an address was told."""
        self._store.commitments.settle_asked(
            request.calling_ae_title, request.transaction_uid, AskedState.REPORTED, reason="", due_at=None
        )

    def result(self, transaction_uid: str, instances: Sequence[tuple[str, str]]) -> CommitmentResult:
        """Return what of `instances`, pairs of SOP Class and SOP Instance UID, we commit to.

        The sender may delete what we commit to. So each file is read now and must have the digest
        that its data set had when it came: that it was written once proves nothing of the disk today.
        """
        held = self._store.commitments.held([uid for _, uid in instances])
        committed, failed = [], {}
        for sop_class_uid, sop_instance_uid in instances:
            referenced = Referenced(sop_class_uid=sop_class_uid, sop_instance_uid=sop_instance_uid)
            found = held.get(sop_instance_uid)
            if found is None:
                failed[referenced] = FailureReason.NO_SUCH_OBJECT_INSTANCE
            elif found.sop_class_uid != sop_class_uid:
                failed[referenced] = FailureReason.CLASS_INSTANCE_CONFLICT
            elif not _is_intact(found):
                failed[referenced] = FailureReason.NO_SUCH_OBJECT_INSTANCE
                self._log.error("received_file_damaged", source="storage commitment")
            else:
                committed.append(referenced)
        return CommitmentResult(transaction_uid=transaction_uid, committed=tuple(committed), failed=failed)

    def answered(self, result: CommitmentResult) -> bool:
        """Keep what a destination says of a request of ours; False when it is none of ours."""
        rounds = self._store.commitments.rounds(result.transaction_uid)
        if not rounds:
            return False
        now = self._now()
        destination, committed, failed = self._store.commitments.record_result(
            result.transaction_uid,
            [each.sop_instance_uid for each in result.committed],
            {
                each.sop_instance_uid: self._failure(reason, rounds.get(each.sop_instance_uid, 0), now)
                for each, reason in result.failed.items()
            },
            now=now,
        )
        if committed:
            self._log.info("reports_committed", destination=destination, count=committed)
        if failed:
            self._log.warning(
                "reports_not_committed",
                destination=destination,
                count=failed,
                reason=", ".join(sorted({each.value for each in result.failed.values()})),
            )
        return True

    def _failure(self, reason: FailureReason, rounds: int, now: datetime) -> Failure:
        text = f"commitment: {reason.value}"
        if rounds >= self._settings.commitment_attempts or reason is FailureReason.SOP_CLASS_NOT_SUPPORTED:
            return Failure(reason=text, state=DeliveryState.PUT_ASIDE, due_at=None)
        # A UID that was used before says nothing of the object: asked again with another.
        again = (
            DeliveryState.DELIVERED
            if reason is FailureReason.DUPLICATE_TRANSACTION_UID
            else DeliveryState.PENDING
        )
        return Failure(reason=text, state=again, due_at=now + self._settings.delay(rounds, self._jitter()))


def _is_intact(held: HeldInstance) -> bool:
    try:
        return _digest(held.path) == held.sha256
    except (OSError, ValueError, MalformedDataSet):
        return False


def _digest(path: Path) -> str:
    """Return the SHA-256 of the data set in a file, without its File Meta Information."""
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        data, _ = split_file(head)
        file.seek(len(head) - len(data))
        return hashlib.file_digest(file, "sha256").hexdigest()
