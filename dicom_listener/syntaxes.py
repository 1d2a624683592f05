# SPDX-License-Identifier: Apache-2.0
"""What we take: storage SOP classes and transfer syntaxes, from which the conformance statement is made."""

from __future__ import annotations

from pydicom.uid import (
    HTJ2K,
    JPEG2000,
    UID,
    AcquisitionContextSRStorage,
    BasicTextSRStorage,
    ChestCADSRStorage,
    ColonCADSRStorage,
    Comprehensive3DSRStorage,
    ComprehensiveSRStorage,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    EnhancedMRImageStorage,
    EnhancedSRStorage,
    EnhancedXRayRadiationDoseSRStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ExtensibleSRStorage,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    ImplantationPlanSRStorage,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    JPEGLSNearLossless,
    LegacyConvertedEnhancedCTImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
    MammographyCADSRStorage,
    MRImageStorage,
    PatientRadiationDoseSRStorage,
    PerformedImagingAgentAdministrationSRStorage,
    PlannedImagingAgentAdministrationSRStorage,
    RadiopharmaceuticalRadiationDoseSRStorage,
    RLELossless,
    RTStructureSetStorage,
    SegmentationStorage,
    SimplifiedAdultEchoSRStorage,
    WaveformAnnotationSRStorage,
    XRayRadiationDoseSRStorage,
)
from pynetdicom import AllStoragePresentationContexts

LABEL_MAP_SEGMENTATION_STORAGE = UID("1.2.840.10008.5.1.4.1.1.66.7")
"""Label Map Segmentation Storage (PS3.4 B.5); pydicom 3.0 has no name for it."""

IMAGE_SOP_CLASSES: tuple[UID, ...] = (
    CTImageStorage,
    EnhancedCTImageStorage,
    LegacyConvertedEnhancedCTImageStorage,
    MRImageStorage,
    EnhancedMRImageStorage,
    LegacyConvertedEnhancedMRImageStorage,
)
OUTLINE_SOP_CLASSES: tuple[UID, ...] = (
    SegmentationStorage,
    LABEL_MAP_SEGMENTATION_STORAGE,
    RTStructureSetStorage,
)
REPORT_SOP_CLASSES: tuple[UID, ...] = (
    BasicTextSRStorage,
    EnhancedSRStorage,
    ComprehensiveSRStorage,
    Comprehensive3DSRStorage,
    ExtensibleSRStorage,
    MammographyCADSRStorage,
    ChestCADSRStorage,
    ColonCADSRStorage,
    XRayRadiationDoseSRStorage,
    EnhancedXRayRadiationDoseSRStorage,
    RadiopharmaceuticalRadiationDoseSRStorage,
    PatientRadiationDoseSRStorage,
    ImplantationPlanSRStorage,
    AcquisitionContextSRStorage,
    SimplifiedAdultEchoSRStorage,
    PlannedImagingAgentAdministrationSRStorage,
    PerformedImagingAgentAdministrationSRStorage,
    WaveformAnnotationSRStorage,
)
KNOWN_SOP_CLASSES: tuple[UID, ...] = (*IMAGE_SOP_CLASSES, *OUTLINE_SOP_CLASSES, *REPORT_SOP_CLASSES)
"""Those that a liver study is made of; taken always."""


def other_sop_classes() -> tuple[UID, ...]:
    """Every other storage SOP class that pynetdicom knows (PS3.4 B.5): kept or refused by configuration."""
    every = (UID(str(each.abstract_syntax)) for each in AllStoragePresentationContexts)
    return tuple(sorted(each for each in every if each not in KNOWN_SOP_CLASSES))


UNCOMPRESSED_SYNTAXES: tuple[UID, ...] = (
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
)
LOSSLESS_SYNTAXES: tuple[UID, ...] = (
    RLELossless,
    JPEGLSLossless,
    JPEG2000Lossless,
    HTJ2KLossless,
    HTJ2KLosslessRPCL,
    JPEGLosslessSV1,
    JPEGLossless,
)
LOSSY_SYNTAXES: tuple[UID, ...] = (
    JPEGLSNearLossless,
    JPEG2000,
    HTJ2K,
    JPEGBaseline8Bit,
    JPEGExtended12Bit,
)
"""May hold lossy compressed pixels: taken, and looked at by the selection of images."""

TRANSFER_SYNTAXES: tuple[UID, ...] = (*UNCOMPRESSED_SYNTAXES, *LOSSLESS_SYNTAXES, *LOSSY_SYNTAXES)
"""The preferred first: what needs no codec, then what every codec restores."""
