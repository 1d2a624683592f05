# SPDX-License-Identifier: Apache-2.0
"""Named C-STORE statuses (PS3.4 B.2.3, PS3.7 Annex C) with what each tells the sender's administrator."""

from __future__ import annotations

from enum import IntEnum

from pydicom.dataset import Dataset

_ERROR_COMMENT_MAX_LENGTH = 64
"""VR LO, PS3.5 6.2."""


class StorageStatus(IntEnum):
    """Answers of our Storage SCP. 0xCxxx is "Error: Cannot understand" (PS3.4 Table B.2-1)."""

    SUCCESS = 0x0000
    OUT_OF_RESOURCES = 0xA700
    DATASET_DOES_NOT_MATCH_SOP_CLASS = 0xA900
    CANNOT_UNDERSTAND = 0xC000
    INVALID_UID = 0xC001
    DUPLICATE_WITH_OTHER_CONTENT = 0xC002

    @property
    def comment(self) -> str:
        """Error Comment (0000,0902): what happened, in at most 64 characters."""
        return _COMMENTS[self]


_COMMENTS = {
    StorageStatus.SUCCESS: "",
    StorageStatus.OUT_OF_RESOURCES: "Archive cannot take more now; send again later",
    StorageStatus.DATASET_DOES_NOT_MATCH_SOP_CLASS: "SOP Class or Instance UID differs from the command's",
    StorageStatus.CANNOT_UNDERSTAND: "Data set cannot be read",
    StorageStatus.INVALID_UID: "A UID is missing or is no UID (PS3.5 9.1)",
    StorageStatus.DUPLICATE_WITH_OTHER_CONTENT: "SOP Instance UID is already stored with other content",
}


def response(status: StorageStatus) -> Dataset:
    """Return the status as the data set of a C-STORE response (PS3.7 9.3.1.2)."""
    ds = Dataset()
    ds.Status = int(status)
    if status.comment:
        ds.ErrorComment = status.comment[:_ERROR_COMMENT_MAX_LENGTH]
    return ds
