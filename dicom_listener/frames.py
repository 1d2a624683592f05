# SPDX-License-Identifier: Apache-2.0
"""Enhanced multi-frame images (PS3.3 C.7.6.16): each frame as the single-frame image that it would be.

What follows reads one kind of header only. Attributes of functional group macros, first
the shared then the frame's own, are laid flat under the names that single-frame images
have for them; Legacy Converted images carry the rest of what they were made from in the
unassigned converted attributes (C.7.6.16.2.25).
"""

from __future__ import annotations

from collections.abc import Iterator

from pydicom.dataset import Dataset
from pydicom.uid import (
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
)

from dicom_listener.attributes import items, number
from model.domain import Modality, RejectionReason
from model.errors import RejectedStudy

MULTI_FRAME_SOP_CLASSES = {
    str(EnhancedCTImageStorage): Modality.CT,
    str(LegacyConvertedEnhancedCTImageStorage): Modality.CT,
    str(EnhancedMRImageStorage): Modality.MR,
    str(LegacyConvertedEnhancedMRImageStorage): Modality.MR,
}

_MACROS = (
    "UnassignedSharedConvertedAttributesSequence",
    "UnassignedPerFrameConvertedAttributesSequence",
    "PixelMeasuresSequence",
    "PlanePositionSequence",
    "PlaneOrientationSequence",
    "FrameContentSequence",
    "FrameAnatomySequence",
    "PixelValueTransformationSequence",
    "ContrastBolusUsageSequence",
    "CardiacSynchronizationSequence",
    "CTImageFrameTypeSequence",
    "CTAcquisitionDetailsSequence",
    "CTXRayDetailsSequence",
    "CTReconstructionSequence",
    "MRImageFrameTypeSequence",
    "MREchoSequence",
    "MRDiffusionSequence",
    "MRTimingAndRelatedParametersSequence",
)
"""Of those in both places, that which comes later here overrides what came earlier."""

_SINGLE_FRAME_NAMES = {
    "FrameType": "ImageType",
    "EffectiveEchoTime": "EchoTime",
    "FrameAcquisitionNumber": "AcquisitionNumber",
    "FrameAcquisitionDateTime": "AcquisitionDateTime",
    "TemporalPositionIndex": "TemporalPositionIdentifier",
    "NominalCardiacTriggerDelayTime": "TriggerTime",
}
"""Attributes of functional groups and those of single-frame images with the same meaning."""

_PER_FRAME = "PerFrameFunctionalGroupsSequence"
_SHARED = "SharedFunctionalGroupsSequence"
FRAME_KEYWORDS = (_PER_FRAME, _SHARED, "NumberOfFrames")


def frames(image: Dataset) -> Iterator[Dataset]:
    """Yield the header of each frame of a multi-frame `image`, in the order of its pixels.

    Raises
    ------
    RejectedStudy
        PIXELS: there are not as many functional groups as frames.
    """
    own = items(image, _PER_FRAME)
    if not own or number(image, "NumberOfFrames") != len(own):
        raise RejectedStudy(RejectionReason.PIXELS, "Number of Frames is not that of the functional groups")
    common = Dataset()
    for element in image:
        if element.keyword not in FRAME_KEYWORDS:
            common.add(element)
    for group in items(image, _SHARED):
        _lay_flat(common, group)
    for group in own:
        frame = Dataset()
        frame.update(common)
        _lay_flat(frame, group)
        yield frame


def _lay_flat(frame: Dataset, group: Dataset) -> None:
    for macro in _MACROS:
        for item in items(group, macro)[:1]:
            for element in item:
                frame.add(element)
                single_frame_name = _SINGLE_FRAME_NAMES.get(element.keyword)
                if single_frame_name is not None and element.value is not None:
                    setattr(frame, single_frame_name, element.value)
