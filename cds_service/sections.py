# SPDX-License-Identifier: Apache-2.0
"""What sections of the settings have in common."""

from __future__ import annotations

import ipaddress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo

_AE_TITLE_MAX_LENGTH = 16
"""PS3.5 6.2, VR AE."""


def _ae_title(text: str) -> str:
    stripped = text.strip(" ")
    if not 1 <= len(stripped) <= _AE_TITLE_MAX_LENGTH or "\\" in stripped or not stripped.isprintable():
        raise ValueError("an AE title has 1 to 16 printable characters and no backslash (PS3.5 6.2)")
    return stripped


def _beside_the_settings(path: Path, info: ValidationInfo) -> Path:
    return Path((info.context or {}).get("relative_to", "")) / path


AETitle = Annotated[str, AfterValidator(_ae_title)]
Port = Annotated[int, Field(ge=0, le=65535)]
Seconds = Annotated[float, Field(gt=0)]
SettingsPath = Annotated[Path, AfterValidator(_beside_the_settings)]
"""A file; relative to the folder of the settings that name it."""

# Of a peer that is called over DIMSE or DICOMweb.
TokenPath = Annotated[
    SettingsPath | None, Field(description="File with the bearer token for DICOMweb, read at each use.")
]
CaPath = Annotated[
    SettingsPath | None,
    Field(
        description="Certificates (PEM) of those who vouch for it; with them, DIMSE goes over TLS. Empty: "
        "DIMSE without TLS, and for https the authorities that Python's certifi lists."
    ),
]
CertificatePath = Annotated[
    SettingsPath | None, Field(description="Our certificate (PEM), if it asks for one.")
]
PrivateKeyPath = Annotated[SettingsPath | None, Field(description="Its private key (PEM).")]


class Section(BaseModel):
    """A table of the TOML file: frozen, and a key that it does not know is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def is_loopback(host: str) -> bool:
    """Whether `host` can be reached from this machine only."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def server_address(url: str) -> str:
    """Return `url` without a slash at its end, if patient data may be exchanged with it.

    Raises
    ------
    ValueError
        It is no plain address of a server, or neither https nor on this machine.
    """
    parts = urlsplit(url)
    if parts.query or parts.fragment or parts.username or parts.password or not parts.hostname:
        raise ValueError("an address has scheme, host and path, and nothing else")
    if parts.scheme != "https" and not (parts.scheme == "http" and is_loopback(parts.hostname)):
        raise ValueError("a FHIR server is called by https; by http only on this machine")
    return url.rstrip("/")
