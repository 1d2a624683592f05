# SPDX-License-Identifier: Apache-2.0
"""Settings of the two doors to the archive: the DICOM listener and STOW-RS."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, IPvAnyNetwork, model_validator

from cds_service.sections import AETitle, Port, Seconds, Section, SettingsPath, is_loopback


class PeerConfig(Section):
    """One application entity that may call the listener."""

    ae_title: AETitle = Field(description="Its AE title, with which it calls.")
    networks: tuple[IPvAnyNetwork, ...] = Field(
        min_length=1, description="Addresses that it calls from: `10.1.2.3` or `10.1.2.0/24`, one at least."
    )
    host: str = Field("", description="Where it listens itself, to be told of storage commitment.")
    port: Port = Field(104, description="Its TCP port there.")
    tls: bool = Field(
        False, description="Whether it listens with TLS; certificates are those of `listen.tls`."
    )


class ListenTlsConfig(Section):
    """TLS of the DICOM listener (PS3.15 B.12); with a certificate, plain connections are refused."""

    certificate: SettingsPath | None = Field(None, description="Our certificate with its chain, a PEM file.")
    private_key: SettingsPath | None = Field(
        None, description="Its private key, a PEM file without password."
    )
    client_ca: SettingsPath | None = Field(
        None, description="Who vouches for peers, a PEM file; with it, every peer needs a certificate."
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key belong together")
        if self.client_ca is not None and self.certificate is None:
            raise ValueError("client_ca needs certificate and private_key")
        return self


class ListenConfig(Section):
    """The DICOM Storage SCP."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(11112, description="TCP port of the DICOM listener; 0 takes a free one.")
    ae_title: AETitle = Field("HCC_CDS", description="Our AE title; calls for another are refused.")
    peers: tuple[PeerConfig, ...] = Field(
        (), description="Who may call; empty: anybody on this machine, nobody else."
    )
    tls: ListenTlsConfig = Field(ListenTlsConfig(), description="Certificates; without one, no TLS.")
    processes: int = Field(
        1,
        ge=1,
        description="Processes that receive in `hcc-cds serve`, at one port; more than one pays with "
        "PostgreSQL, while in SQLite they wait for each other.",
    )
    maximum_associations: int = Field(16, ge=1, description="Associations that each of them serves at once.")
    maximum_pdu_size_bytes: int = Field(1_048_576, ge=4096, description="Largest PDU that we accept.")
    network_timeout_s: Seconds = Field(60.0, description="An idle association is aborted after this long.")
    maximum_object_mb: int = Field(
        1000, ge=1, le=4000, description="Larger objects, as sent or once inflated, are refused with 0xA701."
    )
    minimum_free_disk_mb: int = Field(
        512, ge=0, description="Below this much free disk, instances are refused with 0xA700."
    )
    other_sop_classes: Literal["keep", "refuse"] = Field(
        "keep",
        description="What becomes of objects that a liver study is not made of: kept, so that counts agree "
        "with the PACS, or refused when the association is negotiated.",
    )
    different_content: Literal["refuse", "version"] = Field(
        "refuse",
        description="An SOP Instance UID that comes again with other bytes: refused with 0xC002, or kept as "
        "a new version that is assessed instead (both files stay). One that is refused and names another "
        "patient withdraws the result of its study.",
    )


class StowSenderConfig(Section):
    """One system that may post instances."""

    name: str = Field(description="Its name for people and logs.", min_length=1, max_length=16)
    token_sha256: str = Field(
        description="SHA-256 of its bearer token in hexadecimal digits; the token is kept nowhere here.",
        pattern="^[0-9a-f]{64}$",
    )


class StowConfig(Section):
    """DICOMweb STOW-RS: a second door to the archive, with a process of its own."""

    enabled: bool = Field(False, description="Whether `hcc-cds serve` opens it.")
    host: str = Field("127.0.0.1", description="Address to listen on; TLS is a reverse proxy's business.")
    port: Port = Field(8043, description="TCP port; the service is at `/dicom-web/studies`.")
    processes: int = Field(1, ge=1, description="Processes that receive.")
    threads: int = Field(4, ge=1, description="Requests that each process receives at once.")
    request_timeout_s: Seconds = Field(60.0, description="A process that hangs this long is replaced.")
    maximum_request_mb: int = Field(
        10_000, ge=1, description="Larger requests are refused; one instance is in memory at a time."
    )
    senders: tuple[StowSenderConfig, ...] = Field((), description="Who may post.")
    development_without_token: bool = Field(
        False, description="Accept posts without a token; only on a loopback address, for development."
    )

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.development_without_token and not is_loopback(self.host):
            raise ValueError("development_without_token needs a loopback host")
        return self
