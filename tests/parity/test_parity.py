"""The clauses, the markers of the suite and `docs/parity.md` say the same."""

import re
from pathlib import Path

import pytest

from tests.parity.table import PAGE, TESTS, find_proofs, load_chapters, natural, page

CLAUSES = [
    (section, clause)
    for chapter in load_chapters()
    for section in chapter.sections
    for clause in section.clauses
]
PROVED = [TESTS.parent / "docs" / name for name in ("differences.md", "reliability.md")]


def test_every_clause_has_a_test_or_a_reason() -> None:
    proofs = find_proofs()
    bare = [
        clause.number
        for section, clause in CLAUSES
        if not (clause.number in proofs or clause.untested or section.untested)
    ]
    assert bare == []


def test_no_reason_stands_where_there_is_a_test() -> None:
    proofs = find_proofs()
    assert [clause.number for _, clause in CLAUSES if clause.untested and clause.number in proofs] == []


def test_every_marker_names_a_clause() -> None:
    known = {clause.number for _, clause in CLAUSES}
    assert sorted(find_proofs().keys() - known, key=natural) == []


def test_every_clause_is_there_once() -> None:
    numbers = [clause.number for _, clause in CLAUSES]
    assert sorted(set(numbers)) == sorted(numbers)


def test_the_page_is_in_step() -> None:
    assert PAGE.read_text() == page(load_chapters(), find_proofs()), (
        "run `python -m tests.parity.table` and commit docs/parity.md"
    )


def test_a_marker_is_found_wherever_it_may_stand(tmp_path: Path) -> None:
    (tmp_path / "test_a.py").write_text(
        "import pytest\n"
        '@pytest.mark.clause("1.1.1", "1.1.2")\n'
        "def test_one(): ...\n"
        '@pytest.mark.clause("2.1.1")\n'
        "class TestTwo:\n"
        '    @pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.clause("2.1.2"))])\n'
        "    async def test_two(self, x): ...\n"
        '@pytest.mark.clause("9.9.9")\n'
        "def not_a_test(): ...\n"
    )
    found = {number: [test.name for test in tests] for number, tests in find_proofs(tmp_path).items()}
    assert found == {
        "1.1.1": ["test_one"],
        "1.1.2": ["test_one"],
        "2.1.1": ["test_two"],
        "2.1.2": ["test_two"],
    }


def proved_rows() -> list[str]:
    """Of the tables whose last column has tests."""
    lines = [line for page in PROVED for line in page.read_text().splitlines()]
    return [line for line in lines if re.match(r"\| (?!Torrust|Fault|--)", line)]


def test_every_difference_and_every_fault_names_its_tests() -> None:
    bare = [row for row in proved_rows() if "../tests/" not in row.rsplit(" | ", 1)[-1]]
    assert bare == []


@pytest.mark.parametrize("row", proved_rows())
def test_the_tests_of_a_difference_and_of_a_fault_exist(row: str) -> None:
    for words, path in re.findall(r"\[([^]]+)\]\(\.\./(tests/[^)]+)\)", row):
        name = "test_" + words.replace(" ", "_")
        assert re.search(rf"def {name}\(", (TESTS.parent / path).read_text()), f"{path}: no {name}"
