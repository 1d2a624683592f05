# SPDX-License-Identifier: Apache-2.0
"""Judges of the regimen itself: its drugs, their doses and the evidence for it."""

from __future__ import annotations

from datetime import date, timedelta

from model.eligibility.criterion import Criterion
from model.eligibility.finding import Finding, Truth, listed, met, not_met, references, silent, unknown
from model.eligibility.judging.case import Case, Judges, limit, quantity_within_limit
from model.patient_facts import ActiveDrug, Analyte, BodyMeasure, Drug, PastDrug
from model.phrase import phrase


def _pair(case: Case, criterion: Criterion) -> Finding | None:
    order, facts = case.order, case.facts
    if order is None or order.is_whole:
        return None
    names = listed(sorted(order.absent))
    on_list = [each for each in facts.drugs if each.drug in order.absent]
    whole = facts.drugs_complete and not order.incomplete
    if on_list:
        days = listed(
            [phrase("of {on}", on=each.source.on) if each.source.on else "without a day" for each in on_list]
        )
        also = phrase(
            "; on the medication list by an order {days}, which may be of an earlier treatment", days=days
        )
    elif not facts.drugs_complete:
        also = "; the medication list is not wholly known"
    else:
        also = " and not on the medication list"
    unread = " Not every drug of this order could be told." if order.incomplete else ""
    return Finding(
        criterion=criterion,
        truth=Truth.NOT_MET if whole and not on_list else Truth.UNKNOWN,
        headline=phrase("{drugs} not found in this order", drugs=names),
        reason=(f"{names[0].upper()}{names[1:]} is not found in this order{also}.{unread}",),
        sources=references(each.source for each in on_list),
    )


def _weight(case: Case, criterion: Criterion) -> Finding:
    fact = case.facts.measure(BodyMeasure.WEIGHT)
    if fact is None:
        return unknown(criterion, "no recent body weight", "No valid recent body weight is on record.")
    threshold = criterion.threshold()
    day = phrase(" of {on}", on=fact.source.on.isoformat()) if fact.source.on is not None else ""
    words = phrase("Body weight{day}: {quantity}.", day=day, quantity=fact.quantity)
    reaches = quantity_within_limit(fact.quantity, threshold.value, at_least=False)
    if reaches is None:
        return unknown(criterion, "body weight not certain", words, sources=[fact.source], in_doubt=True)
    if reaches:
        return not_met(
            criterion,
            phrase("body weight of {limit} or less", limit=threshold.words),
            phrase("{words} A dose by weight may be due.", words=words),
            sources=[fact.source],
        )
    return met(criterion, words, sources=[fact.source])


def _orders(case: Case, drug: Drug) -> bool:
    """Whether `drug` itself is in the order; where nobody has said, what is not absent is."""
    order = case.order
    if order is None or drug not in order.regimen.drugs:
        return False
    return drug in order.ordered if order.ordered else drug not in order.absent


def _given(case: Case, drug: Drug) -> list[date | None]:
    """Return the days of the doses that the record says were given; each day once."""
    days = [each.source.on for each in case.facts.past_drugs if each.drug is drug and each.was_given]
    return [*dict.fromkeys(day for day in days if day is not None), *(day for day in days if day is None)]


def _tremelimumab(case: Case, criterion: Criterion) -> Finding | None:
    if not _orders(case, Drug.TREMELIMUMAB):
        return None
    facts = case.facts
    given = [each for each in facts.past_drugs if each.drug is Drug.TREMELIMUMAB and each.was_given]
    if len(_given(case, Drug.TREMELIMUMAB)) >= criterion.threshold("most").value:
        days = listed(each.source.on.isoformat() if each.source.on else "day not known" for each in given)
        return not_met(
            criterion,
            "tremelimumab was given before",
            phrase("Given: {days}. The regimen has one dose of tremelimumab.", days=days),
            sources=[each.source for each in given],
        )
    apart = timedelta(days=criterion.threshold("apart").value)
    orders: list[PastDrug | ActiveDrug] = [*facts.past_drugs, *facts.drugs]
    before = [
        each
        for each in orders
        if each.drug is Drug.TREMELIMUMAB
        and (each.source.on is None or case.today is None or each.source.on < case.today - apart)
    ]
    if before:
        days = listed(each.source.on.isoformat() if each.source.on else "day not known" for each in before)
        return unknown(
            criterion,
            "tremelimumab possibly given before",
            phrase("Ordered before: {days}. Whether it was given is not on record.", days=days),
            sources=[each.source for each in before],
            in_doubt=True,
        )
    return silent(criterion, complete=facts.past_drugs_complete)


def _ipilimumab(case: Case, criterion: Criterion) -> Finding | None:
    if not _orders(case, Drug.IPILIMUMAB):
        return None
    given = _given(case, Drug.IPILIMUMAB)
    sources = [
        each.source for each in case.facts.past_drugs if each.drug is Drug.IPILIMUMAB and each.was_given
    ]
    if not given:
        return silent(criterion, complete=case.facts.past_drugs_complete)
    words = phrase("Doses of ipilimumab on record as given: {number}.", number=len(given))
    if len(given) >= criterion.threshold("most").value:
        headline = phrase("{number} doses of ipilimumab given", number=len(given))
        return not_met(criterion, headline, words, sources=sources)
    if case.facts.past_drugs_complete:
        return met(criterion, words, sources=sources)
    return unknown(
        criterion,
        "doses of ipilimumab not certain",
        phrase("{words} There may be more.", words=words),
        sources=sources,
    )


def _evidence(case: Case, criterion: Criterion) -> Finding | None:
    if case.order is None or not case.order.regimen.unsupported:
        return None
    return not_met(criterion, "no overall survival benefit shown", case.order.regimen.unsupported)


JUDGES: Judges = {
    "R61": _weight,
    "R62": _tremelimumab,
    "R62b": _ipilimumab,
    "R63": _evidence,
    "G01": limit(Analyte.AFP, at_least=True),
    "R60": _pair,
}
