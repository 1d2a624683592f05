# SPDX-License-Identifier: Apache-2.0
"""The liver's own outline in a study, for what is measured around a lesion and ends where the liver ends.

A SEG or an RTSTRUCT may hold it beside the lesions, or another object alone. It is the
liver when its code says so, or when its label says nothing else; what the site's rule
calls a lesion is none, whatever organ it is coded as.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dicom_listener import segmentation, structures
from dicom_listener.anatomy import LIVER, names_whole_liver
from dicom_listener.instance import StoredInstance
from dicom_listener.outline import LesionRule, Outline
from dicom_listener.selection import Selection
from model.errors import RejectedStudy

_BY_CODE = LesionRule(codes=(LIVER.value,), names=())
_BY_CODE_OR_NAME = LesionRule(codes=(LIVER.value,), names=("liver", "leber", "foie", "higado", "fegato"))


def read_liver(selection: Selection, rule: LesionRule) -> NDArray[np.bool_] | None:
    """Return the liver on the grid of the selected series, of shape (z, y, x); None where none is outlined.

    Outlines of several objects are united. One that cannot be read counts as none.

    Parameters
    ----------
    rule
        What is a lesion.
    """
    liver: NDArray[np.bool_] | None = None
    for instance in selection.considered:
        try:
            found = _read(instance, selection, rule)
        except RejectedStudy:
            continue
        for mask in found:
            liver = mask if liver is None else liver | mask
    return liver


def _read(instance: StoredInstance, selection: Selection, rule: LesionRule) -> list[NDArray[np.bool_]]:
    if instance.sop_class_uid in segmentation.SEGMENTATION_SOP_CLASSES:
        read_outline, read_parts = segmentation.read_outline, segmentation.read_lesions
    elif instance.sop_class_uid == structures.STRUCTURE_SET_SOP_CLASS:
        read_outline, read_parts = structures.read_outline, structures.read_lesions
    else:
        return []
    outline = read_outline(instance, _BY_CODE_OR_NAME)
    lesions = read_outline(instance, rule).lesion_numbers
    coded = read_outline(instance, _BY_CODE).lesion_numbers
    if not set(outline.lesion_numbers) - set(lesions) or not _is_of(outline, selection):
        return []
    parts = read_parts(
        instance,
        selection.series.geometry,
        _BY_CODE_OR_NAME,
        frame_of_reference_uid=selection.series.frame_of_reference_uid,
    )
    return [
        each.lesion.mask
        for each in parts.lesions
        if (number := each.lesion.source.number) not in lesions
        and not rule.names_lesion(each.lesion.source.label)
        and (number in coded or names_whole_liver(each.lesion.source.label))
    ]


def _is_of(outline: Outline, selection: Selection) -> bool:
    """Whether `outline` was drawn on the selected series, of the same patient."""
    if outline.identity.patient_id not in ("", selection.identity.patient_id):
        return False
    if outline.series_instance_uids:
        return selection.series.series_instance_uid in outline.series_instance_uids
    return selection.series.frame_of_reference_uid in outline.frame_of_reference_uids
