"""Proofs, which the page verifies in the browser with a key that the auditor brings; and files to verify offline."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from importlib import resources

from flask import Response, request

from api.answers import json_answer
from api.console.fields import is_number, is_position
from api.console.pages import Route, page
from api.console.session import Visitor
from api.event_stream import Places
from api.problems import Refusal
from api.services import Services
from ledger.transparency.keys import encode_base64


class ProofPages:
    """Pages about what proves the log. An export takes one of the ``places`` while it lasts."""

    def __init__(self, services: Services, places: Places) -> None:
        self._proofs = services.proofs
        self._log = services.log
        self._places = places

    def routes(self) -> Iterator[Route]:
        """The pages."""
        yield Route("/proof", self.show_proof)
        yield Route("/proof/events", self.get_events)
        yield Route("/proof/consistency", self.get_consistency)
        yield Route("/proof/checkpoint", self.download_checkpoint)
        yield Route("/proof/export", self.download_export, of_log=True)
        yield Route("/proof/verify_export.py", self.download_verifier)

    def show_proof(self, visitor: Visitor) -> Response:
        """The proofs of an order's events, or of an event by its position."""
        order, position = request.args.get("order", "").strip(), request.args.get("position", "").strip()
        asked = is_number(order) or is_number(position)
        events = self._events(visitor) if asked else []
        fault = "There is no such order or position." if events is None or (not asked and (order or position)) else None
        return page(
            "proof.html",
            visitor=visitor,
            here="proof",
            order=order,
            position=position,
            events=events or [],
            fault=fault,
            checkpoint=self._proofs.checkpoint(),
        )

    def get_events(self, visitor: Visitor) -> Response:
        """Leaves and proofs as JSON, for the page's script: those of the page, fetched anew."""
        events = self._events(visitor)
        if events is None:
            raise Refusal("no-such-order", "There is no such order or position.")
        return json_answer(events)

    def get_consistency(self, visitor: Visitor) -> Response:  # noqa: ARG002  looked at already
        """The proof between two sizes, as JSON."""
        old, new = request.args.get("from", ""), request.args.get("to", "")
        proof = self._proofs.consistency(int(old), int(new)) if is_position(old) and is_position(new) else None
        if proof is None:
            raise Refusal("no-such-position", "The log's tree has no such sizes, or they are the wrong way round.")
        return json_answer({"hashes": [encode_base64(each) for each in proof.hashes]})

    def download_checkpoint(self, visitor: Visitor) -> Response:  # noqa: ARG002  looked at already
        """The latest checkpoint as a file."""
        note = self._proofs.checkpoint()
        if note is None:
            raise Refusal("no-checkpoint", "No checkpoint was signed yet, or this ledger has no key to sign with.")
        headers = {"Content-Disposition": 'attachment; filename="log.jsonl.checkpoint"', "Cache-Control": "no-store"}
        return Response(note, 200, headers, content_type="text/plain; charset=utf-8")

    def download_export(self, visitor: Visitor) -> Response:  # noqa: ARG002  looked at already
        """The log as `order-ledger export` writes it, line by line."""
        if not self._places.take():
            raise Refusal(
                "too-many-streams", "As many long answers as this process has room for are under way already."
            )
        headers = {"Content-Disposition": 'attachment; filename="log.jsonl"', "Cache-Control": "no-store"}
        answer = Response(self._exported(), 200, headers, content_type="application/x-ndjson")
        answer.call_on_close(self._places.release)
        return answer

    def download_verifier(self, visitor: Visitor) -> Response:  # noqa: ARG002  looked at already
        """The program that verifies an export, as it is in the source."""
        program = resources.files("scripts").joinpath("verify_export.py").read_bytes()
        headers = {"Content-Disposition": 'attachment; filename="verify_export.py"', "Cache-Control": "no-store"}
        return Response(program, 200, headers, content_type="text/x-python; charset=utf-8")

    def _exported(self) -> Iterator[bytes]:
        """The log, or its beginning and a broken connection when this process ends, which waits for nobody so long."""
        for lines in self._log.lines():
            if self._places.stopping():
                raise ConnectionResetError(errno.ECONNRESET, "the server ends")
            yield lines

    def _events(self, visitor: Visitor) -> list[dict[str, object]] | None:
        order, position = request.args.get("order", "").strip(), request.args.get("position", "").strip()
        if is_number(order):
            proven = self._proofs.of_order(int(order), visitor.actor)
        elif is_number(position) and visitor.audits:
            proven = self._proofs.at(int(position))
        else:
            proven = None
        if proven is None:
            return None
        return [
            {"position": each.position, "version": each.version, "leaf": each.leaf.decode(), "proof": each.proof}
            for each in proven
        ]
