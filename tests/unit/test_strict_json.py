# SPDX-License-Identifier: Apache-2.0
"""The quick reader and the one that looks at every object are the same reader to whoever calls."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cds_service.strict_json import MAX_DEPTH, MalformedJson, parse_json

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    ['":', '" :', 'a": 1', '\\":', " :", "\t:", "\\ud800", "1e999", "{[,"]
)
NUMBERS = st.integers() | st.integers(10**18, 10**40) | st.floats(allow_nan=False, allow_infinity=False)
SCALARS = st.none() | st.booleans() | NUMBERS | TEXTS
DOCUMENTS = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)
SPELLINGS = st.fixed_dictionaries(
    {
        "ensure_ascii": st.booleans(),
        "indent": st.sampled_from([None, 1]),
        "separators": st.sampled_from([None, (",", ":"), (", ", " : "), (",", "\t:"), (",", "\n\r:")]),
    }
)


@given(DOCUMENTS, SPELLINGS)
def test_what_is_json_is_read_as_it_was_written(document, spelling):
    read = parse_json(json.dumps(document, **spelling).encode())

    # By its repr, which tells 1 from 1.0 and from True, and 0.0 from -0.0.
    assert repr(read) == repr(document)


@given(
    st.lists(st.tuples(TEXTS, DOCUMENTS), min_size=1, max_size=5),
    st.sampled_from([":", " :", "\t:"]),
    DOCUMENTS,
)
def test_a_name_that_stands_twice_is_found_wherever_it_is_and_however_it_is_spelled(pairs, colon, beside):
    members = ", ".join(f"{json.dumps(name)}{colon}{json.dumps(value)}" for name, value in pairs)
    body = f'[{json.dumps(beside)}, {{"in": [{{{members}}}]}}]'.encode()

    if len(dict(pairs)) == len(pairs):
        assert repr(parse_json(body)) == repr([beside, {"in": [dict(pairs)]}])
    else:
        with pytest.raises(MalformedJson, match="twice"):
            parse_json(body)


@given(
    st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
    | st.sampled_from(["1e400", "-1e400", "01", "[1,]", "1 2"])
)
def test_what_is_no_json_is_refused_by_both(text):
    try:
        expected = json.loads(text, parse_constant=lambda _: pytest.fail("a constant"))
    except ValueError:
        with pytest.raises(MalformedJson):
            parse_json(text.encode())
    else:
        if expected in (float("inf"), float("-inf")):
            with pytest.raises(MalformedJson, match="too large"):
                parse_json(text.encode())
        else:
            assert repr(parse_json(text.encode())) == repr(expected)


@pytest.mark.parametrize("number", ["1e400", "-1e400", "9" * 400 + ".0"])
@pytest.mark.parametrize("around", ['{{"a": {}}}', "[{}]", "{}", '[[{{"a": [1, {}]}}]]'])
def test_a_number_that_has_no_end_is_found_wherever_it_is(number, around):
    with pytest.raises(MalformedJson, match="too large"):
        parse_json(around.format(number).encode())


@pytest.mark.parametrize(("opening", "closing"), [('{"a":', "}"), ("[", "]"), ('[{"a" :', "}]")])
def test_nesting_is_allowed_up_to_the_limit_and_no_further(opening, closing):
    levels = len(closing)
    deepest = MAX_DEPTH // levels

    assert parse_json((opening * deepest + "1" + closing * deepest).encode())
    with pytest.raises(MalformedJson, match="nested too deep"):
        parse_json((opening * (deepest + 1) + "1" + closing * (deepest + 1)).encode())


def test_no_text_of_a_body_is_kept_for_the_next():
    body = b'{"family": "Mustermann"}'

    first, second = parse_json(body), parse_json(body)

    assert first == second
    assert first["family"] is not second["family"]
