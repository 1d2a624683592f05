# SPDX-License-Identifier: Apache-2.0
"""One TOML file to frozen settings; every setting has a default, a unit in its name and a description."""

from __future__ import annotations

import re
import tomllib
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Literal, Self, TypeVar

from pydantic import (
    AfterValidator,
    Field,
    IPvAnyNetwork,
    ValidationError,
    field_validator,
    model_validator,
)

from cds_service.fetch_config import FetchConfig
from cds_service.fhir_config import FhirDestinationConfig
from cds_service.record_config import RecordConfig
from cds_service.rules_config import RulesConfig
from cds_service.sections import Section, is_loopback
from model.errors import ConfigError

_AE_TITLE_MAX_LENGTH = 16
"""PS3.5 6.2, VR AE."""

_MOST_DOUBLINGS = 16


def _ae_title(text: str) -> str:
    stripped = text.strip(" ")
    if not 1 <= len(stripped) <= _AE_TITLE_MAX_LENGTH or "\\" in stripped or not stripped.isprintable():
        raise ValueError("an AE title has 1 to 16 printable characters and no backslash (PS3.5 6.2)")
    return stripped


AETitle = Annotated[str, AfterValidator(_ae_title)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


class SiteConfig(Section):
    """Where this installation keeps things."""

    data_dir: Path = Field(
        Path("var"), description="Folder of the archive and the SQLite files; relative to this file."
    )


class StoreConfig(Section):
    """Databases. Several hosts need PostgreSQL for both."""

    url: str = Field(
        "", description="SQLAlchemy URL of our tables; empty: SQLite `hcc-cds.sqlite` in the data folder."
    )
    workflow_url: str = Field(
        "", description="URL of the workflow engine's tables; empty: SQLite `workflows.sqlite` there."
    )
    busy_timeout_s: Seconds = Field(30.0, description="How long SQLite waits for another writer.")


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

    certificate: Path | None = Field(None, description="Our certificate with its chain, a PEM file.")
    private_key: Path | None = Field(None, description="Its private key, a PEM file without password.")
    client_ca: Path | None = Field(
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


class AssessConfig(Section):
    """When a study is assessed, and with how much of the machine."""

    quiet_s: Seconds = Field(30.0, description="A study is complete when nothing arrived for this long.")
    poll_s: Seconds = Field(0.5, description="How often the worker looks for due studies.")
    processes: int = Field(1, ge=1, description="Studies measured at once, each in a process of its own.")
    rehearse: bool = Field(
        True,
        description="Whether a measuring process takes a phantom through its work before the first study, "
        "which then need not wait for libraries to load.",
    )
    perturbations: int = Field(
        0,
        ge=0,
        le=100,
        description="How often a scored lesion is measured again with noise, pose and outline perturbed, "
        "after its result has left, so that the spread of the score is known; 0 is never. With it a "
        "measuring process holds some 70 MB more, and the next study may wait for it.",
    )
    reconcile_s: Seconds = Field(
        60.0, description="How often received studies without an assessment are looked for again."
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
    token_path: Path | None = Field(
        None, description="File with the bearer token for DICOMweb, read at each use."
    )
    ca_path: Path | None = Field(
        None,
        description="Certificates (PEM) of those who vouch for it; with them, DIMSE goes over TLS. Empty: "
        "DIMSE without TLS, and for https the authorities that Python's certifi lists.",
    )
    certificate: Path | None = Field(None, description="Our certificate (PEM), if it asks for one.")
    private_key: Path | None = Field(None, description="Its private key (PEM).")
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


class ImageConfig(Section):
    """Quality gates on the images."""

    liver_required: bool = Field(
        True, description="Score only lesions whose outline or study says liver; off only for tests."
    )
    lesion_codes: tuple[str, ...] = Field(
        ("108369006", "372087000", "4147007", "52988006", "25370001", "109841003"),
        description="SNOMED CT property types of segments that are lesions.",
    )
    lesion_names: tuple[str, ...] = Field(
        ("gtv", "tumor", "tumour", "lesion", "hcc", "neoplasm"),
        description="ROI names (RTSTRUCT) or segment labels that mark a lesion, in any case, by whole word.",
    )
    maximum_slice_spacing_mm: float = Field(5.0, gt=0, description="Thicker slices are rejected.")
    minimum_slices: int = Field(10, ge=2, description="Series with fewer slices are rejected.")
    minimum_lesion_voxels: int = Field(
        100, ge=1, description="Smaller lesions, after resampling, are not measured."
    )
    hounsfield_range: tuple[float, float] = Field(
        (-50.0, 250.0),
        description="The median of a CT lesion outside this range is a wrong Rescale Intercept.",
    )


class DestinationConfig(Section):
    """One archive that gets our reports."""

    name: str = Field(description="Name of the destination for people and logs.", min_length=1, max_length=64)
    protocol: Literal["c-store", "stow-rs"] = Field("c-store", description="How reports get there.")
    host: str = Field("", description="Its address, for C-STORE and storage commitment.")
    port: Port = Field(104, description="Its TCP port.")
    ae_title: AETitle | None = Field(None, description="Its AE title.")
    url: str = Field("", description="Of its DICOMweb service, without `/studies`, for STOW-RS.")
    token_path: Path | None = Field(
        None, description="File with the bearer token for DICOMweb, read at each use."
    )
    ca_path: Path | None = Field(
        None,
        description="Certificates (PEM) of those who vouch for it; with them, DIMSE goes over TLS. Empty: "
        "DIMSE without TLS, and for https the authorities that Python's certifi lists.",
    )
    certificate: Path | None = Field(None, description="Our certificate (PEM), if it asks for one.")
    private_key: Path | None = Field(None, description="Its private key (PEM).")
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
        longest = min(self.maximum_delay_s, self.first_delay_s * 2.0 ** min(attempts - 1, _MOST_DOUBLINGS))
        return timedelta(seconds=longest * (0.5 + 0.5 * chance))


class ReportConfig(Section):
    """What our reports say of themselves."""

    preliminary: bool = Field(True, description="Preliminary Flag (0040,A496) of our reports.")
    device_name: str = Field("HCC-CDS", description="Device Observer Name (121013, DCM).")


class ModelConfig(Section):
    """The model bundle in use."""

    bundle: Path | None = Field(
        None, description="Path of the model bundle; empty: the demonstration bundle that comes with us."
    )
    trusted_keys: tuple[Path, ...] = Field(
        (),
        description="Ed25519 public keys (PEM) whose bundles may be loaded, besides the demonstration key.",
    )
    suspended: tuple[str, ...] = Field(
        (), description="Digests of bundles that must not score, whatever they say of themselves."
    )


Algorithm = Literal["ES256", "ES384", "ES512", "RS256", "RS384", "RS512", "PS256", "PS384", "PS512"]
"""Asymmetric signatures of RFC 7518 3.1: CDS Hooks forbids `none` and every symmetric one."""


class IssuerConfig(Section):
    """One CDS client that may call. One `iss` may stand here several times, with a `tenant` each."""

    iss: str = Field(description="`iss` of its JWTs.", min_length=1, max_length=255)
    jwks_path: Path | None = Field(None, description="Its public keys, a JWK set in a file.")
    jwks_url: str = Field(
        "",
        pattern=r"^(https://\S+)?$",
        description="`https` address of its JWK set instead, fetched and kept up to date; the only `jku` "
        "that its JWTs may name.",
    )
    tenant: str = Field("", description="`tenant` that its JWTs must carry; empty: none is asked for.")
    algorithms: tuple[Algorithm, ...] = Field(
        ("ES384", "RS384"), min_length=1, description="Signatures that are accepted of it."
    )
    audiences: tuple[str, ...] = Field(
        (), description="What its JWTs may name as `aud` besides the address that is called."
    )
    identifier_systems: tuple[str, ...] = Field(
        (),
        description="Those of `identity.identifier_systems` whose patients' imaging it may see; empty: all.",
    )

    @model_validator(mode="after")
    def _one_source_of_keys(self) -> Self:
        if (self.jwks_path is None) == (not self.jwks_url):
            raise ValueError("an issuer needs either jwks_path or jwks_url")
        return self


class WebConfig(Section):
    """The CDS Hooks service."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(8080, description="TCP port of the web service.")
    base_url: str = Field(
        "", description="URL by which EHRs reach us, without a final slash; empty: http://host:port."
    )
    processes: int = Field(2, ge=1, description="Web processes.")
    threads: int = Field(4, ge=1, description="Threads in each web process.")
    request_timeout_s: Seconds = Field(30.0, description="A web process that hangs this long is replaced.")
    maximum_request_bytes: int = Field(16_777_216, ge=1024, description="Larger requests are refused.")
    maximum_feedback_bytes: int = Field(262_144, ge=1024, description="The same for feedback.")
    issuers: tuple[IssuerConfig, ...] = Field((), description="CDS clients whose JWTs are accepted.")
    requests_per_minute: int = Field(
        6000, ge=1, description="Calls of one issuer that each web process answers; beyond, it says 429."
    )
    discovery_without_jwt: bool = Field(
        False, description="Let anybody ask which services there are (`GET /cds-services`)."
    )
    jwks_refresh_s: Seconds = Field(3600.0, description="A fetched JWK set is fetched again after this long.")
    jwks_stale_s: Seconds = Field(
        86400.0, description="One that cannot be fetched again is used for this long, and then no more."
    )
    jwks_retry_s: Seconds = Field(
        60.0, description="An unknown `kid`, or a failed fetch, leads to a fetch at most this often."
    )
    jwks_timeout_s: Seconds = Field(3.0, description="How long fetching a JWK set may take in all.")
    jwks_ca: Path | None = Field(
        None, description="Who vouches for the servers of `jwks_url`, a PEM file; empty: the usual ones."
    )
    jwks_networks: tuple[IPvAnyNetwork, ...] = Field(
        (), description="Addresses inside the hospital that `jwks_url` may lead to, `10.1.2.0/24`."
    )
    clock_skew_s: float = Field(30.0, ge=0, description="Tolerated difference of clocks in `exp` and `iat`.")
    development_without_jwt: bool = Field(
        False, description="Accept calls without a JWT; only on a loopback address, for development."
    )
    repeat_after_s: float = Field(
        86400.0,
        ge=0,
        description="A card that somebody answered (accepted or overridden) is not shown to them again for "
        "this long, as long as it says the same; 0: always shown. A critical one is always shown when orders "
        "are signed or dispatched.",
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="Origins of browser clients that may call, as `https://ehr.example.org`."
    )
    smart_launch_url: str = Field(
        "",
        pattern=r"^(https://\S+)?$",
        description="Launch URL of a SMART app that explains a card in the patient's context; cards link to "
        "it, and tell it their uuid and the version of the rules. Empty: no such link.",
    )

    @field_validator("cors_origins")
    @classmethod
    def _are_origins(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        for each in origins:
            if not re.fullmatch(r"https?://[^/\s*?#@]+", each):
                raise ValueError(f"{each} is no origin: scheme, host and port, and nothing behind it")
        return origins

    @property
    def url(self) -> str:
        """`base_url`, or what follows from host and port."""
        return self.base_url.rstrip("/") or f"http://{self.host}:{self.port}"

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.development_without_jwt and not is_loopback(self.host):
            raise ValueError("development_without_jwt needs a loopback host")
        clients = [(each.iss, each.tenant) for each in self.issuers]
        if len(set(clients)) != len(clients):
            raise ValueError("the same iss and tenant stand twice in issuers")
        return self


class AdministrationConfig(Section):
    """The administrator's page `/administration` of the web service; off without a password."""

    username: str = Field("administrator", description="Name to log in with (HTTP Basic).", min_length=1)
    password_hash: str = Field(
        "",
        pattern=r"^(scrypt:\S+\$\S+\$[0-9a-f]+)?$",
        description="Hash of the password, from `hcc-cds hash-password`; empty: there is no such page.",
    )


class IdentifierSystemConfig(Section):
    """Which FHIR identifier system is which DICOM Issuer of Patient ID."""

    system: str = Field(description="`Patient.identifier.system` in FHIR.", min_length=1)
    issuer: str = Field(description="Issuer of Patient ID (0010,0021) of the same numbers.")


class IdentityConfig(Section):
    """How a DICOM patient meets a FHIR Patient."""

    identifier_systems: tuple[IdentifierSystemConfig, ...] = Field(
        (), description="Identifier systems that hold DICOM Patient IDs; without one no result is shown."
    )
    default_issuer: str = Field(
        "", description="Issuer of Patient ID that is meant where an object names none."
    )


class LogConfig(Section):
    """Logs: JSON lines on standard error, without patient data."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level written.")


class ExtractConfig(Section):
    """Measuring a cohort with `hcc-cds extract`."""

    processes: int = Field(0, ge=0, description="Processes on this machine; 0 is one for each core.")
    dask_scheduler: str = Field(
        "",
        description=(
            "Address of a Dask cluster that measures instead, as `tcp://host:8786`; its workers see the "
            "same files under the same names. Needs the extra `cohort`."
        ),
    )


class Config(Section):
    """All settings of one installation."""

    site: SiteConfig = SiteConfig()
    store: StoreConfig = StoreConfig()
    listen: ListenConfig = ListenConfig()
    stow: StowConfig = StowConfig()
    assess: AssessConfig = AssessConfig()
    complete: CompleteConfig = CompleteConfig()
    image: ImageConfig = ImageConfig()
    deliver: DeliverConfig = DeliverConfig()
    report: ReportConfig = ReportConfig()
    model: ModelConfig = ModelConfig()
    web: WebConfig = WebConfig()
    fetch: FetchConfig = FetchConfig()
    administration: AdministrationConfig = AdministrationConfig()
    identity: IdentityConfig = IdentityConfig()
    record: RecordConfig = RecordConfig()
    rules: RulesConfig = RulesConfig()
    extract: ExtractConfig = ExtractConfig()
    log: LogConfig = LogConfig()

    @model_validator(mode="after")
    def _tenants_see_known_systems(self) -> Self:
        known = {each.system for each in self.identity.identifier_systems}
        for issuer in self.web.issuers:
            if strange := set(issuer.identifier_systems) - known:
                raise ValueError(
                    f"web.issuers.identifier_systems: {', '.join(sorted(strange))} "
                    "is not in identity.identifier_systems"
                )
        clients = {each.iss for each in self.web.issuers}
        if strange := {iss for each in self.fetch.servers for iss in each.issuers} - clients:
            raise ValueError(f"fetch.servers.issuers: {', '.join(sorted(strange))} is not in web.issuers")
        return self

    @property
    def archive_dir(self) -> Path:
        """Folder of received and written DICOM objects."""
        return self.site.data_dir / "archive"

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of our tables."""
        return self.store.url or f"sqlite:///{self.site.data_dir / 'hcc-cds.sqlite'}"

    @property
    def workflow_url(self) -> str:
        """SQLAlchemy URL of the workflow engine's tables."""
        return self.store.workflow_url or f"sqlite:///{self.site.data_dir / 'workflows.sqlite'}"


def load_config(path: Path | None) -> Config:
    """Read the settings in `path`; without one, every default, relative to the working folder.

    Raises
    ------
    ConfigError
        The file cannot be read, is no TOML, or a setting is unknown or impossible.
    """
    if path is None:
        return Config()
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is no TOML: {error}") from error
    return parse_config(document, relative_to=path.parent)


def parse_config(document: dict[str, object], *, relative_to: Path) -> Config:
    """Return `document` as settings; its relative paths start at `relative_to`."""
    try:
        config = Config.model_validate(document)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors()
        )
        raise ConfigError(problems) from error
    return config.model_copy(
        update={
            "site": config.site.model_copy(update={"data_dir": relative_to / config.site.data_dir}),
            "listen": config.listen.model_copy(
                update={
                    "tls": config.listen.tls.model_copy(
                        update={
                            name: relative_to / path
                            for name in ("certificate", "private_key", "client_ca")
                            if (path := getattr(config.listen.tls, name)) is not None
                        }
                    )
                }
            ),
            "complete": config.complete.model_copy(
                update={"pacs": _pacs_relative_to(config.complete.pacs, relative_to)}
            ),
            "deliver": config.deliver.model_copy(
                update={
                    "destinations": tuple(
                        _destination_relative_to(each, relative_to) for each in config.deliver.destinations
                    ),
                    "fhir_servers": tuple(
                        _destination_relative_to(each, relative_to) for each in config.deliver.fhir_servers
                    ),
                }
            ),
            "model": config.model.model_copy(
                update={
                    "bundle": relative_to / config.model.bundle if config.model.bundle else None,
                    "trusted_keys": tuple(relative_to / each for each in config.model.trusted_keys),
                }
            ),
            "web": config.web.model_copy(
                update={
                    "issuers": tuple(
                        each.model_copy(
                            update={"jwks_path": relative_to / each.jwks_path if each.jwks_path else None}
                        )
                        for each in config.web.issuers
                    ),
                    "jwks_ca": relative_to / config.web.jwks_ca if config.web.jwks_ca else None,
                }
            ),
            "fetch": config.fetch.model_copy(
                update={"ca": relative_to / config.fetch.ca if config.fetch.ca else None}
            ),
        }
    )


_Destination = TypeVar("_Destination", DestinationConfig, FhirDestinationConfig)


def _destination_relative_to(destination: _Destination, folder: Path) -> _Destination:
    return destination.model_copy(
        update={
            name: folder / path
            for name in ("token_path", "ca_path", "certificate", "private_key")
            if (path := getattr(destination, name, None)) is not None
        }
    )


def _pacs_relative_to(pacs: PacsConfig | None, folder: Path) -> PacsConfig | None:
    if pacs is None:
        return None
    return pacs.model_copy(
        update={
            name: folder / path
            for name in ("token_path", "ca_path", "certificate", "private_key")
            if (path := getattr(pacs, name)) is not None
        }
    )
