"""`refresh_when`: which answers of an API mean that the token was rejected, for APIs that do not say so properly."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from worker.config.faults import UNREAD, suggestion
from worker.config.kinds import Kind, text, whole_number
from worker.config.model import RefreshRule

if TYPE_CHECKING:
    from worker.config.faults import Spot

_EXAMPLE = '{ status = 403, body = "token expired" }'
_STATUS = whole_number(200, 599)
_TEXT = text()
#: Plain 403 is the API's own "no"; refreshing on it would spend a refresh on every forbidden page.
_FORBIDDEN = 403
#: Below it, the API calls an answer a success, whatever the body says.
_ERRORS = 400


def _read_rules(value: object, spot: Spot) -> Any:
    if not isinstance(value, list):
        return spot.mistyped(value, f"a list of tables: [{_EXAMPLE}]")
    rules = [_read_rule(item, spot.item(number)) for number, item in enumerate(value, start=1)]
    return UNREAD if any(rule is UNREAD for rule in rules) else tuple(rules)


def _read_rule(value: object, spot: Spot) -> Any:
    if not isinstance(value, dict):
        return spot.mistyped(value, f"a table: {_EXAMPLE}")
    known = {"status": _STATUS, "header": _TEXT, "body": _TEXT}
    unknown = [name for name in value if name not in known]
    for name in unknown:
        spot.inside(name).refuse(f"unknown option{suggestion(name, known) or '; write status, header or body'}")
    read = {name: kind.read(value[name], spot.inside(name)) for name, kind in known.items() if name in value}
    if unknown or any(item is UNREAD for item in read.values()):
        return UNREAD
    if "status" not in read:
        return spot.refuse(f"no status; write {_EXAMPLE}")
    if read["status"] == _FORBIDDEN and len(read) == 1:
        return spot.refuse("every 403 would cost a refresh; add header or body text that only an expired token brings")
    if read["status"] < _ERRORS and not read.get("body"):
        return spot.refuse("an answer of success; add the body text that only a rejected token brings")
    return RefreshRule(read["status"], read.get("header", ""), read.get("body", ""))


REFRESH_RULES = Kind("list of { status, header, body }", _read_rules)
