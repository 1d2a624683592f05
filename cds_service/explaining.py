# SPDX-License-Identifier: Apache-2.0
"""A dry run for an administrator: what a stored study holds, what would be measured, and why not the rest.

The text names no patient and quotes nothing from outside, unless that is asked for.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cds_service.config import Config
from cds_service.models import extraction_settings
from cds_service.stages import DISPUTED, image_limits
from cds_service.store import Completeness
from dicom_listener.candidates import Candidate
from dicom_listener.instance import StoredInstance
from dicom_listener.measurement import MeasuredStudy, measure_study
from dicom_listener.outline import Outline
from dicom_listener.remeasurement import measure_again
from dicom_listener.selection import StudyContents, study_contents
from dicom_listener.series import ImageSeries, series_description
from model.acquisition import AcquisitionFacts
from model.bundle import Bundle
from model.domain import MeasuredLesion, NotComputed, RejectionReason
from model.errors import RejectedStudy


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What would become of a study."""

    lines: tuple[str, ...]
    is_measured: bool


def explain(
    instances: Sequence[StoredInstance],
    config: Config,
    bundle: Bundle,
    *,
    identifying: bool,
    disputed: bool = False,
) -> Explanation:
    """Look at a stored study as the worker would, and keep nothing.

    Parameters
    ----------
    instances
        All that was received of the study; at least one.
    identifying
        Whether UIDs, the Patient ID and the descriptions of series are told.
    disputed
        Whether an instance came again under another patient's name, and was refused.

    Raises
    ------
    ArchiveUnavailable
        A stored file cannot be read now.
    """
    limits = image_limits(config.image, bundle.manifest.acquisition.phase)
    contents = study_contents(instances, limits)
    kinds = Counter(each.modality or "unknown" for each in instances)
    lines = [f"{len(instances)} instances: {', '.join(f'{kinds[each]} {each}' for each in sorted(kinds))}"]
    measured: MeasuredStudy | RejectedStudy
    try:
        if disputed:
            raise RejectedStudy(RejectionReason.SEVERAL_PATIENTS, DISPUTED)  # noqa: TRY301 - as the worker's step
        measured = measure_study(
            instances,
            limits=limits,
            settings=extraction_settings(bundle),
            default_issuer=config.identity.default_issuer,
        )
    except RejectedStudy as rejection:
        measured = rejection
    lines += ["", "Images", *(_images(contents, measured, identifying=identifying) or ["  none"])]
    lines += ["", "Outlines", *(_outlines(contents, identifying=identifying) or ["  none"])]
    if isinstance(measured, RejectedStudy):
        lines += ["", f"The study would be rejected. {_reason(measured)}"]
        return Explanation(lines=tuple(lines), is_measured=False)
    if identifying:
        lines += ["", f"Patient ID {measured.study.patient.key.patient_id}"]
    lines += ["", "Lesions", *map(_lesion, measured.lesions)]
    if measured.left_out:
        lines.append(f"  {measured.left_out} outlined lesions would be left out")
    lines += ["", "Notes", *(f"  {each}" for each in measured.notes or ("none",))]
    lines += ["", *_score(measured, instances, config, bundle)]
    return Explanation(lines=tuple(lines), is_measured=True)


def waiting(completeness: Completeness, study_instance_uid: str) -> tuple[str, ...]:
    """Tell what a study waits for, and when the PACS is asked about it again."""
    reason = completeness.reason(study_instance_uid)
    later = completeness.later_look(study_instance_uid)
    lines = []
    if reason is not None:
        lines.append(f"It waits to become whole: {reason or 'the PACS is asked now'}")
    if later is not None:
        lines.append(
            "It went on or was rejected without something; the PACS is asked again at "
            f"{later.due_at:%Y-%m-%d %H:%M} UTC"
        )
    return ("", *lines) if lines else ()


def _images(
    contents: StudyContents, measured: MeasuredStudy | RejectedStudy, *, identifying: bool
) -> list[str]:
    taken = (
        {(each.sop_instance_uid, each.frame_number) for each in measured.series.images}
        if isinstance(measured, MeasuredStudy)
        else set()
    )
    lines = []
    for number, candidate in enumerate(contents.candidates, start=1):
        first = candidate.planes[0]
        is_taken = (first.instance.sop_instance_uid, first.frame_number) in taken
        lines.append(f"  {number}. {candidate.name}: {_fate(candidate, contents, is_taken=is_taken)}")
        if isinstance(candidate.outcome, ImageSeries):
            lines += [f"     {each}" for each in _acquisition(candidate.outcome.acquisition)]
        if identifying:
            lines.append(f"     series {candidate.series_instance_uid}")
            lines.append(f"     description {series_description(first.instance)!r}")
    return lines


def _fate(candidate: Candidate, contents: StudyContents, *, is_taken: bool) -> str:
    if isinstance(candidate.outcome, RejectedStudy):
        return f"cannot be measured. {_reason(candidate.outcome)}"
    if is_taken:
        return "would be measured"
    if not any(candidate.is_outlined_by(each) for each in contents.outlines):
        return "can be measured, but no lesion is outlined on it"
    return "can be measured and is outlined, but is not the one that is taken"


def _acquisition(facts: AcquisitionFacts) -> Iterator[str]:
    x_mm, y_mm = facts.pixel_spacing_mm
    yield f"slices {facts.slice_spacing_mm:.2f} mm apart, pixels {x_mm:.2f} x {y_mm:.2f} mm"
    if facts.phase_hint:
        by = " and ".join(facts.phase_sources)
        yield f"contrast phase {facts.phase_hint}, by {by}, confidence {facts.phase_confidence}"
    else:
        yield "contrast phase not stated, or stated in contradiction"
    for caution in facts.cautions:
        yield f"{caution.value}: {caution.explanation}"


def _outlines(contents: StudyContents, *, identifying: bool) -> list[str]:
    lines = []
    for outline in contents.outlines:
        numbers = [
            str(number)
            for number, candidate in enumerate(contents.candidates, start=1)
            if candidate.is_outlined_by(outline)
        ]
        on = f"on {', '.join(numbers)} of the images" if numbers else "on images that are not here"
        lines.append(f"  {_kind(outline)}: {_count(len(outline.lesion_numbers), 'lesion')}, drawn {on}")
        if identifying:
            lines.append(f"     instance {outline.instance.sop_instance_uid}")
    lines += [
        f"  {each.subject}: not used. {_reason(RejectedStudy(each.reason, each.detail))}"
        for each in contents.refused_outlines
    ]
    return lines


def _kind(outline: Outline) -> str:
    return outline.instance.modality if outline.instance.modality in ("SEG", "RTSTRUCT") else "outline"


def _lesion(lesion: MeasuredLesion) -> str:
    long_mm, short_mm = lesion.planar.long_axis.length_mm, lesion.planar.short_axis.length_mm
    index = ", the index lesion" if lesion.number == 1 else ""
    return (
        f"  {lesion.number}. {lesion.volume_mm3 / 1000:.1f} mL, {long_mm:.0f} x {short_mm:.0f} mm on its key"
        f" slice{index}"
    )


def _score(
    measured: MeasuredStudy, instances: Sequence[StoredInstance], config: Config, bundle: Bundle
) -> Iterator[str]:
    outcome = bundle.score(
        measured.lesions[0].features,
        modality=measured.series.modality,
        acquisition=measured.acquisition,
        liver_stated=measured.liver_stated or not config.image.liver_required,
        index_in_doubt=measured.index_in_doubt,
        suspended=bundle.identity.bundle_digest in config.model.suspended,
    )
    if isinstance(outcome, NotComputed):
        detail = f" ({outcome.detail})" if outcome.detail else ""
        yield f"No score. {outcome.reason.value}: {outcome.reason.explanation}{detail}"
        return
    yield "The index lesion would be scored."
    count = config.assess.perturbations
    if not count:
        return
    vectors = measure_again(
        instances,
        limits=image_limits(config.image, bundle.manifest.acquisition.phase),
        settings=extraction_settings(bundle),
        source=measured.lesions[0].source,
        names=bundle.manifest.features,
        count=count,
    )
    spread = bundle.spread(vectors, perturbations=count)
    if spread is None:
        yield f"  Measured again {count} times, perturbed, it gives no score"
        return
    yield (
        f"  Measured again {count} times with noise, pose and outline perturbed, {spread.scored} gave a score"
        f" of the {bundle.identity.status.value} model: from {spread.lowest:.2f} to {spread.highest:.2f},"
        f" standard deviation {spread.standard_deviation:.3f}"
    )


def _reason(rejection: RejectedStudy) -> str:
    detail = f" ({rejection.detail})" if rejection.detail else ""
    return f"{rejection.reason.value}: {rejection.reason.explanation}{detail}"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
