# SPDX-License-Identifier: Apache-2.0
"""The score, or why there is none, as a RiskAssessment; the software and the model as Devices.

A number leaves only of a model that may speak of patients. Of a demonstration model the RiskAssessment
has no prediction, bears the label of test data and says what it is: whoever reads nothing but the number
finds none.
"""

from __future__ import annotations

from fhir_gateway import result_terms as terms
from fhir_gateway.result_document import PATIENT, Named, ResultKeys
from fhir_gateway.result_lesions import group_name, identifiers
from fhir_gateway.result_terms import Element
from model import wording
from model.domain import Assessment, ModelIdentity, ModelStatus, NotComputed, Score, derived_uid

SOFTWARE = "HCC-CDS"

_PERCENT = 100.0

_ANTI_ANGIOGENIC_ONLY = (
    "Of interest only for regimens that pair an immune checkpoint inhibitor with an anti-angiogenic drug."
)
_DEMONSTRATION = (
    f"{wording.NO_CLINICAL_MEANING}. It was trained on computer-made images to show that the software works."
)
_WITHDRAWN = "The score that stood here is withdrawn."
_NUMBER_WITHHELD = f"{_DEMONSTRATION} What it computed is not written to the record."
_STATUS_WORDS = {
    ModelStatus.DEMONSTRATION: wording.NO_CLINICAL_MEANING,
    ModelStatus.RESEARCH: "Research model: investigational.",
    ModelStatus.VALIDATED: "Validated by its maker: external evidence excludes chance.",
    ModelStatus.SUSPENDED: "Model suspended.",
}


def software_device(version: str) -> Named:
    """Return the software that measures and writes."""
    return _device(
        f"{SOFTWARE} {version}",
        {
            "deviceName": [{"name": SOFTWARE, "type": "user-friendly-name"}],
            "type": {"text": "Clinical decision support software, investigational"},
            "version": [{"value": version}],
            "note": [{"text": wording.BADGE}],
        },
    )


def model_device(model: ModelIdentity) -> Named:
    """Return the model bundle, known by its digest and status."""
    return _device(
        f"{model.name} {model.version}, {model.bundle_digest}, {model.status.value}",
        {
            "deviceName": [{"name": model.name, "type": "model-name"}],
            "type": {"text": "Model of four radiomics features"},
            "version": [
                {"value": model.version},
                {"type": {"text": "SHA-256 of the bundle"}, "value": model.bundle_digest},
                {"type": {"text": "SHA-256 of the extraction settings"}, "value": model.settings_digest},
            ],
            "note": [{"text": _STATUS_WORDS[model.status]}],
        },
    )


def risk_assessment(
    assessment: Assessment, keys: ResultKeys, *, status: str, device: str, withdrawn: bool
) -> Named:
    """Return the score or its absence with the reason.

    Parameters
    ----------
    status
        `preliminary`, `final` or `amended`, for a score; its absence is `cancelled`, which FHIR defines as
        "the measurement was not started or not completed".
    device
        Name of the model's Device.
    withdrawn
        Whether there was a score, which no longer holds: `entered-in-error`, of which FHIR says that
        "real-world decisions" may have been based on it.
    """
    uid = keys.part("score")
    resource: Element = {
        "resourceType": "RiskAssessment",
        "identifier": identifiers(uid, keys),
        "status": status,
        "code": terms.score(assessment.model.status),
        "subject": {"reference": PATIENT},
        "performer": {"reference": device},
        "basis": [{"reference": group_name(assessment.index_lesion, keys)}],
        "occurrenceDateTime": assessment.created_at.isoformat(),
    }
    outcome = assessment.score
    if assessment.model.status is ModelStatus.DEMONSTRATION:
        resource["meta"] = {"security": [terms.TEST_DATA]}
        resource["status"] = "cancelled" if isinstance(outcome, NotComputed) else "preliminary"
        sentences = (
            [_DEMONSTRATION, absence_sentence(outcome)]
            if isinstance(outcome, NotComputed)
            else [_NUMBER_WITHHELD]
        )
    elif isinstance(outcome, NotComputed):
        resource["status"] = "cancelled"
        sentences = [absence_sentence(outcome)]
    else:
        resource["prediction"] = [_prediction(outcome, assessment.model)]
        sentences = [wording.BADGE, _ANTI_ANGIOGENIC_ONLY, wording.acquisition_words(outcome)]
        sentences.append(wording.NOT_ALONE)
    if withdrawn:
        resource["status"] = "entered-in-error"
        sentences = [_WITHDRAWN, *sentences]
    resource["note"] = [{"text": str(each)} for each in sentences]
    return Named(name=terms.local(uid), resource=resource)


def score_sentence(assessment: Assessment, *, withdrawn: bool) -> str:
    """Return what the report says of the score.

    Parameters
    ----------
    withdrawn
        As for `risk_assessment`.
    """
    model, outcome = assessment.model, assessment.score
    speaker = f"model {model.name} {model.version} ({model.bundle_digest[:12]}, {model.status.value})"
    demonstration = model.status is ModelStatus.DEMONSTRATION
    if isinstance(outcome, NotComputed):
        beginning = f"{_WITHDRAWN} " if withdrawn else ""
        beginning += f"{_DEMONSTRATION} " if demonstration else ""
        return f"{beginning}{absence_sentence(outcome)} Asked was the {speaker}."
    if demonstration:
        return f"{_NUMBER_WITHHELD} Asked was the {speaker}."
    return (
        f"{wording.BADGE} {_figures(outcome)} Higher means: {model.higher_means}. It is of the {speaker}. "
        f"{_ANTI_ANGIOGENIC_ONLY} {wording.NOT_ALONE}"
    )


def absence_sentence(outcome: NotComputed) -> str:
    """Return why there is no score."""
    detail = f" ({outcome.detail})" if outcome.detail else ""
    return f"Score not computed, because {outcome.reason.explanation}{detail} [{outcome.reason.value}]."


def _prediction(score: Score, model: ModelIdentity) -> Element:
    low, high = (terms.quantity(each * _PERCENT, "%") for each in score.interval)
    return {
        "outcome": {"text": f"A higher score means: {model.higher_means}"},
        # A decimal may be read as a fraction or as percent (FHIR R4, ras-2); a Range has a unit.
        "probabilityRange": {"low": low, "high": high},
        "qualitativeRisk": {"text": str(wording.conformal_words(score))},
        "rationale": _figures(score),
    }


def _figures(score: Score) -> str:
    low, high = score.interval
    return (
        f"Score {score.probability:.3f} ({low:.3f} to {high:.3f}, {score.interval_method}), "
        f"{wording.percentile_words(score)}."
    )


def _device(value: str, what: Element) -> Named:
    return Named(
        name=terms.local(derived_uid("fhir device", value)),
        resource={
            "resourceType": "Device",
            "identifier": [{"system": terms.DEVICE, "value": value}],
            "status": "active",
        }
        | what,
    )
