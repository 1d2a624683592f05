# SPDX-License-Identifier: Apache-2.0
"""Settings of when a study is whole, and of the PACS that knows."""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

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


class PacsConfig(Section):
    """The PACS that knows what belongs to a study. It must know our AE title, and be among `listen.peers`."""

    retrieve: Literal["c-move", "c-get", "wado-rs"] = Field(
        "c-move",
        description="How it is asked for what is missing: C-MOVE to our listener, C-GET, or WADO-RS; the "
        "first two ask what it holds by C-FIND, the last by QIDO-RS.",
    )
    host: str = Field("", description="Its address, for C-FIND, C-MOVE and C-GET.")
    port: Port = Field(104, description="Its TCP port.")
    ae_title: AETitle | None = Field(None, description="Its AE title.")
    url: str = Field("", description="Of its DICOMweb service, without `/studies`.")
    token_path: TokenPath = None
    ca_path: CaPath = None
    certificate: CertificatePath = None
    private_key: PrivateKeyPath = None
    network_timeout_s: Seconds = Field(30.0, description="Time that it has for each answer.")
    question_s: Seconds = Field(60.0, description="Time that it has for all answers to one question.")

    @model_validator(mode="after")
    def _reachable(self) -> Self:
        if self.retrieve == "wado-rs":
            if not self.url.startswith(("http://", "https://")):
                raise ValueError("wado-rs needs the url of a DICOMweb service")
        elif not self.host or self.ae_title is None:
            raise ValueError(f"{self.retrieve} needs host and ae_title")
        return self


class CompleteConfig(Section):
    """When a study is whole: with a PACS, its counts must agree and what a model needs must be there."""

    pacs: PacsConfig | None = Field(
        None, description="The PACS that is asked; without one, quiet time alone decides."
    )
    maximum_wait_s: Seconds = Field(
        1800.0, description="How long a study may stay incomplete; then `when_incomplete` decides."
    )
    when_incomplete: Literal["proceed", "reject", "wait"] = Field(
        "proceed",
        description="After `maximum_wait_s`: assess what is there, saying so in report and card; reject with "
        "IMG-PART; or go on asking.",
    )
    later_looks_s: tuple[Seconds, ...] = Field(
        (3600.0, 86400.0),
        max_length=10,
        description="So long after a study went on, or was rejected, without something, the PACS is asked "
        "once more each; what it holds by then is fetched, and the study is assessed anew. Empty: never.",
    )
    first_delay_s: Seconds = Field(
        10.0, description="Wait before the PACS is asked again; doubles each time that nothing came of it."
    )
    maximum_delay_s: Seconds = Field(300.0, description="Longest wait between two questions.")
    maximum_fetch_s: Seconds = Field(600.0, description="A fetch is broken off after this long.")
    maximum_fetch_mb: int = Field(4000, ge=1, description="A fetch is broken off when it brought more.")
    maximum_fetch_instances: int = Field(
        5000, ge=1, description="A study that lacks more instances is not fetched."
    )
    priors: Literal[0, 1] = Field(
        0,
        description="Earlier CT or MR studies of the patient's abdomen that are fetched: none, or the "
        "newest. Not over DICOMweb, whose question would carry the Patient ID in a URL.",
    )

    @field_validator("later_looks_s")
    @classmethod
    def _one_after_another(cls, delays_s: tuple[float, ...]) -> tuple[float, ...]:
        if any(later <= earlier for earlier, later in pairwise(delays_s)):
            raise ValueError("each look must come later than the one before")
        return delays_s

    @model_validator(mode="after")
    def _no_patient_in_a_url(self) -> Self:
        if self.priors and self.pacs is not None and self.pacs.retrieve == "wado-rs":
            raise ValueError("priors are not fetched with wado-rs: the Patient ID would stand in a URL")
        return self
