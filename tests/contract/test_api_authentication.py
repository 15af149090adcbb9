"""Who may use the REST API."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

TEXT = "text/plain; charset=utf-8"
UNAUTHORIZED = (500, TEXT, 'Unhandled rejection: Err { reason: "unauthorized" }')
NOT_VALID = (500, TEXT, 'Unhandled rejection: Err { reason: "token not valid" }')
HASH = "9e0217d0fa71c87332cd8bf9dbeabcb2c2cf3c4d"
KEY = "YZSl4lMZupRuOpSRC3krIKR5BPB14nrJ"

every_call = pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/stats"),
        ("GET", "/torrents"),
        ("GET", f"/torrent/{HASH}"),
        ("POST", f"/whitelist/{HASH}"),
        ("DELETE", f"/whitelist/{HASH}"),
        ("GET", "/whitelist/reload"),
        ("POST", "/keys"),
        ("POST", "/key/60"),
        ("DELETE", f"/key/{KEY}"),
        ("GET", "/keys/reload"),
        ("GET", "/unknown"),
        ("PUT", "/stats"),
        ("GET", "/torrent/%ff"),
        ("GET", "/torrents?offset=x"),
        ("POST", "/key/x"),
    ],
)
"""Also those that are wrong in another way, which is then not told."""


@pytest.mark.clause(
    "7.2.4", "7.2.5", "12.3.2", "12.3.9", "12.3.17", "12.3.21", "12.3.24", "12.3.31", "12.3.36", "12.3.43",
    "12.3.46", "12.3.48", "B.1.1",
)  # fmt: skip
@every_call
def test_no_call_is_answered_without_a_token(public: Any, method: str, path: str) -> None:
    assert public.call(method, path, token=None).row == UNAUTHORIZED


@pytest.mark.clause(
    "7.2.4", "7.2.6", "12.3.3", "12.3.4", "12.3.9", "12.3.17", "12.3.21", "12.3.24", "12.3.31", "12.3.36",
    "12.3.43", "12.3.46", "12.3.48", "B.1.1",
)  # fmt: skip
@pytest.mark.parametrize("token", ["", "NotTheToken"])
@every_call
def test_no_call_is_answered_with_another_token(public: Any, method: str, path: str, token: str) -> None:
    assert public.call(method, path, token=token).row == NOT_VALID


@pytest.mark.clause("7.2.4", "12.3.36")
@pytest.mark.parametrize(("token", "refusal"), [(None, UNAUTHORIZED), ("x", NOT_VALID)])
def test_a_wrong_body_is_not_told_to_strangers(public: Any, token: str | None, refusal: object) -> None:
    headers = {"Content-Type": "application/json"}
    assert public.call("POST", "/keys", token=token, body="{", headers=headers).row == refusal


@pytest.mark.clause("7.2.1", "12.3.1", "12.3.5")
@pytest.mark.parametrize(
    "query",
    [
        "token=MyAccessToken",
        "token=MyAccessToken&offset=0",
        "offset=0&token=MyAccessToken",
        "offset=0&token=MyAccessToken&limit=1",
        "%74oken=My%41ccess%54oken",
    ],
)
def test_the_token_may_stand_anywhere_in_the_query(public: Any, query: str) -> None:
    assert public.request("api", f"/api/v1/torrents?{query}").status == 200


@pytest.mark.clause("7.2.7")
def test_two_tokens_are_refused(public: Any) -> None:
    answer = public.call("GET", "/stats?token=MyAccessToken")
    assert answer.row == (400, TEXT, "Failed to deserialize query string: duplicate field `token`")


@pytest.mark.clause("7.2.2")
@pytest.mark.parametrize(
    ("header", "value", "admits"),
    [
        ("Authorization", "Bearer MyAccessToken", True),
        ("Authorization", "Bearer x", False),
        ("Authorization", "MyAccessToken", False),
        ("Authorization", "Basic MyAccessToken", False),
        ("token", "MyAccessToken", False),
        ("Cookie", "token=MyAccessToken", False),
    ],
)
def test_bearer_is_the_only_header_that_counts(public: Any, header: str, value: str, admits: bool) -> None:
    assert (public.call("GET", "/stats", token=None, headers={header: value}).status == 200) is admits


@pytest.mark.clause("7.2.2")
def test_a_token_in_the_query_wins_over_bearer(public: Any) -> None:
    headers = {"Authorization": "Bearer MyAccessToken"}
    assert public.call("GET", "/stats", token="x", headers=headers).row == NOT_VALID


@pytest.mark.clause("7.2.4", "7.3.1", "7.5.1", "12.3.7", "B.1.2")
@pytest.mark.parametrize("query", ["", "?token=x", "?token=a&token=b"])
def test_the_health_check_asks_for_no_token(public: Any, query: str) -> None:
    answer = public.request("api", f"/api/health_check{query}")
    assert answer.row == (200, "application/json", '{"status":"Ok"}')


@pytest.fixture(scope="module")
def two_tokens(
    tmp_path_factory: pytest.TempPathFactory,
    configure: Callable[..., str],
    share: Callable[[Path, str], AbstractContextManager[Any]],
) -> Iterator[Any]:
    services = """
        [http_api]
        bind_address = "127.0.0.1:0"
        access_tokens = { admin = "MyAccessToken", second = "with space+plus" }
        [health_check_api]
        bind_address = "127.0.0.1:0"
    """
    with share(tmp_path_factory.mktemp("tokens"), configure(services=services)) as daemon:
        yield daemon


@pytest.mark.clause("7.2.1", "7.2.3")
@pytest.mark.parametrize("token", ["MyAccessToken", "with+space%2Bplus", "with%20space%2Bplus"])
def test_each_token_admits_to_what_changes_the_tracker(two_tokens: Any, token: str) -> None:
    assert two_tokens.call("POST", f"/whitelist/{HASH}", token=token).status == 200


@pytest.mark.clause("7.2.3")
@pytest.mark.parametrize(
    "token", ["myaccesstoken", "MyAccessToke", "MyAccessToken%20", "admin", "with%20space+plus"]
)
def test_a_token_is_compared_exactly(two_tokens: Any, token: str) -> None:
    assert two_tokens.call("GET", "/stats", token=token).row == NOT_VALID
