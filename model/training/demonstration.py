# SPDX-License-Identifier: Apache-2.0
"""Make the demonstration bundle: a model of phantoms, so that the whole way can be walked.

It says nothing about any patient. Its lesions are drawn from two families of ours, one
rounder and more even ("low"), one more irregular and mottled ("high"), which overlap on
purpose. They are measured by the bedside code, and the model is made the way a real one
would be: everything fitted on one part, calibrated on a second, tested on a third.

Every draw has its seed: twice on one machine gives the same bytes, with any number of
threads. Between machines the last bits of a logarithm or a matrix product may differ;
fitted numbers are rounded, and the choice of features depends on ranks only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn.metrics import brier_score_loss, roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from model.acquisition import AcquisitionLimits, Range
from model.applicability import ReferenceCohort, ReferenceLimits, outside_reference
from model.bundle import Bundle, BundleContents, Reference, demonstration_private_key, write_bundle
from model.classifier import calibrate, rounded
from model.domain import FeatureVector, Modality, ModelStatus
from model.features import FEATURE_NAMES
from model.manifest import Declaration, Evidence
from model.radiomics import CT_SETTINGS, extract
from model.svm_file import FEATURE_COUNT
from model.training.demonstration_card import CardFigures, model_card
from model.training.phantom import LesionModel, phantom

DEMONSTRATION_CASES = 250

_SEED = 20250
"""Of everything: phantom i is drawn from (_SEED, i)."""

_SLICE_SPACING_MM = (1.5, 3.0)
"""Range that the phantoms are drawn from, and so the model's acquisition limits."""

_GRID = (56, 128, 128)
"""Voxels (z, y, x) of a training phantom: room for the largest lesion at the finest spacing."""

_REDUNDANT = 0.7
"""Absolute Spearman correlation from which a feature adds nothing to one already chosen."""

_CONFORMAL_ALPHA = 0.1
_REPLICATES = 1000
_INTERVAL_LEVEL = 0.95

_HIGHER_MEANS = "a more irregular, more heterogeneous phantom lesion; nothing about a patient"


class _Part(IntEnum):
    """Which part of the cohort a case belongs to: of ten cases five, two and three."""

    TRAINING = 0
    CALIBRATION = 1
    TEST = 2


_PARTS = (_Part.TRAINING,) * 5 + (_Part.CALIBRATION,) * 2 + (_Part.TEST,) * 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Cases:
    """Measured cases: `vectors` of shape (n, features), `high` of shape (n,)."""

    names: tuple[str, ...]
    vectors: NDArray[np.float64]
    high: NDArray[np.bool_]

    def where(self, chosen: NDArray[np.bool_]) -> _Cases:
        return _Cases(names=self.names, vectors=self.vectors[chosen], high=self.high[chosen])

    def of(self, names: Sequence[str]) -> _Cases:
        columns = [self.names.index(name) for name in names]
        return _Cases(names=tuple(names), vectors=self.vectors[:, columns], high=self.high)


def build_demonstration(
    out: Path,
    *,
    progress: Callable[[str], None],
    cases: int = DEMONSTRATION_CASES,
) -> Path:
    """Make the demonstration bundle at `out` and return its path.

    Parameters
    ----------
    progress
        Called with one line of text at each step.
    cases
        Phantoms, half of each family, at least 60.
    """
    if cases < 60:
        raise ValueError("the demonstration needs at least 60 phantoms")
    progress(f"Measuring {cases} phantom lesions with the bedside code")
    measured = _measure(cases, progress)
    part = _parts(cases)

    training = measured.where(part == _Part.TRAINING)
    features = select_four(training.vectors, training.high, training.names)
    progress(f"Chosen among {len(measured.names)} features: {', '.join(features)}")
    training, calibration, test = (measured.where(part == each).of(features) for each in _Part)
    pipeline = make_pipeline(StandardScaler(), SVC(kernel="rbf", C=1.0, gamma="scale"))
    pipeline.fit(training.vectors, training.high.astype(np.int64))

    reference = Reference(
        cohort=_reference_cohort(pipeline, training),
        calibration=calibrate(
            pipeline.decision_function(calibration.vectors).round(9).tolist(),
            calibration.high.tolist(),
            replicates=_REPLICATES,
            seed=_SEED,
        ),
    )
    evidence = _auc_evidence(pipeline.decision_function(test.vectors), test.high)
    limits = ReferenceLimits(range_margin=0.1, tail_probability=0.001)
    declaration = Declaration(
        name="HCC-CDS demonstration",
        version="1.0.0",
        status=ModelStatus.DEMONSTRATION,
        modality=Modality.CT,
        features=features,
        higher_means=_HIGHER_MEANS,
        settings=CT_SETTINGS,
        conformal_alpha=_CONFORMAL_ALPHA,
        acquisition=AcquisitionLimits(
            # No phase: a phantom has none, and to name one would be a claim.
            slice_spacing_mm=Range(lowest=_SLICE_SPACING_MM[0], highest=_SLICE_SPACING_MM[1]),
        ),
        reference=limits,
        evidence=(evidence,),
    )
    figures = _figures(declaration, reference, pipeline, training, test)
    bundle = write_bundle(
        out,
        BundleContents(
            declaration=declaration,
            pipeline=pipeline,
            reference=reference,
            model_card=model_card(declaration, figures),
        ),
        demonstration_private_key(),
    )
    progress(_summary(bundle))
    return out


def case_lesion(rng: np.random.Generator, *, high: bool) -> LesionModel:
    """Return a lesion of one of the two families; they differ in the mean and overlap in the spread."""
    stretch = np.exp(rng.normal(0.0, 0.08, 3))
    stretch /= np.cbrt(np.prod(stretch))
    return LesionModel(
        centre_mm=(rng.uniform(-95.0, -65.0), rng.uniform(-25.0, 25.0), rng.uniform(-25.0, 25.0)),
        diameter_mm=float(np.clip(np.exp(rng.normal(math.log(29.0), 0.25)), 16.0, 44.0)),
        axes=(float(stretch[0]), float(stretch[1]), float(stretch[2])),
        irregularity=float(np.clip(rng.normal(0.14 if high else 0.08, 0.035), 0.02, 0.22)),
        contrast_hu=float(np.clip(rng.normal(-31.0 if high else -26.0, 8.0), -55.0, -8.0)),
        texture_sd_hu=float(np.clip(rng.normal(12.5 if high else 9.5, 4.0), 2.0, 26.0)),
        texture_length_mm=float(np.clip(np.exp(rng.normal(math.log(3.0), 0.3)), 1.5, 6.0)),
    )


def select_four(
    vectors: NDArray[np.float64],
    high: NDArray[np.bool_],
    names: Sequence[str],
    *,
    stable: Collection[str] | None = None,
) -> tuple[str, ...]:
    """Return the four features that tell the families apart best and are not redundant.

    Features are taken by falling |AUC - 0.5|, ties in the order of `names`; one whose
    absolute Spearman correlation with a chosen one reaches `_REDUNDANT` is passed over.

    Parameters
    ----------
    vectors
        Training cases only, of shape (n, len(names)).
    stable
        The features that may be chosen, as `Stability.at_least` gives them; all if None.

    Raises
    ------
    ValueError
        If fewer than four features remain.
    """
    varying = [
        index
        for index, name in enumerate(names)
        if np.ptp(vectors[:, index]) > 0 and (stable is None or name in stable)
    ]
    strength = {index: round(abs(roc_auc_score(high, vectors[:, index]) - 0.5), 9) for index in varying}
    ranks = stats.rankdata(vectors, axis=0)
    chosen: list[int] = []
    for index in sorted(varying, key=lambda each: -strength[each]):
        correlations = [abs(np.corrcoef(ranks[:, index], ranks[:, other])[0, 1]) for other in chosen]
        if all(each < _REDUNDANT for each in correlations):
            chosen.append(index)
        if len(chosen) == FEATURE_COUNT:
            return tuple(names[each] for each in chosen)
    raise ValueError("fewer than four features are left")


def measure_case(index: int) -> FeatureVector:
    """Return every feature of phantom lesion `index`, measured by the bedside code."""
    rng = np.random.default_rng((_SEED, index))
    lesion = case_lesion(rng, high=_is_high(index))
    in_plane_mm = rng.uniform(0.68, 0.88)
    case = phantom(
        int(rng.integers(2**63)),
        shape=_GRID,
        spacing_mm=(in_plane_mm, in_plane_mm, rng.uniform(*_SLICE_SPACING_MM)),
        centre_mm=lesion.centre_mm,
        lesions=(lesion,),
    )
    return extract(case.volume, case.lesions[0], CT_SETTINGS)


def _is_high(index: int) -> bool:
    return index % 2 == 1


def _measure(cases: int, progress: Callable[[str], None]) -> _Cases:
    """Return every case, with the features that all of them have."""
    vectors = []
    for index in range(cases):
        vectors.append(measure_case(index))
        if len(vectors) % 50 == 0:
            progress(f"{len(vectors)} of {cases} measured")
    names = tuple(name for name in FEATURE_NAMES if all(name in each.names for each in vectors))
    return _Cases(
        names=names,
        vectors=np.asarray([[rounded(value) for value in each.select(names)] for each in vectors]),
        high=np.asarray([_is_high(index) for index in range(cases)]),
    )


def _parts(cases: int) -> NDArray[np.int64]:
    """Return the part of each case: drawn within each family, so that parts hold both alike."""
    rng = np.random.default_rng(_SEED)
    part = np.zeros(cases, dtype=np.int64)
    for family in (0, 1):
        members = rng.permutation(np.arange(family, cases, 2))
        part[members] = [_PARTS[position % len(_PARTS)] for position in range(len(members))]
    return part


def _reference_cohort(pipeline: Pipeline, training: _Cases) -> ReferenceCohort:
    vectors = np.asarray(sorted(training.vectors.tolist()))
    return ReferenceCohort(
        description=f"{len(vectors)} CT phantoms that the SVM was fitted on",
        features=training.names,
        vectors=tuple(tuple(row) for row in vectors.tolist()),
        decision_values=tuple(rounded(value) for value in pipeline.decision_function(vectors)),
    )


def _auc_evidence(decision_values: NDArray[np.float64], high: NDArray[np.bool_]) -> Evidence:
    """Return the AUC of the test part with its interval, resampled within each family."""
    samples = (decision_values[high], decision_values[~high])
    interval = stats.bootstrap(
        samples,
        _auc,
        n_resamples=2000,
        confidence_level=_INTERVAL_LEVEL,
        method="percentile",
        vectorized=True,
        rng=np.random.default_rng(_SEED),
    ).confidence_interval
    return Evidence(
        measure="AUC",
        endpoint="family that the phantom lesion was drawn from",
        value=rounded(float(_auc(*samples))),
        interval=(rounded(float(interval.low)), rounded(float(interval.high))),
        interval_level=_INTERVAL_LEVEL,
        interval_method="percentile bootstrap, 2000 resamples within each family",
        chance=0.5,
        better="higher",
        cohort="phantoms only, no clinical meaning",
        test_kind="held-out",
        cases=len(high),
        cases_high=int(np.count_nonzero(high)),
    )


def _auc(high: NDArray[np.float64], low: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    """Return the share of pairs (high, low) in the right order, ties counted half (Mann and Whitney)."""
    first, second = np.moveaxis(high, axis, -1)[..., :, None], np.moveaxis(low, axis, -1)[..., None, :]
    return np.asarray(np.mean((first > second) + 0.5 * (first == second), axis=(-2, -1)))


def _figures(
    declaration: Declaration, reference: Reference, pipeline: Pipeline, training: _Cases, test: _Cases
) -> CardFigures:
    """Return what the model card says of the three parts."""
    calibration = reference.calibration
    values = pipeline.decision_function(test.vectors).tolist()
    sets = [calibration.conformal_set(value, alpha=declaration.conformal_alpha) for value in values]
    truth = ["high" if high else "low" for high in test.high]
    outside = [
        outside_reference(reference.cohort, declaration.reference, _vector(test.names, row)) is not None
        for row in test.vectors
    ]
    return CardFigures(
        training_cases=len(training.high),
        calibration_cases=len(calibration.high),
        test_cases=len(test.high),
        brier=brier_score_loss(test.high, [calibration.sigmoid.probability(value) for value in values]),
        coverage=float(np.mean([label in labels for label, labels in zip(truth, sets, strict=True)])),
        undecided=float(np.mean([len(labels) == 2 for labels in sets])),
        outside=sum(outside),
    )


def _vector(names: tuple[str, ...], row: NDArray[np.float64]) -> FeatureVector:
    return FeatureVector(names=names, values=tuple(row.tolist()), settings_digest=CT_SETTINGS.digest)


def _summary(bundle: Bundle) -> str:
    (auc,) = bundle.evidence
    low, high = auc.interval
    return (
        f"Demonstration bundle {bundle.digest[:12]}: AUC {auc.value:.3f} ({low:.3f} to {high:.3f}) "
        f"on {auc.cases} held-out phantoms; no clinical meaning"
    )
