# SPDX-License-Identifier: Apache-2.0
"""What became of posted instances, as the data set of PS3.18 Annex I in JSON (PS3.18 Annex F)."""

from __future__ import annotations

from collections.abc import Sequence

from pydicom.dataset import Dataset

from dicom_listener.intake import Taken
from dicom_listener.status import StorageStatus


def store_response(taken: Sequence[Taken]) -> str:
    """Return the Store Instances Response Module (PS3.18 Table I.1-1) as DICOM JSON.

    Retrieve URLs are empty: nothing can be retrieved here.
    """
    ds = Dataset()
    ds.RetrieveURL = ""
    stored = [each for each in taken if each.status is StorageStatus.SUCCESS]
    failed = [each for each in taken if each.status is not StorageStatus.SUCCESS]
    if stored:
        ds.ReferencedSOPSequence = [_reference(each, retrievable=True) for each in stored]
    if named := [each for each in failed if each.sop_class_uid and each.sop_instance_uid]:
        ds.FailedSOPSequence = [_failure(each, _reference(each)) for each in named]
    if unnamed := [each for each in failed if each not in named]:
        ds.OtherFailuresSequence = [_failure(each, Dataset()) for each in unnamed]
    return str(ds.to_json())


def _reference(taken: Taken, *, retrievable: bool = False) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = taken.sop_class_uid
    item.ReferencedSOPInstanceUID = taken.sop_instance_uid
    if retrievable:
        item.RetrieveURL = ""
    return item


def _failure(taken: Taken, item: Dataset) -> Dataset:
    item.FailureReason = int(taken.status)
    return item
