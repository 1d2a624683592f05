# SPDX-License-Identifier: Apache-2.0
"""How our objects name the equipment that made them, so that we know them when they come back."""

from __future__ import annotations

from pydicom.dataset import Dataset

from dicom_listener.attributes import text

MANUFACTURER = "HCC-CDS"
MODEL_NAME = "HCC-CDS"
"""Manufacturer and Manufacturer's Model Name (PS3.3 C.7.5.2): type 1 in SEG, and nothing that a PACS
changes when it stores or forwards an object."""


def is_ours(dataset: Dataset) -> bool:
    """Whether `dataset` says that this software wrote it.

    The store knows the UIDs of what it wrote itself; what another installation wrote, or one
    whose database was lost, is known by its equipment.
    """
    return (
        text(dataset, "Manufacturer") == MANUFACTURER and text(dataset, "ManufacturerModelName") == MODEL_NAME
    )
