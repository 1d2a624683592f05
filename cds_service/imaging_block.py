# SPDX-License-Identifier: Apache-2.0
"""What a card says from imaging: last of all, apart from eligibility, and never more than is known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from cds_service.identity import NoImaging
from cds_service.markdown import bullets, escaped
from cds_service.score_limits import SCAN_WINDOW, against_score
from cds_service.texts import ENGLISH, Texts
from model.domain import (
    Assessment,
    ModelIdentity,
    ModelStatus,
    NotComputed,
    Outcome,
    Rejection,
    Score,
)
from model.eligibility.regimens import RegimenOrder
from model.patient_facts import PatientFacts
from model.phrase import phrase
from model.wording import (
    BADGE,
    DEMONSTRATION,
    NOT_ALONE,
    acquisition_sentences,
    conformal_words,
    percentile_words,
)

_DIGEST_SHOWN = 12
"""Hexadecimal digits of a digest that a person can compare; the report has all."""

_ACQUISITION_MAX_LENGTH = 1000
"""The sentences on the acquisition are ours, and the words in them those of the model's bundle."""

_CLAIM = phrase(
    "Published research reported AUC 0.72 to 0.83 for response to a checkpoint inhibitor with an "
    "anti-angiogenic drug in retrospective cohorts, for the authors' own model and not for this one. The "
    "score was also prognostic; nothing shows that it tells who benefits from which treatment."
)


_NOT_KNOWN_HERE = phrase("Not checked: systemic therapy before, as not all earlier medication is known.")
"""Clinical reference 1.12 asks for imaging before any of it."""


def imaging_block(
    imaging: Outcome | NoImaging,
    order: RegimenOrder | None,
    *,
    facts: PatientFacts,
    today: date,
    texts: Texts = ENGLISH,
) -> str:
    """Return the Markdown of the imaging part: measurements and score, or why there is none."""
    block = _Block(order=order, facts=facts, today=today, texts=texts)
    title = texts.say("Imaging (informs only, changes nothing above)")
    return "\n\n".join([f"**{title}**", *block.body(imaging)])


def says_score(
    imaging: Outcome | NoImaging, order: RegimenOrder | None, *, facts: PatientFacts, today: date
) -> bool:
    """Whether the block would show a score, or say that one shows with an order."""
    if not isinstance(imaging, Assessment) or isinstance(imaging.score, NotComputed):
        return False
    return not against_score(imaging, order, facts, today)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Block:
    order: RegimenOrder | None
    facts: PatientFacts
    today: date
    texts: Texts

    def body(self, imaging: Outcome | NoImaging) -> list[str]:
        """Return the paragraphs below the title."""
        if isinstance(imaging, NoImaging):
            return [self._none(imaging)]
        if isinstance(imaging, Rejection):
            return [self._rejection(imaging)]
        return [self._measurements(imaging), *self._score_or_why_not(imaging)]

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
        if reason := against_score(assessment, self.order, self.facts, self.today):
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
            *([] if self.facts.past_drugs_complete else [say(_NOT_KNOWN_HERE)]),
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
