# SPDX-License-Identifier: Apache-2.0
"""The codes our reports use: IBSI, UCUM, SNOMED CT, DCM, and a private scheme for what has none."""

from __future__ import annotations

import hashlib

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes

from model.domain import Code, Modality, ModelStatus, NotComputed, NotComputedReason, Score, derived_uid
from model.wording import NO_CLINICAL_MEANING, score_term

PRIVATE_SCHEME = "99HCCCDS"
"""Coding Scheme Designator of codes that no standard has (PS3.16 8.2: private ones start with 99)."""

_MEANING_MAX_LENGTH = 64
"""PS3.5 6.2, VR LO."""

_SCHEME_MAX_LENGTH = 16
"""PS3.5 6.2, VR SH."""

_UNIT_MEANINGS = {
    "1": "no units",
    "mm": "millimeter",
    "mm2": "square millimeter",
    "mm3": "cubic millimeter",
    "/mm": "per millimeter",
    "%": "percent",
    "[hnsf'U]": "Hounsfield unit",
    "[hnsf'U]2": "square Hounsfield unit",
}


def private(value: str, meaning: str) -> CodedConcept:
    """Return a code of our own scheme."""
    return CodedConcept(value=value, scheme_designator=PRIVATE_SCHEME, meaning=meaning)


def coding_schemes() -> list[CodingSchemeIdentificationItem]:
    """Return who is responsible for the schemes that PS3.16 chapter 8 does not list (PS3.3 C.12.1.1.1)."""
    return [
        CodingSchemeIdentificationItem(
            designator=PRIVATE_SCHEME,
            name="HCC-CDS measurements and statements",
            version="1",
            uid=derived_uid("coding scheme", PRIVATE_SCHEME),
            responsible_organization="HCC-CDS",
        )
    ]


def unit(ucum: str) -> CodedConcept:
    """Return the UCUM unit `ucum` (PS3.16 CID 82)."""
    return CodedConcept(
        value=ucum, scheme_designator="UCUM", meaning=_UNIT_MEANINGS.get(ucum, ucum)[:_MEANING_MAX_LENGTH]
    )


def feature(name: str, title: str, ibsi_code: str | None) -> CodedConcept:
    """Return the concept of a radiomics feature.

    An IBSI code asserts IBSI's definition; a feature that departs from it has
    ``ibsi_code`` None and gets a private code that never changes for its `name`.
    """
    if ibsi_code is not None:
        return CodedConcept(value=ibsi_code, scheme_designator="IBSI", meaning=title[:_MEANING_MAX_LENGTH])
    # Names as wavelet-LLH_glcm_ClusterProminence exceed the 16 characters of Code Value, and few
    # readers know Long Code Value: a digest keeps the code short, the name stands beside it as text.
    digest = hashlib.sha256(name.encode()).hexdigest()[:12].upper()
    return private(f"F-{digest}", title[:_MEANING_MAX_LENGTH])


def stated(code: Code | None) -> CodedConcept | None:
    """Return a code that came from outside as DICOM has it; None for one that is not whole (PS3.3 8.8)."""
    if code is None:
        return None
    value, scheme, meaning = (each.strip() for each in (code.value, code.scheme, code.meaning))
    if not (value and scheme and meaning) or len(scheme) > _SCHEME_MAX_LENGTH:
        return None
    return CodedConcept(value=value, scheme_designator=scheme, meaning=meaning[:_MEANING_MAX_LENGTH])


def long_axis() -> CodedConcept:
    """Return (103339001, SCT): OHIF finds it by exactly this meaning, with a capital A."""
    return CodedConcept(value="103339001", scheme_designator="SCT", meaning="Long Axis")


def short_axis() -> CodedConcept:
    """Return (103340004, SCT): OHIF finds it by exactly this meaning, with a capital A."""
    return CodedConcept(value="103340004", scheme_designator="SCT", meaning="Short Axis")


def finding() -> CodedConcept:
    """Return what a lesion is called: a mass, for we do not diagnose."""
    return CodedConcept(value="4147007", scheme_designator="SCT", meaning="Mass")


def procedure(modality: Modality) -> CodedConcept:
    """Return the imaging procedure that was measured (PS3.16 CID 100)."""
    return CodedConcept.from_code(
        codes.cid100.CTUnspecifiedBodyRegion
        if modality is Modality.CT
        else codes.cid100.MRIUnspecifiedBodyRegion
    )


def modality_code(modality: Modality) -> CodedConcept:
    """Return the modality (PS3.16 CID 29)."""
    return CodedConcept.from_code(
        codes.cid29.ComputedTomography if modality is Modality.CT else codes.cid29.MagneticResonance
    )


def score(status: ModelStatus) -> CodedConcept:
    """Return the concept of the score: a code of its own for each status, so that none passes for another."""
    return private(*score_term(status))


def model_status(status: ModelStatus) -> CodedConcept:
    """Return the status of the model bundle."""
    meanings = {
        ModelStatus.DEMONSTRATION: NO_CLINICAL_MEANING,
        ModelStatus.RESEARCH: "Research model: investigational",
        # What the manifest is held to; nobody has asked what holds at this installation.
        ModelStatus.VALIDATED: "Validated by its maker: external evidence excludes chance",
        ModelStatus.SUSPENDED: "Model suspended",
    }
    return private(f"ST-{status.value.upper()}", meanings[status])


_NOT_COMPUTED = {
    NotComputedReason.MODALITY: ("NC-MODALITY", "Not computed: model made for another modality"),
    NotComputedReason.SETTINGS: ("NC-SETTINGS", "Not computed: measured with other settings"),
    NotComputedReason.ACQUISITION: ("NC-ACQUISITION", "Not computed: acquisition outside the model's limits"),
    NotComputedReason.OUTSIDE_REFERENCE: ("NC-OUTSIDE", "Not computed: lesion outside reference cohort"),
    NotComputedReason.SUSPENDED: ("NC-SUSPENDED", "Not computed: model suspended"),
    NotComputedReason.NOT_LIVER: ("NC-NOTLIVER", "Not computed: lesion not stated to lie in the liver"),
    NotComputedReason.FEATURES: ("NC-FEATURES", "Not computed: a feature could not be measured"),
    NotComputedReason.INDEX_LESION: ("NC-INDEX", "Not computed: the index lesion is in doubt"),
}


def score_state(outcome: Score | NotComputed) -> CodedConcept:
    """Return whether there is a score, and if not, why."""
    if isinstance(outcome, Score):
        return private("COMPUTED", "Computed")
    return private(*_NOT_COMPUTED[outcome.reason])


_OUTSIDE = {
    NotComputedReason.MODALITY,
    NotComputedReason.ACQUISITION,
    NotComputedReason.OUTSIDE_REFERENCE,
    NotComputedReason.NOT_LIVER,
}


def applicability(outcome: Score | NotComputed) -> CodedConcept:
    """Return whether the study lies inside what the model was made for; "inside" only if all was checked."""
    if isinstance(outcome, Score):
        if outcome.acquisition is None:
            return private("AP-UNKNOWN", "Not assessed")
        if outcome.acquisition.is_complete:
            return private("AP-INSIDE", "Inside every limit that the model states")
        return private("AP-PARTLY", "Not every limit that the model states was checked")
    if outcome.reason in _OUTSIDE:
        return private("AP-OUTSIDE", "Outside the limits of the model")
    return private("AP-UNKNOWN", "Not assessed")


def conformal_set(labels: tuple[str, ...]) -> CodedConcept:
    """Return the conformal prediction set; both labels mean that the model cannot say."""
    match frozenset(labels):
        case both if both == {"high", "low"}:
            return private("CS-BOTH", "High or low: cannot say")
        case one if one == {"high"}:
            return private("CS-HIGH", "High")
        case one if one == {"low"}:
            return private("CS-LOW", "Low")
        case _:
            return private("CS-NONE", "Neither high nor low: unlike the calibration cohort")
