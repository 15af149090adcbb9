import pytest


async def test_metrics_are_text_unless_json_is_asked_for(api) -> None:
    for format in ("", "?format=prometheus"):
        answer = await api.ask(
            "GET", f"/api/v1/metrics{format}", headers={"Accept": "text/plain;version=0.0.4"}
        )
        assert (answer.status, answer.content_type) == (200, "text/plain")
        assert answer.text == "text of text/plain;version=0.0.4"
    answer = await api.get("/api/v1/metrics?format=json")
    assert (answer.status, answer.content_type, answer.text) == (200, "application/json", "{}")


@pytest.mark.parametrize("query", ["format=xml", "format=", "format=json&format=json", "format=JSON"])
async def test_another_format_is_refused_with_those_that_there_are(api, query: str) -> None:
    answer = await api.get(f"/api/v1/metrics?{query}")
    assert (answer.status, answer.text) == (400, "Invalid query: format may be prometheus or json, once")


async def test_metrics_need_a_token_which_may_be_a_bearers(api) -> None:
    assert (await api.get("/api/v1/metrics", token=None)).status == 500
    assert (await api.get("/api/v1/metrics", token="wrong")).status == 500
    headers = {"Authorization": "Bearer MyAccessToken"}
    assert (await api.ask("GET", "/api/v1/metrics", token=None, headers=headers)).status == 200
