"""Every command that README.md and docs/ show is followed by a test, or there is a reason why not."""

import ast

import pytest

from tests.pages.pages import PAGES, ROOT, commands

_README = "tests/pages/test_readme.py::"
_DEPLOYMENT = "tests/pages/test_deployment.py::"
_SERVICE = f"{_DEPLOYMENT}test_a_service_of_systemd"
_LOOKS = "tests/test_kernel_page.py::test_a_look_is_a_command"

# The beginning of a command on a page: the test that runs it word by word.
FOLLOWED = {
    ("README.md", "scripts/run  "): f"{_README}test_the_tracker_of_a_fresh_clone",
    ("README.md", "scripts/run --print-default-config"): f"{_README}test_the_tracker_of_a_fresh_clone",
    ("README.md", "curl -s"): f"{_README}test_the_tracker_of_a_fresh_clone",
    ("README.md", "TORRUST_TRACKER_CONFIG_TOML_PATH="): f"{_README}test_the_tracker_of_a_fresh_clone",
    ("README.md", "TORRUST_TRACKER_CONFIG_OVERRIDE_"): f"{_README}test_the_tracker_of_a_fresh_clone",
    ("README.md", "scripts/test"): f"{_README}test_the_suite_of_a_fresh_clone",
    ("README.md", "docker build"): f"{_DEPLOYMENT}test_the_container_of_the_readme",
    ("README.md", "docker run"): f"{_DEPLOYMENT}test_the_container_of_the_readme",
    ("docs/configuration.md", "TORRUST_TRACKER_CONFIG_OVERRIDE_"): (
        "tests/config/test_pages.py::test_the_variables_are_options"
    ),
    ("docs/deployment.md", "docker build"): f"{_DEPLOYMENT}test_a_container",
    ("docs/deployment.md", "docker run --detach"): f"{_DEPLOYMENT}test_a_container",
    ("docs/deployment.md", "docker exec"): f"{_DEPLOYMENT}test_a_container",
    ("docs/deployment.md", "curl -s"): f"{_DEPLOYMENT}test_a_container",
    ("docs/deployment.md", "mkdir -p storage"): f"{_DEPLOYMENT}test_a_container_without_root",
    ("docs/deployment.md", "docker run --user"): f"{_DEPLOYMENT}test_a_container_without_root",
    ("docs/deployment.md", "TORRUST_TRACKER_CONFIG_OVERRIDE_"): f"{_DEPLOYMENT}test_compose",
    ("docs/deployment.md", "apt-get install --no-install-recommends gcc"): _SERVICE,
    ("docs/deployment.md", "python3 -m venv"): _SERVICE,
    ("docs/deployment.md", "/opt/torrust-tracker/bin/pip"): _SERVICE,
    ("docs/deployment.md", "useradd"): _SERVICE,
    ("docs/deployment.md", "install"): _SERVICE,
    ("docs/deployment.md", "sed"): _SERVICE,
    ("docs/deployment.md", "systemctl"): _SERVICE,
    ("docs/deployment.md", "journalctl"): _SERVICE,
    ("docs/deployment.md", "sqlite3"): _SERVICE,
    ("docs/deployment.md", "git pull"): _SERVICE,
    ("docs/from-torrust.md", "git clone"): f"{_README}test_the_switch_from_torrust",
    ("docs/from-torrust.md", "TORRUST_TRACKER_CONFIG_TOML_PATH="): f"{_README}test_the_switch_from_torrust",
    ("docs/from-torrust.md", ".venv/bin/udp_tracker_client"): f"{_README}test_the_switch_from_torrust",
    ("docs/from-torrust.md", "curl -s"): f"{_README}test_the_switch_from_torrust",
    ("docs/kernel.md", "nstat"): _LOOKS,
    ("docs/kernel.md", "ss "): _LOOKS,
    ("docs/kernel.md", "cat /proc"): _LOOKS,
    ("docs/kernel.md", "ulimit"): _LOOKS,
    ("docs/private-tracker.md", "curl"): "tests/contract/test_pages.py::test_a_key_of_a_private_tracker",
    (
        "docs/public-tracker.md",
        "curl",
    ): "tests/contract/test_pages.py::test_the_whitelist_of_a_public_tracker",
    ("docs/blacklist.md", "curl"): "tests/contract/test_pages.py::test_a_torrent_that_is_taken_down",
    ("docs/troubleshooting.md", "TORRUST_TRACKER_CONFIG_TOML_PATH="): (
        f"{_README}test_the_tracker_of_a_fresh_clone"
    ),
    ("docs/troubleshooting.md", "docker exec"): f"{_DEPLOYMENT}test_a_container",
    ("docs/troubleshooting.md", "runuser"): _SERVICE,
    ("docs/tls.md", "openssl req"): "tests/contract/test_pages.py::test_the_certificate_for_tests",
}

# The beginning of a command on a page: why no test runs it.
NOT_FOLLOWED = {
    ("docs/deployment.md", "apt-get install --no-install-recommends buildah"): ".ci/run installs these",
    (
        "docs/deployment.md",
        "scripts/container",
    ): ".ci/run builds with it, and tests/container tries what it built",
    ("docs/kernel.md", "echo net.core.rmem_max"): "what it writes is for the next",
    ("docs/kernel.md", "sysctl --system"): "it sets the kernel of the host, whoever runs it",
    (
        "docs/reverse-proxy.md",
        "curl",
    ): "asks a host of yours; test_nginx.py announces through the page's nginx",
}


def entries_of(page: str, text: str) -> list[tuple[str, str]]:
    return [
        (of, beginning)
        for of, beginning in [*FOLLOWED, *NOT_FOLLOWED]
        if of == page and text.startswith(beginning)
    ]


@pytest.mark.parametrize("page", PAGES)
def test_each_command_is_followed_or_has_a_reason(page: str) -> None:
    assert [shown.text for shown in commands(page) if not entries_of(page, shown.text)] == []


def test_no_entry_is_of_a_command_that_is_gone() -> None:
    used = {entry for page in PAGES for shown in commands(page) for entry in entries_of(page, shown.text)}
    assert {*FOLLOWED, *NOT_FOLLOWED} - used == set()


@pytest.mark.parametrize("test", sorted(set(FOLLOWED.values())))
def test_the_tests_are_there(test: str) -> None:
    file, _, name = test.partition("::")
    functions = {
        node.name for node in ast.parse((ROOT / file).read_text()).body if isinstance(node, ast.FunctionDef)
    }
    assert name in functions


@pytest.mark.parametrize("page", PAGES)
def test_what_a_machine_follows_is_named_in_its_test(page: str) -> None:
    """Each command of such a page is asked for by its beginning, or goes with the reason above."""
    for shown in commands(page):
        tests = {FOLLOWED[entry] for entry in entries_of(page, shown.text) if entry in FOLLOWED}
        for test in tests:
            if test.startswith("tests/pages/"):
                assert any(shown.text.startswith(word) for word in asked_for(test)), (shown.text, test)


def asked_for(test: str) -> set[str]:
    """The texts in a test, and so the beginnings of commands."""
    file, _, name = test.partition("::")
    [function] = [
        node
        for node in ast.parse((ROOT / file).read_text()).body
        if isinstance(node, ast.FunctionDef) and node.name == name
    ]
    texts = [node.value for node in ast.walk(function) if isinstance(node, ast.Constant)]
    return {text for text in texts if isinstance(text, str) and len(text) >= 6}
