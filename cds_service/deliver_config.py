# SPDX-License-Identifier: Apache-2.0
"""Settings of where reports and results go."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal, Self

from pydantic import Field, model_validator

from cds_service.back_off import back_off
from cds_service.fhir_config import FhirDestinationConfig
from cds_service.sections import (
    AETitle,
    CaPath,
    CertificatePath,
    Port,
    PrivateKeyPath,
    Seconds,
    Section,
    TokenPath,
)


class DestinationConfig(Section):
    """One archive that gets our reports."""

    name: str = Field(description="Name of the destination for people and logs.", min_length=1, max_length=64)
    protocol: Literal["c-store", "stow-rs"] = Field("c-store", description="How reports get there.")
    host: str = Field("", description="Its address, for C-STORE and storage commitment.")
    port: Port = Field(104, description="Its TCP port.")
    ae_title: AETitle | None = Field(None, description="Its AE title.")
    url: str = Field("", description="Of its DICOMweb service, without `/studies`, for STOW-RS.")
    token_path: TokenPath = None
    ca_path: CaPath = None
    certificate: CertificatePath = None
    private_key: PrivateKeyPath = None
    storage_commitment: bool = Field(
        False,
        description="Ask it to commit to what it accepted (PS3.4 Annex J, over DIMSE); it must know our "
        "AE title with the listener's address, and be among `listen.peers`.",
    )
    commitment_timeout_s: Seconds = Field(
        3600.0, description="How long its answer may take; then it is asked again."
    )

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.protocol == "stow-rs" and not self.url.startswith(("http://", "https://")):
            raise ValueError("stow-rs needs the url of a DICOMweb service")
        for needs, what in (
            (self.protocol == "c-store", "c-store"),
            (self.storage_commitment, "storage_commitment"),
        ):
            if needs and (not self.host or self.ae_title is None):
                raise ValueError(f"{what} needs host and ae_title")
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key belong together")
        return self


class DeliverConfig(Section):
    """Sending reports, and telling peers what we commit to."""

    destinations: tuple[DestinationConfig, ...] = Field(
        (), description="Archives that get every report; each is retried on its own."
    )
    fhir_servers: tuple[FhirDestinationConfig, ...] = Field(
        (), description="FHIR servers that get every result; each is retried on its own."
    )
    attempts: int = Field(20, ge=1, description="Then the delivery is put aside for the administrator.")
    first_delay_s: Seconds = Field(
        2.0, description="Wait before the second attempt, up to a half shorter by chance; doubles each time."
    )
    maximum_delay_s: Seconds = Field(900.0, description="Longest wait between two attempts.")
    network_timeout_s: Seconds = Field(30.0, description="Time that a destination has to answer.")
    commitment_attempts: int = Field(
        4,
        ge=1,
        description="How often a destination is asked to commit to a report, which is sent again when it "
        "does not or stays silent twice; then the report is put aside.",
    )
    poll_s: Seconds = Field(2.0, description="How often the worker looks for what is due.")

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        if len(set(self.names)) != len(self.names):
            raise ValueError("the same name stands twice in destinations and fhir_servers")
        return self

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all destinations."""
        return (
            *(each.name for each in self.destinations),
            *(each.name for each in self.fhir_servers),
        )

    def delay(self, attempts: int, chance: float) -> timedelta:
        """Return the wait after so many attempts.

        Parameters
        ----------
        chance
            In [0, 1): which part of the second half of the wait is waited.
        """
        return back_off(
            attempts - 1, first_s=self.first_delay_s, maximum_s=self.maximum_delay_s, chance=chance
        )
