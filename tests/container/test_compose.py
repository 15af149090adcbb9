"""`compose.yaml`, and Torrust's own with the name of this image."""

from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml

from tests.container.conftest import DRIVER, ETC, LIB, TOKEN, Run
from torrust_py.config import load_config

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture
def document() -> Any:
    return yaml.safe_load((REPOSITORY / "compose.yaml").read_text())


@pytest.mark.clause("10.4.1")
def test_names_and_volumes_are_torrusts(document: Any) -> None:
    assert document["name"] == "torrust"
    assert list(document["services"]) == ["tracker", "mysql"]
    assert (list(document["networks"]), list(document["volumes"])) == (["server_side"], ["mysql_data"])
    volumes = {name: service["volumes"] for name, service in document["services"].items()}
    assert volumes == {
        "tracker": [
            "./storage/tracker/lib:/var/lib/torrust/tracker:Z",
            "./storage/tracker/log:/var/log/torrust/tracker:Z",
            "./storage/tracker/etc:/etc/torrust/tracker:Z",
        ],
        "mysql": ["mysql_data:/var/lib/mysql"],
    }


@pytest.mark.clause("10.4.2")
def test_only_the_trackers_are_published_to_all(document: Any) -> None:
    ports = {name: service.get("ports", []) for name, service in document["services"].items()}
    assert ports == {"tracker": ["6969:6969/udp", "7070:7070", "127.0.0.1:1212:1212"], "mysql": []}


@pytest.mark.clause("10.4.3")
def test_the_variables_of_the_tracker_have_torrusts_defaults(document: Any) -> None:
    variables = document["services"]["tracker"]["environment"]
    assert (variables[DRIVER], variables[TOKEN]) == (f"${{{DRIVER}:-mysql}}", f"${{{TOKEN}:-MyAccessToken}}")


@pytest.mark.clause("10.4.3")
def test_the_database_is_the_one_that_the_configuration_names(document: Any) -> None:
    path = REPOSITORY / "config/tracker.container.mysql.toml"
    config = load_config({"TORRUST_TRACKER_CONFIG_TOML_PATH": str(path)}, REPOSITORY).config
    url = urlsplit(config.core.database.path.get_secret_value())
    given = document["services"][url.hostname]["environment"]
    assert (url.username, url.password) == (given["MYSQL_USER"], given["MYSQL_PASSWORD"])
    assert url.path == "/" + given["MYSQL_DATABASE"]


def test_the_tracker_waits_for_its_database(document: Any) -> None:
    assert document["services"]["tracker"]["depends_on"] == {"mysql": {"condition": "service_healthy"}}


@pytest.mark.clause("10.4.4")
def test_torrusts_own_file_works_with_the_name_of_this_image(run: Run, volumes: dict[str, Path]) -> None:
    """What it gives to the tracker, once with the database that it sets unless it is told another."""
    with_mysql = run(
        "cat", f"{ETC}/tracker.toml", volumes=volumes, **{DRIVER: "mysql", TOKEN: "MyAccessToken"}
    )
    assert with_mysql.wait() == 0
    assert "@mysql:3306/torrust_tracker" in with_mysql.output
    (volumes[ETC] / "tracker.toml").unlink()
    with_sqlite = run(volumes=volumes, **{DRIVER: "Sqlite3", TOKEN: "MyAccessToken"}).wait_until_it_serves()
    assert with_sqlite.get(1212, "/api/v1/stats?token=MyAccessToken")[0] == 200
    assert with_sqlite.get(7070, "/health_check")[0] == 200
    assert (volumes[LIB] / "database/sqlite3.db").stat().st_size > 0
