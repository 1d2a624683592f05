# SPDX-License-Identifier: Apache-2.0
"""Codes and words of a concept say the same as JSON and as read, and only of terms is anything kept."""

from __future__ import annotations

import weakref

import pytest
from fhir.resources.R4B.codeableconcept import CodeableConcept
from hypothesis import given
from hypothesis import strategies as st

from fhir_gateway.drugs import drugs, is_told
from fhir_gateway.keeping import of_a_concept
from fhir_gateway.problem_words import is_of_relatives, names_hcc, problems_in, procedures_in
from fhir_gateway.systems import ATC, ICD10, LOINC, SNOMED, codes, raw_codes, raw_texts, texts_of

_TEXTS = st.one_of(
    st.sampled_from(["Cirrhosis of liver", "HCC", " Ascites ", "C22.0"]),
    st.text(alphabet="abc \u00e4.", min_size=1, max_size=8),
)
_SYSTEMS = st.sampled_from(
    [SNOMED, LOINC, "http://hl7.org/fhir/sid/icd-10", "urn:oid:2.16.840.1.113883.6.96", "http://example.org"]
)
_CODES = st.sampled_from(["C22.0", "C220", "k74.6+", "109841003", "1975-2"])
_CODINGS = st.fixed_dictionaries({}, optional={"system": _SYSTEMS, "code": _CODES, "display": _TEXTS})
_CONCEPTS = st.fixed_dictionaries(
    {}, optional={"text": _TEXTS, "coding": st.lists(_CODINGS, min_size=1, max_size=3)}
)
_NO_TEXTS = st.sampled_from([0, 1, True, False, 2.5, [], ["x"], {}, {"value": "x"}])


@given(_CONCEPTS)
def test_a_concept_says_the_same_as_json_and_as_read(concept):
    read = CodeableConcept.model_validate(concept)

    assert raw_codes(concept) == codes(read)
    assert raw_texts(concept) == texts_of(read)


@given(_CONCEPTS, _CODINGS, st.sampled_from(["system", "code"]), _NO_TEXTS)
def test_a_concept_of_which_a_system_or_code_is_no_text_has_no_codes_that_can_be_read(
    concept, coding, element, value
):
    broken = concept | {"coding": [*concept.get("coding", []), coding | {element: value}]}

    assert raw_codes(broken) is None


@given(_CONCEPTS, _CODINGS, _NO_TEXTS, st.booleans())
def test_a_concept_of_which_a_word_is_no_text_has_no_words_that_can_be_read(
    concept, coding, value, in_coding
):
    displayed = {"coding": [*concept.get("coding", []), coding | {"display": value}]}
    broken = concept | (displayed if in_coding else {"text": value})

    assert raw_texts(broken) is None


@pytest.mark.parametrize("concept", [None, "text", [], {"coding": None}, {"coding": "x"}, {"coding": ["x"]}])
def test_codings_of_another_shape_cannot_be_read(concept):
    assert raw_codes(concept) is None


def test_a_code_of_icd_10_is_read_with_its_dot_and_without_its_marks():
    concept = {"coding": [{"system": "http://hl7.org/fhir/sid/icd-10", "code": " k746+"}]}

    assert raw_codes(concept) == ((ICD10, "K74.6"),)


class _Text(str):
    """A text of which it can be told whether anybody still holds it."""

    __slots__ = ("__weakref__",)


_said = of_a_concept(lambda concept: (raw_codes(concept), raw_texts(concept)))
_PARTS = st.one_of(st.none(), _TEXTS, _SYSTEMS, _CODES, st.text(min_size=121, max_size=124), _NO_TEXTS)
_ANY_CODINGS = st.dictionaries(st.sampled_from(["system", "code", "display", "version"]), _PARTS)
_ANY_CONCEPTS = st.one_of(
    _PARTS,
    st.fixed_dictionaries(
        {},
        optional={"text": _PARTS, "coding": st.one_of(_PARTS, st.lists(_ANY_CODINGS | _PARTS, max_size=2))},
    ),
)


@given(st.lists(_ANY_CONCEPTS, min_size=1, max_size=4))
def test_what_is_kept_of_a_concept_is_what_is_said_of_it_whatever_its_shape_and_whatever_came_before(
    concepts,
):
    for concept in [*concepts, *concepts]:
        assert _said(concept) == (raw_codes(concept), raw_texts(concept))


@pytest.mark.parametrize("place", ["system", "code", "display", "text"])
def test_nothing_is_kept_of_a_concept_with_a_long_text(place):
    long = _Text("hepatocellular carcinoma, and nothing else was seen" * 5)
    coding = {"system": SNOMED, "code": "109841003", "display": "HCC"}
    concept = {"text": long} if place == "text" else {"text": "HCC"}
    concept["coding"] = [coding if place == "text" else coding | {place: long}]
    held = weakref.ref(long)

    assert _said(concept) == (raw_codes(concept), raw_texts(concept))
    del long, concept
    assert held() is None


@pytest.mark.parametrize("reader", [drugs, is_told])
def test_nothing_is_kept_of_a_long_name_or_code_of_a_drug(reader):
    name = _Text("Bevacizumab" + " as discussed with the patient's daughter" * 3)
    code = _Text("bevacizumab-" + "0123456789" * 12)
    held = weakref.ref(name), weakref.ref(code)

    assert reader(((ATC, code),), (name,)) == reader((), ("Bevacizumab",))
    del name, code
    assert [each() for each in held] == [None, None]


def test_nothing_is_kept_of_more_names_than_a_drug_has():
    names = tuple(_Text(f"name {number}") for number in range(200))
    held = [weakref.ref(each) for each in names]

    assert drugs((), names) == frozenset()
    del names
    assert not any(each() for each in held[:-1])


@pytest.mark.parametrize("reader", [problems_in, names_hcc, procedures_in, is_of_relatives])
def test_a_long_text_is_read_as_a_short_one_and_nothing_of_it_is_kept(reader):
    words = "Liver cirrhosis with ascites and hepatocellular carcinoma, EGD done, his mother is well"
    long = _Text(words + " and nothing else was seen" * 5)
    held = weakref.ref(long)

    said = reader([long])

    assert said == reader([words])
    del long
    assert held() is None
