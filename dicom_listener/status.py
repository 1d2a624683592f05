# SPDX-License-Identifier: Apache-2.0
"""Named C-STORE statuses (PS3.4 B.2.3, PS3.7 Annex C) with what each tells the sender's administrator."""

from __future__ import annotations

from enum import IntEnum

from pydicom.dataset import Dataset

_ERROR_COMMENT_MAX_LENGTH = 64
"""VR LO, PS3.5 6.2."""


class StorageStatus(IntEnum):
    """Answers of our doors to the archive.

    0xA7xx is "Refused: Out of Resources", 0xA9xx "Error: Data Set does not match SOP Class", 0xCxxx
    "Error: Cannot understand" (PS3.4 Table B.2-1); 0x0122 is PS3.7 C.5.6; 0xC122 is PS3.18 Table I.2-1.
    """

    SUCCESS = 0x0000
    SOP_CLASS_NOT_SUPPORTED = 0x0122
    OUT_OF_RESOURCES = 0xA700
    OBJECT_TOO_LARGE = 0xA701
    DATASET_DOES_NOT_MATCH_SOP_CLASS = 0xA900
    CANNOT_UNDERSTAND = 0xC000
    INVALID_UID = 0xC001
    DUPLICATE_WITH_OTHER_CONTENT = 0xC002
    TRANSFER_SYNTAX_NOT_SUPPORTED = 0xC122

    @property
    def comment(self) -> str:
        """Error Comment (0000,0902): what happened, in at most 64 characters."""
        return _COMMENTS[self]

    @property
    def is_temporary(self) -> bool:
        """Whether the same object may be taken later."""
        return self is StorageStatus.OUT_OF_RESOURCES


_COMMENTS = {
    StorageStatus.SUCCESS: "",
    StorageStatus.SOP_CLASS_NOT_SUPPORTED: "Objects of this SOP Class are not kept here",
    StorageStatus.OUT_OF_RESOURCES: "Archive cannot take more now; send again later",
    StorageStatus.OBJECT_TOO_LARGE: "Object is larger than this archive takes",
    StorageStatus.DATASET_DOES_NOT_MATCH_SOP_CLASS: "SOP Class or Instance UID differs from the command's",
    StorageStatus.CANNOT_UNDERSTAND: "Data set cannot be read",
    StorageStatus.INVALID_UID: "A UID is missing or is no UID (PS3.5 9.1)",
    StorageStatus.DUPLICATE_WITH_OTHER_CONTENT: "SOP Instance UID is already stored with other content",
    StorageStatus.TRANSFER_SYNTAX_NOT_SUPPORTED: "Transfer Syntax is not taken here",
}


def response(status: StorageStatus) -> Dataset:
    """Return the status as the data set of a C-STORE response (PS3.7 9.3.1.2)."""
    ds = Dataset()
    ds.Status = int(status)
    if status.comment:
        ds.ErrorComment = status.comment[:_ERROR_COMMENT_MAX_LENGTH]
    return ds
