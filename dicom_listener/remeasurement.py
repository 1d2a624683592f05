# SPDX-License-Identifier: Apache-2.0
"""A measured lesion, measured again as another reader, scanner and position might have given it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dicom_listener.instance import StoredInstance
from dicom_listener.lesions import read_lesions
from dicom_listener.liver import read_liver
from dicom_listener.selection import ImageLimits, select
from dicom_listener.volume import read_volume
from model.domain import FeatureVector, Modality, OutlineSource, RejectionReason
from model.errors import RejectedStudy
from model.perturbation import drawn, extract_perturbed, perturbed_part
from model.radiomics import ExtractionSettings

BEDSIDE_SEED = 20250
"""Of the perturbations of scored lesions: the same ones for every lesion, and on every retry."""


def measure_again(
    instances: Sequence[StoredInstance],
    *,
    limits: ImageLimits,
    settings: Mapping[Modality, ExtractionSettings],
    source: OutlineSource,
    names: Sequence[str],
    count: int,
    seed: int = BEDSIDE_SEED,
) -> tuple[FeatureVector, ...]:
    """Return the features `names` of one lesion under `count` perturbations; without those that left nothing.

    Parameters
    ----------
    instances
        Those that the study was measured from, in any order.
    source
        Of the lesion, as it was measured.
    seed
        Of the perturbations.

    Raises
    ------
    RejectedStudy
        The lesion is not found again.
    ArchiveUnavailable
        A stored file cannot be read: another attempt may succeed.
    """
    selection = select(instances, limits)
    lesions = [each.lesion for each in read_lesions(selection, limits.lesion_rule).lesions]
    lesion = next((each for each in lesions if each.source == source), None)
    if lesion is None:
        raise RejectedStudy(RejectionReason.FAULT, "a measured lesion is not there any more")
    chosen = settings[selection.series.modality]
    spacing_mm = selection.series.geometry.spacing_mm
    volume = read_volume(selection.series, perturbed_part(lesion.mask, spacing_mm, chosen))
    liver = None if chosen.ring_mm is None else read_liver(selection, limits.lesion_rule)
    beside = [each.mask for each in lesions if each is not lesion]
    others = np.logical_or.reduce(beside) if beside and liver is not None else None
    vectors = []
    for perturbation in drawn(count, seed=seed, spacing_mm=chosen.spacing_mm or 1.0):
        try:
            vectors.append(
                extract_perturbed(
                    volume,
                    lesion.mask,
                    chosen,
                    perturbation,
                    names=names,
                    minimum_voxels=limits.minimum_lesion_voxels,
                    liver=liver,
                    other_lesions=others,
                )
            )
        except RejectedStudy:
            continue
    return tuple(vectors)
