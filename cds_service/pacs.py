# SPDX-License-Identifier: Apache-2.0
"""The PACS that the settings name."""

from __future__ import annotations

from cds_service.complete_config import PacsConfig
from dicom_listener.dimse_pacs import DimseNode, DimsePacs
from dicom_listener.intake import Intake
from dicom_listener.pacs import Pacs
from dicom_listener.tls import client_context
from dicom_listener.web_pacs import WebNode, WebPacs


def build_pacs(settings: PacsConfig, intake: Intake, *, calling_ae_title: str) -> Pacs:
    """Return the PACS of the settings.

    Raises
    ------
    ConfigError
        A certificate or key cannot be read.
    """
    if settings.retrieve == "wado-rs":
        token_path = settings.token_path
        return WebPacs(
            WebNode(
                url=settings.url.rstrip("/"),
                token=lambda: token_path.read_text(encoding="utf-8").strip() if token_path else "",
                network_timeout_s=settings.network_timeout_s,
                ca_path=settings.ca_path,
            ),
            intake,
            question_s=settings.question_s,
        )
    assert settings.ae_title is not None, "validated by the settings"
    return DimsePacs(
        DimseNode(
            host=settings.host,
            port=settings.port,
            ae_title=settings.ae_title,
            calling_ae_title=calling_ae_title,
            retrieve_by_get=settings.retrieve == "c-get",
            network_timeout_s=settings.network_timeout_s,
            tls=client_context(
                ca=settings.ca_path, certificate=settings.certificate, private_key=settings.private_key
            )
            if settings.ca_path
            else None,
        ),
        intake,
        question_s=settings.question_s,
    )
