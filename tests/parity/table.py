"""`docs/parity.md`: each clause of Torrust's behaviour with the tests that prove it.

The clauses stand in `clauses/*.toml`, one file a chapter:

    title = "3 HTTP tracker"

    ["3.1"]
    title = "Routes"
    1 = "what Torrust does, and this tracker too"
    2 = { is = "what Torrust does", here = "what this tracker does instead, on purpose" }
    3 = { is = "what Torrust does", untested = "why no test proves it" }

A section may be `untested` as a whole. A test proves clauses by its marker,
`@pytest.mark.clause("3.1.1", "3.1.2")`: over the test, over its class, or in one of the parameters of its
decorators.

Write the page anew with `python -m tests.parity.table`.
"""

import ast
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

TESTS = Path(__file__).parent.parent
CLAUSES = Path(__file__).parent / "clauses"
PAGE = TESTS.parent / "docs" / "parity.md"

HEAD = """# Parity with Torrust 3.0

Each clause of what the Torrust tracker 3.0 does as seen from outside, and the tests of this project that
prove that this tracker does the same. Where it does something else on purpose, the clause says so ("Here");
why stands in [differences.md](differences.md). Numbers are ours, for reference.

This page is made from the clauses in `tests/parity/clauses/` and from the `@pytest.mark.clause` markers of
the tests; `python -m tests.parity.table` writes it, and a test keeps it in step.
"""


class Clause(NamedTuple):
    """One row. A clause with `here` differs on purpose; one with `untested` says why no test proves it."""

    number: str
    text: str
    here: str
    untested: str


class Section(NamedTuple):
    number: str
    title: str
    untested: str
    clauses: list[Clause]


class Chapter(NamedTuple):
    title: str
    sections: list[Section]


class ProvingTest(NamedTuple):
    path: Path
    name: str


def load_chapters(directory: Path = CLAUSES) -> list[Chapter]:
    """All clauses, in the order of their numbers."""
    files = sorted(directory.glob("*.toml"), key=lambda path: natural(path.name))
    return [_chapter(tomllib.loads(path.read_text())) for path in files]


def natural(number: str) -> list[tuple[int, str]]:
    """Sorts `1.10` after `1.9`, and letters after digits."""
    return [
        (int(part), "") if part.isdigit() else (1_000, part) for part in re.findall(r"\d+|[A-Za-z]+", number)
    ]


def _chapter(document: dict[str, Any]) -> Chapter:
    sections = [_section(number, table) for number, table in document.items() if number != "title"]
    return Chapter(document["title"], sorted(sections, key=lambda section: natural(section.number)))


def _section(number: str, table: dict[str, Any]) -> Section:
    clauses = [_clause(f"{number}.{key}", value) for key, value in table.items() if key.isdigit()]
    clauses.sort(key=lambda clause: natural(clause.number))
    return Section(number, table["title"], table.get("untested", ""), clauses)


def _clause(number: str, value: Any) -> Clause:
    if isinstance(value, str):
        return Clause(number, value, "", "")
    unknown = value.keys() - {"is", "here", "untested"}
    assert not unknown, f"{number}: {unknown}"
    return Clause(number, value["is"], value.get("here", ""), value.get("untested", ""))


def find_proofs(directory: Path = TESTS) -> dict[str, list[ProvingTest]]:
    """The tests that carry a marker, by the number of the clause they prove."""
    proofs: dict[str, list[ProvingTest]] = defaultdict(list)
    for path in sorted(directory.rglob("test_*.py")):
        for number, name in _marked(ast.parse(path.read_text())):
            if (proof := ProvingTest(path, name)) not in proofs[number]:
                proofs[number].append(proof)
    return dict(proofs)


def _marked(tree: ast.AST, inherited: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.ClassDef):
            yield from _marked(node, inherited + tuple(_numbers(node.decorator_list)))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_"):
            for number in (*inherited, *_numbers(node.decorator_list)):
                yield number, node.name


def _numbers(decorators: list[ast.expr]) -> Iterator[str]:
    for decorator in decorators:
        for node in ast.walk(decorator):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.clause":
                yield from (ast.literal_eval(argument) for argument in node.args)


def page(chapters: list[Chapter], proofs: dict[str, list[ProvingTest]]) -> str:
    """The text of `docs/parity.md`."""
    clauses = [clause for chapter in chapters for section in chapter.sections for clause in section.clauses]
    proved = sum(clause.number in proofs for clause in clauses)
    lines = [HEAD, f"{len(clauses)} clauses, {proved} of them proved by tests.", ""]
    for chapter in chapters:
        lines += [f"## {chapter.title}", ""]
        for section in chapter.sections:
            lines += [f"### {section.number} {section.title}", "", *_body(section, proofs), ""]
    return "\n".join(lines).rstrip("\n") + "\n"


def _body(section: Section, proofs: dict[str, list[ProvingTest]]) -> Iterator[str]:
    if section.untested:
        yield f"Without tests: {section.untested}"
    if section.untested and section.clauses:
        yield ""
    if section.clauses:
        yield "| | Torrust 3.0 | Proved by |"
        yield "|---|---|---|"
        yield from (_row(clause, proofs.get(clause.number, [])) for clause in section.clauses)


def _row(clause: Clause, tests: list[ProvingTest]) -> str:
    text = clause.text + (f" **Here:** {clause.here}" if clause.here else "")
    proof = "<br>".join(_link(test) for test in tests) or f"(no test: {clause.untested})"
    return f"| {clause.number} | {_cell(text)} | {proof} |"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _link(test: ProvingTest) -> str:
    words = test.name.removeprefix("test_").replace("_", " ")
    return f"[{words}](../{test.path.relative_to(TESTS.parent)})"


if __name__ == "__main__":
    PAGE.write_text(page(load_chapters(), find_proofs()))
    print(f"{PAGE} is written.")
