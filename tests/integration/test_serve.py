"""The server as a process: what it says, what it answers to bytes that are not HTTP, and how it ends."""

from __future__ import annotations

import os
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from ledger.errors import SettingsError
from scripts.serve import listeners
from scripts.worker import SILENCE_SECONDS
from tests.support.cli import Server, environ_of, run_cli, served
from tests.support.postgres import temporary_server
from tests.support.wire import parsed


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    home = tmp_path_factory.mktemp("served")
    with served(environ=environ_in(home), log=home / "log") as running:
        yield running


def environ_in(home: Path, **settings: str) -> dict[str, str]:
    base = {"LEDGER_VAR_DIR": str(home), "LEDGER_DATABASE_URL": f"sqlite:///{home}/ledger.db", "TMPDIR": str(home)}
    return environ_of(**base | settings)


def token_of(home: Path, **settings: str) -> str:
    return run_cli("token", "--user", "1", environ=environ_in(home, **settings)).stdout.strip()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


NOT_HTTP = {
    "a bad request line": (b"GARBAGE\r\n\r\n", 400),
    "an unknown version": (b"GET / HTTP/9.9\r\n\r\n", 400),
    "a method in lower case": (b"get / HTTP/1.1\r\nHost: x\r\n\r\n", 400),
    "a long request line": (b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: x\r\n\r\n", 414),
    "a long header": (b"GET / HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * 90_000 + b"\r\n\r\n", 431),
    "many headers": (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Many: 1\r\n" * 200 + b"\r\n", 431),
    "a space in a header's name": (b"GET / HTTP/1.1\r\nHost: x\r\nBad Name: 1\r\n\r\n", 400),
    "a folded header": (b"GET / HTTP/1.1\r\nHost: x\r\nX-Folded: 1\r\n 2\r\n\r\n", 400),
    "two lengths": (b"POST /orders/new HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n", 400),
    "a negative length": (b"POST /orders/new HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n", 400),
    "length and chunks": (
        b"POST /orders/new HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "an unknown coding": (b"POST /orders/new HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: zip\r\n\r\n", 501),
    "an expectation": (b"GET / HTTP/1.1\r\nHost: x\r\nExpect: miracles\r\n\r\n", 417),
}


@pytest.mark.parametrize("name", NOT_HTTP)
def test_what_is_not_http_is_answered_with_a_problem_document(server: Server, name: str) -> None:
    request, expected = NOT_HTTP[name]

    answer = parsed(server.raw(request))

    assert answer.status == expected
    assert answer.headers["connection"] == "close"
    assert answer.problem()["status"] == expected


@pytest.mark.parametrize(
    "chunks", [b"ZZ\r\n", b"5\r\n[]\r\n0\r\n\r\n", b"2;=\r\n[]\r\n0\r\n\r\n", b"-2\r\n[]\r\n0\r\n\r\n"]
)
def test_malformed_chunks_are_a_bad_request(server: Server, chunks: bytes) -> None:
    token = token_of(server.log.parent)
    head = (
        f"POST /orders/new HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )

    answer = parsed(server.raw(head.encode() + chunks))

    assert answer.status == 400
    assert answer.problem()["type"] == "/problems/bad-request"


def test_sound_chunks_make_an_order(server: Server) -> None:
    headers = {"Authorization": f"Bearer {token_of(server.log.parent)}", "Content-Type": "application/json"}

    answer = requests.post(f"{server.url}/orders/new", data=iter([b'["1",', b'"1"]']), headers=headers, timeout=10)

    assert answer.status_code == 201
    assert answer.json()["products"][0]["quantity"] == 2


def test_a_body_that_is_cut_short_is_not_taken_for_a_whole(server: Server) -> None:
    head = (
        f"POST /orders/new HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token_of(server.log.parent)}\r\n"
        "Content-Type: application/json\r\nContent-Length: 100\r\n\r\n"
    )
    with socket.create_connection(server.address, timeout=10) as connection:
        connection.sendall(head.encode() + b'["1"]')
        connection.shutdown(socket.SHUT_WR)
        received = b""
        while piece := connection.recv(65536):
            received += piece

    assert parsed(received).status == 400


def test_all_workers_count_into_one_metrics_page(server: Server) -> None:
    def counted() -> float:
        page = requests.get(f"{server.url}/metrics", timeout=10).text
        lines = [line for line in page.splitlines() if 'route="/healthz"' in line and "http_requests_total" in line]
        return sum(float(line.split()[-1]) for line in lines)

    def counting() -> set[str]:
        files = server.log.parent.glob("order-ledger-metrics-*/counter_*.db")
        return {file.name for file in files if b'"/healthz"' in file.read_bytes()}

    before, asked, deadline = counted(), 0, time.monotonic() + 30
    while len(counting()) < 2 and time.monotonic() < deadline:
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: requests.get(f"{server.url}/healthz", timeout=10), range(20)))
        asked += len(answers)

    assert len(counting()) == 2
    assert counted() == before + asked


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_clean_on_a_signal(tmp_path: Path, how: signal.Signals) -> None:
    with served(environ=environ_in(tmp_path), log=tmp_path / "log") as running:
        assert requests.get(f"{running.url}/readyz", timeout=10).status_code == 200
        assert running.stop(how) == 0

    assert not list(tmp_path.glob("order-ledger-metrics-*"))
    assert "Traceback" not in running.log.read_text()


def test_what_a_killed_server_has_left_is_removed_by_the_next_and_nobody_else_s(tmp_path: Path) -> None:
    def directories() -> set[Path]:
        return set(tmp_path.glob("order-ledger-metrics-*"))

    environ = environ_in(tmp_path)
    with served(environ=environ, log=tmp_path / "log") as killed, served(environ=environ, log=tmp_path / "log2"):
        both = directories()
        assert len(both) == 2
        for process in (killed.process.pid, *killed.workers()):
            os.kill(process, signal.SIGKILL)
        killed.process.wait()
        with served(environ=environ, log=tmp_path / "log3"):
            assert len(directories()) == 2
            assert len(both & directories()) == 1
    assert len(directories()) == 0


def test_hup_replaces_the_workers(tmp_path: Path) -> None:
    with served("--workers", "1", environ=environ_in(tmp_path), log=tmp_path / "log") as running:
        (before,) = running.workers()
        os.kill(running.process.pid, signal.SIGHUP)
        deadline = time.monotonic() + 30
        while before in running.workers() and time.monotonic() < deadline:
            assert requests.get(f"{running.url}/healthz", timeout=10).status_code == 200
        (after,) = running.workers()

        assert after != before
        assert requests.get(f"{running.url}/readyz", timeout=10).status_code == 200
        assert running.log.read_text().count("Listening on ") == 1


def test_a_reload_resets_no_connection(tmp_path: Path) -> None:
    with (
        served("--workers", "2", environ=environ_in(tmp_path), log=tmp_path / "log") as running,
        ThreadPoolExecutor(4) as pool,
    ):
        before, deadline, done = set(running.workers()), time.monotonic() + 30, threading.Event()

        def ask() -> set[int]:
            statuses = {requests.get(f"{running.url}/healthz", timeout=10).status_code}
            while not done.is_set() and time.monotonic() < deadline:
                statuses.add(requests.get(f"{running.url}/healthz", timeout=10).status_code)
            return statuses

        asking = [pool.submit(ask) for _ in range(4)]
        os.kill(running.process.pid, signal.SIGHUP)
        while before & set(running.workers()) and time.monotonic() < deadline:
            time.sleep(0.05)
        done.set()

        assert [each.result() for each in asking] == [{200}] * 4
        assert not before & set(running.workers())


def test_after_a_reload_and_a_crash_every_socket_has_a_worker(tmp_path: Path) -> None:
    with served("--workers", "2", environ=environ_in(tmp_path), log=tmp_path / "log") as running:
        before = set(running.workers())
        os.kill(running.process.pid, signal.SIGHUP)
        until(lambda: len(running.workers()) == 2 and not before & set(running.workers()))
        for crashed in sorted(running.workers(), reverse=True):
            os.kill(crashed, signal.SIGKILL)
            until(lambda crashed=crashed: len(running.workers()) == 2 and crashed not in running.workers())

            # Each from another port, so that none of the sockets is spared.
            answers = [requests.get(f"{running.url}/healthz", timeout=10).status_code for _ in range(30)]

            assert answers == [200] * 30


def test_of_two_servers_that_start_at_once_one_gets_the_address() -> None:
    first = listeners("127.0.0.1:0", 2)
    held = [socket.socket(fileno=int(each.removeprefix("fd://"))) for each in first]
    port = held[0].getsockname()[1]

    with pytest.raises(SettingsError, match="Address already in use"):
        listeners(f"127.0.0.1:{port}", 2)
    assert {each.getsockname()[1] for each in held} == {port}
    for each in held:
        each.close()


def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    one = b"GET /%s HTTP/1.1\r\nHost: x\r\n%s\r\n"
    paths = (b"healthz", b"nowhere", b"readyz")

    received = server.raw(b"".join(one % (path, b"Connection: close\r\n" * (path == b"readyz")) for path in paths))

    assert re.findall(rb"HTTP/1.1 (\d+)", received) == [b"200", b"404", b"200"]


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system can't keep a process to a CPU")
def test_pinned_workers_keep_to_a_cpu_and_hand_it_on(tmp_path: Path) -> None:
    environ = environ_in(tmp_path, LEDGER_PIN_WORKERS="yes")
    with served("--workers", "2", environ=environ, log=tmp_path / "log") as running:
        cpus = sorted(os.sched_getaffinity(0))
        first, second = sorted(running.workers())
        pinned = [os.sched_getaffinity(first), os.sched_getaffinity(second)]

        os.kill(second, signal.SIGKILL)
        until(lambda: second not in running.workers() and len(running.workers()) == 2)
        (third,) = set(running.workers()) - {first}
        until(lambda: os.sched_getaffinity(third) == pinned[1])  # it has forked, and may not have come to that yet

        assert pinned == [{cpus[0]}, {cpus[1 % len(cpus)]}]


@pytest.mark.slow
def test_a_client_that_falls_silent_is_let_go(server: Server) -> None:
    started = time.monotonic()

    assert server.raw(b"GET / HTTP/1.1\r\nHost: x\r\n", timeout=60) == b""
    assert SILENCE_SECONDS - 1 < time.monotonic() - started < SILENCE_SECONDS + 10


def test_welcome_shows_a_token_and_a_line_that_work(tmp_path: Path) -> None:
    with served("--welcome", environ=environ_in(tmp_path), log=tmp_path / "log") as running:
        deadline = time.monotonic() + 30
        while "Content-Type" not in (shown := running.log.read_text()) and time.monotonic() < deadline:
            time.sleep(0.05)  # it is told after the line that the server listens
        token = next(line.partition("TOKEN=")[2] for line in shown.splitlines() if "export TOKEN=" in line)
        answer = requests.get(f"{running.url}/orders", headers={"Authorization": f"Bearer {token}"}, timeout=10)

    assert (answer.status_code, answer.json()) == (200, [])
    assert f'curl -s {running.url}/orders/new -H "Authorization: Bearer $TOKEN"' in shown
    assert f"{running.url}/docs\n" in shown
    assert f"{running.url}/console\n" in shown
    assert shown.count(token) == 1


@pytest.mark.parametrize(("env", "warned"), [("development", 0), ("production", 1)])
def test_in_production_it_warns_that_no_money_is_moved(tmp_path: Path, env: str, warned: int) -> None:
    environ = environ_in(tmp_path, LEDGER_ENV=env, LEDGER_JWT_SECRET="x" * 32)
    with served("--workers", "1", environ=environ, log=tmp_path / "log") as running:
        lines = running.log.read_text().splitlines()

    assert len([line for line in lines if "do not use it for real sales" in line]) == warned


@pytest.mark.postgres
def test_a_worker_that_dies_is_replaced_while_the_database_is_down(tmp_path: Path) -> None:
    with temporary_server() as database:
        environ = environ_in(tmp_path, LEDGER_DATABASE_URL=database.get_uri(), LEDGER_DB_TIMEOUT="0.5")
        with served("--workers", "1", environ=environ, log=tmp_path / "log") as running:
            assert requests.get(f"{running.url}/readyz", timeout=10).status_code == 200
            database.stop()
            (worker,) = running.workers()
            os.kill(worker, signal.SIGKILL)

            answer = requests.get(f"{running.url}/readyz", timeout=20)

            assert (answer.status_code, answer.json()["type"]) == (503, "/problems/not-ready")
            assert answer.headers["Retry-After"]
            assert requests.get(f"{running.url}/healthz", timeout=10).status_code == 200
            assert running.workers() != [worker]


def test_a_taken_address_is_one_clear_line(server: Server, tmp_path: Path) -> None:
    host, port = server.address

    done = run_cli("serve", "--bind", f"{host}:{port}", environ=environ_in(tmp_path))

    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        f"order-ledger: can't listen on {host}:{port}: Address already in use; choose another address with --bind"
    ]


def test_a_unix_socket_that_can_not_be_had_is_one_clear_line(tmp_path: Path) -> None:
    environ = environ_in(tmp_path)
    (tmp_path / "file").write_text("")
    with served("--workers", "1", "--bind", f"unix:{tmp_path}/s", environ=environ, log=tmp_path / "log"):
        for path, reason in (("s", "Address already in use"), ("file", "a file"), ("no/s", "no such directory")):
            done = run_cli("serve", "--bind", f"unix:{tmp_path}/{path}", environ=environ)

            assert (done.returncode, len(done.stderr.splitlines())) == (2, 1), done.stderr
            assert reason in done.stderr


@pytest.mark.postgres
def test_an_unreachable_postgresql_at_start_is_one_clear_line(tmp_path: Path) -> None:
    environ = environ_in(tmp_path, LEDGER_DATABASE_URL="postgresql://127.0.0.1:1/x", LEDGER_DB_TIMEOUT="0.5")

    done = run_cli("serve", environ=environ)

    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert "database" in done.stderr


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"LEDGER_ENV": "production"}, "LEDGER_JWT_SECRET"),
        ({"LEDGER_WORKERS": "0"}, "LEDGER_WORKERS"),
        ({"LEDGER_WROKERS": "1"}, "LEDGER_WROKERS"),
        ({"LEDGER_BIND": "nowhere"}, "LEDGER_BIND"),
        ({"LEDGER_DATABASE_URL": "mysql://x"}, "LEDGER_DATABASE_URL"),
        ({"LEDGER_DATABASE_URL": "sqlite:///:memory:"}, "LEDGER_DATABASE_URL"),
        ({"LEDGER_JWT_PUBLIC_KEY": "/nowhere.pem"}, "LEDGER_JWT_PUBLIC_KEY"),
        ({"LEDGER_CATALOGUE": "/nowhere.json"}, "LEDGER_CATALOGUE"),
    ],
)
def test_settings_that_make_no_sense_stop_the_start_with_one_line(
    tmp_path: Path, settings: dict[str, str], named: str
) -> None:
    done = (
        run_cli("serve", "--bind", "127.0.0.1:0", environ=environ_in(tmp_path, **settings))
        if named != ("LEDGER_BIND")
        else run_cli("serve", environ=environ_in(tmp_path, **settings))
    )

    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert named in done.stderr
