"""What browsers are told not to do with answers."""

from __future__ import annotations

POLICY = "Content-Security-Policy"
SECURITY_HEADERS = (
    ("X-Content-Type-Options", "nosniff"),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)
"""On every answer, whatever it is (OWASP's REST security cheat sheet)."""

NOTHING_ALLOWED = (POLICY, "default-src 'none'; frame-ancestors 'none'")
"""On every answer without a policy of its own: documents are data, and pages say what they need."""
