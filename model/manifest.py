# SPDX-License-Identifier: Apache-2.0
"""What a model bundle says of itself: the signed `manifest.json`."""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    FiniteFloat,
    PositiveInt,
    SerializerFunctionWrapHandler,
    StringConstraints,
    model_serializer,
    model_validator,
)

from model.acquisition import AcquisitionLimits
from model.applicability import FourNames, ReferenceLimits
from model.domain import Modality, ModelStatus
from model.radiomics import ExtractionSettings

FORMAT = "hcc-cds-bundle/1"
"""Changes when an older reader would misunderstand a newer bundle."""

Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
_Line = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[^\x00-\x1f]+$")]


class Evidence(BaseModel):
    """One measured figure of the model's performance, with all that is needed to judge it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    measure: _Line
    """As "AUC" or "hazard ratio"."""
    endpoint: _Line
    """What was predicted."""
    value: FiniteFloat
    interval: tuple[FiniteFloat, FiniteFloat]
    interval_level: float = Field(gt=0.0, lt=1.0)
    interval_method: _Line
    chance: FiniteFloat
    """What a model without any signal gets: 0.5 for an AUC, 1 for a hazard ratio."""
    better: Literal["higher", "lower"]
    cohort: _Line
    test_kind: Literal["held-out", "cross-validation", "external", "prospective"]
    """`external` and `prospective`: cases from another site, or later, than any used to make the model."""
    cases: PositiveInt
    cases_high: int = Field(ge=0)
    """Of them, with the endpoint."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        low, high = self.interval
        if not low <= self.value <= high:
            raise ValueError("the value lies outside its interval")
        if self.cases_high > self.cases:
            raise ValueError("more cases with the endpoint than cases")
        return self

    @property
    def is_external(self) -> bool:
        """Whether it comes from cases that had no part in making the model."""
        return self.test_kind in {"external", "prospective"}

    @property
    def excludes_chance(self) -> bool:
        """Whether the whole interval lies on the better side of chance."""
        low, high = self.interval
        return low > self.chance if self.better == "higher" else high < self.chance


class FeatureStability(BaseModel):
    """That the four features were chosen among those that tell lesions apart, not ways of looking at one."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    demanded: float = Field(gt=-1.0, lt=1.0)
    """Which lower confidence limit of the intraclass correlation a feature had to reach to be chosen."""
    lower_limits: tuple[FiniteFloat, ...] = Field(min_length=1)
    """Of the chosen features, in their order."""
    confidence: float = Field(gt=0.0, lt=1.0)
    """Of the interval that these are the lower ends of."""
    perturbations: PositiveInt
    """Of each lesion, besides the measurement without one."""
    lesions: PositiveInt
    """Of the training part: those in which a feature was defined under every perturbation; the fewest."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if min(self.lower_limits) < self.demanded:
            raise ValueError("a feature is less stable than was demanded")
        return self


class Declaration(BaseModel):
    """What the maker of a bundle declares; the rest of the manifest is computed."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: _Line
    version: _Line
    status: ModelStatus
    modality: Modality
    features: FourNames
    higher_means: _Line
    """What a higher score means, in words that stand beside it wherever it shows."""
    settings: ExtractionSettings
    conformal_alpha: float = Field(gt=0.0, lt=1.0)
    acquisition: AcquisitionLimits
    reference: ReferenceLimits
    evidence: tuple[Evidence, ...]
    stability: FeatureStability | None = None
    """None where nobody measured it."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if len(set(self.features)) != len(self.features):
            raise ValueError("the four features differ from each other")
        if self.stability is not None and len(self.stability.lower_limits) != len(self.features):
            raise ValueError("the stability of each of the four features, and of no other")
        if self.settings.modality != self.modality:
            raise ValueError("the settings are for another modality")
        if self.status is ModelStatus.VALIDATED and not self.is_supported:
            raise ValueError("validated, without external evidence, all of which excludes chance")
        return self

    @property
    def is_supported(self) -> bool:
        """Whether there is external evidence, all of which excludes chance.

        One favourable cohort does not outweigh another that shows no signal. Only such a
        model may be of status validated, which is what a report or card may believe.
        """
        external = [each for each in self.evidence if each.is_external]
        return bool(external) and all(each.excludes_chance for each in external)

    @model_serializer(mode="wrap")
    def _as_before(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        """Leave out what came after the first bundles and is not used: they keep their bytes."""
        document: dict[str, Any] = serialise(self)
        if self.stability is None:
            del document["stability"]
        return document


class Manifest(Declaration):
    """The signed text of a bundle."""

    format: Literal["hcc-cds-bundle/1"]
    settings_digest: Sha256
    """What a feature vector must carry: of `settings` and of the code that measures by them."""
    members: dict[str, Sha256]
    """SHA-256 of every other member."""
    trusted_types: tuple[str, ...]
    """Types inside the classifier, for readers; the code that loads it pins its own."""
    software: dict[str, str]
    """Versions that made the classifier."""


def canonical_json(value: BaseModel) -> bytes:
    """Return `value` as JSON with sorted keys: equal values, equal bytes."""
    document = value.model_dump(mode="json")
    return (
        json.dumps(document, sort_keys=True, indent=1, ensure_ascii=False, allow_nan=False) + "\n"
    ).encode()
