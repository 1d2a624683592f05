# SPDX-License-Identifier: Apache-2.0
"""One TOML file to frozen settings; every setting has a default, a unit in its name and a description."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, ValidationError, model_validator

from cds_service.complete_config import CompleteConfig
from cds_service.deliver_config import DeliverConfig
from cds_service.fetch_config import FetchConfig
from cds_service.listen_config import ListenConfig, StowConfig
from cds_service.record_config import RecordConfig
from cds_service.rules_config import RulesConfig
from cds_service.sections import Seconds, Section, SettingsPath
from cds_service.web_config import AdministrationConfig, WebConfig
from model.errors import ConfigError


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


class ReportConfig(Section):
    """What our reports say of themselves."""

    preliminary: bool = Field(True, description="Preliminary Flag (0040,A496) of our reports.")
    device_name: str = Field("HCC-CDS", description="Device Observer Name (121013, DCM).")
    pdf: bool = Field(
        False,
        description="The tumour board's one page, as Encapsulated PDF, beside the structured reports.",
    )


class ModelConfig(Section):
    """The model bundle in use."""

    bundle: SettingsPath | None = Field(
        None, description="Path of the model bundle; empty: the demonstration bundle that comes with us."
    )
    trusted_keys: tuple[SettingsPath, ...] = Field(
        (),
        description="Ed25519 public keys (PEM) whose bundles may be loaded, besides the demonstration key.",
    )
    suspended: tuple[str, ...] = Field(
        (), description="Digests of bundles that must not score, whatever they say of themselves."
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
        config = Config.model_validate(document, context={"relative_to": relative_to})
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in each['loc'])}: {each['msg']}" for each in error.errors()
        )
        raise ConfigError(problems) from error
    # Its default counts from there as well, and no default is validated.
    site = config.site.model_copy(update={"data_dir": relative_to / config.site.data_dir})
    return config.model_copy(update={"site": site})
