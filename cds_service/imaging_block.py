# SPDX-License-Identifier: Apache-2.0
"""What a card says from imaging: last of all, apart from eligibility, and never more than is known."""

from __future__ import annotations

from datetime import date, timedelta

from cds_service.identity import NoImaging
from cds_service.markdown import bullets, escaped
from model.domain import (
    Assessment,
    ModelIdentity,
    ModelStatus,
    NotComputed,
    NotComputedReason,
    Outcome,
    Rejection,
    Score,
)
from model.eligibility.regimens import RegimenOrder

SCAN_WINDOW = timedelta(days=42)
"""Clinical reference 1.12: imaging at most 28 to 42 days before the decision."""

_DIGEST_SHOWN = 12
"""Hexadecimal digits of a digest that a person can compare; the report has all."""

BADGE = (
    "INVESTIGATIONAL – for research / MDT discussion only. Not FDA-cleared, not CE-marked. "
    "Not a test of gene expression."
)
"""Clinical reference 6.2, on any score."""

_DEMONSTRATION = (
    "DEMONSTRATION MODEL – this number has no clinical meaning. It was trained on computer-made images "
    "to show that the software works."
)

_CLAIM = (
    "Published research reported AUC 0.72 to 0.83 for response to a checkpoint inhibitor with an "
    "anti-angiogenic drug in retrospective cohorts, for the authors' own model and not for this one. The "
    "score was also prognostic; nothing shows that it tells who benefits from which treatment."
)


def imaging_block(imaging: Outcome | NoImaging, order: RegimenOrder | None, *, today: date) -> str:
    """Return the Markdown of the imaging part: measurements and score, or why there is none."""
    return "\n\n".join(["**Imaging (informs only, changes nothing above)**", *_body(imaging, order, today)])


_NOT_ORDERED = (
    "An assessed study is at hand. Its score speaks only of regimens that pair a checkpoint inhibitor with "
    "an anti-angiogenic drug, and shows when one of them is ordered."
)


def _body(imaging: Outcome | NoImaging, order: RegimenOrder | None, today: date) -> list[str]:
    if isinstance(imaging, NoImaging):
        sentence = "Imaging result withheld: " if imaging.is_withheld else "Score not computed, because "
        return [f"{sentence}{imaging.value}."]
    if isinstance(imaging, Rejection):
        return [_rejection(imaging)]
    if order is None:
        return [_NOT_ORDERED]
    return [_measurements(imaging), *_score_or_why_not(imaging, order, today)]


def _score_or_why_not(assessment: Assessment, order: RegimenOrder, today: date) -> list[str]:
    if isinstance(assessment.score, NotComputed):
        return [f"Score not computed, because {_why_not(assessment.score)}."]
    if assessment.model.status is ModelStatus.SUSPENDED:
        return [f"Score not computed, because {NotComputedReason.SUSPENDED.explanation}."]
    reason = _against_regimen(order) or _against_scan(assessment.study.study_date, today)
    return [f"Score not shown, because {reason}."] if reason else _score(assessment, assessment.score)


def _rejection(rejection: Rejection) -> str:
    scan = rejection.study.study_date
    when = f" (study of {scan.isoformat()})" if scan else ""
    detail = f" {escaped(rejection.detail)}." if rejection.detail else ""
    return (
        f"Score not computed, because the study was not assessed{when}: "
        f"{escaped(rejection.reason.explanation)}{detail} ({rejection.reason.value})"
    )


def _why_not(absent: NotComputed) -> str:
    detail = f" ({escaped(absent.detail)})" if absent.detail else ""
    return f"{absent.reason.explanation}{detail}"


def _against_regimen(order: RegimenOrder) -> str:
    """Return why the score does not speak of `order`; '' when it does."""
    if not order.regimen.pairs_checkpoint_inhibitor_with_anti_angiogenic:
        return "it was not studied for this regimen"
    if not order.is_whole:
        absent = " and ".join(sorted(order.absent))
        return f"it speaks only of the whole pair, and {absent} is neither ordered nor taken"
    return ""


def _against_scan(scan: date | None, today: date) -> str:
    """Return why the scan cannot inform a decision of today; '' when it can."""
    if scan is None:
        return "the date of the scan is not known"
    # A day of tolerance for time zones.
    if scan > today + timedelta(days=1):
        return "the scan is dated in the future"
    if today - scan > SCAN_WINDOW:
        return f"the scan is more than {SCAN_WINDOW.days} days old ({scan.isoformat()})"
    return ""


def _measurements(assessment: Assessment) -> str:
    lesion = assessment.index_lesion
    scan = assessment.study.study_date
    count = len(assessment.lesions)
    text = (
        f"{assessment.series.modality.value} of {scan.isoformat() if scan else 'unknown date'}: "
        f"{count} outlined lesion{'s' if count > 1 else ''}; the index lesion has "
        f"{lesion.volume_mm3 / 1000:.1f} mL and {lesion.planar.long_axis.length_mm:.0f} mm long axis."
    )
    if assessment.notes:
        text += " Notes: " + "; ".join(escaped(note) for note in assessment.notes) + "."
    return text


def _score(assessment: Assessment, score: Score) -> list[str]:
    model = assessment.model
    low, high = score.interval
    demonstration = model.status is ModelStatus.DEMONSTRATION
    verdict = (
        "cannot say high or low"
        if len(score.conformal_set) != 1
        else f"within its reference cohort: {escaped(score.conformal_set[0])}"
    )
    figures = (
        f"Score {score.probability:.2f} ({low:.2f} to {high:.2f}, {escaped(score.interval_method)}), "
        f"percentile {score.reference_percentile:.0f} of the model's reference cohort; {verdict}"
    )
    lines = [
        figures,
        f"Higher means: {escaped(model.higher_means)}",
        _identity(model, assessment.software_version),
        "This installation's own performance: not yet evaluated",
    ]
    badge = f"**{_DEMONSTRATION} {BADGE}**" if demonstration else f"**{BADGE}**"
    closing = "Do not use alone to choose or withhold therapy."
    return [badge, bullets(lines), closing if demonstration else f"{_CLAIM} {closing}"]


def _identity(model: ModelIdentity, software_version: str) -> str:
    return (
        f"Model {escaped(model.name)} {escaped(model.version)}, status {model.status.value}, "
        f"bundle {model.bundle_digest[:_DIGEST_SHOWN]}, "
        f"extraction settings {model.settings_digest[:_DIGEST_SHOWN]}, software {escaped(software_version)}"
    )
