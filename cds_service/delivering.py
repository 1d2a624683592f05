# SPDX-License-Identifier: Apache-2.0
"""The work of delivering: reports to destinations, their storage commitment, and ours to peers.

Each method is a step of a workflow: it claims what is due, does it and notes how it ended and when
it is due again. What is due is looked for by the worker (`due`); nothing waits inside a workflow.
"""

from __future__ import annotations

import hashlib
import random
import ssl
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from cds_service.committing import Committer
from cds_service.config import Config
from cds_service.deliver_config import DestinationConfig
from cds_service.encoding import decode
from cds_service.fhir_results import FhirDestinations
from cds_service.logs import StudyRef
from cds_service.store import AskedState, DeliveryState, Errand, Revision, Store, WrittenReport
from cds_service.store.commitments import AskedErrand
from cds_service.store.outbox import Claimed
from dicom_listener.calling import Peer
from dicom_listener.commitment import CommitmentResult, request_commitment, tell_result
from dicom_listener.commitment_handlers import ResultHandler
from dicom_listener.deliver import SendResult, send
from dicom_listener.tls import client_context
from dicom_listener.web_delivery import WebPeer, send_web
from model.domain import derived_uid
from model.errors import PeerRefused, PeerUnavailable

_MOST_DUE = 500

_WORK_S = 60.0
"""What an errand takes besides waiting for the peer: reading and hashing files."""

_HOLD_S = 3.0
"""How long an association stays open for a result of storage commitment; most archives open another."""

_FAULT = "fault"
"""Coded reason of what a worker left again and again without a word."""


class Delivery:
    """What the steps of the delivering workflows do.

    Parameters
    ----------
    now
        The clock, with time zone.
    jitter
        Returns a number in [0, 1): what failed together is not tried again together.

    Raises
    ------
    ConfigError
        Certificates or keys of a destination or a peer cannot be used.
    """

    def __init__(
        self,
        *,
        config: Config,
        store: Store,
        committer: Committer,
        study_ref: StudyRef,
        log: Any,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        jitter: Callable[[], float] = random.random,
    ) -> None:
        self.log = log
        self._settings = config.deliver
        self._ae_title = config.listen.ae_title
        self._destinations = {each.name: each for each in config.deliver.destinations}
        self._fhir_servers = FhirDestinations(config)
        self._contexts = {each.name: _tls_of(each) for each in config.deliver.destinations}
        self._peers = _peers(config)
        self._store = store
        self._committer = committer
        self._study_ref = study_ref
        self._now = now
        self._jitter = jitter

    @property
    def poll_s(self) -> float:
        """How often what is due is looked for."""
        return self._settings.poll_s

    def deliver(self, revision: dict[str, Any]) -> list[dict[str, Any]]:
        """Let the reports of a revision leave; to which destinations, and when each is due."""
        opened = decode(Revision, revision)
        errands = self._store.outbox.release(opened.study_instance_uid, opened.revision, now=self._now())
        return [{"destination": each.destination, "due_at": each.due_at.isoformat()} for each in errands]

    def due(self) -> tuple[Errand, ...]:
        """What is to be sent, or whose commitment is to be asked for, now."""
        return self._store.outbox.due(now=self._now(), most=_MOST_DUE)

    def asked_due(self) -> tuple[AskedErrand, ...]:
        """Which peers are to be told what we commit to, now."""
        return self._store.commitments.due(now=self._now(), most=_MOST_DUE)

    def send(self, study_instance_uid: str, revision: int, destination: str, owner: str) -> None:
        """Send what is due at `destination`; `owner` is the workflow."""
        pending = self._claim(study_instance_uid, revision, destination, DeliveryState.PENDING, owner)
        node = self._destinations.get(destination)
        good = []
        for each in pending:
            # Nothing leaves that is not, byte for byte, what the conformance gate let through.
            if node is None and destination not in self._fhir_servers:
                self._put_aside(each, owner, "destination not configured")
            elif not _is_what_passed(each):
                self._put_aside(each, owner, "not the file that passed the gate")
            else:
                good.append(each)
        if not good:
            return
        if node is None:
            results = tuple(self._send_result(destination, each.report) for each in good)
        else:
            results = self._send_reports(node, [each.report.path for each in good])
        for each, result in zip(good, results, strict=True):
            if result.accepted:
                due_at = self._now() if node is not None and node.storage_commitment else None
                self._settle(each, DeliveryState.DELIVERED, owner, reason="", due_at=due_at)
            else:
                self._again_or_aside(each, owner, retryable=result.retryable, reason=result.reason)

    def commit(self, study_instance_uid: str, revision: int, destination: str, owner: str) -> None:
        """Ask `destination` to commit to what it accepted (PS3.4 Annex J).

        After a silence it is asked again; after two, the report is sent again first.
        """
        delivered = self._claim(study_instance_uid, revision, destination, DeliveryState.DELIVERED, owner)
        node = self._destinations.get(destination)
        if node is None or not node.storage_commitment:
            for each in delivered:
                self._settle(each, DeliveryState.DELIVERED, owner, reason="", due_at=None)
            return
        # The same when the worker was killed, another at each attempt.
        transaction_uid = derived_uid("storage commitment", owner)
        asked = []
        for each in delivered:
            silent = each.transaction_uid not in ("", transaction_uid)
            if silent and each.rounds >= self._settings.commitment_attempts:
                self._put_aside(each, owner, "commitment: no result")
            elif silent and each.rounds % 2 == 0:
                self._settle(
                    each, DeliveryState.PENDING, owner, reason="commitment: no result", due_at=self._now()
                )
            else:
                asked.append(each)
        if asked:
            self._ask(node, asked, transaction_uid, owner)

    def tell(self, calling_ae_title: str, transaction_uid: str, owner: str) -> None:
        """Tell a peer, over a new association, what of its request we commit to."""
        now = self._now()
        commitments = self._store.commitments
        asked = commitments.claim(
            calling_ae_title, transaction_uid, owner=owner, now=now, until=now + self._lease(1)
        )
        if asked is None:
            return
        settle = partial(commitments.settle_asked, calling_ae_title, transaction_uid)
        peer = self._peers.get(calling_ae_title)
        if peer is None or asked.attempts > self._settings.attempts:
            settle(AskedState.PUT_ASIDE, reason="no address" if peer is None else _FAULT, due_at=None)
            return
        try:
            result = self._committer.result(transaction_uid, asked.instances)
            tell_result(
                peer,
                result,
                calling_ae_title=self._ae_title,
                network_timeout_s=self._settings.network_timeout_s,
            )
        except (PeerUnavailable, PeerRefused) as error:
            again = error.retryable and asked.attempts < self._settings.attempts
            settle(
                AskedState.PENDING if again else AskedState.PUT_ASIDE,
                reason=str(error),
                due_at=self._later(asked.attempts) if again else None,
            )
            self.log.warning(
                "commitment_not_reported",
                calling_ae_title=calling_ae_title,
                reason=str(error),
                attempt=asked.attempts,
            )
            return
        settle(AskedState.REPORTED, reason="", due_at=None)
        self._log_told(calling_ae_title, result)

    def _ask(
        self, node: DestinationConfig, asked: Sequence[Claimed], transaction_uid: str, owner: str
    ) -> None:
        self._store.commitments.begin(transaction_uid, asked, owner=owner, now=self._now())
        answered = threading.Event()

        def keep(result: CommitmentResult) -> bool:
            known = self._committer.answered(result)
            answered.set()
            return known

        timeout = timedelta(seconds=node.commitment_timeout_s)
        try:
            request_commitment(
                self._node(node),
                [each.report.path for each in asked],
                transaction_uid,
                calling_ae_title=self._ae_title,
                network_timeout_s=self._settings.network_timeout_s,
                take_result=ResultHandler(keep, log=self.log),
                answered=answered,
                hold_s=min(_HOLD_S, node.commitment_timeout_s),
            )
        except (PeerUnavailable, PeerRefused) as error:
            for each in asked:
                self._again_or_aside(each, owner, retryable=error.retryable, reason=f"commitment: {error}")
            return
        for each in asked:
            # Unless the result came before: it took the report out of our hands.
            self._store.outbox.settle(
                each,
                DeliveryState.DELIVERED,
                owner=owner,
                reason="commitment awaited",
                now=self._now(),
                due_at=self._now() + timeout,
                asked=True,
            )

    def _send_result(self, destination: str, result: WrittenReport) -> SendResult:
        # Asked before, during and after: a withdrawal that found nothing leaves no trace on the server.
        return self._fhir_servers.send(
            destination, result.path, lambda: not self._store.outbox.is_superseded(result, destination)
        )

    def _send_reports(self, node: DestinationConfig, paths: Sequence[Path]) -> tuple[SendResult, ...]:
        try:
            return self._send(node, paths)
        except (PeerUnavailable, PeerRefused) as error:
            failed = SendResult(accepted=False, retryable=error.retryable, reason=str(error))
            return (failed,) * len(paths)

    def _send(self, node: DestinationConfig, paths: Sequence[Path]) -> tuple[SendResult, ...]:
        if node.protocol == "stow-rs":
            return send_web(
                paths,
                WebPeer(
                    url=node.url,
                    token=partial(_token, node.token_path),
                    ca=node.ca_path,
                    certificate=node.certificate,
                    private_key=node.private_key,
                ),
                network_timeout_s=self._settings.network_timeout_s,
            )
        return send(
            paths,
            self._node(node),
            calling_ae_title=self._ae_title,
            network_timeout_s=self._settings.network_timeout_s,
        )

    def _node(self, node: DestinationConfig) -> Peer:
        assert node.ae_title is not None, "the settings see to it"
        return Peer(host=node.host, port=node.port, ae_title=node.ae_title, tls=self._contexts[node.name])

    def _claim(
        self, study_instance_uid: str, revision: int, destination: str, state: DeliveryState, owner: str
    ) -> list[Claimed]:
        now = self._now()
        # One answer for each report; a FHIR server: five for its turn, its token and all requests.
        count = len(self._store.outbox.reports(study_instance_uid, revision))
        claimed = self._store.outbox.claim(
            study_instance_uid,
            revision,
            destination,
            state,
            owner=owner,
            now=now,
            until=now + self._lease(count + 5),
        )
        left = []
        for each in claimed:
            if each.attempts > self._settings.attempts:
                self._put_aside(each, owner, _FAULT)
            else:
                left.append(each)
        return left

    def _lease(self, messages: int) -> timedelta:
        return timedelta(seconds=messages * self._settings.network_timeout_s + _WORK_S)

    def _later(self, attempts: int) -> datetime:
        return self._now() + self._settings.delay(attempts, self._jitter())

    def _again_or_aside(self, each: Claimed, owner: str, *, retryable: bool, reason: str) -> None:
        if retryable and each.attempts < self._settings.attempts:
            self._settle(each, each.state, owner, reason=reason, due_at=self._later(each.attempts))
        else:
            self._put_aside(each, owner, reason)

    def _put_aside(self, each: Claimed, owner: str, reason: str) -> None:
        self._settle(each, DeliveryState.PUT_ASIDE, owner, reason=reason, due_at=None)

    def _settle(
        self, each: Claimed, state: DeliveryState, owner: str, *, reason: str, due_at: datetime | None
    ) -> None:
        settled = self._store.outbox.settle(
            each, state, owner=owner, reason=reason, now=self._now(), due_at=due_at
        )
        if not settled or (each.state is state is DeliveryState.DELIVERED and not reason):
            return
        delivered = state is DeliveryState.DELIVERED and each.state is DeliveryState.PENDING
        event = (
            "report_delivered"
            if delivered
            else "report_put_aside"
            if state is DeliveryState.PUT_ASIDE
            else "report_delayed"
        )
        write = self.log.info if delivered else self.log.warning
        write(
            event,
            study_ref=self._study_ref(each.report.study_instance_uid),
            revision=each.report.revision,
            kind=each.report.kind,
            destination=each.destination,
            attempt=each.attempts,
            reason=reason,
        )

    def _log_told(self, calling_ae_title: str, result: CommitmentResult) -> None:
        self.log.info(
            "commitment_reported",
            calling_ae_title=calling_ae_title,
            count=len(result.committed),
            outcome=f"{len(result.failed)} failed",
        )


def _is_what_passed(claimed: Claimed) -> bool:
    try:
        return hashlib.sha256(claimed.report.path.read_bytes()).hexdigest() == claimed.report.sha256
    except OSError:
        return False


def _tls_of(node: DestinationConfig) -> ssl.SSLContext | None:
    if node.ca_path is None:
        return None
    return client_context(ca=node.ca_path, certificate=node.certificate, private_key=node.private_key)


def _peers(config: Config) -> dict[str, Peer]:
    """Return the peers that have an address of their own, by AE title."""
    tls = config.listen.tls
    return {
        each.ae_title: Peer(
            host=each.host,
            port=each.port,
            ae_title=each.ae_title,
            tls=client_context(ca=tls.client_ca, certificate=tls.certificate, private_key=tls.private_key)
            if each.tls
            else None,
        )
        for each in config.listen.peers
        if each.host
    }


def _token(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        raise PeerUnavailable("token cannot be read") from None
