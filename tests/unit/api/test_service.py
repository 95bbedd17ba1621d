"""Request ids, probes, metrics, the documentation, and the headers of every answer."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from api.metrics import Metrics
from api.openapi import package_version
from ledger.errors import StorageUnavailable
from projections.health import Symptom


@pytest.mark.parametrize("sent", ["a", "trace-1", "A.b_c:d/e+f=g-h", "x" * 128])
def test_acceptable_request_ids_are_echoed(client: Any, alice: Any, sent: str) -> None:
    for path in ("/healthz", "/orders", "/orders/7", "/nope", "/orders/new"):
        response = client.get(path, headers={**alice, "X-Request-Id": sent})
        assert response.headers["X-Request-Id"] == sent


@pytest.mark.parametrize("sent", ["", " ", "x" * 129, "a b", "a;b", "<b>", '"a"', "a,b", "k\xe4se", "a%0Ab"])
def test_other_request_ids_are_replaced(client: Any, sent: str) -> None:
    assert re.fullmatch(r"made-\d+", client.get("/healthz", headers={"X-Request-Id": sent}).headers["X-Request-Id"])


def test_every_request_gets_an_id(client: Any) -> None:
    ids = [client.get(path).headers["X-Request-Id"] for path in ("/healthz", "/nope", "/orders")]
    assert ids == ["made-1", "made-2", "made-3"]


def test_made_up_ids_differ(runtime: Any) -> None:
    client = runtime.app().test_client()
    ids = {client.get("/healthz").headers["X-Request-Id"] for _ in range(50)}
    assert len(ids) == 50


@pytest.mark.parametrize(
    "path", ["/", "/healthz", "/orders", "/nope", "/docs", "/openapi.json", "/docs/assets/start.js"]
)
def test_nothing_is_sniffed(client: Any, path: str) -> None:
    assert client.get(path).headers["X-Content-Type-Options"] == "nosniff"


def test_probes(client: Any) -> None:
    assert client.get("/healthz").json == {"status": "ok"}
    assert client.get("/readyz").json == {"status": "ready"}


class Behind:
    def symptoms(self) -> list[Symptom]:
        return [Symptom("A view is behind.", "Wait.")]


def test_not_ready(make_app: Any, is_problem: Any) -> None:
    client = make_app(health=Behind()).test_client()
    response = client.get("/readyz")
    assert is_problem(response, "not-ready", 503)["detail"] == "A view is behind."
    assert int(response.headers["Retry-After"]) > 0
    assert client.get("/healthz").status_code == 200


def test_what_the_driver_said_is_for_the_log(make_app: Any, raising: Any, is_problem: Any, caplog: Any) -> None:
    unwell = raising(StorageUnavailable("no route to host db.internal for user s3cret"))
    response = make_app(health=unwell).test_client().get("/readyz", headers={"X-Request-Id": "trace-me"})
    is_problem(response, "not-ready", 503)
    assert "s3cret" not in response.text
    assert "db.internal" not in response.text
    assert "s3cret" in caplog.text
    assert "trace-me" in caplog.text


def samples(text: str) -> dict[str, float]:
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in text.splitlines() if line[0] != "#"}


def test_metrics(client: Any, alice: Any) -> None:
    client.post("/orders/new", headers=alice, json=["1"])
    for order_id in (1, 2, 3):
        client.get(f"/orders/{order_id}", headers=alice)
    client.get("/nope/1")
    client.get("/nope/2")
    client.open("/healthz", method="BREW")
    response = client.get("/metrics")
    assert response.mimetype == "text/plain"
    values = samples(response.text)
    requests = 'http_requests_total{method="%s",route="%s",status="%s"}'
    assert values[requests % ("POST", "/orders/new", 201)] == 1
    assert values[requests % ("GET", "/orders/{orderId}", 200)] == 1
    assert values[requests % ("GET", "/orders/{orderId}", 404)] == 2
    assert values[requests % ("GET", "unmatched", 404)] == 2
    assert values[requests % ("other", "unmatched", 405)] == 1
    count = 'http_request_duration_seconds_count{method="POST",route="/orders/new",status="201"}'
    assert values[count] == 1
    assert values["ledger_head_position"] == 1
    assert values["ledger_storage_up"] == 1


def test_metrics_without_storage(make_app: Any, raising: Any, caplog: Any) -> None:
    unwell = raising(StorageUnavailable("no route to host db"))
    response = make_app(health=unwell).test_client().get("/metrics")
    assert response.status_code == 200
    values = samples(response.text)
    assert values["ledger_storage_up"] == 0
    assert "ledger_head_position" not in values
    assert "no route to host db" in caplog.text


def test_invented_methods_do_not_fill_the_memory(runtime: Any) -> None:
    metrics = Metrics(runtime.services.health)
    for number in range(100):
        metrics.observe(None, f"INVENTED-{number}", "405", 0.001)
    assert metrics._children == {}
    values = samples(metrics.scrape().decode())
    assert values['http_requests_total{method="other",route="unmatched",status="405"}'] == 100


MULTIPROCESS = """
import sys
from api.metrics import Metrics
from datetime import timedelta
from projections.health import FollowerState, Standing
from projections.transparency import LogSizes
class Health:
    def standing(self):
        follower = FollowerState("The log", "transparency-log", 6, 7, timedelta(seconds=3), True)
        return Standing(LogSizes(7, 6, 5), [follower], timedelta(seconds=9), {"orders": 4}, [])
    def view_findings(self):
        return ["a row is missing"] * 2
metrics = Metrics(Health())
for _ in range(3): metrics.observe("/orders", "GET", "200", 0.01)
metrics.appending(1)("committed"); metrics.appending(2)  # which nobody has told the end of
metrics.committed(2, 5, 0.01); metrics.conflicted(); metrics.replayed()
metrics.called("refund", "answered", 0.1); metrics.turned(away=True)
if "scrape" in sys.argv: sys.stdout.write(metrics.scrape().decode())
"""


def test_metrics_of_several_processes_add_up(tmp_path: Path) -> None:
    environ = {"PROMETHEUS_MULTIPROC_DIR": str(tmp_path), "PYTHONPATH": str(Path(__file__).parents[3])}
    for _ in range(2):
        subprocess.run([sys.executable, "-c", MULTIPROCESS], env=environ, check=True)
    (tmp_path / "counter_1.db").touch()  # of a process that was killed as it began
    scrape = subprocess.run(
        [sys.executable, "-c", MULTIPROCESS, "scrape"], env=environ, check=True, capture_output=True, text=True
    )
    values = samples(scrape.stdout)
    assert values['http_requests_total{method="GET",route="/orders",status="200"}'] == 9
    assert values["ledger_head_position"] == 7
    assert (values["ledger_log_tree_size"], values["ledger_log_checkpoint_size"]) == (6, 5)
    assert values['ledger_follower_position{follower="transparency-log"}'] == 6
    assert values['ledger_follower_lag_seconds{follower="transparency-log"}'] == 3
    assert values['ledger_follower_astray{follower="transparency-log"}'] == 1
    assert values["ledger_log_checkpoint_age_seconds"] == 9
    assert values['ledger_rebuild_position{view="orders"}'] == 4
    assert values["ledger_view_findings"] == 2
    assert (values["ledger_appends_total"], values["ledger_events_appended_total"]) == (6, 15)
    assert values["ledger_append_batch_size_sum"] == 6
    assert values["ledger_append_duration_seconds_count"] == 3
    assert values['payment_gateway_calls_total{operation="refund",outcome="answered"}'] == 3
    assert (values["ledger_append_conflicts_total"], values["ledger_idempotent_replays_total"]) == (3, 3)
    # Of processes that have ended nobody has said so yet, as the server does.
    assert (values["ledger_appends_waiting"], values["payment_gateway_breaker_open"]) == (3, 3)


def test_the_docs_page_works_offline_and_without_inline_scripts(client: Any) -> None:
    page = client.get("/docs")
    assert page.mimetype == "text/html"
    assert "script-src 'self';" in page.headers["Content-Security-Policy"]
    assert not re.search(r"<script(?![^>]*src=)", page.text)
    assert not re.search(r"(src|href)=\"https?:", page.text)
    for path in re.findall(r'(?:src|href)="(/docs/[^"]+)"', page.text):
        asset = client.get(path)
        assert asset.status_code == 200
        assert len(asset.data) > 50
        assert asset.mimetype in {"text/css", "text/javascript", "image/png"}
    assert b"/openapi.json" in client.get("/docs/assets/start.js").data


@pytest.mark.parametrize("name", ["nope.js", "..%2F__init__.py", "LICENSE", "swagger-ui.js.map"])
def test_other_assets_are_not_served(client: Any, is_problem: Any, name: str) -> None:
    is_problem(client.get(f"/docs/assets/{name}"), "not-found", 404)


def references(node: Any) -> set[str]:
    if isinstance(node, dict):
        own = {node["$ref"]} if isinstance(node.get("$ref"), str) else set()
        return own.union(*(references(value) for value in node.values()))
    return set().union(*(references(value) for value in node)) if isinstance(node, list) else set()


def test_the_openapi_document(app: Any, client: Any) -> None:
    document = client.get("/openapi.json").json
    assert document["openapi"] == "3.1.0"
    for reference in references(document):
        node = document
        for part in reference.removeprefix("#/").split("/"):
            node = node[part]
        assert node
    documented = {
        (path, method.upper()) for path, item in document["paths"].items() for method in item if method != "parameters"
    }
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), method)
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    pages = {(path, method) for path, method in served if path.startswith("/console")}
    assert served - documented - pages == {("/docs/assets/{name}", "GET")}
    assert documented <= served


def test_the_document_has_the_version_of_the_package(client: Any) -> None:
    assert client.get("/openapi.json").json["info"]["version"] == package_version()
    assert package_version("flask") == metadata.version("flask")
    assert package_version("no-such-package-at-all") == "0"


def test_the_table_of_moves_is_documented(client: Any) -> None:
    update = client.get("/openapi.json").json["paths"]["/orders/status-update"]["post"]
    assert update["summary"] == "Move an order to a status"
    assert update["description"].startswith("Owners may cancel")
    assert "| order_paid | shipped, completed, cancelled |" in update["description"]
    assert "ETag" in update["responses"]["200"]["headers"]


def test_operations_are_documented(client: Any) -> None:
    document = client.get("/openapi.json").json
    public = {"/orders/demo-cart", "/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/docs", "/problems/{slug}"}
    public.add("/webhooks/stripe")
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if method == "parameters":
                continue
            assert operation["summary"]
            assert operation["security"] == ([] if path in public else [{"bearerAuth": []}])
            assert ("401" in operation["responses"]) == (path not in public)
            assert "default" not in operation["responses"]
            says_nothing = path.startswith("/webhook-endpoints/")
            assert ("requestBody" in operation) == (method in {"post", "put"} and not says_nothing)
    text = json.dumps(document)
    assert "Error" not in document["components"]["schemas"]
    for header in (
        "ETag",
        "Link",
        "Location",
        "Idempotency-Replayed",
        "X-Request-Id",
        "Retry-After",
        "WWW-Authenticate",
    ):
        assert f'"{header}"' in text


def test_apps_do_not_share_state(make_app: Any, alice: Any) -> None:
    first, second = make_app().test_client(), make_app().test_client()
    first.get("/orders", headers=alice)
    assert 'route="/orders"' not in second.get("/metrics").text
