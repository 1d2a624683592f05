# SPDX-License-Identifier: Apache-2.0
"""Settings of the rule book: other limits, and criteria that a site does not ask."""

from __future__ import annotations

from typing import Self

from pydantic import Field, model_validator

from cds_service.sections import Section
from model.eligibility.rulebook import (
    RULE_BOOK,
    RuleBook,
    SwitchedOff,
    ThresholdChange,
    site_rule_book,
)
from model.errors import ConfigError


class RuleThresholdConfig(Section):
    """Another limit for one criterion; every card that it concerns says so."""

    criterion: str = Field(description="Identifier of the criterion, as `R28`.")
    name: str = Field(
        "", description="Name of the limit, as `hcc-cds rules` prints it; empty: the criterion's first."
    )
    value: float = Field(gt=0, description="The limit, in the unit that `hcc-cds rules` prints.")


class SwitchedOffConfig(Section):
    """Why a criterion is switched off."""

    criterion: str = Field(description="Identifier of the criterion, which also stands in `rules.off`.")
    reason: str = Field(min_length=1, description="Shown on cards and in the rule book.")


class RulesConfig(Section):
    """What the site changes in the rule book; `hcc-cds rules` prints the result to be signed."""

    off: tuple[str, ...] = Field(
        (), description="Identifiers of criteria that are not asked. Every card that they concern says so."
    )
    reasons: tuple[SwitchedOffConfig, ...] = Field(
        (),
        description="Why criteria are switched off; needed for those that may stop a regimen or ask to know "
        "something first.",
    )
    thresholds: tuple[RuleThresholdConfig, ...] = Field(
        (), description="Limits that differ from the rule book's."
    )

    @model_validator(mode="after")
    def _fits_the_rule_book(self) -> Self:
        named = [each.criterion for each in self.reasons]
        if strange := set(named) - set(self.off):
            raise ValueError(f"rules.reasons: {', '.join(sorted(strange))} is not in rules.off")
        if len(set(named)) != len(named):
            raise ValueError("rules.reasons: a criterion has one reason")
        try:
            self.book()
        except ConfigError as error:
            raise ValueError(str(error)) from error
        return self

    def book(self) -> RuleBook:
        """Return the rule book of this site."""
        reasons = {each.criterion: each.reason for each in self.reasons}
        return site_rule_book(
            RULE_BOOK,
            thresholds=[
                ThresholdChange(criterion=each.criterion, threshold=each.name, value=each.value)
                for each in self.thresholds
            ],
            off=[SwitchedOff(criterion=each, reason=reasons.get(each, "")) for each in self.off],
        )
