from pathlib import Path

import pytest
from click.testing import CliRunner

from torrust_py.console.tracker import main


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.chdir(tmp_path)
    return CliRunner(env={"TORRUST_TRACKER_CONFIG_TOML": None, "TORRUST_TRACKER_CONFIG_TOML_PATH": None})


@pytest.mark.clause("1.1.3")
def test_help_teaches_how_to_configure_it(runner: CliRunner) -> None:
    result = runner.invoke(main, ["--help"])
    assert result.exit_code == 0
    assert "TORRUST_TRACKER_CONFIG_TOML_PATH" in result.output
    assert "--print-default-config" in result.output


def test_help_tells_of_the_doctor(runner: CliRunner) -> None:
    assert "torrust-tracker doctor" in runner.invoke(main, ["--help"]).output
    result = runner.invoke(main, ["doctor", "--help"])
    assert result.exit_code == 0
    assert "exit status is 0 if nothing is wrong, 1 if" in " ".join(result.output.split())


@pytest.mark.clause("1.1.3")
def test_version_is_the_package_version(runner: CliRunner) -> None:
    result = runner.invoke(main, ["--version"])
    assert (result.exit_code, result.output.startswith("torrust-tracker, version ")) == (0, True)


@pytest.mark.clause("1.1.3")
def test_the_default_configuration_is_the_shipped_one(runner: CliRunner) -> None:
    result = runner.invoke(main, ["--print-default-config"])
    shipped = Path(__file__).parents[2] / "config/tracker.development.sqlite3.toml"
    assert (result.exit_code, result.output) == (0, shipped.read_text())


@pytest.mark.clause("1.1.3")
@pytest.mark.parametrize("argument", ["start", "--port=6969", "-x"])
def test_any_other_argument_is_an_error(runner: CliRunner, argument: str) -> None:
    result = runner.invoke(main, [argument])
    assert result.exit_code == 2
    assert "Usage:" in result.output


@pytest.mark.clause("1.2.4")
def test_without_a_configuration_it_says_how_to_get_one(runner: CliRunner) -> None:
    result = runner.invoke(main, [])
    assert result.exit_code == 1
    assert "torrust-tracker --print-default-config" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_a_wrong_value_is_one_line(runner: CliRunner) -> None:
    document = """
        metadata.schema_version = "2.0.0"
        logging.threshold = "loud"
        core = { listed = false, private = false }
    """
    result = runner.invoke(main, [], env={"TORRUST_TRACKER_CONFIG_TOML": document})
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert "logging.threshold" in result.stderr
    assert "loud" in result.stderr
