"""What a real server logs for programs."""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.server import Server


def test_the_log_of_a_server_for_programs(tmp_path: Path) -> None:
    server = Server(tmp_path, f"sqlite:///{tmp_path}/ledger.db", workers=1)
    server.start(LEDGER_LOG_FORMAT="json", LEDGER_LOG_LEVEL="info")
    with server.client(92, "auditor") as client:
        assert client.get(f"{server.url}/audit/events", timeout=30).status_code == 200
    server.stop()
    told = [line for line in server.log if not line.startswith("Listening on ")]
    logged = [json.loads(line) for line in told]
    assert {"gunicorn.error", "ledger.audit"} <= {line["logger"] for line in logged}
    [read] = [line for line in logged if line["logger"] == "ledger.audit"]
    assert (read["event"], read["user"]) == ("audit_read", 92)
