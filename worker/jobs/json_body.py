"""An answer's JSON, read in the one way that no answer can upset.

`Response.json()` guesses the encoding of what is no UTF-8 by statistics, which takes minutes for megabytes, and lets an
array of a hundred thousand arrays end in a RecursionError.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import requests


def read_json(response: requests.Response) -> Any:
    """The decoded body. Raises ValueError, and nothing else, when it is no JSON or nested beyond all reason."""
    content = response.content or b""
    try:
        return json.loads(content.decode(_declared(response) or json.detect_encoding(content)))
    except LookupError:
        raise ValueError("the body is in an encoding that nobody knows") from None
    except RecursionError:
        raise ValueError("the body is nested too deeply") from None


def _declared(response: requests.Response) -> str:
    """The charset of the answer, if it names one; JSON is UTF-8 otherwise (RFC 8259 section 8.1)."""
    named = "charset=" in response.headers.get("Content-Type", "").lower()
    charset = (response.encoding or "") if named else ""
    return "utf-8-sig" if charset.lower() in {"utf-8", "utf8"} else charset
