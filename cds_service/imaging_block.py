# SPDX-License-Identifier: Apache-2.0
"""What a card says from imaging: last of all, apart from eligibility, and never more than is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

from cds_service.identity import NoImaging
from cds_service.markdown import bullets, escaped
from cds_service.texts import ENGLISH, Texts
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
from model.patient_facts import DiagnosisStatus
from model.phrase import phrase
from model.wording import (
    BADGE,
    DEMONSTRATION,
    NOT_ALONE,
    acquisition_sentences,
    conformal_words,
    percentile_words,
)

SCAN_WINDOW = timedelta(days=42)
"""Clinical reference 1.12: imaging at most 28 to 42 days before the decision."""

_DIGEST_SHOWN = 12
"""Hexadecimal digits of a digest that a person can compare; the report has all."""

_ACQUISITION_MAX_LENGTH = 1000
"""The sentences on the acquisition are ours, and the words in them those of the model's bundle."""

_CLAIM = phrase(
    "Published research reported AUC 0.72 to 0.83 for response to a checkpoint inhibitor with an "
    "anti-angiogenic drug in retrospective cohorts, for the authors' own model and not for this one. The "
    "score was also prognostic; nothing shows that it tells who benefits from which treatment."
)


_NOT_KNOWN_HERE = phrase(
    "Not checked: whether the lesion was treated locally before the scan, and treatment since the scan."
)
"""Clinical reference 1.10 and 1.12: the gate asks for it, and this version cannot tell."""


def imaging_block(
    imaging: Outcome | NoImaging,
    order: RegimenOrder | None,
    *,
    hcc: DiagnosisStatus,
    today: date,
    texts: Texts = ENGLISH,
) -> str:
    """Return the Markdown of the imaging part: measurements and score, or why there is none."""
    block = _Block(order=order, hcc=hcc, today=today, texts=texts)
    title = texts.say("Imaging (informs only, changes nothing above)")
    return "\n\n".join([f"**{title}**", *block.body(imaging)])


def says_score(
    imaging: Outcome | NoImaging, order: RegimenOrder | None, *, hcc: DiagnosisStatus, today: date
) -> bool:
    """Whether the block would show a score, or say that one shows with an order."""
    if not isinstance(imaging, Assessment) or isinstance(imaging.score, NotComputed):
        return False
    return not _Block(order=order, hcc=hcc, today=today, texts=ENGLISH).against(imaging)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    order: RegimenOrder | None
    hcc: DiagnosisStatus
    today: date
    texts: Texts

    def body(self, imaging: Outcome | NoImaging) -> list[str]:
        """Return the paragraphs below the title."""
        if isinstance(imaging, NoImaging):
            return [self._none(imaging)]
        if isinstance(imaging, Rejection):
            return [self._rejection(imaging)]
        return [self._measurements(imaging), *self._score_or_why_not(imaging)]

    def against(self, assessment: Assessment) -> str:
        """Return why the computed score of `assessment` may not show; '' when it may."""
        return (
            _against_model(assessment)
            or (_against_order(self.order) if self.order is not None else "")
            or _against_diagnosis(self.hcc)
            or _against_scan(assessment.study.study_date, self.today)
        )

    def _none(self, imaging: NoImaging) -> str:
        reason = self.texts.say(imaging.value)
        if imaging is NoImaging.AWAITED:
            return self.texts.say("Imaging result pending: {reason}.", reason=reason)
        if imaging.is_withheld:
            return self.texts.say("Imaging result withheld: {reason}.", reason=reason)
        return self.texts.say("Score not computed, because {reason}.", reason=reason)

    def _score_or_why_not(self, assessment: Assessment) -> list[str]:
        say = self.texts.say
        if isinstance(assessment.score, NotComputed):
            return [say("Score not computed, because {reason}.", reason=self._why_not(assessment.score))]
        if reason := self.against(assessment):
            return [say("Score not shown, because {reason}.", reason=say(reason))]
        if self.order is None:
            return [self._when_it_shows(assessment)]
        return self._score(assessment, assessment.score)

    def _when_it_shows(self, assessment: Assessment) -> str:
        """Return under which order the score shows: `patient-view` knows of none."""
        say = self.texts.say
        assert assessment.study.study_date is not None
        return say(
            "A score was computed. It speaks only of a checkpoint inhibitor with an anti-angiogenic drug, "
            "and is shown with an order of such a regimen until {day}.",
            day=(assessment.study.study_date + SCAN_WINDOW).isoformat(),
        )

    def _rejection(self, rejection: Rejection) -> str:
        say = self.texts.say
        scan = rejection.study.study_date
        parts = [
            say(
                "Score not computed, because the study was not assessed (study of {day}):",
                day=scan.isoformat(),
            )
            if scan
            else say("Score not computed, because the study was not assessed:"),
            escaped(say(rejection.reason.explanation)),
        ]
        if rejection.detail:
            parts.append(f"{escaped(rejection.detail)}.")
        return " ".join([*parts, f"({rejection.reason.value})"])

    def _why_not(self, absent: NotComputed) -> str:
        detail = f" ({escaped(absent.detail)})" if absent.detail else ""
        return f"{self.texts.say(absent.reason.explanation)}{detail}"

    def _measurements(self, assessment: Assessment) -> str:
        say, say_many = self.texts.say, self.texts.say_many
        lesion = assessment.index_lesion
        scan = assessment.study.study_date
        measured = len(assessment.lesions)
        sentences = [
            say(
                "{modality} of {day}: {outlined}, {measured} measured; the largest that was measured has "
                "{volume} mL and {length} mm long axis.",
                modality=assessment.series.modality.value,
                day=scan.isoformat() if scan else say("unknown date"),
                outlined=say_many(
                    "{number} outlined lesion", "{number} outlined lesions", measured + assessment.left_out
                ),
                measured=measured,
                volume=f"{lesion.volume_mm3 / 1000:.1f}",
                length=f"{lesion.planar.long_axis.length_mm:.0f}",
            )
        ]
        if assessment.index_in_doubt:
            sentences.append(
                say(
                    "Whether it is the index lesion is in doubt: one that was left out may be larger, or "
                    "another outline of it differs."
                )
            )
        if assessment.notes:
            notes = "; ".join(escaped(say(note)) for note in assessment.notes)
            sentences.append(say("Notes: {notes}.", notes=notes))
        return " ".join(sentences)

    def _score(self, assessment: Assessment, score: Score) -> list[str]:
        say = self.texts.say
        model = assessment.model
        low, high = score.interval
        demonstration = model.status is ModelStatus.DEMONSTRATION
        figures = say(
            "Score {value} ({low} to {high}, {method}), {percentile}; {conformal}",
            value=f"{score.probability:.2f}",
            low=f"{low:.2f}",
            high=f"{high:.2f}",
            method=escaped(score.interval_method),
            percentile=say(percentile_words(score)),
            conformal=escaped(say(conformal_words(score))),
        )
        lines = [
            figures,
            say("Higher means: {meaning}", meaning=escaped(model.higher_means)),
            self._identity(model, assessment.software_version),
            escaped(" ".join(say(each) for each in acquisition_sentences(score)), _ACQUISITION_MAX_LENGTH),
            say(_NOT_KNOWN_HERE),
            say("This installation's own performance: not yet evaluated"),
        ]
        badge = f"{say(DEMONSTRATION)} {say(BADGE)}" if demonstration else say(BADGE)
        end = say(NOT_ALONE) if demonstration else f"{say(_CLAIM)} {say(NOT_ALONE)}"
        return [f"**{badge}**", bullets(lines), end]

    def _identity(self, model: ModelIdentity, software_version: str) -> str:
        return self.texts.say(
            "Model {name} {version}, status {status}, bundle {bundle}, extraction settings {settings}, "
            "software {software}",
            name=escaped(model.name),
            version=escaped(model.version),
            status=model.status,
            bundle=model.bundle_digest[:_DIGEST_SHOWN],
            settings=model.settings_digest[:_DIGEST_SHOWN],
            software=escaped(software_version),
        )


def _against_model(assessment: Assessment) -> str:
    """Return why nothing of this model may show; '' when it may."""
    if assessment.model.status is ModelStatus.SUSPENDED:
        return NotComputedReason.SUSPENDED.explanation
    return ""


def _against_order(order: RegimenOrder) -> str:
    """Return why the score does not speak of `order`; '' when it does."""
    if not order.regimen.has_criteria:
        return phrase("this version has no criteria for the combination that is ordered")
    if not order.regimen.pairs_checkpoint_inhibitor_with_anti_angiogenic:
        return phrase("it was not studied for this regimen")
    if order.subject_in_doubt:
        return phrase("it is not certain whose order this is")
    if order.status_in_doubt:
        return phrase("it is not certain whether this is being ordered")
    return _against_company(order)


def _against_company(order: RegimenOrder) -> str:
    """Return why it is not the pair, and the pair alone, that is given; '' when it is."""
    if order.also_taken:
        also = " + ".join(sorted(order.also_taken))
        return phrase("it speaks only of the pair, and the medication list also holds {drugs}", drugs=also)
    if not order.is_whole:
        absent = " + ".join(sorted(order.absent))
        return phrase(
            "it speaks only of the whole pair, and {drugs} was not found in this order or ordered of late",
            drugs=absent,
        )
    if order.incomplete:
        return phrase(
            "it speaks only of the pair, and an order beside it could not be read or names a drug that is "
            "not known"
        )
    return ""


def _against_diagnosis(hcc: DiagnosisStatus) -> str:
    """Return why the lesion cannot be taken for hepatocellular carcinoma (clinical reference 1.10)."""
    if hcc is DiagnosisStatus.CONFIRMED:
        return ""
    return phrase(
        "it speaks only of hepatocellular carcinoma, of which no confirmed and active entry was found"
    )


def _against_scan(scan: date | None, today: date) -> str:
    """Return why the scan cannot inform a decision of today; '' when it can."""
    if scan is None:
        return phrase("the date of the scan is not known")
    # A day of tolerance for time zones.
    if scan > today + timedelta(days=1):
        return phrase("the scan is dated in the future")
    if today - scan > SCAN_WINDOW:
        return phrase(
            "the scan is more than {days} days old ({day})", days=SCAN_WINDOW.days, day=scan.isoformat()
        )
    return ""
