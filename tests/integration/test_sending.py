"""Sending webhooks over real sockets: what a receiver can do, and where nothing goes."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ledger.actor import Cause
from ledger.cart import CartItem
from ledger.settings import Settings
from projections.webhooks import sending
from projections.webhooks.endpoints import Endpoints
from projections.webhooks.queue import LEASE
from projections.webhooks.sending import Answer, sender
from scripts.bootstrap import build
from tests.support.receiver import DROP, receiving
from tests.support.storages import CUSTOMER

TIMEOUT = 0.5
send = sender(private=True, timeout=30)
hurried = sender(private=True, timeout=TIMEOUT)
"""For those who let it wait."""


@contextmanager
def listening(serve: Callable[[socket.socket], None]) -> Iterator[int]:
    """A port where each client is served so."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def accept() -> None:
            client, _ = server.accept()
            with client:
                serve(client)

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield server.getsockname()[1]
        thread.join(30)
        assert not thread.is_alive()


def test_it_arrives_as_it_was_signed() -> None:
    with receiving() as receiver:
        assert send(receiver.url, {"webhook-id": "msg_1"}, b'{"data":{}}') == Answer(204)
        [received] = receiver.received()
    assert (received.id, received.body) == ("msg_1", b'{"data":{}}')
    assert received.headers["host"] == receiver.url.split("/")[2]


def test_of_several_addresses_one_has_to_answer() -> None:
    """The first two refuse the connection; who listens at none of them is not reached."""
    many = sender(private=True, resolver=lambda *_: ["::1", "127.0.0.2", "127.0.0.1"], timeout=30)
    none = sender(private=True, resolver=lambda *_: ["::1", "127.0.0.2"], timeout=30)
    with receiving() as receiver:
        url = receiver.url.replace("127.0.0.1", "shop.example")
        assert many(url, {"webhook-id": "msg_1"}, b"{}") == Answer(204)
        assert none(url, {"webhook-id": "msg_2"}, b"{}") == Answer(0, "ConnectionRefusedError")
        [received] = receiver.received()
    assert (received.id, received.headers["host"]) == ("msg_1", url.split("/")[2])


def test_a_silent_address_leaves_time_for_the_others() -> None:
    with socket.socket() as silent, receiving() as receiver:  # bound, and a full backlog answers nobody
        port = int(receiver.url.split(":")[2].split("/")[0])
        silent.bind(("127.0.0.2", port))
        silent.listen(0)
        waiting = [socket.socket() for _ in range(3)]
        for each in waiting:
            each.setblocking(False)
            each.connect_ex(("127.0.0.2", port))
        hastened = sender(private=True, resolver=lambda *_: ["127.0.0.2", "127.0.0.1"], timeout=2)
        assert hastened(receiver.url, {"webhook-id": "msg_1"}, b"{}") == Answer(204)
        for each in waiting:
            each.close()


@pytest.mark.parametrize("status", [200, 301, 307, 400, 410, 429, 500])
def test_nothing_is_followed_or_repeated(status: int) -> None:
    with receiving(lambda _: status) as receiver:
        assert send(receiver.url, {"webhook-id": "msg_1"}, b"{}") == Answer(status)
        assert len(receiver.received()) == 1


def test_who_hangs_up() -> None:
    with receiving(lambda _: DROP) as receiver:
        assert send(receiver.url, {"webhook-id": "msg_1"}, b"{}").status == 0


def test_who_is_not_there() -> None:
    with socket.socket() as bound:  # and does not listen
        bound.bind(("127.0.0.1", 0))
        port = bound.getsockname()[1]
        assert send(f"http://127.0.0.1:{port}/", {}, b"{}") == Answer(0, "ConnectionRefusedError")


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_who_says_nothing(scheme: str) -> None:
    over = threading.Event()
    with listening(lambda _: over.wait(30) and None) as port:
        assert hurried(f"{scheme}://127.0.0.1:{port}/", {}, b"{}") == Answer(0, "TimeoutError")
        over.set()


def test_who_does_not_take_the_call() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            assert hurried(f"http://127.0.0.1:{port}/", {}, b"{}") == Answer(0, "TimeoutError")


def test_sending_ends_before_its_lease() -> None:
    """Else another would send it, too."""
    assert timedelta(seconds=sending.TIMEOUT) < LEASE


def drip(client: socket.socket, beginning: bytes) -> None:
    """Sends a beginning, and then byte by byte, so that no time-out of a read ends it, until the other side does."""
    try:
        client.sendall(beginning)
        while True:
            time.sleep(TIMEOUT / 5)
            client.sendall(b"x")
    except OSError:
        return


@pytest.mark.parametrize("beginning", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 100 Continue\r\n\r\n"])
def test_who_answers_byte_by_byte(beginning: bytes) -> None:
    with listening(lambda client: drip(client, beginning)) as port:
        assert hurried(f"http://127.0.0.1:{port}/", {}, b"{}") == Answer(0, "TimeoutError")


def test_whose_answer_goes_on_byte_by_byte() -> None:
    with listening(lambda client: drip(client, b"HTTP/1.1 200 OK\r\n\r\n")) as port:
        assert send(f"http://127.0.0.1:{port}/", {}, b"{}") == Answer(200)


@pytest.mark.parametrize("more", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 100 Continue\r\nX: y\r\n", b"X: y\r\n"])
def test_whose_answer_has_no_end(more: bytes) -> None:
    def serve(client: socket.socket) -> None:
        try:
            client.sendall(b"HTTP/1.1 100 Continue\r\n" + b"\r\n" * more.startswith(b"HTTP"))
            while True:
                client.sendall(more * 1000)
        except OSError:
            return

    with listening(serve) as port:
        assert send(f"http://127.0.0.1:{port}/", {}, b"{}") == Answer(0, "HTTPException")


def test_who_shakes_hands_byte_by_byte() -> None:
    record = b"\x16\x03\x03\x40\x00"  # the beginning of a long handshake message
    with listening(lambda client: drip(client, record)) as port:
        assert hurried(f"https://127.0.0.1:{port}/", {}, b"{}") == Answer(0, "TimeoutError")


def test_who_answers_byte_by_byte_through_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    certified = Certified(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(certified.file))
    secure = sender(private=True, resolver=lambda *_: ["127.0.0.1"], timeout=TIMEOUT)
    with listening(lambda client: certified.serve(client, lambda secured: drip(secured, b"HTTP/1.1 2"))) as port:
        assert secure(f"https://shop.example:{port}/", {}, b"{}") == Answer(0, "TimeoutError")


def test_a_name_that_takes_too_long_to_be_found() -> None:
    """What is left of the time counts: nobody is connected to any more."""

    def slow(host: str, port: int) -> list[str]:
        time.sleep(TIMEOUT)
        return ["127.0.0.1"]

    with receiving() as receiver:
        late = sender(private=True, resolver=slow, timeout=TIMEOUT)
        assert late(receiver.url, {"webhook-id": "msg_1"}, b"{}") == Answer(0, "TimeoutError")
        assert receiver.received() == []


@pytest.mark.parametrize("answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"\x00" * 100_000])
def test_who_speaks_no_http(answer: bytes) -> None:
    def serve(client: socket.socket) -> None:
        client.recv(65536)
        client.sendall(answer)

    with listening(serve) as port:
        assert send(f"http://127.0.0.1:{port}/", {}, b"{}").status == 0


def test_a_name_that_leads_elsewhere_by_now() -> None:
    """It was public when it was registered; it is looked at again, and connected to as it was looked at."""
    guarded = sender(private=False, resolver=lambda *_: ["127.0.0.1"], timeout=TIMEOUT)

    assert guarded("https://shop.example/", {}, b"{}") == Answer(
        0, "shop.example is at an address that is not public, and LEDGER_WEBHOOK_PRIVATE is not set."
    )


def test_without_tls_nothing_is_sent_where_that_is_not_allowed_any_more() -> None:
    guarded = sender(private=False, resolver=lambda *_: ["8.8.8.8"], timeout=0)

    assert guarded("http://shop.example/", {}, b"{}") == Answer(
        0, "The URL must begin with https:// unless LEDGER_WEBHOOK_PRIVATE allows http://, too."
    )


@pytest.mark.parametrize(
    ("path", "target"), [("", "/"), ("/", "/"), ("/a/b?of=tests&x=1", "/a/b?of=tests&x=1"), ("?x=1", "/?x=1")]
)
def test_the_whole_of_the_url_counts(path: str, target: str) -> None:
    asked: list[bytes] = []

    def serve(client: socket.socket) -> None:
        asked.append(client.recv(65536).partition(b"\r\n")[0])
        client.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")

    with listening(serve) as port:
        assert send(f"http://127.0.0.1:{port}{path}", {}, b"{}") == Answer(204)
    assert asked == [f"POST {target} HTTP/1.1".encode()]


@pytest.mark.parametrize("private", ["yes", "no"])
def test_the_settings_say_where_webhooks_may_go(private: str) -> None:
    """Also to an endpoint that was registered when they said otherwise."""
    environ = {"LEDGER_DATABASE_URL": "sqlite:///:memory:", "LEDGER_WEBHOOK_PRIVATE": private}
    with receiving() as receiver, build(Settings.from_env(environ)) as runtime:
        runtime.migrate()
        Endpoints(runtime.database, private=True).register(receiver.url)
        runtime.services.ledger.create_order([CartItem("1")], actor=CUSTOMER, cause=Cause())
        deliverer = runtime.deliverer()
        while deliverer.step():
            pass
        [endpoint] = runtime.services.endpoints.all()
        assert (endpoint.delivered, endpoint.failing) == ((1, 0) if private == "yes" else (0, 1))
        assert len(receiver.received()) == endpoint.delivered


def no_content(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 204 No Content\r\n\r\n")


class Certified:
    """A certificate of shop.example, of an authority of its own."""

    def __init__(self, directory: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "shop.example")])
        now = datetime.now(UTC)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("shop.example")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.file, key_file = directory / "certificate.pem", directory / "key.pem"
        self.file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        self._context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._context.load_cert_chain(self.file, key_file)

    def serve(self, client: socket.socket, answer: Callable[[socket.socket], None] = no_content) -> None:
        try:
            with self._context.wrap_socket(client, server_side=True) as secure:
                received = b""
                while not received.endswith(b"{}"):
                    received += (more := secure.recv(65536))
                    if not more:
                        return
                answer(secure)
        except OSError:
            return  # the client does not trust it


@pytest.mark.parametrize(
    ("host", "trusted", "answer"),
    [
        ("shop.example", True, Answer(204)),
        ("shop.example.", True, Answer(204)),
        ("other.example", True, Answer(0, "SSLCertVerificationError")),
        ("shop.example", False, Answer(0, "SSLCertVerificationError")),
    ],
)
def test_with_tls_the_name_counts_and_not_the_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str, trusted: bool, answer: Answer
) -> None:
    certified = Certified(tmp_path)
    if trusted:
        monkeypatch.setenv("SSL_CERT_FILE", str(certified.file))
    with listening(certified.serve) as port:
        secure = sender(private=True, resolver=lambda *_: ["127.0.0.1"], timeout=5)
        assert secure(f"https://{host}:{port}/", {}, b"{}") == answer
