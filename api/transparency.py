"""The transparency log in its standard layout (https://c2sp.org/tlog-tiles), and proofs for single orders."""

from __future__ import annotations

from typing import Any

from flask import Response, request

from api import openapi, transparency_doc
from api.answers import json_answer
from api.callers import Callers
from api.problems import problem
from api.queries import checked, integer
from api.schemas import load_cosigned
from api.services import Services
from api.strict_json import MAX_INTEGER, read_json
from ledger.errors import MalformedProof, NotProven
from ledger.transparency.keys import encode_base64
from ledger.transparency.tiles import parse_tile_path
from projections.proofs import ProvenEvent

TEXT = "text/plain; charset=utf-8"
BYTES = "application/octet-stream"
_SIZE = integer(0, MAX_INTEGER)


class TransparencyRoutes:
    """What proves the log. ``public``: to everybody; else to auditors and admins."""

    def __init__(self, services: Services, callers: Callers, *, public: bool) -> None:
        self._proofs = services.proofs
        self._cosignatures = services.cosignatures
        self._callers = callers
        self._public = public

    def blueprint(self) -> Any:
        """The routes with their documentation."""
        routes = openapi.blueprint(
            "Transparency log",
            "Signed checkpoints, and proofs that nothing was changed. Where the log is public, no token is needed.",
        )
        openapi.operation(routes, "/log/checkpoint", "GET", self.get_checkpoint, **transparency_doc.CHECKPOINT)
        cosigned = "/log/checkpoint/cosigned"
        openapi.operation(routes, cosigned, "GET", self.get_cosigned_checkpoint, **transparency_doc.COSIGNED)
        openapi.operation(routes, "/log/cosignatures", "POST", self.add_cosignatures, **transparency_doc.COSIGN)
        openapi.operation(routes, "/log/tile/<path:tile>", "GET", self.get_tile, **transparency_doc.TILE)
        openapi.operation(routes, "/audit/consistency", "GET", self.get_consistency, **transparency_doc.CONSISTENCY)
        path = "/orders/<order_id:orderId>/proof"
        openapi.operation(routes, path, "GET", self.get_order_proof, **transparency_doc.PROOF)
        return routes

    def get_checkpoint(self) -> Response:
        """The latest signed checkpoint

        A signed note (C2SP tlog-checkpoint): the log's origin, how many events it has, and the root over
        them.
        """
        self._check_reader()
        note = self._proofs.checkpoint()
        if note is None:
            return problem("no-checkpoint", "No checkpoint was signed yet, or this ledger has no key to sign with.")
        return Response(note, 200, {"Cache-Control": "no-cache"}, content_type=TEXT)

    def get_cosigned_checkpoint(self) -> Response:
        """The latest checkpoint that a witness has cosigned

        A witness (C2SP tlog-witness) vouches that it was shown one log only. Its word comes after the log's own.
        """
        self._check_reader()
        note = self._cosignatures.latest()
        if note is None:
            return problem("no-checkpoint", "No witness has cosigned a checkpoint yet.")
        return Response(note, 200, {"Cache-Control": "no-cache"}, content_type=TEXT)

    def add_cosignatures(self) -> Response:
        """Bring the cosignatures of witnesses

        For witnesses that this ledger knows, and whoever brings their word: `order-ledger cosign --submit` does it.
        """
        self._check_reader()
        note = load_cosigned(read_json(request))
        try:
            checkpoint = self._cosignatures.add(note)
        except (MalformedProof, NotProven) as error:
            return problem("invalid-cosignature", str(error))
        return json_answer({"size": checkpoint.size})

    def get_tile(self, tile: str) -> Response:
        """A tile of hashes, or a bundle of entries

        `<L>/<N>[.p/<W>]` or `entries/<N>[.p/<W>]`, as C2SP tlog-tiles writes it. Tiles never change.
        """
        self._check_reader()
        try:
            found = self._proofs.tile(parse_tile_path(f"tile/{tile}"))
        except MalformedProof as error:
            return problem("no-such-tile", str(error))
        if found is None:
            return problem("no-such-tile", "The log has no such tile, or not as many entries in it yet.")
        scope = "public" if self._public else "private"
        return Response(found, 200, {"Cache-Control": f"{scope}, max-age=31536000, immutable"}, content_type=BYTES)

    def get_consistency(self) -> Response:
        """That a later log begins with an earlier one

        The proof of RFC 6962 (section 2.1.2) between two sizes; without `to`, to the latest checkpoint's.
        """
        self._check_reader()
        sent = checked(request.args, {"from": _SIZE, "to": _SIZE})
        to = sent.get("to")
        proof = self._proofs.consistency(int(sent.get("from", 0)), None if to is None else int(to))
        if proof is None:
            return problem("no-such-position", "The log's tree has no such sizes, or they are the wrong way round.")
        hashes = [encode_base64(each) for each in proof.hashes]
        return json_answer({"from": proof.old, "to": proof.new, "hashes": hashes})

    def get_order_proof(self, orderId: int) -> Response:  # noqa: N803  # the name in the documented path
        """That an order's events are in the log

        For each event its leaf, and a proof (C2SP tlog-proof) that leads to the latest checkpoint: `null`
        for a second or so, until one is signed that has it. With `version`, the proof of that event alone, as text.
        """
        events = self._proofs.of_order(orderId, self._callers.actor())
        if events is None:
            return problem("no-such-order", f"There is no order {orderId}.")
        sent = checked(request.args, {"version": integer(1, MAX_INTEGER)})
        if "version" not in sent:
            return json_answer([_proven(event) for event in events])
        event = next((each for each in events if each.version == int(sent["version"])), None)
        if event is None:
            return problem("no-such-version", f"Order {orderId} has no such version yet.")
        if event.proof is None:
            return problem(
                "not-proven-yet", "No checkpoint has this event yet, or this ledger has no key to sign with."
            )
        return Response(event.proof, 200, {"Cache-Control": "no-store"}, content_type=TEXT)

    def _check_reader(self) -> None:
        if not self._public:
            self._callers.auditor()


def _proven(event: ProvenEvent) -> dict[str, Any]:
    return {
        "position": event.position,
        "version": event.version,
        "leaf": event.leaf.decode(),
        "proof": event.proof,
    }
