# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, as types that carry what the edges need and never patient data.

Raised where the fact is known, caught only at the edges: C-STORE status, workflow
step, HTTP status, exit code.
"""

from __future__ import annotations

from typing import ClassVar

from model.domain import RejectionReason


class HccCdsError(Exception):
    """Base of our errors. Messages never hold patient data, UIDs or free text from outside."""

    retryable: ClassVar[bool] = False
    """Whether the same call may succeed later without anybody changing anything."""


class ConfigError(HccCdsError):
    """A setting is missing, unknown or contradicts another."""


class RejectedStudy(HccCdsError):
    """The study cannot be assessed: a result of its own, stored and shown, not a fault.

    Parameters
    ----------
    reason
        The coded reason.
    detail
        Numbers or keywords that help the administrator; never patient data.
    """

    def __init__(self, reason: RejectionReason, detail: str = "") -> None:
        super().__init__(f"{reason.value}: {detail}" if detail else reason.value)
        self.reason = reason
        self.detail = detail

    def __reduce__(self) -> tuple[type[RejectedStudy], tuple[RejectionReason, str]]:
        # Crosses the process boundary of the measuring pool.
        return RejectedStudy, (self.reason, self.detail)


class ModelBundleError(HccCdsError):
    """A model bundle is unsigned, altered, of unknown types or does not fit what it should score."""


class ArchiveUnavailable(HccCdsError):
    """The archive or the database cannot take more now: disk full, read-only or locked."""

    retryable = True


class ReportNotConformant(HccCdsError):
    """A report of ours fails its conformance gate: a defect of ours; nothing is delivered."""


class PeerRefused(HccCdsError):
    """A peer understood and said no; asking again changes nothing."""


class PeerUnavailable(HccCdsError):
    """A peer cannot be reached or is out of resources; asking again later may help."""

    retryable = True


class MeasuringProcessLost(HccCdsError):
    """The process that measured a study died, as when memory ran out."""

    retryable = True
