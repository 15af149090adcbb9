from hypothesis import given
from hypothesis import strategies as st

from torrust_py.config import ConfigError
from torrust_py.config.errors import one_line


def test_line_breaks_are_escaped() -> None:
    assert one_line("a\nb\r\u2028\udc80c") == "a\\nb\\r\\u2028\\udc80c"


def test_text_of_any_language_stays() -> None:
    assert one_line("é 中 “…”") == "é 中 “…”"


@given(st.text(alphabet=st.characters()))
def test_any_error_is_one_line_that_any_terminal_can_print(text: str) -> None:
    assert str(ConfigError(text)).isprintable()
