# SPDX-License-Identifier: Apache-2.0
"""The listener's object graph; apart from `build`, for the web process needs none of it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cds_service.build import Shared
from cds_service.committing import Committer
from cds_service.engines import create_workflow_engine
from cds_service.quiet import QuietTimer
from cds_service.sections import is_loopback
from cds_service.store import ReceivedInstances
from dicom_listener.access import Access, CallingPeer
from dicom_listener.attributes import read_header
from dicom_listener.commitment_handlers import CommitmentHandlers
from dicom_listener.identity import IDENTITY_KEYWORDS, identity_of, one_identity
from dicom_listener.instance import Recorded, StoredInstance
from dicom_listener.intake import Intake, IntakeLimits
from dicom_listener.scp import ScpSettings, StorageScp
from dicom_listener.tls import server_context
from model.domain import RejectionReason
from model.errors import ConfigError, RejectedStudy


def build_timer(shared: Shared) -> QuietTimer:
    """Return the quiet timer of a process that receives or reconciles."""
    return QuietTimer(
        create_workflow_engine(shared.config.workflow_url, busy_timeout_s=shared.config.store.busy_timeout_s),
        quiet_s=shared.config.assess.quiet_s,
        study_ref=shared.study_ref,
        log=shared.log,
    )


def build_intake(shared: Shared) -> Intake:
    """Return the door to the archive."""
    listen = shared.config.listen
    return Intake(
        shared.archive,
        IntakeLimits(
            minimum_free_disk_mb=listen.minimum_free_disk_mb,
            maximum_object_bytes=listen.maximum_object_mb * 1_000_000,
            other_sop_classes=listen.other_sop_classes == "keep",
        ),
        record=recorder(shared.store.received, versioned=listen.different_content == "version"),
        log=shared.log,
    )


def recorder(received: ReceivedInstances, *, versioned: bool) -> Callable[[StoredInstance], Recorded]:
    """Return what remembers a stored instance, and what is in doubt since it came.

    Parameters
    ----------
    versioned
        Whether other content of a known SOP Instance UID becomes current.
    """

    def record(instance: StoredInstance) -> Recorded:
        now = datetime.now(UTC)
        recorded = received.record_instance(instance, received_at=now, versioned=versioned)
        if recorded is Recorded.DIFFERENT and _are_of_different_patients(
            received.path(instance.sop_instance_uid), instance.path
        ):
            return received.record_dispute(instance, at=now)
        return recorded

    return record


def _are_of_different_patients(*paths: Path) -> bool:
    try:
        one_identity(identity_of(read_header(each, IDENTITY_KEYWORDS)) for each in paths)
    except RejectedStudy as rejection:
        return rejection.reason is RejectionReason.SEVERAL_PATIENTS
    except OSError:  # the kept one is gone: the step that reads it tells
        return False
    return False


def build_scp(shared: Shared) -> StorageScp:
    """Return the Storage SCP, not yet listening.

    Raises
    ------
    ConfigError
        It would listen to the world and name no peers, or its certificate cannot be used.
    """
    listen = shared.config.listen
    if not listen.peers and not is_loopback(listen.host):
        raise ConfigError("listen.peers must name who may call when listen.host is no loopback address")
    tls = listen.tls
    return StorageScp(
        ScpSettings(
            host=listen.host,
            port=listen.port,
            access=Access(
                ae_title=listen.ae_title,
                peers=tuple(
                    CallingPeer(ae_title=each.ae_title, networks=each.networks) for each in listen.peers
                ),
            ),
            tls=server_context(
                certificate=tls.certificate, private_key=tls.private_key, client_ca=tls.client_ca
            )
            if tls.certificate and tls.private_key
            else None,
            maximum_associations=listen.maximum_associations,
            maximum_pdu_size_bytes=listen.maximum_pdu_size_bytes,
            network_timeout_s=listen.network_timeout_s,
        ),
        shared.archive,
        build_intake(shared),
        touched=build_timer(shared).touched,
        commitment=CommitmentHandlers(
            Committer(config=shared.config, store=shared.store, log=shared.log).services, log=shared.log
        ),
        log=shared.log,
    )
