from torrust_py.console.doctor import table_lines
from torrust_py.selfcheck import Finding

FINDINGS = [
    Finding("clock", "ok", "it is right"),
    Finding("udp-announce", "fail", "silence " * 12, "remedy " * 3, at="udp://127.0.0.1:6969"),
]


def plain(width: int) -> list[str]:
    return [
        line.replace("\x1b[32m", "").replace("\x1b[31m", "").replace("\x1b[0m", "")
        for line in table_lines(FINDINGS, width)
    ]


def test_columns_stand_under_their_heads() -> None:
    head, rule, clock, *_ = plain(100)
    assert set(rule) == {"─"}
    assert clock.index("clock") == head.index("Check")
    assert clock.index("it is right") == head.index("Detail")


def test_long_texts_go_on_in_their_column() -> None:
    lines = plain(100)
    assert max(map(len, lines)) <= 100
    head, *_, last = lines
    assert last.strip().startswith("silence")
    assert last.index("silence") == head.index("Detail")
    assert " ".join(" ".join(lines[3:]).split()).count("silence") == 12


def test_a_narrow_terminal_loses_nothing() -> None:
    assert sum(line.count("remedy") for line in plain(20)) == 3


def test_a_long_name_stays_whole() -> None:
    name = "TORRUST_TRACKER_CONFIG_OVERRIDE_HTTP_API__ACCESS_TOKENS__ADMIN"
    lines = table_lines([Finding("known-token", "warn", "known", f"set {name}")], 40)
    assert any(name in line for line in lines)


def test_the_result_is_coloured() -> None:
    assert [line[:5] for line in table_lines(FINDINGS, 100)][2:4] == ["\x1b[32m", "\x1b[31m"]
