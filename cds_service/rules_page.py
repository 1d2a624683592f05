# SPDX-License-Identifier: Apache-2.0
"""The rule book as a page that a clinician can read and sign, written from the rules themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from itertools import groupby

from model.eligibility.criterion import Criterion, Scope, Threshold
from model.eligibility.known_regimens import CHILD_PUGH_A_POINTS
from model.eligibility.monitoring import MONITORING
from model.eligibility.regimens import NOT_CHECKED, Regimen
from model.eligibility.rulebook import RuleBook
from model.patient_facts import RecordWindows

_HEAD = """# Rule book

What HCC-CDS asks of a patient's record when systemic therapy of hepatocellular carcinoma is ordered. This
page is written by `hcc-cds rules` from the rules that the software applies; the digest changes with any of
them.

**Not for clinical use before clinicians have signed it.** Much of it rests on excerpts of the sources and on
memory, and each source says so. The software does not select, order or exclude treatment.
"""

_READING = """## How to read it

- **Three answers**: met, not met, unknown. What is not on record is unknown, never a negative.
- **Outside the trial population** says that the trials did not enrol such patients. It does not say that the
  regimen is contraindicated.
- **Stop and review** shows as a critical card, *outside the trial population* and *to do first* as a warning,
  *caution* and *for information* as information. Something unknown shows as each criterion says, and as a
  warning where the record has an entry that may decide a graver criterion.
- **Certainty** of a source: S, read at the source or in an excerpt of it; MC, well known but not read there;
  —, our own design. Nothing less certain is here.
- **Limits** are the criterion's own; a site can set others, by the name in quotation marks, and can switch
  criteria off. Cards and this page say so.
"""

_SIGNATURES = """## Signatures

The digest above stands for all of this page's rules. Signed for use at:

| Site | Name | Role | Date | Signature |
| --- | --- | --- | --- | --- |
|  |  |  |  |  |
|  |  |  |  |  |
"""

_WINDOW_WORDS = {
    "liver_function": "bilirubin, albumin, INR, ascites, encephalopathy",
    "blood": "blood count, AST, ALT, ALP, creatinine, sodium",
    "tumour_markers": "AFP, CRP, DCP",
    "thyroid": "TSH",
    "viral_load": "HBV DNA, HCV RNA",
    "negative_serology": "serology of viral hepatitis that is not positive; a positive one counts at any age",
    "urine_protein": "protein in urine",
    "blood_pressure": "blood pressure",
    "performance_status": "ECOG performance status",
    "body": "body weight",
    "height": "body height",
}


def rules_page(book: RuleBook, windows: RecordWindows | None = None) -> str:
    """Return the whole rule book, as Markdown."""
    windows = windows or RecordWindows()
    return "\n".join(
        [
            _HEAD,
            f"Version {book.version}, SHA-256 `{book.digest}`\n",
            *_changes(book),
            _READING,
            *_regimens(book.regimens),
            *_criteria(book.criteria),
            *_windows(windows),
            *_monitoring(),
            "## Not looked at\n",
            *(f"- {each}" for each in NOT_CHECKED),
            "",
            _SIGNATURES,
        ]
    )


def _changes(book: RuleBook) -> Iterator[str]:
    yield "## Changes of this site\n"
    if not book.changes:
        yield "None: the rule book is as published.\n"
        return
    yield from (f"- {each}" for each in book.changes)
    yield ""


def _regimens(regimens: tuple[Regimen, ...]) -> Iterator[str]:
    yield "## Regimens\n"
    for each in regimens:
        yield f"### {each.name}\n"
        yield f"- Studied in: {each.trial}"
        yield f"- Criteria: {'; '.join(scope.value for scope in Scope if scope in each.scopes)}"
        if each.most_child_pugh_points > CHILD_PUGH_A_POINTS:
            yield f"- Its trial enrolled Child-Pugh B with {each.most_child_pugh_points} points as well"
        if each.pairs_checkpoint_inhibitor_with_anti_angiogenic:
            yield "- The published imaging score speaks of regimens of this kind"
        if each.unsupported:
            yield f"- {each.unsupported}"
        yield f"- {each.note}\n"


def _criteria(criteria: tuple[Criterion, ...]) -> Iterator[str]:
    yield "## Criteria\n"
    for theme, group in groupby(criteria, key=lambda each: each.theme):
        yield f"### {theme.value[0].upper()}{theme.value[1:]}\n"
        for each in group:
            yield from _criterion(each)


def _criterion(each: Criterion) -> Iterator[str]:
    yield f"#### {each.identifier}: {each.topic}\n"
    yield f"**{each.statement}.**\n"
    yield f"- Asked of: {each.scope.value}"
    yield f"- Known by: {each.fact}"
    yield from (_limit(threshold) for threshold in each.thresholds)
    yield f"- Not met: {each.response.value} ({each.response.severity.value})"
    if each.graver is not None:
        yield f"- Not met, {each.graver_when}: {each.graver.value} ({each.graver.severity.value})"
    what_to_do = f"; {each.ask}" if each.ask else ""
    yield f"- Unknown: {each.unknown.value}{what_to_do}"
    yield f"- Rests on ({each.strength.value}): {'; '.join(str(source) for source in each.citations)}"
    if each.remark:
        yield f"- {each.remark}"
    if each.fixed:
        yield "- Cannot be switched off"
    elif each.is_safety_critical:
        yield "- Can be switched off with a stated reason only"
    yield ""


def _limit(threshold: Threshold) -> str:
    site = f", set by this site instead of {threshold.default_text}" if threshold.default is not None else ""
    return f'- Limit "{threshold.name}": {threshold}{site} ({threshold.meaning})'


def _windows(windows: RecordWindows) -> Iterator[str]:
    yield "## How old data may be\n"
    yield "What is older is told as such and not used. Windows of events stand with their criteria.\n"
    yield "| Data | Days |"
    yield "| --- | --- |"
    for each in fields(windows):
        yield f"| {_WINDOW_WORDS[each.name]} | {getattr(windows, each.name).days} |"
    yield ""


def _monitoring() -> Iterator[str]:
    yield "## Under treatment\n"
    yield "For the reader; no criterion is judged by it.\n"
    for each in MONITORING:
        yield f"- {each.scope.value[0].upper()}{each.scope.value[1:]}: {each.text} [{each.certainty}]"
    yield ""
