# SPDX-License-Identifier: Apache-2.0
"""The listener's object graph; apart from `build`, for the web process needs none of it."""

from __future__ import annotations

from datetime import UTC, datetime

from cds_service.build import Shared
from cds_service.config import is_loopback
from cds_service.engines import create_workflow_engine
from cds_service.quiet import QuietTimer
from cds_service.store import Recorded
from dicom_listener.instance import StoredInstance
from dicom_listener.scp import ScpSettings, StorageScp
from model.errors import ConfigError


def build_timer(shared: Shared) -> QuietTimer:
    """Return the quiet timer of a process that receives or reconciles."""
    return QuietTimer(
        create_workflow_engine(shared.config.workflow_url, busy_timeout_s=shared.config.store.busy_timeout_s),
        quiet_s=shared.config.assess.quiet_s,
        study_ref=shared.study_ref,
        log=shared.log,
    )


def build_scp(shared: Shared) -> StorageScp:
    """Return the Storage SCP, not yet listening.

    Raises
    ------
    ConfigError
        It would listen to the world and name no peers.
    """
    listen = shared.config.listen
    if not listen.calling_ae_titles and not is_loopback(listen.host):
        raise ConfigError(
            "listen.calling_ae_titles must name the peers when listen.host is no loopback address"
        )
    store = shared.store

    def record(instance: StoredInstance) -> bool:
        return (
            store.received.record_instance(instance, received_at=datetime.now(UTC)) is not Recorded.DIFFERENT
        )

    return StorageScp(
        ScpSettings(
            host=listen.host,
            port=listen.port,
            ae_title=listen.ae_title,
            calling_ae_titles=listen.calling_ae_titles,
            maximum_associations=listen.maximum_associations,
            maximum_pdu_size_bytes=listen.maximum_pdu_size_bytes,
            network_timeout_s=listen.network_timeout_s,
            minimum_free_disk_mb=listen.minimum_free_disk_mb,
        ),
        shared.archive,
        record=record,
        touched=build_timer(shared).touched,
        log=shared.log,
    )
