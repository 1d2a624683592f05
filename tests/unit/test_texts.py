# SPDX-License-Identifier: Apache-2.0
"""The catalogue of texts: kept current, complete, and asked for every word that a card shows."""

import importlib.util
import io
import re
from dataclasses import replace
from datetime import UTC, datetime
from gettext import NullTranslations
from pathlib import Path

import pytest
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from hypothesis import given
from hypothesis import strategies as st

from cds_service.cards import cards
from cds_service.identity import NoImaging
from cds_service.override_reasons import OverrideReason, override_reasons
from cds_service.texts import CATALOGUES, DOMAIN, ENGLISH, Languages, Texts, load_languages
from fhir_gateway import synthetic
from model.domain import ModelStatus, NotComputed, NotComputedReason, Rejection, RejectionReason
from model.eligibility.criterion import Severity
from model.patient_facts import ANY_DAY, Days, Drug, Problem, ProblemFact, ProblemStatus
from model.phrase import phrase

_SPEC = importlib.util.spec_from_file_location(
    "card_example", Path(__file__).parents[1] / "data" / "card_example.py"
)
example = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(example)

_FIELD = re.compile(r"(\{[^}]*\})")

_WIDE = str.maketrans({chr(code): chr(code + 0xFEE0) for code in (*range(65, 91), *range(97, 123))})
"""Full-width letters: as many characters, none of them ASCII, and the text stays readable."""


def wide(text):
    """Return `text` in full-width letters, with the places of values as they are."""
    return "".join(
        part if _FIELD.fullmatch(part) else part.translate(_WIDE) for part in _FIELD.split(text) if part
    )


def compiled(folder, tag, translate):
    """Compile a catalogue in which every text of the template is translated by `translate`."""
    catalogue = read_po(io.BytesIO((CATALOGUES / f"{DOMAIN}.pot").read_bytes()))
    for message in catalogue:
        if isinstance(message.id, tuple):
            message.string = tuple(translate(each) for each in message.id)
        elif message.id:
            message.string = translate(message.id)
    path = folder / tag / "LC_MESSAGES" / f"{DOMAIN}.mo"
    path.parent.mkdir(parents=True)
    with path.open("wb") as file:
        write_mo(file, catalogue)
    return load_languages(folder)


@pytest.fixture
def languages(tmp_path) -> Languages:
    return compiled(tmp_path, "zz", wide)


def test_the_template_holds_the_texts_of_the_code(repository):
    path = repository / "scripts" / "collect_texts.py"
    spec = importlib.util.spec_from_file_location("collect_texts", path)
    collect_texts = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(collect_texts)

    current = collect_texts.template()

    assert (CATALOGUES / f"{DOMAIN}.pot").read_text(encoding="utf-8") == current, "run `make format`"


@pytest.mark.parametrize(
    ("header", "tag"),
    [
        ("", "en"),
        ("zz", "zz"),
        ("ZZ-CH, en;q=0.5", "zz"),
        ("en;q=0.5, zz;q=0.8", "zz"),
        ("fr, zz;q=0.1", "zz"),
        ("fr", "en"),
        ("zz;q=0", "en"),
        ("*", "en"),
        ("\x00;;q=x,,-", "en"),
    ],
)
def test_the_language_is_the_first_one_asked_for_that_there_is(languages, header, tag):
    assert languages.choose(header).tag == tag


def test_values_of_ours_are_translated_and_data_is_not(languages):
    texts = languages.choose("zz")

    said = texts.say(
        phrase("From {sources}.", sources="Observation/unknown"),
    )

    assert said == wide("From ") + "Observation/unknown."
    assert texts.say("Order {name}", name=Drug.OTHER_DIURETIC) == wide("Order another diuretic")
    assert texts.say("Order {name}", name=phrase("unknown")) == wide("Order unknown")
    assert texts.say("Order {name}", name="unknown") == wide("Order ") + "unknown"


def test_a_text_without_translation_stays_english_and_the_empty_one_empty(languages):
    texts = languages.choose("zz")

    assert texts.say("Nobody has translated this {thing}.", thing=3) == "Nobody has translated this 3."
    assert texts.say("") == "", "and is not the description of the catalogue"


def test_text_with_braces_that_is_no_template_is_left_alone():
    assert ENGLISH.say("{x} {") == "{x} {"


def test_singular_and_plural_are_told_apart(languages):
    one, many = "{number} outlined lesion", "{number} outlined lesions"

    assert ENGLISH.say_many(one, many, 1) == "1 outlined lesion"
    assert ENGLISH.say_many(one, many, 2) == "2 outlined lesions"
    assert languages.choose("zz").say_many(one, many, 2) == "2" + wide(" outlined lesions")


@pytest.mark.parametrize("slip", ["{", "}", "{nothing}", "{0}"])
def test_a_translators_slip_in_a_brace_costs_the_translation_only(tmp_path, slip):
    texts = compiled(tmp_path, "zz", lambda text: text + slip).choose("zz")

    assert texts.say("From {sources}.", sources="x") == "From x."
    assert texts.say_many("{number} outlined lesion", "{number} outlined lesions", 2) == "2 outlined lesions"


def test_a_phrase_is_its_english_text():
    said = phrase("{number} of {what}", number=2, what=Drug.INFLIXIMAB)

    assert said == "2 of infliximab"
    assert ENGLISH.say(said) == said


TEXTS = st.sampled_from(["", "unknown", "outdated", "{x} {", "Observation/1 (final)"])
TEMPLATES = st.sampled_from(["{a}", "{a} of {b}.", "{b}: {a:>4}, {b}", "nothing"])
PLAIN = st.one_of(
    TEXTS,
    st.integers(),
    st.floats(),
    st.sampled_from([*Drug][:3]),
    TEXTS.filter(lambda text: "{" not in text).map(phrase),
)


def or_listed(values):
    return st.one_of(values, st.lists(values, max_size=3).map(tuple))


PHRASES = st.builds(lambda text, a, b: phrase(text, a=a, b=b), TEMPLATES, or_listed(PLAIN), or_listed(PLAIN))
VALUES = or_listed(st.one_of(PLAIN, PHRASES))


@given(template=TEMPLATES, a=VALUES, b=VALUES)
def test_english_is_what_a_catalogue_without_a_translation_says(template, a, b):
    untranslated = Texts("zz", NullTranslations())
    said = phrase(template, a=a, b=b)

    assert ENGLISH.say(said) == untranslated.say(said)
    assert ENGLISH.say(template, a=a, b=b) == untranslated.say(template, a=a, b=b)
    assert type(ENGLISH.say(said)) is str


def test_every_override_reason_has_words_in_the_readers_language(languages):
    texts: Texts = languages.choose("zz")

    for severity in Severity:
        for each in override_reasons(severity, texts):
            assert each["display"] == wide(OverrideReason(each["code"]).words)


def test_the_answer_names_the_language_it_is_in(ehr):
    client = ehr.start().client
    request = synthetic.hook_request("patient-view", "p1", synthetic.record_of_hcc("p1", on=ehr.now.date()))

    answer = client.post(
        ehr.service,
        json=request,
        headers={"Authorization": f"Bearer {ehr.token(ehr.service)}", "Accept-Language": "zz, fr"},
    )

    assert answer.status_code == 200
    assert answer.headers["Content-Language"] == "en"


# -- every text of a card --------------------------------------------------------------------------

DATA = {
    # Ingredients, analytes' units, statuses of entries and of models as they are stored.
    *("atezolizumab", "bevacizumab", "Atezolizumab", "dL", "mg", "mL", "mm", "final", "CT", "HCC", "CDS"),
    # What a stored assessment and its model's bundle say.
    *("HBsAg", "anti", "HBc", "demo", "bootstrap", "more", "of", "the", "phantom", "texture", "NaN"),
}
"""Words on the cards below that are no texts of ours."""

_NO_TEXT = re.compile(
    r"\(IMG-[A-Z]+\)|<https?:[^>]*>|\b[A-Z][A-Za-z]+/[A-Za-z0-9.-]+|\b[RDG]\d+[a-z]?\b|\(?[0-9a-f]{12}\)?|&[a-z]+;"
)
"""Addresses, references into the record, identifiers of rules, digests, entities."""


def words_in(card):
    """Return the ASCII words that a reader of `card` sees."""
    suggestions = card.get("suggestions", [])
    seen = [
        card["summary"],
        card["detail"],
        card["source"]["topic"]["display"],
        *(each["label"] for each in (*suggestions, *card["links"])),
        *(each["display"] for each in card["overrideReasons"]),
        *(action["description"] for each in suggestions for action in each["actions"]),
        *(action["resource"]["code"]["text"] for each in suggestions for action in each["actions"]),
    ]
    return set(re.findall(r"[A-Za-z]{2,}", _NO_TEXT.sub(" ", "\n".join(seen))))


def without_reasons(eligibility):
    """Return `eligibility` without the sentences that hold what the record says."""
    return replace(eligibility, findings=tuple(replace(each, reason=()) for each in eligibility.findings))


CARDS = {
    **{name: made for name, made in example.VARIANTS.items() if name != "another pair"},
    "research model": {"imaging": example.assessment(status=ModelStatus.RESEARCH, left_out=2)},
    "score on patient-view": {"imaging": example.assessment(), "order": None},
    "not computed": {
        "imaging": example.assessment(score=NotComputed(reason=NotComputedReason.NOT_LIVER, detail=""))
    },
    "rejected": {
        "imaging": Rejection(
            study=example.study(),
            revision=1,
            created_at=datetime(2026, 11, 21, tzinfo=UTC),
            reason=RejectionReason.NO_LESION,
            detail="",
            software_version="0.1.0",
        )
    },
    "much to order": {
        "patient_facts": replace(
            example.SETTLED, labs=(), ascites=None, encephalopathy=None, serology=(), dipstick=None
        )
    },
    **{f"no imaging: {each.name}": {"imaging": each} for each in NoImaging},
}


@pytest.mark.parametrize("name", CARDS)
def test_every_word_of_a_card_comes_from_the_catalogue_or_is_data(languages, name):
    made = example.decision(**CARDS[name])

    written = cards(
        replace(made, texts=languages.choose("zz"), eligibility=without_reasons(made.eligibility))
    )

    assert written
    for card in written:
        assert words_in(card) - DATA == set()


def test_what_is_recorded_of_a_problem_is_said_in_the_readers_language(languages):
    recorded = tuple(
        ProblemFact(
            problem=problem, status=ProblemStatus.ACTIVE, began=days, source=example.source("Condition/1")
        )
        for problem, days in (
            (Problem.GI_BLEED, Days(first=example.SEEN)),
            (Problem.VARICEAL_BLEED, Days(first=example.SEEN, last=example.SEEN)),
            (Problem.HAEMOPTYSIS, ANY_DAY),
        )
    )
    made = example.decision(replace(example.SETTLED, problems=recorded))
    bleeding = [each for each in made.eligibility.findings if each.criterion.identifier in ("R12", "R26")]

    reasons = [languages.choose("zz").say(part) for finding in bleeding for part in finding.reason]

    assert any(wide("gastrointestinal bleeding") in each for each in reasons)
    assert any(wide("day not known") in each for each in reasons)
    assert re.findall("[A-Za-z]+", " ".join(reasons)) == []
