# SPDX-License-Identifier: Apache-2.0
"""Results for FHIR servers: written to the archive beside the reports, and sent from there."""

from __future__ import annotations

import hashlib
import ipaddress
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from cds_service.config import Config, IdentityConfig
from cds_service.fhir_config import FhirDestinationConfig
from cds_service.outbound import Fetching, Outbound
from cds_service.store import WrittenReport
from dicom_listener.archive import Archive
from dicom_listener.deliver import SendResult
from fhir_gateway.backend import FhirServer, NoToken, Token
from fhir_gateway.backend_auth import (
    BackendClient,
    BackendToken,
    Exchange,
    HttpAnswer,
    TokenInTime,
    read_key,
)
from fhir_gateway.backend_results import SUPERSEDED, withdraw_result, write_result
from fhir_gateway.result_document import ResultDocument
from fhir_gateway.results import WrittenDocument, result_document
from model.domain import Assessment, NotComputed, NotComputedReason, Outcome, Rejection, derived_uid
from model.errors import ConfigError, PeerRefused, PeerUnavailable

KIND = "FHIR"
"""Kind of such a file in the outbox, beside those of the DICOM reports."""

SUSPENDED_ENDING = ".suspended.json"
"""Of the name of a file that leaves the score out because the model is suspended."""

_TITLES = {
    "SR-A": "Lesion findings (DICOM Structured Report)",
    "SR-B": "Radiomics (DICOM Structured Report)",
    "PDF": "Report (PDF in DICOM)",
}
"""The reports that people read, by kind; a segmentation is none."""

_EVERYWHERE = (ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0"))

_AT_ONCE = 4
"""Results that one server gets at a time: after it was down, there may be hundreds."""

_EXCHANGES = 5
"""An errand is leased for several times the time of one answer, and something for reading files. In so many
of them it must have ended: its turn, for which it waits for one at most, its token and all its requests."""


def write_fhir_result(
    archive: Archive,
    outcome: Outcome,
    reports: Sequence[WrittenReport],
    *,
    predecessor: Assessment | None,
    earlier_reports: Sequence[WrittenReport] = (),
    preliminary: bool,
    score_withdrawn: bool = False,
) -> WrittenReport | None:
    """Write what an outcome tells FHIR servers to the archive; a repeat writes the same bytes.

    Parameters
    ----------
    reports
        The reports of an assessment.
    predecessor, earlier_reports
        The assessment that it supersedes, and its reports.
    score_withdrawn
        Whether this revision was written with a score before, which `outcome` no longer has.

    Returns
    -------
    None where there is nothing to tell: a rejection of what was never assessed.
    """
    if isinstance(outcome, Rejection):
        if predecessor is None:
            return None
        # Withdrawn is what was said of the patient whose study it was then.
        outcome = replace(outcome, study=predecessor.study)
    earlier = {each.kind: each.sop_instance_uid for each in earlier_reports}
    documents = [
        WrittenDocument(
            kind=each.kind,
            title=_TITLES[each.kind],
            sop_instance_uid=each.sop_instance_uid,
            replaces_sop_instance_uid=earlier.get(each.kind, ""),
        )
        for each in reports
        if each.kind in _TITLES
    ]
    content = result_document(
        outcome, documents, preliminary=preliminary, score_withdrawn=score_withdrawn
    ).to_json()
    study_instance_uid = outcome.study.study_instance_uid
    # Not that of a DICOM object: the outbox knows what it sends by a UID.
    uid = derived_uid(KIND, study_instance_uid, str(outcome.revision))
    # Beside the other, not in its place: until the outbox knows of this one, that one may leave.
    path = archive.report_path(study_instance_uid, uid).with_suffix(
        SUSPENDED_ENDING if is_suspended(outcome) else ".json"
    )
    archive.write(path, [content])
    return WrittenReport(
        study_instance_uid=study_instance_uid,
        revision=outcome.revision,
        sop_instance_uid=uid,
        kind=KIND,
        path=path,
        sha256=hashlib.sha256(content).hexdigest(),
    )


def is_suspended(outcome: Outcome) -> bool:
    """Whether `outcome` is without a score because the model is suspended."""
    return (
        isinstance(outcome, Assessment)
        and isinstance(outcome.score, NotComputed)
        and outcome.score.reason is NotComputedReason.SUSPENDED
    )


class FhirDestinations:
    """The FHIR servers that get our results.

    Raises
    ------
    ConfigError
        A private key cannot be read or is of another kind.
    """

    def __init__(self, config: Config) -> None:
        self._identity = config.identity
        self._timeout_s = config.deliver.network_timeout_s
        self._connections = {
            each.name: _Connection(each, timeout_s=self._timeout_s) for each in config.deliver.fhir_servers
        }

    def __contains__(self, name: object) -> bool:
        return name in self._connections

    def send(self, name: str, path: Path, stands: Callable[[], bool]) -> SendResult:
        """Write the result in the file at `path` to the server `name`, or take it back.

        Parameters
        ----------
        stands
            Whether no newer one may be on its way there. What was written of an older one, as by a worker
            that was killed before it could look, is withdrawn.
        """
        try:
            document = ResultDocument.from_json(path.read_bytes())
        except (OSError, ValueError, TypeError, KeyError):
            return SendResult(accepted=False, retryable=False, reason="the file cannot be read")
        systems = identifier_systems(self._identity, document.patient.key.issuer)
        try:
            with self._connections[name].server() as server:
                if not stands():
                    withdraw_result(server, document)
                    return SendResult(accepted=False, retryable=False, reason=SUPERSEDED)
                write_result(server, document, systems, stands=stands)
        except (PeerUnavailable, PeerRefused) as error:
            return SendResult(accepted=False, retryable=error.retryable, reason=str(error))
        except (ValueError, TypeError, KeyError, AttributeError):
            # Shaped like nothing in FHIR.
            return SendResult(accepted=False, retryable=False, reason="the answer cannot be read")
        return SendResult(accepted=True, retryable=False, reason="")


def identifier_systems(identity: IdentityConfig, issuer: str) -> tuple[str, ...]:
    """Return the identifier systems that hold the numbers of `issuer`."""
    return tuple(each.system for each in identity.identifier_systems if each.issuer == issuer)


class _Connection:
    """One server, and the token for it, which outlives an errand."""

    def __init__(self, settings: FhirDestinationConfig, *, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._outbound = Outbound(
            Fetching(
                # The settings name it: no address that is configured here is one to be kept from.
                networks=_EVERYWHERE,
                ca=settings.ca_path,
                timeout_s=timeout_s,
                maximum_bytes=settings.maximum_answer_bytes,
                connections=_AT_ONCE,
            )
        )
        self._turns = threading.BoundedSemaphore(_AT_ONCE)
        self._token = BackendToken(_client(settings)) if settings.token_url else None

    @contextmanager
    def server(self) -> Iterator[FhirServer]:
        """Yield the server for one errand, when it is its turn; its time runs from the call."""
        until = time.monotonic() + _EXCHANGES * self._timeout_s
        if not self._turns.acquire(timeout=self._timeout_s):
            raise PeerUnavailable("too many results at once")
        try:
            exchange = self._exchange(until)
            token: Token = NoToken()
            if self._token is not None:
                token = TokenInTime(
                    token=self._token, exchange=exchange, remaining_s=lambda: until - time.monotonic()
                )
            yield FhirServer(self._settings.base_url, exchange, token)
        finally:
            self._turns.release()

    def _exchange(self, until: float) -> Exchange:
        def exchange(method: str, url: str, headers: dict[str, str], content: bytes) -> HttpAnswer:
            answer = self._outbound.request(
                method,
                url,
                headers=headers,
                content=content,
                deadline=min(time.monotonic() + self._timeout_s, until),
            )
            return HttpAnswer(status=answer.status, content=answer.content, location=answer.location)

        return exchange


def _client(settings: FhirDestinationConfig) -> BackendClient:
    assert settings.private_key is not None, "the settings see to it"
    try:
        pem = settings.private_key.read_bytes()
    except OSError as error:
        raise ConfigError(f"deliver.fhir_servers: the key of {settings.name} cannot be read") from error
    return BackendClient(
        token_url=settings.token_url,
        client_id=settings.client_id,
        scope=settings.scope,
        key=read_key(pem, settings.algorithm),
        key_id=settings.key_id,
        algorithm=settings.algorithm,
    )
