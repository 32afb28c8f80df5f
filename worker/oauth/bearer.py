"""How an access token is sent: in a header field, never in an address (RFC 6750 sections 2.1 and 2.3)."""

from __future__ import annotations

#: RFC 6750's own. Some APIs want the bare token in a field of theirs instead.
STANDARD_FIELD = "Authorization"


def field_value(field: str, token: str) -> str:
    """What to write into the field. RFC 6750 spells the scheme so, and there are servers that compare it by letter."""
    return f"Bearer {token}" if field.lower() == STANDARD_FIELD.lower() else token
