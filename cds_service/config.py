# SPDX-License-Identifier: Apache-2.0
"""One TOML file to frozen settings; every setting has a default, a unit in its name and a description."""

from __future__ import annotations

import ipaddress
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from model.errors import ConfigError

_AE_TITLE_MAX_LENGTH = 16
"""PS3.5 6.2, VR AE."""


def _ae_title(text: str) -> str:
    stripped = text.strip(" ")
    if not 1 <= len(stripped) <= _AE_TITLE_MAX_LENGTH or "\\" in stripped or not stripped.isprintable():
        raise ValueError("an AE title has 1 to 16 printable characters and no backslash (PS3.5 6.2)")
    return stripped


AETitle = Annotated[str, AfterValidator(_ae_title)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SiteConfig(_Section):
    """Where this installation keeps things."""

    data_dir: Path = Field(
        Path("var"), description="Folder of the archive and the SQLite files; relative to this file."
    )


class StoreConfig(_Section):
    """Databases. Several hosts need PostgreSQL for both."""

    url: str = Field(
        "", description="SQLAlchemy URL of our tables; empty: SQLite `hcc-cds.sqlite` in the data folder."
    )
    workflow_url: str = Field(
        "", description="URL of the workflow engine's tables; empty: SQLite `workflows.sqlite` there."
    )
    busy_timeout_s: Seconds = Field(30.0, description="How long SQLite waits for another writer.")


class ListenConfig(_Section):
    """The DICOM Storage SCP."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: Port = Field(11112, description="TCP port of the DICOM listener; 0 takes a free one.")
    ae_title: AETitle = Field("HCC_CDS", description="Our AE title; calls for another are refused.")
    calling_ae_titles: tuple[AETitle, ...] = Field(
        (), description="Peers that may call; empty: any on a loopback address, none elsewhere."
    )
    maximum_associations: int = Field(16, ge=1, description="Associations served at once.")
    maximum_pdu_size_bytes: int = Field(1_048_576, ge=4096, description="Largest PDU that we accept.")
    network_timeout_s: Seconds = Field(60.0, description="An idle association is aborted after this long.")
    minimum_free_disk_mb: int = Field(
        512, ge=0, description="Below this much free disk, instances are refused with 0xA700."
    )


class AssessConfig(_Section):
    """When a study is assessed, and with how much of the machine."""

    quiet_s: Seconds = Field(30.0, description="A study is complete when nothing arrived for this long.")
    poll_s: Seconds = Field(0.5, description="How often the worker looks for due studies.")
    processes: int = Field(1, ge=1, description="Studies measured at once, each in a process of its own.")
    reconcile_s: Seconds = Field(
        60.0, description="How often received studies without an assessment are looked for again."
    )


class ImageConfig(_Section):
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


class DestinationConfig(_Section):
    """One DICOM node that gets our reports."""

    name: str = Field(description="Name of the destination for people and logs.", min_length=1)
    host: str = Field(description="Its address.")
    port: Port = Field(description="Its TCP port.")
    ae_title: AETitle = Field(description="Its AE title.")


class DeliverConfig(_Section):
    """Sending reports."""

    destinations: tuple[DestinationConfig, ...] = Field(
        (), description="DICOM nodes that get every report; each is retried on its own."
    )
    attempts: int = Field(20, ge=1, description="Then the delivery is put aside for the administrator.")
    first_delay_s: Seconds = Field(2.0, description="Wait before the second attempt; doubles each time.")
    maximum_delay_s: Seconds = Field(900.0, description="Longest wait between two attempts.")
    network_timeout_s: Seconds = Field(30.0, description="Time that a destination has to answer.")


class ReportConfig(_Section):
    """What our reports say of themselves."""

    preliminary: bool = Field(True, description="Preliminary Flag (0040,A496) of our reports.")
    device_name: str = Field("HCC-CDS", description="Device Observer Name (121013, DCM).")


class ModelConfig(_Section):
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


class IssuerConfig(_Section):
    """One CDS client that may call."""

    iss: str = Field(description="`iss` of its JWTs.", min_length=1)
    jwks_path: Path = Field(description="Its public keys, a JWK set in a file.")
    tenant: str = Field("", description="`tenant` that its JWTs must carry; empty: none is asked for.")


class WebConfig(_Section):
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
    issuers: tuple[IssuerConfig, ...] = Field((), description="CDS clients whose JWTs are accepted.")
    clock_skew_s: float = Field(30.0, ge=0, description="Tolerated difference of clocks in `exp` and `iat`.")
    development_without_jwt: bool = Field(
        False, description="Accept calls without a JWT; only on a loopback address, for development."
    )
    cors_origins: tuple[str, ...] = Field((), description="Origins of browser clients that may call.")

    @property
    def url(self) -> str:
        """`base_url`, or what follows from host and port."""
        return self.base_url.rstrip("/") or f"http://{self.host}:{self.port}"

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if self.development_without_jwt and not is_loopback(self.host):
            raise ValueError("development_without_jwt needs a loopback host")
        return self


class IdentifierSystemConfig(_Section):
    """Which FHIR identifier system is which DICOM Issuer of Patient ID."""

    system: str = Field(description="`Patient.identifier.system` in FHIR.", min_length=1)
    issuer: str = Field(description="Issuer of Patient ID (0010,0021) of the same numbers.")


class IdentityConfig(_Section):
    """How a DICOM patient meets a FHIR Patient."""

    identifier_systems: tuple[IdentifierSystemConfig, ...] = Field(
        (), description="Identifier systems that hold DICOM Patient IDs; without one no result is shown."
    )
    default_issuer: str = Field(
        "", description="Issuer of Patient ID that is meant where an object names none."
    )


class LogConfig(_Section):
    """Logs: JSON lines on standard error, without patient data."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Lowest level written.")


class Config(_Section):
    """All settings of one installation."""

    site: SiteConfig = SiteConfig()
    store: StoreConfig = StoreConfig()
    listen: ListenConfig = ListenConfig()
    assess: AssessConfig = AssessConfig()
    image: ImageConfig = ImageConfig()
    deliver: DeliverConfig = DeliverConfig()
    report: ReportConfig = ReportConfig()
    model: ModelConfig = ModelConfig()
    web: WebConfig = WebConfig()
    identity: IdentityConfig = IdentityConfig()
    log: LogConfig = LogConfig()

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


def is_loopback(host: str) -> bool:
    """Whether `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


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
            "model": config.model.model_copy(
                update={
                    "bundle": relative_to / config.model.bundle if config.model.bundle else None,
                    "trusted_keys": tuple(relative_to / each for each in config.model.trusted_keys),
                }
            ),
            "web": config.web.model_copy(
                update={
                    "issuers": tuple(
                        each.model_copy(update={"jwks_path": relative_to / each.jwks_path})
                        for each in config.web.issuers
                    )
                }
            ),
        }
    )
