"""The transparency log's formats and proofs, without any input or output: RFC 6962 and the C2SP specifications."""
