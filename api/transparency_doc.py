"""What the OpenAPI document says about the transparency log's endpoints, beside their docstrings."""

from __future__ import annotations

from api.answers import ConsistencySchema, CosignedAnswerSchema, ProvenEventSchema
from api.openapi import BEARER, ORDER_ID, answer, body, parameter, problems
from api.schemas import IDS, CosignedSchema
from api.strict_json import MAX_INTEGER

_NOTE = (
    "log.example/orders\n17\n2iS4rgFPDMPyOfbYAEr7jjJd67MpYms5zz0qPOda79k=\n\n\N{EM DASH} log.example/orders AHqG...\n"
)
_SIZE = {"type": "integer", "minimum": 0, "maximum": MAX_INTEGER}

CHECKPOINT = {
    "security": BEARER,
    "responses": answer(200, "The note.", {"type": "string"}, media_type="text/plain") | problems(401, 403, 404, 503),
}

COSIGNED = {
    "security": BEARER,
    "responses": answer(200, "The note.", {"type": "string"}, media_type="text/plain") | problems(401, 403, 404, 503),
}

COSIGN = {
    "security": BEARER,
    "requestBody": body(CosignedSchema, note={"checkpoint": _NOTE}),
    "responses": answer(200, "They are kept.", CosignedAnswerSchema) | problems(400, 401, 403, 413, 415, 503),
}

TILE = {
    "security": BEARER,
    "parameters": [parameter("path", "tile", "Level and index: `0/000`, `entries/x001/234.p/8`.", type="string")],
    "responses": answer(
        200, "Hashes or entries.", {"type": "string", "format": "binary"}, media_type="application/octet-stream"
    )
    | problems(401, 403, 404, 503),
}

CONSISTENCY = {
    "security": BEARER,
    "parameters": [
        parameter("query", "from", "The size of the earlier log.", **_SIZE, default=0),
        parameter("query", "to", "The size of the later log; without it, the latest checkpoint's.", **_SIZE),
    ],
    "responses": answer(200, "The proof.", ConsistencySchema) | problems(400, 401, 403, 404, 503),
}

PROOF = {
    "security": BEARER,
    "parameters": [
        ORDER_ID,
        parameter("query", "version", "Only the event of this version, as text.", type="integer", **IDS),
    ],
    "responses": answer(200, "The proofs.", ProvenEventSchema(many=True)) | problems(400, 401, 404, 503),
}
