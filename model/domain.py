# SPDX-License-Identifier: Apache-2.0
"""The values that the product is about: studies, lesions, features, scores, assessments.

Frozen, and valid once built. Axis order of arrays is (z, y, x); coordinates and
spacings are (x, y, z) in LPS millimetres, as SimpleITK has them.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_UID_MAX_LENGTH = 64
"""PS3.5 9.1."""

_UID_NAMESPACE = uuid.UUID("6f1c3c83-5f0e-4d0c-9a4a-6f2f3a3a8f5e")
"""Fixed for ever: changing it changes the UID of every report on a retry."""


def is_uid(text: str) -> bool:
    """Whether `text` is a UID (PS3.5 9.1): dotted digits, no leading zeros, at most 64 characters."""
    return len(text) <= _UID_MAX_LENGTH and _UID.fullmatch(text) is not None


def derived_uid(*parts: str) -> str:
    """Return the UID that always belongs to `parts`, under the UUID root 2.25 (PS3.5 B.2)."""
    return f"2.25.{uuid.uuid5(_UID_NAMESPACE, '|'.join(parts)).int}"


class RejectionReason(StrEnum):
    """Why a study is not assessed. Stable codes; `explanation` says what to do."""

    NO_IMAGE = "IMG-NONE"
    LOCALIZER = "IMG-LOC"
    DERIVED = "IMG-DER"
    SECONDARY_CAPTURE = "IMG-SC"
    BURNED_IN = "IMG-BURN"
    ORIENTATION = "IMG-ORI"
    THICKNESS = "IMG-THICK"
    GAP = "IMG-GAP"
    MIXED_GEOMETRY = "IMG-MIX"
    SEVERAL_STACKS = "IMG-STACK"
    TILT = "IMG-TILT"
    HOUNSFIELD = "IMG-HU"
    NO_FRAME_OF_REFERENCE = "IMG-FOR"
    PIXELS = "IMG-PIX"
    SYNTAX = "IMG-TSX"
    NO_LESION = "IMG-SEG"
    MASK_GRID = "IMG-GRID"
    OWN_OUTLINE = "IMG-OWN"
    LESION_TOO_SMALL = "IMG-SMALL"
    SEVERAL_PATIENTS = "IMG-ID"
    NO_PATIENT = "IMG-NOID"
    INCOMPLETE = "IMG-PART"
    FAULT = "SYS-FAULT"

    @property
    def explanation(self) -> str:
        """One sentence that a PACS administrator can act on."""
        return _EXPLANATION[self]


_EXPLANATION = {
    RejectionReason.NO_IMAGE: "The study has no CT or MR series that can be measured; route one.",
    RejectionReason.LOCALIZER: "Only localizers or too few slices arrived; route the full axial series.",
    RejectionReason.DERIVED: "Only derived images (MPR, MIP, subtraction) arrived; route the originals.",
    RejectionReason.SECONDARY_CAPTURE: "Only captures or documents arrived; route the CT or MR images.",
    RejectionReason.BURNED_IN: "Text or graphics are burned into the pixels; route the images without them.",
    RejectionReason.ORIENTATION: "The series is not axial; route an axial series.",
    RejectionReason.THICKNESS: "The slice spacing is above the limit of the model; route thinner slices.",
    RejectionReason.GAP: "Slices are missing, duplicated or unevenly spaced; send the whole series again.",
    RejectionReason.MIXED_GEOMETRY: "Slices of one series differ in size, pixel spacing or orientation.",
    RejectionReason.SEVERAL_STACKS: (
        "The series holds several acquisitions or time points, and the outline does not say which it is of."
    ),
    RejectionReason.TILT: "The gantry was tilted; the volume would be sheared.",
    RejectionReason.HOUNSFIELD: "The intensities are no plausible Hounsfield units; check Rescale Intercept.",
    RejectionReason.NO_FRAME_OF_REFERENCE: "The series has no Frame of Reference UID and cannot be reported.",
    RejectionReason.PIXELS: "The pixel data cannot be read.",
    RejectionReason.SYNTAX: "The transfer syntax of the images is not supported.",
    RejectionReason.NO_LESION: "No lesion is outlined: send a SEG or RTSTRUCT with a lesion for this series.",
    RejectionReason.MASK_GRID: "The outline does not lie on the grid of the image series it refers to.",
    RejectionReason.OWN_OUTLINE: "This software wrote the segmentation itself; it is no reader's outline.",
    RejectionReason.LESION_TOO_SMALL: "Every outlined lesion is too small to be measured.",
    RejectionReason.SEVERAL_PATIENTS: "The study is of more than one patient; correct it in the PACS.",
    RejectionReason.NO_PATIENT: "The study has no valid Patient ID; correct it in the PACS.",
    RejectionReason.INCOMPLETE: "The study did not become complete within the time limit.",
    RejectionReason.FAULT: "The software failed on this study; its images are kept. See the log.",
}


class NotComputedReason(StrEnum):
    """Why a measured study has no score."""

    MODALITY = "SCORE-MODALITY"
    SETTINGS = "SCORE-SETTINGS"
    ACQUISITION = "SCORE-ACQUISITION"
    OUTSIDE_REFERENCE = "SCORE-OUTSIDE"
    SUSPENDED = "SCORE-SUSPENDED"
    NOT_LIVER = "SCORE-NOTLIVER"
    FEATURES = "SCORE-FEATURES"
    INDEX_LESION = "SCORE-INDEX"

    @property
    def explanation(self) -> str:
        """One short clause that completes "not computed, because"."""
        return {
            NotComputedReason.MODALITY: "the model was made for another modality",
            NotComputedReason.SETTINGS: "the features were measured with other settings than the model's",
            NotComputedReason.ACQUISITION: "the acquisition lies outside the model's limits",
            NotComputedReason.OUTSIDE_REFERENCE: "the lesion lies outside the model's reference cohort",
            NotComputedReason.SUSPENDED: "the model is suspended",
            NotComputedReason.NOT_LIVER: "the lesion is not stated to lie in the liver",
            NotComputedReason.FEATURES: "a feature of the model could not be measured",
            NotComputedReason.INDEX_LESION: (
                "the index lesion is in doubt: a larger one may have been left out, or another outline of "
                "it differs"
            ),
        }[self]


class ModelStatus(StrEnum):
    """How far a model bundle may be trusted."""

    DEMONSTRATION = "demonstration"
    RESEARCH = "research"
    VALIDATED = "validated"
    SUSPENDED = "suspended"


class Modality(StrEnum):
    """Modalities that can be measured (PS3.3 C.7.3.1.1.1)."""

    CT = "CT"
    MR = "MR"


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _require_uids(*uids: str) -> None:
    _require(all(map(is_uid, uids)), "not a UID (PS3.5 9.1)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """A coded concept (PS3.3 8.8)."""

    value: str
    scheme: str
    meaning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PatientKey:
    """Patient ID within its issuer: never a FHIR id. `repr` shows neither."""

    patient_id: str = field(repr=False)
    issuer: str = field(repr=False)

    def __post_init__(self) -> None:
        _require(bool(self.patient_id.strip()), "a patient needs a Patient ID")


@dataclass(frozen=True, slots=True, kw_only=True)
class Patient:
    """Who the study is of, as DICOM says it. `repr` shows nothing of it."""

    key: PatientKey = field(repr=False)
    birth_date: date | None = field(repr=False)
    sex: str | None = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """One DICOM study; `study_date` may be absent in the objects."""

    study_instance_uid: str
    study_date: date | None
    patient: Patient

    def __post_init__(self) -> None:
        _require_uids(self.study_instance_uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Geometry:
    """A regular voxel grid in the patient's coordinates (LPS).

    Parameters
    ----------
    shape
        Voxels along (z, y, x).
    spacing_mm
        Along (x, y, z).
    origin_mm
        Centre of the first voxel, (x, y, z).
    direction
        The 3 x 3 matrix, row by row, whose columns are the unit vectors of the
        x, y and z axes of the grid: SimpleITK's direction.
    """

    shape: tuple[int, int, int]
    spacing_mm: tuple[float, float, float]
    origin_mm: tuple[float, float, float]
    direction: tuple[float, ...] = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0)

    def __post_init__(self) -> None:
        _require(all(n > 0 for n in self.shape), "a grid has at least one voxel along each axis")
        _require(all(s > 0 for s in self.spacing_mm), "spacing is positive")
        matrix = np.asarray(self.direction, dtype=np.float64).reshape(3, 3)
        _require(
            bool(np.allclose(matrix @ matrix.T, np.eye(3), atol=1e-4)),
            "direction is not orthonormal",
        )

    @property
    def voxel_volume_mm3(self) -> float:
        """Volume of one voxel."""
        return math.prod(self.spacing_mm)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Volume:
    """An image with geometry: `voxels` float32 of shape (z, y, x); CT in Hounsfield units, MR arbitrary."""

    voxels: NDArray[np.float32]
    """Of `part`, or of the whole grid."""
    geometry: Geometry
    """Of the whole image."""
    modality: Modality
    part: tuple[slice, ...] | None = None
    """Along (z, y, x), what of the grid `voxels` hold; None is all of it. Of the rest there is nothing:
    `cut` and `inside` refuse to read there."""

    def __post_init__(self) -> None:
        held: tuple[int, ...] = self.geometry.shape
        if self.part is not None:
            held = tuple(len(range(*each.indices(size))) for each, size in zip(self.part, held, strict=True))
        _require(self.voxels.shape == held, "voxels do not have the shape of what they hold of the grid")

    def cut(self, window: tuple[slice, ...]) -> NDArray[np.float32]:
        """Return a view of the voxels within `window`; raise ValueError where it reaches out of `part`."""
        if self.part is None:
            return self.voxels[window]
        return self.voxels[
            tuple(
                _within(wanted, held, size)
                for wanted, held, size in zip(window, self.part, self.geometry.shape, strict=True)
            )
        ]

    def inside(self, mask: NDArray[np.bool_]) -> NDArray[np.float32]:
        """Return the voxels of `mask`, of the grid's shape; raise ValueError if it reaches out of `part`."""
        if self.part is None:
            return self.voxels[mask]
        of_part = mask[self.part]
        if np.count_nonzero(of_part) < np.count_nonzero(mask):
            raise ValueError(_NOT_READ)
        return self.voxels[of_part]


_NOT_READ = "a part of the image that was not read"


def _within(wanted: slice, held: slice, size: int) -> slice:
    """Return where `wanted` lies in what is `held` along an axis of `size`."""
    first, last, _ = wanted.indices(size)
    if first >= last:
        return slice(0, 0)
    if not (held.start <= first and last <= held.stop):
        raise ValueError(_NOT_READ)
    return slice(first - held.start, last - held.start)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutlineSource:
    """Where a lesion's outline came from: a segment of a SEG or an ROI of an RTSTRUCT."""

    sop_class_uid: str
    sop_instance_uid: str
    number: int
    """Segment Number (0062,0004) or ROI Number (3006,0022)."""
    label: str = field(repr=False)
    """Segment Label or ROI Name: free text from outside; escape it wherever it shows."""
    algorithm_type: str
    """(0062,0008) or ROI Generation Algorithm: MANUAL, SEMIAUTOMATIC, AUTOMATIC or ''."""
    series_instance_uid: str = ""
    """Of the series that the SEG or RTSTRUCT itself is in; '' in what was measured before it was kept."""

    def __post_init__(self) -> None:
        _require_uids(self.sop_class_uid, self.sop_instance_uid)
        _require(not self.series_instance_uid or is_uid(self.series_instance_uid), "not a UID (PS3.5 9.1)")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lesion:
    """An outlined lesion: `mask` bool of shape (z, y, x) on the grid of its image series."""

    tracking_uid: str
    mask: NDArray[np.bool_]
    source: OutlineSource
    finding_site: Code | None

    def __post_init__(self) -> None:
        _require_uids(self.tracking_uid)
        _require(bool(self.mask.any()), "a lesion has at least one voxel")


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureVector:
    """Measured features of one lesion.

    Parameters
    ----------
    names
        pyradiomics' names with the image type, as `original_glcm_Contrast`.
    values
        In the same order, all finite; unit and IBSI code are `model.features.definition(name, modality)`.
    settings_digest
        SHA-256 of the extraction settings that produced them.
    """

    names: tuple[str, ...]
    values: tuple[float, ...]
    settings_digest: str

    def __post_init__(self) -> None:
        _require(len(self.names) == len(self.values), "one value for each name")
        _require(len(set(self.names)) == len(self.names), "a feature is named once")
        _require(all(map(math.isfinite, self.values)), "feature values are finite")

    def value(self, name: str) -> float:
        """Return the value of feature `name`; raise KeyError if it was not measured."""
        try:
            return self.values[self.names.index(name)]
        except ValueError:
            raise KeyError(name) from None

    def select(self, names: Iterable[str]) -> tuple[float, ...]:
        """Return the values of `names`, in their order."""
        return tuple(self.value(name) for name in names)


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageReference:
    """One instance (or one frame of it) of the measured series."""

    sop_class_uid: str
    sop_instance_uid: str
    frame_number: int | None = None

    def __post_init__(self) -> None:
        _require_uids(self.sop_class_uid, self.sop_instance_uid)


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """A line on one image: end points as (column, row) image coordinates (PS3.3 C.18.6.1.1), and its length.

    The centre of the top left pixel is (0.5, 0.5).
    """

    start: tuple[float, float]
    end: tuple[float, float]
    length_mm: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanarMeasurement:
    """What is drawn of a lesion: on the slice where its area is largest (the key slice)."""

    image: ImageReference
    long_axis: Axis
    short_axis: Axis
    """The longest line perpendicular to the long axis, on the same slice."""
    area_mm2: float
    outline: tuple[tuple[float, float], ...] = ()
    """Corners of the closed polygon round the lesion's largest part on the slice, (column, row), the
    first not repeated; () in what was measured before outlines were kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredLesion:
    """A lesion with its numbers; lesion 1 of an assessment is the index lesion."""

    number: int
    """1 for the index lesion (largest volume), then by falling volume."""
    tracking_uid: str
    source: OutlineSource
    finding_site: Code | None
    volume_mm3: float
    """Voxel count times voxel volume on the original grid."""
    planar: PlanarMeasurement
    features: FeatureVector

    def __post_init__(self) -> None:
        _require_uids(self.tracking_uid)
        _require(self.number >= 1 and self.volume_mm3 > 0, "a measured lesion has a number and a volume")

    @property
    def tracking_identifier(self) -> str:
        """Name of the lesion for people, the same in every report of this assessment."""
        return f"Lesion {self.number}"


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredSeries:
    """The image series that was measured, its slices in order along the grid's z axis."""

    series_instance_uid: str
    frame_of_reference_uid: str
    modality: Modality
    images: tuple[ImageReference, ...]
    spacing_mm: tuple[float, float, float]
    segmentation_series_instance_uid: str
    """Series of the SEG or RTSTRUCT that the lesions came from."""

    def __post_init__(self) -> None:
        _require_uids(
            self.series_instance_uid, self.frame_of_reference_uid, self.segmentation_series_instance_uid
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelIdentity:
    """Which model spoke: stands with every figure that leaves."""

    name: str
    version: str
    bundle_digest: str
    """SHA-256 of the bundle's manifest, hexadecimal."""
    status: ModelStatus
    settings_digest: str
    higher_means: str
    """What a higher score means, in the model's own words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contribution:
    """How one of the four features moved the score, in units of the SVM's decision value."""

    feature: str
    value: float
    contribution: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AcquisitionChecks:
    """What the model asks of the acquisition, in words, and whether the images could answer."""

    agreed: tuple[str, ...]
    """Compared, and within the model's limits."""
    not_stated: tuple[str, ...]
    """Asked by the model, not stated by the images: not checked."""

    @property
    def is_complete(self) -> bool:
        """Whether all that the model asks was compared."""
        return not self.not_stated


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """A calibrated probability with what is needed to judge it."""

    probability: float
    interval: tuple[float, float]
    """Of the probability; `interval_method` says what it is."""
    interval_method: str
    conformal_set: tuple[str, ...]
    """('high',), ('low',) or ('high', 'low'): the last means "cannot say"."""
    reference_percentile: float
    """In [0, 100], among the cases that the model was calibrated on."""
    contributions: tuple[Contribution, ...]
    acquisition: AcquisitionChecks | None = None
    """None in a score from before this was recorded."""

    def __post_init__(self) -> None:
        low, high = self.interval
        _require(
            0.0 <= low <= self.probability <= high <= 1.0, "a probability lies in its interval in [0, 1]"
        )
        _require(0.0 <= self.reference_percentile <= 100.0, "a percentile lies in [0, 100]")
        _require(set(self.conformal_set) <= {"high", "low"}, "a conformal set holds 'high' and 'low'")


@dataclass(frozen=True, slots=True, kw_only=True)
class NotComputed:
    """The absence of a score, with its reason: a result, not a fault."""

    reason: NotComputedReason
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreSpread:
    """How far the score moves when the lesion has not changed, but noise, pose and outline have."""

    perturbations: int
    """How often the lesion was measured again, each time perturbed in another way."""
    scored: int
    """How many of these gave a score."""
    lowest: float
    highest: float
    standard_deviation: float
    """All three of the probability."""

    def __post_init__(self) -> None:
        _require(0 < self.scored <= self.perturbations, "no more scores than perturbations")
        _require(0.0 <= self.lowest <= self.highest <= 1.0, "probabilities lie in [0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """What the study shows: the one value that SR, card and page are written from."""

    study: Study
    revision: int
    created_at: datetime
    """With time zone; the same on every retry."""
    series: MeasuredSeries
    lesions: tuple[MeasuredLesion, ...]
    """The index lesion first."""
    score: Score | NotComputed
    model: ModelIdentity
    software_version: str
    predecessor_revision: int | None = None
    notes: tuple[str, ...] = ()
    """Warnings of the quality gates, in words; never patient data."""
    left_out: int = 0
    """Outlines of lesions that could not be measured. An assessment from before this was recorded tells
    of them in `notes` only."""
    index_in_doubt: bool = False
    """Whether a lesion that was left out may be larger than the index lesion, or another outline of the
    index lesion differs; there is no score then."""
    spread: ScoreSpread | None = None
    """Of the score. Measured after the result has left, and None until then."""

    def __post_init__(self) -> None:
        _require(self.left_out >= 0, "outlines are counted from 0")
        _require(
            not (self.index_in_doubt and isinstance(self.score, Score)),
            "there is no score when the index lesion is in doubt",
        )
        _require(self.created_at.tzinfo is not None, "created_at needs a time zone")
        _require(
            [lesion.number for lesion in self.lesions] == list(range(1, len(self.lesions) + 1)),
            "lesions are numbered from 1, the index lesion first",
        )
        _require(bool(self.lesions), "an assessment has at least one lesion")

    @property
    def index_lesion(self) -> MeasuredLesion:
        """The largest measured lesion: the one that is scored, if any is."""
        return self.lesions[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejection:
    """The study could not be assessed, and why: stored and shown like an assessment."""

    study: Study
    revision: int
    created_at: datetime
    reason: RejectionReason
    detail: str
    software_version: str

    def __post_init__(self) -> None:
        _require(self.created_at.tzinfo is not None, "created_at needs a time zone")


Outcome = Assessment | Rejection


@dataclass(frozen=True, slots=True, kw_only=True)
class AwaitedOutcome:
    """Images or outlines came since the study was assessed: what was found before is stale."""

    study: Study
