import pytest
from hypothesis import given
from hypothesis import strategies as st

from torrust_py.config.loose import parse_loose

UNKNOWN = ("not", "an", "option")
TEXT = ("core", "database", "path")
TOKENS = ("http_api", "access_tokens")
LISTENERS = ("udp_trackers",)


@pytest.mark.clause("1.2.15")
@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("  false  ", False),
        ("True", "True"),
        ("truely", "truely"),
        ("1", 1),
        (" 0", 0),
        ("+5", 5),
        ("-2", -2),
        ("0123", 123),
        ("1_0", "1_0"),
        ("٣", "٣"),
        ("1.2", 1.2),
        (".5", 0.5),
        ("1.", 1.0),
        ("-1.5e3", -1500.0),
        ("1.2.3", "1.2.3"),
        ("0.0.0.0:6969", "0.0.0.0:6969"),
        ("a b ", "a b"),
        ("a,b", "a,b"),
        ("]", "]"),
        ("[a", "[a"),
        ("[a]b", "[a]b"),
        ("{a}", "{a}"),
        ('"true"', "true"),
        ('" a "', " a "),
        ('"a" b', '"a" b'),
        ('"a', '"a'),
        (r'"\t\"\\\b\f\n\r é\u00e9\U0001F600"', '\t"\\\b\f\n\r éé\U0001f600'),
        (r'"\x41"', r'"\x41"'),
        (r'"\ud800"', r'"\ud800"'),
        (r'"\u12"', r'"\u12"'),
        ('"a\nb"', '"a\nb"'),
        ("[]", []),
        ("[1,2 , 3]", [1, 2, 3]),
        ("[ a , b c,, d  ]", ["a", "b c", "", "d"]),
        ("[1,]", [1]),
        ("[[-1], {a=[ b ]}, hi ]", [[-1], {"a": ["b"]}, "hi"]),
        ("{a=1,b=hi}", {"a": 1, "b": "hi"}),
        ('{ "a.b" = " c" , }', {"a.b": " c"}),
        ("{a=}", {"a": ""}),
        ("{}", {}),
    ],
)
def test_a_value_is_read_as_inline_toml_without_quotes(text: str, value: object) -> None:
    parsed = parse_loose(text, UNKNOWN)
    assert (type(parsed), parsed) == (type(value), value)


def test_brackets_nest_a_hundred_deep() -> None:
    assert isinstance(parse_loose("[" * 100 + "]" * 100, UNKNOWN), list)
    assert isinstance(parse_loose("[" * 101 + "]" * 101, UNKNOWN), str)


@pytest.mark.clause("1.2.16")
@pytest.mark.parametrize(
    "text", ["12345", "true", "1.50", "[a]", "{a=b}", "a,b", "007", '"a', "'a'", r'"\x"']
)
def test_a_text_option_takes_the_raw_text(text: str) -> None:
    assert parse_loose(text, TEXT) == text


@pytest.mark.clause("1.2.16")
@pytest.mark.parametrize(
    ("text", "value"), [('"12345"', "12345"), (r'" a\n"', " a\n"), ('""', ""), (" a ", "a")]
)
def test_a_text_option_in_double_quotes_is_the_string_that_they_hold(text: str, value: str) -> None:
    assert parse_loose(text, TEXT) == value


def test_texts_inside_tables_and_arrays_take_the_raw_text_too() -> None:
    assert parse_loose("{admin=12345, other=true}", TOKENS) == {"admin": "12345", "other": "true"}
    assert parse_loose("[{bind_address=1.5, x=1.5}]", LISTENERS) == [{"bind_address": "1.5", "x": 1.5}]


@given(st.text(alphabet='[]{}=,"\\ \nau01.-', max_size=40))
def test_any_text_is_some_value(text: str) -> None:
    for path in (UNKNOWN, TEXT, TOKENS, LISTENERS):
        parse_loose(text, path)


VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63) + 1, 2**64 - 1) | st.text(st.characters(exclude_categories=["C"])),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.from_regex("[a-z_-]{1,4}", fullmatch=True), inner, max_size=3)
    ),
    max_leaves=8,
)


def _written(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list):
        return "[" + ", ".join(map(_written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{key} = {_written(member)}" for key, member in value.items()) + "}"
    return str(value)


@pytest.mark.slow
@given(VALUES)
def test_what_is_written_is_read_back(value: object) -> None:
    assert parse_loose(_written(value), UNKNOWN) == value
