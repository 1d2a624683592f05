# SPDX-License-Identifier: Apache-2.0
"""Settings of the FHIR servers that get our results."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, field_validator, model_validator

from cds_service.sections import Section, SettingsPath, server_address


class FhirDestinationConfig(Section):
    """One FHIR R4 server that gets the results of every assessment (SMART Backend Services)."""

    name: str = Field(description="Name of the destination for people and logs.", min_length=1, max_length=64)
    base_url: str = Field(
        description="Its base, as `https://ehr.example.org/fhir/r4`; http on this machine only."
    )
    token_url: str = Field(
        "",
        description="Where its authorization server gives access tokens; empty: it is called without one.",
    )
    client_id: str = Field("", description="Our `client_id` there.")
    private_key: SettingsPath | None = Field(
        None, description="Our private key, a PEM or JWK file; its public half is registered there."
    )
    key_id: str = Field("", description="`kid` of that key, as it is registered there.")
    algorithm: Literal["ES384", "RS384"] = Field("ES384", description="Signature of our assertions.")
    scope: str = Field(
        "system/Patient.rs system/ImagingStudy.rs system/DiagnosticReport.cruds system/Observation.cruds "
        "system/RiskAssessment.cruds system/DocumentReference.cruds system/BodyStructure.cruds "
        "system/Device.cruds system/Provenance.cruds",
        description="Scopes that are asked for.",
    )
    ca_path: SettingsPath | None = Field(
        None, description="Who vouches for both servers, a PEM file; empty: those whom this machine trusts."
    )
    maximum_answer_bytes: int = Field(
        16_777_216, ge=65_536, description="Larger answers are not read to their end; the attempt has failed."
    )

    @field_validator("base_url", "token_url")
    @classmethod
    def _is_safe(cls, url: str) -> str:
        return server_address(url) if url else url

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if not self.base_url:
            raise ValueError("a FHIR server has a base_url")
        if self.token_url and not (self.client_id and self.private_key and self.key_id):
            raise ValueError("token_url needs client_id, private_key and key_id")
        return self
