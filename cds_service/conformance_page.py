# SPDX-License-Identifier: Apache-2.0
"""The settings that a DICOM Conformance Statement is about."""

from __future__ import annotations

from importlib.metadata import version

from cds_service.config import Config
from dicom_listener.conformance_statement import StatementSettings, conformance_statement


def conformance_page(config: Config) -> str:
    """Return the conformance statement of an installation, as Markdown."""
    listen, pacs = config.listen, config.complete.pacs
    return conformance_statement(
        StatementSettings(
            software_version=version("hcc-cds"),
            ae_title=listen.ae_title,
            port=listen.port,
            maximum_associations=listen.maximum_associations,
            maximum_pdu_size_bytes=listen.maximum_pdu_size_bytes,
            maximum_object_mb=listen.maximum_object_mb,
            minimum_free_disk_mb=listen.minimum_free_disk_mb,
            network_timeout_s=listen.network_timeout_s,
            keeps_other_sop_classes=listen.other_sop_classes == "keep",
            keeps_versions=listen.different_content == "version",
            speaks_tls=listen.tls.certificate is not None,
            quiet_s=config.assess.quiet_s,
            retrieve=pacs.retrieve if pacs is not None else "",
            writes_page=config.report.pdf,
            attempts=config.deliver.attempts,
            commitment_attempts=config.deliver.commitment_attempts,
        )
    )
