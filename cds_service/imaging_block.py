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
from model.eligibility.regimens import REGIMENS, RegimenOrder
from model.patient_facts import DiagnosisStatus
from model.wording import (
    BADGE,
    DEMONSTRATION,
    NOT_ALONE,
    acquisition_words,
    conformal_words,
    percentile_words,
)

SCAN_WINDOW = timedelta(days=42)
"""Clinical reference 1.12: imaging at most 28 to 42 days before the decision."""

_DIGEST_SHOWN = 12
"""Hexadecimal digits of a digest that a person can compare; the report has all."""

_ACQUISITION_MAX_LENGTH = 1000
"""The sentences on the acquisition are ours, and the words in them those of the model's bundle."""

_CLAIM = (
    "Published research reported AUC 0.72 to 0.83 for response to a checkpoint inhibitor with an "
    "anti-angiogenic drug in retrospective cohorts, for the authors' own model and not for this one. The "
    "score was also prognostic; nothing shows that it tells who benefits from which treatment."
)


_NOT_KNOWN_HERE = (
    "Not checked: whether the lesion was treated locally before the scan, and treatment since the scan."
)
"""Clinical reference 1.10 and 1.12: the gate asks for it, and this version cannot tell."""


def imaging_block(
    imaging: Outcome | NoImaging, order: RegimenOrder | None, *, hcc: DiagnosisStatus, today: date
) -> str:
    """Return the Markdown of the imaging part: measurements and score, or why there is none."""
    return "\n\n".join(
        ["**Imaging (informs only, changes nothing above)**", *_body(imaging, order, hcc, today)]
    )


def _body(
    imaging: Outcome | NoImaging, order: RegimenOrder | None, hcc: DiagnosisStatus, today: date
) -> list[str]:
    if isinstance(imaging, NoImaging):
        sentence = (
            "Imaging result pending: "
            if imaging is NoImaging.AWAITED
            else "Imaging result withheld: "
            if imaging.is_withheld
            else "Score not computed, because "
        )
        return [f"{sentence}{imaging.value}."]
    if isinstance(imaging, Rejection):
        return [_rejection(imaging)]
    return [_measurements(imaging), *_score_or_why_not(imaging, order, hcc, today)]


def _score_or_why_not(
    assessment: Assessment, order: RegimenOrder | None, hcc: DiagnosisStatus, today: date
) -> list[str]:
    if isinstance(assessment.score, NotComputed):
        return [f"Score not computed, because {_why_not(assessment.score)}."]
    reason = (
        _against_model(assessment)
        or (_against_order(order) if order is not None else "")
        or _against_diagnosis(hcc)
        or _against_scan(assessment.study.study_date, today)
    )
    if reason:
        return [f"Score not shown, because {reason}."]
    if order is None:
        return [_when_it_shows(assessment)]
    return _score(assessment, assessment.score)


def _when_it_shows(assessment: Assessment) -> str:
    """Return under which order the score shows: `patient-view` knows of none."""
    regimens = " or ".join(
        each.name for each in REGIMENS if each.pairs_checkpoint_inhibitor_with_anti_angiogenic
    )
    assert assessment.study.study_date is not None
    until = assessment.study.study_date + SCAN_WINDOW
    return (
        "A score was computed. It speaks only of a checkpoint inhibitor with an anti-angiogenic drug, and is "
        f"shown with an order of {regimens} until {until.isoformat()}."
    )


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


def _against_model(assessment: Assessment) -> str:
    """Return why nothing of this model may show; '' when it may."""
    if assessment.model.status is ModelStatus.SUSPENDED:
        return NotComputedReason.SUSPENDED.explanation
    return ""


def _against_order(order: RegimenOrder) -> str:
    """Return why the score does not speak of `order`; '' when it does."""
    if not order.regimen.has_criteria:
        return "this version has no criteria for the combination that is ordered"
    if not order.regimen.pairs_checkpoint_inhibitor_with_anti_angiogenic:
        return "it was not studied for this regimen"
    if order.subject_in_doubt:
        return "it is not certain whose order this is"
    if order.status_in_doubt:
        return "it is not certain whether this is being ordered"
    return _against_company(order)


def _against_company(order: RegimenOrder) -> str:
    """Return why it is not the pair, and the pair alone, that is given; '' when it is."""
    if order.also_taken:
        also = " and ".join(sorted(order.also_taken))
        return f"it speaks only of the pair, and the medication list also holds {also}"
    if not order.is_whole:
        absent = " and ".join(sorted(order.absent))
        return (
            f"it speaks only of the whole pair, and {absent} was not found in this order or ordered of late"
        )
    if order.incomplete:
        return (
            "it speaks only of the pair, and an order beside it could not be read or names a drug that is "
            "not known"
        )
    return ""


def _against_diagnosis(hcc: DiagnosisStatus) -> str:
    """Return why the lesion cannot be taken for hepatocellular carcinoma (clinical reference 1.10)."""
    if hcc is DiagnosisStatus.CONFIRMED:
        return ""
    return "it speaks only of hepatocellular carcinoma, of which no confirmed and active entry was found"


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
    measured = len(assessment.lesions)
    outlined = measured + assessment.left_out
    text = (
        f"{assessment.series.modality.value} of {scan.isoformat() if scan else 'unknown date'}: "
        f"{outlined} outlined lesion{'s' if outlined > 1 else ''}, {measured} measured; the largest that was "
        f"measured has {lesion.volume_mm3 / 1000:.1f} mL and {lesion.planar.long_axis.length_mm:.0f} mm long "
        "axis."
    )
    if assessment.index_in_doubt:
        text += (
            " Whether it is the index lesion is in doubt: one that was left out may be larger, or another "
            "outline of it differs."
        )
    if assessment.notes:
        text += " Notes: " + "; ".join(escaped(note) for note in assessment.notes) + "."
    return text


def _score(assessment: Assessment, score: Score) -> list[str]:
    model = assessment.model
    low, high = score.interval
    demonstration = model.status is ModelStatus.DEMONSTRATION
    figures = (
        f"Score {score.probability:.2f} ({low:.2f} to {high:.2f}, {escaped(score.interval_method)}), "
        f"{percentile_words(score)}; {escaped(conformal_words(score))}"
    )
    lines = [
        figures,
        f"Higher means: {escaped(model.higher_means)}",
        _identity(model, assessment.software_version),
        escaped(acquisition_words(score), _ACQUISITION_MAX_LENGTH),
        _NOT_KNOWN_HERE,
        "This installation's own performance: not yet evaluated",
    ]
    badge = f"**{DEMONSTRATION} {BADGE}**" if demonstration else f"**{BADGE}**"
    return [badge, bullets(lines), NOT_ALONE if demonstration else f"{_CLAIM} {NOT_ALONE}"]


def _identity(model: ModelIdentity, software_version: str) -> str:
    return (
        f"Model {escaped(model.name)} {escaped(model.version)}, status {model.status.value}, "
        f"bundle {model.bundle_digest[:_DIGEST_SHOWN]}, "
        f"extraction settings {model.settings_digest[:_DIGEST_SHOWN]}, software {escaped(software_version)}"
    )
