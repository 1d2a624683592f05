# SPDX-License-Identifier: Apache-2.0
"""What a criterion is made of: its question, limits, sources with their certainty, and what follows.

The vocabulary of severities is the clinical reference's (1.11). "Outside the evidence" says that the trials
did not enrol such patients; it never says that the regimen is contraindicated.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from functools import lru_cache

from model.phrase import phrase

RULES_VERSION = "2026.11"
"""Year and month in which the criteria were compiled; clinicians have not signed them off yet."""


class Severity(StrEnum):
    """How grave a finding is; the words of CDS Hooks' `indicator`."""

    INFO = "info"
    WARNING = "warning"
    """Outside the evidence, or something to act on."""
    CRITICAL = "critical"
    """Stop and review before this drug is given."""


class Response(StrEnum):
    """What a criterion that is not met asks of the reader."""

    STOP_REVIEW = "stop and review"
    OUTSIDE_EVIDENCE = "outside the trial population"
    ACTION = "to do first"
    CAUTION = "caution"
    INFO = "for information"

    @property
    def severity(self) -> Severity:
        """The indicator of a card that holds it."""
        match self:
            case Response.STOP_REVIEW:
                return Severity.CRITICAL
            case Response.OUTSIDE_EVIDENCE | Response.ACTION:
                return Severity.WARNING
            case Response.CAUTION | Response.INFO:
                return Severity.INFO


class Strength(StrEnum):
    """What kind of source stands behind a criterion."""

    LABEL = "label"
    GUIDELINE = "guideline"
    TRIAL = "randomised trial"
    COHORT = "cohort"
    POST_HOC = "post hoc analysis"
    DESIGN = "design"
    """Ours: follows from not guessing."""


class Theme(StrEnum):
    """What a criterion is about, as cards and the rule book group them."""

    ORDER = "order"
    GENERAL = "diagnosis, performance and previous treatment"
    LIVER = "liver function"
    BLEEDING = "varices and bleeding"
    VASCULAR = "vessels, blood pressure and wounds"
    RENAL = "proteinuria"
    LABORATORY = "blood counts and other laboratory limits"
    VIRAL = "hepatitis B and C"
    IMMUNE = "transplantation, autoimmunity and immunosuppression"
    REGIMEN = "regimen and dosing"
    IMAGING = "imaging score"


class Scope(StrEnum):
    """The regimens that a criterion is asked of."""

    ALL = "every regimen"
    CHECKPOINT = "regimens with an immune checkpoint inhibitor"
    CHECKPOINT_WITHOUT_ANTI_ANGIOGENIC = "checkpoint inhibitors without an anti-angiogenic drug"
    ANTI_ANGIOGENIC = "regimens with an anti-angiogenic drug"
    BEVACIZUMAB = "regimens with bevacizumab or a biosimilar of it"
    FIRST_LINE = "first-line regimens"
    ATEZOLIZUMAB_BEVACIZUMAB = "atezolizumab + bevacizumab"
    DURVALUMAB_TREMELIMUMAB = "durvalumab + tremelimumab"
    NIVOLUMAB_IPILIMUMAB = "nivolumab + ipilimumab"
    RAMUCIRUMAB = "ramucirumab"
    UNSUPPORTED = "combinations whose trial was negative or that no label covers"
    NO_CRITERIA = "combinations without criteria of their own"


@dataclass(frozen=True, slots=True, kw_only=True)
class Citation:
    """A source, and how well it is known."""

    text: str
    certainty: str
    """`S` read at the source, `MC` well known but not read there, `—` nothing is cited. Nothing else."""
    year: int | None = None
    """Of publication; None where it is in the text or does not apply."""

    def __str__(self) -> str:
        year = f", {self.year}" if self.year is not None and str(self.year) not in self.text else ""
        return f"{self.text}{year} [{self.certainty}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A limit that a criterion compares with; a site may set another."""

    name: str
    """Unique within the criterion; the first one is what a site means that gives no name."""
    value: float
    unit: str
    """UCUM; `d` for windows, `{ULN}` for multiples of the upper limit of normal."""
    meaning: str
    default: float | None = None
    """What the rule book says, where a site has set another value; None where it has not."""

    @property
    def words(self) -> str:
        """Number and unit as people say it."""
        return _amount(self.value, self.unit)

    def __str__(self) -> str:
        return self.words

    @property
    def default_text(self) -> str:
        """The rule book's own value, where a site has set another; else ''."""
        return "" if self.default is None else str(replace(self, value=self.default, default=None))


@lru_cache(maxsize=256)
def _amount(value: float, unit: str) -> str:
    number = f"{value:g}"
    if unit in ("1", "{score}"):
        return phrase("{number}", number=number)
    named = SHOWN_UNITS.get(unit)
    return phrase("{number} {unit}", number=number, unit=phrase(named) if named else unit)


SHOWN_UNITS = {
    "d": "days",
    "{ULN}": "times the upper limit of normal",
    "a": "years",
    "10*9/L": "×10⁹/L",
    "[IU]/mL": "IU/mL",
    "mm[Hg]": "mmHg",
    "mg/d": "mg a day",
    "g/(24.h)": "g in 24 hours",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Criterion:
    """One thing that is asked of the record."""

    identifier: str
    wording: str
    """What holds when the criterion is met, with the names of its thresholds in braces."""
    topic: str
    """What it is about, in a few words that begin small."""
    theme: Theme
    scope: Scope
    fact: str
    """What must be known to judge it."""
    response: Response
    """What it asks for when it is not met."""
    unknown: Severity
    citations: tuple[Citation, ...]
    strength: Strength
    """Of the strongest source."""
    ask: str = ""
    """What to do when it is unknown; '' where nothing can be done."""
    graver: Response | None = None
    """What it asks for under `graver_when`."""
    graver_wording: str = ""
    """When it asks for that, with the names of thresholds in braces."""
    thresholds: tuple[Threshold, ...] = ()
    remark: str = ""
    """For the reader of the rule book."""
    fixed: bool = False
    """No site can switch it off: without it a card could be about another patient, disease or drug."""

    def __hash__(self) -> int:
        # Those of one identifier, as a site's and the published one, are told apart when they are compared.
        return hash(self.identifier)

    @property
    def statement(self) -> str:
        """What holds when the criterion is met, with the limits in force."""
        return self._with_limits(self.wording)

    @property
    def graver_when(self) -> str:
        """When it is graver; '' where it has no graver form."""
        return self._with_limits(self.graver_wording)

    @property
    def not_met(self) -> Severity:
        """How grave it is when it is not met, in its graver form where it has one."""
        return (self.graver or self.response).severity

    @property
    def basis(self) -> str:
        """Its sources in words, without their certainty."""
        return "; ".join(citation.text for citation in self.citations)

    @property
    def certainty(self) -> str:
        """Certainty of its sources, the best first."""
        found = {citation.certainty for citation in self.citations}
        return "/".join(each for each in ("S", "MC", "—") if each in found)

    @property
    def is_safety_critical(self) -> bool:
        """Whether it stops or asks to know something first: a site must say why it switches this off."""
        return self.not_met is Severity.CRITICAL or self.unknown is Severity.WARNING

    def threshold(self, name: str = "") -> Threshold:
        """Return the limit of that name, the first one without a name.

        Raises
        ------
        KeyError
            There is none.
        """
        for each in self.thresholds:
            if not name or each.name == name:
                return each
        raise KeyError(f"{self.identifier} has no threshold {name}".rstrip())

    def _with_limits(self, wording: str) -> str:
        return wording.format_map({each.name: str(each) for each in self.thresholds})
