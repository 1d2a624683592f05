# SPDX-License-Identifier: Apache-2.0
"""Judges of hepatitis B and C: before any checkpoint inhibitor they have to be known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from model.eligibility.criterion import Criterion
from model.eligibility.finding import Finding, listed, met, not_met, silent, sources_of, unknown
from model.eligibility.judging.case import (
    Case,
    Judges,
    active,
    described,
    drafted,
    lab_finding,
    missing_lab,
    within_limit,
)
from model.patient_facts import (
    Analyte,
    Drug,
    DrugRole,
    LabFact,
    PatientFacts,
    Problem,
    SerologyFact,
    SerologyResult,
    SerologyTest,
    Source,
)
from model.phrase import phrase

_EASILY_RESISTED = ({Drug.LAMIVUDINE}, {Drug.ADEFOVIR}, {Drug.TELBIVUDINE})
"""Lamivudine by clinical reference 1.14; the other two from memory, and confident."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Infection:
    """Whether there is an infection now, and what says so."""

    present: bool | None
    words: str
    sources: tuple[Source, ...]


def _hepatitis_b(case: Case) -> _Infection:
    facts = case.facts
    surface = facts.result(SerologyTest.HBSAG)
    signs, sources = _viraemia(facts, Analyte.HBV_DNA, SerologyTest.HBV_DNA)
    if surface is not None and surface.result is SerologyResult.POSITIVE:
        signs.insert(0, _result_words(surface))
        sources.insert(0, surface.source)
    if signs:
        return _Infection(present=True, words=listed(signs), sources=tuple(sources))
    open_signs, open_sources = _open_signs(facts, Analyte.HBV_DNA, SerologyTest.HBV_DNA, SerologyTest.HBSAG)
    entries = active(case, Problem.HEPATITIS_B, Problem.HEPATITIS_D)
    on_record = (*entries.within, *entries.perhaps)
    recorded = (*open_sources, *(each.source for each in on_record))
    contradicted = surface is not None and surface.result is SerologyResult.CONTRADICTORY
    if surface is not None and (contradicted or surface.result is SerologyResult.NEGATIVE):
        if contradicted or recorded or surface.earlier_positive is not None:
            earlier = (surface.earlier_positive,) if surface.earlier_positive is not None else ()
            also = [
                *(["positive before"] if earlier else []),
                *open_signs,
                *([phrase("on record {on_record}", on_record=described(on_record))] if on_record else []),
            ]
            return _Infection(
                present=None,
                words=(
                    phrase("{result}, {also}", result=_result_words(surface), also=listed(also))
                    if also
                    else _result_words(surface)
                ),
                sources=(surface.source, *earlier, *recorded),
            )
        return _Infection(present=False, words=_result_words(surface), sources=(surface.source,))
    words = [*open_signs, *([described(on_record)] if on_record else [])]
    return _Infection(
        present=True if entries.within else None, words=listed(words) if words else "", sources=recorded
    )


def _hepatitis_c(case: Case) -> _Infection:
    facts = case.facts
    signs, sources = _viraemia(facts, Analyte.HCV_RNA, SerologyTest.HCV_RNA)
    if signs:
        return _Infection(present=True, words=listed(signs), sources=tuple(sources))
    open_signs, open_sources = _open_signs(
        facts, Analyte.HCV_RNA, SerologyTest.HCV_RNA, SerologyTest.ANTI_HCV
    )
    rna = facts.lab(Analyte.HCV_RNA)
    tested = facts.result(SerologyTest.HCV_RNA)
    antibody = facts.result(SerologyTest.ANTI_HCV)
    perhaps = facts.preliminary_on(SerologyTest.HCV_RNA) or any(
        each.analyte is Analyte.HCV_RNA for each in facts.preliminary_labs
    )
    if not perhaps and (
        rna is not None
        or (tested is not None and tested.result is SerologyResult.NEGATIVE and not tested.is_outdated)
    ):
        found = rna.source if rna is not None else tested.source if tested is not None else None
        return _Infection(
            present=False, words="HCV RNA not detected", sources=(found,) if found is not None else ()
        )
    if antibody is not None and antibody.result is SerologyResult.NEGATIVE and not open_signs:
        return _Infection(present=False, words=_result_words(antibody), sources=(antibody.source,))
    entries = active(case, Problem.HEPATITIS_C)
    found_entries = (*entries.within, *entries.perhaps)
    words = [
        *([_result_words(antibody)] if antibody is not None else []),
        *open_signs,
        *([described(found_entries)] if found_entries else []),
    ]
    return _Infection(
        present=None,
        words=listed(words) if words else "",
        sources=(
            *((antibody.source,) if antibody is not None else ()),
            *open_sources,
            *(each.source for each in found_entries),
        ),
    )


def _viraemia(facts: PatientFacts, analyte: Analyte, test: SerologyTest) -> tuple[list[str], list[Source]]:
    """Return the signs of virus in the blood: none where it was not found or not looked for."""
    signs: list[str] = []
    sources: list[Source] = []
    lab = facts.lab(analyte)
    if lab is not None and lab.quantity.bounds[0] > 0:
        day = phrase(" of {on}", on=lab.source.on.isoformat()) if lab.source.on is not None else ""
        signs.append(f"{analyte.value} {lab.quantity}{day}")
        sources.append(lab.source)
    result = facts.result(test)
    if (
        result is not None
        and result.result is SerologyResult.POSITIVE
        and not result.is_outdated
        and (lab is None or _day(result.source) > _day(lab.source))
    ):
        signs.append(_result_words(result))
        sources.append(result.source)
    return signs, sources


def _earlier_viraemia(
    facts: PatientFacts, analyte: Analyte, test: SerologyTest
) -> tuple[list[str], list[Source]]:
    """Return the sign that there was virus in the blood, by a result that is too old to say that there is.

    None where a newer result says that there was none.
    """
    result = facts.result(test)
    if facts.lab(analyte) is not None or (result is not None and not result.is_outdated):
        return [], []
    lab = next((each for each in facts.outdated_labs if each.analyte is analyte), None)
    found: list[tuple[date, bool, str, Source]] = []
    if lab is not None:
        detected = lab.quantity.bounds[0] > 0
        found.append((_day(lab.source), detected, f"{analyte.value} {lab.quantity}", lab.source))
    if result is not None:
        detected = result.result is SerologyResult.POSITIVE
        found.append((_day(result.source), detected, f"{test.value} {result.result.value}", result.source))
    if not found:
        return [], []
    day, detected, words, source = max(found, key=lambda each: each[:2])
    if not detected:
        return [], []
    return [phrase("{words} of {on}, too old to tell of now", words=words, on=day.isoformat())], [source]


def _day(source: Source) -> date:
    return source.on or date.min


def _result_words(fact: SerologyFact) -> str:
    day = phrase(" of {on}", on=fact.source.on.isoformat()) if fact.source.on is not None else ""
    return f"{fact.test.value} {fact.result.value}{day}"


def _open_signs(
    facts: PatientFacts, analyte: Analyte, load: SerologyTest, marker: SerologyTest
) -> tuple[list[str], list[Source]]:
    """Return the signs that keep an infection possible: too old to tell of now, or not final yet."""
    signs, sources = _earlier_viraemia(facts, analyte, load)
    not_final = facts.preliminary_on(marker, load)
    loads = [each for each in facts.preliminary_labs if each.analyte is analyte]
    return (
        [*signs, *(_preliminary_words(each) for each in not_final), *(_load_words(each) for each in loads)],
        [*sources, *sources_of(not_final, loads)],
    )


def _load_words(lab: LabFact) -> str:
    day = phrase(" on {on}", on=lab.source.on.isoformat()) if lab.source.on is not None else ""
    return phrase(
        "{analyte} {quantity}, preliminary{day}", analyte=lab.analyte, quantity=lab.quantity, day=day
    )


def _preliminary_words(fact: SerologyFact) -> str:
    day = phrase(" on {on}", on=fact.source.on.isoformat()) if fact.source.on is not None else ""
    return phrase("{test} preliminary positive{day}", test=fact.test, day=day)


def _treated(case: Case, criterion: Criterion) -> Finding | None:
    infection = _hepatitis_b(case)
    antivirals = case.facts.drugs_with(DrugRole.HBV_ANTIVIRAL)
    if infection.present is False or (infection.present is None and not infection.words):
        return None
    if antivirals:
        taken = listed(each.drug.value for each in antivirals)
        weak = {each.drug for each in antivirals} in _EASILY_RESISTED
        barrier = (
            phrase(" {drug} alone has a lower barrier to resistance.", drug=_sentence(taken)) if weak else ""
        )
        return met(
            criterion,
            phrase(
                "{sentence}; taken: {taken}.{barrier}",
                sentence=_sentence(infection.words),
                taken=taken,
                barrier=barrier,
            ),
            sources=[*infection.sources, *(each.source for each in antivirals)],
        )
    if names := drafted(case, DrugRole.HBV_ANTIVIRAL):
        return unknown(
            criterion,
            "antiviral against hepatitis B drafted, to be signed",
            phrase(
                "{sentence}. In this order, and not signed yet: {drugs}.",
                sentence=_sentence(infection.words),
                drugs=names,
            ),
            sources=infection.sources,
            in_doubt=True,
        )
    if antivirals is None or infection.present is None:
        unread = " The medication list is not wholly known." if antivirals is None else ""
        return unknown(
            criterion,
            "possibly hepatitis B without entecavir, tenofovir or lamivudine",
            phrase("{sentence}.{unread}", sentence=_sentence(infection.words), unread=unread),
            sources=infection.sources,
            in_doubt=True,
        )
    return not_met(
        criterion,
        "hepatitis B without entecavir, tenofovir or lamivudine on record",
        phrase(
            "{sentence}; none of these is among the medication requests read: {drugs}. Entecavir, tenofovir "
            "disoproxil or tenofovir alafenamide before or with the checkpoint inhibitor.",
            sentence=_sentence(infection.words),
            drugs=listed(each.value for each in Drug if each.role is DrugRole.HBV_ANTIVIRAL),
        ),
        sources=infection.sources,
    )


def _sentence(words: str) -> str:
    return f"{words[0].upper()}{words[1:]}"


def _dna_low(case: Case, criterion: Criterion) -> Finding | None:
    if not case.facts.drugs_with(DrugRole.HBV_ANTIVIRAL) or not _hepatitis_b(case).present:
        return None
    lab = case.facts.lab(Analyte.HBV_DNA)
    if lab is None:
        return missing_lab(criterion, Analyte.HBV_DNA)
    reaches = within_limit(lab, criterion.threshold().value, at_least=True)
    keeps = None if reaches is None else not reaches
    headline = phrase("HBV DNA of {limit} or more", limit=criterion.threshold().words)
    return lab_finding(criterion, lab, keeps, headline)


def _past(case: Case, criterion: Criterion) -> Finding | None:
    surface, core = (case.facts.result(each) for each in (SerologyTest.HBSAG, SerologyTest.ANTI_HBC))
    if surface is None or surface.result is not SerologyResult.NEGATIVE or core is None:
        return None
    now_found, _ = _viraemia(case.facts, Analyte.HBV_DNA, SerologyTest.HBV_DNA)
    perhaps, _ = _open_signs(case.facts, Analyte.HBV_DNA, SerologyTest.HBV_DNA, SerologyTest.HBSAG)
    if now_found or perhaps:
        return None  # HBV DNA says that it is not past: told by R30
    words = f"{_result_words(surface)}, {_result_words(core)}."
    sources = [surface.source, core.source]
    match core.result:
        case SerologyResult.POSITIVE:
            return not_met(
                criterion,
                "past hepatitis B",
                phrase("{words} Monitor HBV DNA and ALT.", words=words),
                sources=sources,
            )
        case SerologyResult.NEGATIVE:
            return met(criterion, words, sources=sources)
        case SerologyResult.INDETERMINATE | SerologyResult.CONTRADICTORY:
            return None


def _tested(case: Case, criterion: Criterion) -> Finding:
    facts = case.facts
    surface, core = facts.result(SerologyTest.HBSAG), facts.result(SerologyTest.ANTI_HBC)
    known = [
        each
        for each in (surface, core)
        if each is not None
        and each.result not in (SerologyResult.INDETERMINATE, SerologyResult.CONTRADICTORY)
    ]
    words = listed(_result_words(each) for each in known) if known else ""
    sources = [each.source for each in known]
    positive = surface is not None and surface.result is SerologyResult.POSITIVE
    if len(known) == 2:
        return met(criterion, phrase("{words}.", words=words), sources=sources)
    if positive:
        alone = phrase("anti-HBc has no valid result on record.")
        return met(criterion, phrase("{words};", words=words), " ", alone, sources=sources)
    missing = [
        test.value
        for test, fact in ((SerologyTest.HBSAG, surface), (SerologyTest.ANTI_HBC, core))
        if fact not in known
    ]
    not_final = facts.preliminary_on(SerologyTest.HBSAG, SerologyTest.ANTI_HBC)
    told = [*([words] if words else []), *(_preliminary_words(each) for each in not_final)]
    also = phrase(" {words}.", words=listed(told)) if told else ""
    return unknown(
        criterion,
        phrase("{tests} not known", tests=listed(missing)),
        phrase("No valid result that still counts: {missing}.{also}", missing=listed(missing), also=also),
        sources=[*sources, *(each.source for each in not_final)],
        in_doubt=bool(not_final),
    )


def _coinfected(case: Case, criterion: Criterion) -> Finding | None:
    b, c = _hepatitis_b(case), _hepatitis_c(case)
    delta = active(case, Problem.HEPATITIS_D)
    sources = (*b.sources, *c.sources)
    words = _sentence(listed(each for each in (b.words, c.words) if each)) if b.words or c.words else ""
    if delta.within:
        return not_met(
            criterion,
            "hepatitis B with delta agent",
            phrase("On record: {within}.", within=described(delta.within)),
            sources=[each.source for each in delta.within],
        )
    if b.present and c.present:
        return not_met(criterion, "hepatitis B and C", phrase("{words}.", words=words), sources=sources)
    if b.present is False or c.present is False:
        return met(criterion, phrase("{words}.", words=words), sources=sources)
    if b.present or c.present:
        other = "hepatitis C" if b.present else "hepatitis B"
        may_be = bool(c.words if b.present else b.words)
        return unknown(
            criterion,
            phrase("{tests} not certain", tests=other),
            phrase("{words}. Whether there is {other} as well is not known.", words=words, other=other),
            sources=sources,
            in_doubt=may_be,
        )
    if words:
        return unknown(
            criterion,
            "hepatitis B and C not certain",
            phrase("{words}.", words=words),
            sources=sources,
            in_doubt=bool(b.words and c.words),
        )
    return silent(criterion, complete=case.facts.conditions_complete)


JUDGES: Judges = {
    "R30": _treated,
    "R31": _dna_low,
    "R32": _past,
    "R33": _tested,
    "R34": _coinfected,
}
