# SPDX-License-Identifier: Apache-2.0
"""Logs as JSON lines whose keys are on an allow-list, so that no patient data can reach them."""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import logging
import os
import secrets
import sys
import tempfile
import warnings
from collections.abc import MutableMapping
from pathlib import Path
from typing import Any, TextIO

import structlog

ALLOWED_KEYS = frozenset(
    {
        "event", "level", "timestamp", "process", "address", "port", "count", "seconds", "status",
        "reason", "study_ref", "revision", "kind", "destination", "attempt", "error", "step", "hook",
        "hook_instance", "cards", "iss", "calling_ae_title", "called_ae_title", "source", "free_mb",
        "bundle", "model_status", "exit_code", "version", "path", "keys", "outcome", "method",
        "explanation", "arrived", "expected", "audit",
    }
)  # fmt: skip
"""Everything else is dropped. A new key is added here by a person who looked at what it carries."""

_SILENCED = (
    "pydicom", "pynetdicom", "highdicom", "radiomics", "dbos", "werkzeug", "alembic", "matplotlib",
    "python_multipart", "dicomweb_client", "urllib3", "httpcore",
)  # fmt: skip
"""Loggers of libraries that quote values or UIDs in their messages."""


class UnknownLogKeyError(KeyError):
    """A log call used a key that is not on the allow-list (raised in tests only)."""


class _AllowList:
    """structlog processor: drops keys that are not on the list, or raises when `strict`."""

    def __init__(self, *, strict: bool) -> None:
        self._strict = strict

    def __call__(
        self, _logger: Any, _method: str, event_dict: MutableMapping[str, Any]
    ) -> MutableMapping[str, Any]:
        unknown = [key for key in event_dict if key not in ALLOWED_KEYS]
        if unknown and self._strict:
            raise UnknownLogKeyError(", ".join(sorted(unknown)))
        for key in unknown:
            del event_dict[key]
        return event_dict


def silence_libraries() -> None:
    """Keep libraries, and Python's warnings, from printing what they read; for every process of ours."""
    for name in _SILENCED:
        library = logging.getLogger(name)
        library.handlers = [logging.NullHandler()]
        library.propagate = False
        library.setLevel(logging.CRITICAL)
    # pydicom and highdicom warn with the value that they find odd: a date of birth, a name.
    warnings.simplefilter("ignore")


def configure_logs(*, level: str, process: str, stream: TextIO | None = None, strict: bool = False) -> Any:
    """Return the logger of this process and silence libraries that quote what they read.

    Parameters
    ----------
    level
        Lowest level written: debug, info, warning or error.
    process
        Bound to every line: listen, work, web or serve.
    strict
        Raise on a key that is not on the allow-list instead of dropping it.
    """
    silence_libraries()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            _AllowList(strict=strict),
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(sort_keys=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.WriteLoggerFactory(file=stream or sys.stderr),
        cache_logger_on_first_use=False,
    )
    return structlog.get_logger().bind(process=process)


class StudyRef:
    """Names a study in logs: a keyed hash of its UID that nobody can turn back without the key.

    Parameters
    ----------
    key
        Of this installation; the same in all its processes.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def __call__(self, study_instance_uid: str) -> str:
        """Return 12 hexadecimal digits that stand for the study."""
        return hmac.new(self._key, study_instance_uid.encode(), hashlib.sha256).hexdigest()[:12]

    def key_for(self, purpose: str) -> bytes:
        """Return the installation's key for another purpose, from which this one cannot be told."""
        return hmac.digest(self._key, f"key for {purpose}".encode(), "sha256")


def load_study_ref(data_dir: Path) -> StudyRef:
    """Read the installation's key for study references; make it on first use."""
    path = data_dir / "study-ref.key"
    data_dir.mkdir(parents=True, exist_ok=True)
    if not path.exists():
        descriptor, temporary = tempfile.mkstemp(dir=data_dir)  # readable by its owner only
        with os.fdopen(descriptor, "wb") as file:
            file.write(secrets.token_bytes(32))
        # A link appears whole or, where another process was first, not at all.
        with contextlib.suppress(FileExistsError):
            os.link(temporary, path)
        Path(temporary).unlink()
    return StudyRef(path.read_bytes())
