"""The API: `/api/2012-02-01/auth/resources/…`, read-only, XML only.

In this order: a planned fault, the platform's rate limit, the access token, the scope, `Accept`, the resource.
"""

from __future__ import annotations

import gzip
import math
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING

from worker.sandbox.canned import canned, challenge, rate_limited, spoiled
from worker.sandbox.catalogue import AT_ROOT, RESOURCES
from worker.sandbox.faults import AFTER
from worker.sandbox.filtering import BadQuery
from worker.sandbox.messages import DuplicateParameter, Response, xml_response
from worker.sandbox.querying import read_query, select
from worker.sandbox.rendering import Renderer, encoded, exception, read_expansion
from worker.sandbox.tokens import TokenRejected

if TYPE_CHECKING:
    from worker.sandbox.messages import Request
    from worker.sandbox.state import State
    from worker.sandbox.tables import Row, Table
    from worker.sandbox.tokens import Access

PREFIX = "/api/2012-02-01/auth/resources/"
FORBIDDEN = "forbidden"
#: Smaller answers are not worth compressing.
GZIP_FROM = 1024


class Problem(Exception):
    """The API answers with an `ApiException` document."""

    def __init__(self, status: HTTPStatus, message: str, *headers: tuple[str, str]) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers


@dataclass(frozen=True, slots=True)
class Place:
    """What a path names: one row of a table, or some or all of its rows."""

    table: Table
    row: Row | None = None
    among: list[Row] | None = None


def api(request: Request, state: State) -> Response:
    """Answer an API request; a planned fault comes first."""
    with state.lock:
        user = state.tokens.owner(request.bearer() or "")
        fault = state.faults.take("api", user=user, path=request.path)
        if fault:
            state.tally.faults[f"api:{fault.kind}"] += 1
    if fault and fault.kind not in AFTER:
        response = canned(fault, request, state.config.platform, state.port)
    else:
        state.pause(state.settings.api_delay)
        with state.lock:
            response = _answer(request, state)
        response = spoiled(fault, _compressed(request, response, state)) if fault else response
    with state.lock:
        silent = response.delivery.manner in {"reset", "hang"}
        state.tally.api_requests["no answer" if silent else str(int(response.status))] += 1
    return response if fault else _compressed(request, response, state)


def _answer(request: Request, state: State) -> Response:
    """The handler's own answer, from the rows as they are now; then they may change."""
    state.dataset.settle(state.now())
    response = _considered(request, state)
    state.churn.step(state.settings.churn, state.settings.churn_crowd, state.now())
    return response


def _considered(request: Request, state: State) -> Response:
    seconds = state.wait_for_rate()
    if seconds:
        return rate_limited(max(1, math.ceil(seconds)))
    try:
        access = state.tokens.check(request.bearer(), state.now())
    except TokenRejected as rejected:
        return _rejected(rejected, state)
    state.tally.api_users[access.grant.user] += 1
    segments = [part for part in request.path[len(PREFIX) :].split("/") if part]
    missing = _missing_scopes(segments, access, state)
    if missing:
        message = "The access token does not have the required scope"
        state.tally.rejections["insufficient_scope"] += 1
        field = challenge(state.config.platform, "insufficient_scope", message, " ".join(missing))
        return Response(HTTPStatus.FORBIDDEN, b"", [field])
    try:
        return xml_response(_document(request, segments, state))
    except (BadQuery, DuplicateParameter) as fault:
        return _problem(Problem(HTTPStatus.BAD_REQUEST, str(fault)))
    except Problem as problem:
        return _problem(problem)


def _rejected(rejected: TokenRejected, state: State) -> Response:
    state.tally.rejections[rejected.code or "no_token"] += 1
    message = rejected.message if rejected.code else ""
    status = HTTPStatus.FORBIDDEN if state.settings.use_403 and rejected.code else HTTPStatus.UNAUTHORIZED
    return Response(status, b"", [challenge(state.config.platform, rejected.code, message)])


def _missing_scopes(segments: list[str], access: Access, state: State) -> list[str]:
    """What the token lacks for a path: `read`, and the collection's own scope or `all_claims`."""
    collection = segments[0] if segments else ""
    if collection not in AT_ROOT:
        return []
    granted = access.grant.scopes
    missing = [] if "read" in granted else ["read"]
    demanded = state.settings.required_scopes.get(collection)
    if demanded is not None:
        return missing + ([] if demanded in granted else [demanded])
    own = RESOURCES[collection].scope or "all_claims"
    return missing + ([] if own in granted or "all_claims" in granted else [own])


def accepts_xml(accept: str) -> bool:
    """Whether `Accept` (RFC 9110 section 12.5.1) lets XML through; absent does."""
    if not accept.strip():
        return True
    for part in accept.split(","):
        media, *parameters = (piece.strip().lower() for piece in part.split(";"))
        refused = any(one.replace(" ", "") in {"q=0", "q=0.0", "q=0.00", "q=0.000"} for one in parameters)
        if media in {"application/xml", "text/xml", "application/*", "text/*", "*/*"} and not refused:
            return True
    return False


def _document(request: Request, segments: list[str], state: State) -> str:
    if request.method not in {"GET", "HEAD"}:
        raise Problem(HTTPStatus.METHOD_NOT_ALLOWED, "This sandbox is read-only.", ("Allow", "GET, HEAD"))
    if not accepts_xml(request.headers.get("accept", "")):
        raise Problem(HTTPStatus.NOT_ACCEPTABLE, "Only application/xml is available.")
    if segments[:1] == [FORBIDDEN]:
        raise Problem(HTTPStatus.FORBIDDEN, "You are not permitted to access this resource.")
    renderer = Renderer(state.dataset, state.api_base)
    if not segments:
        return renderer.root([RESOURCES[name] for name in AT_ROOT])
    parameters = request.parameters()
    place = find(segments, state)
    resource = place.table.resource
    expansion = read_expansion(parameters.get("expand", ""))
    if place.row is not None:
        renderer.check(resource, expansion)
        return renderer.row(resource, place.row, expansion)
    unknown = [title for title in expansion if title != resource.name]
    if unknown:
        raise BadQuery(f"{resource.element} holds no {unknown[0]!r} to expand.")
    renderer.check(resource, expansion.get(resource.name, {}))
    query = read_query(parameters)
    rows, more = select(state.dataset, place.table, query, place.among)
    here = f"{state.api_base}{'/'.join(segments)}/"
    following = f"{here}?{encoded({**parameters, 'skip': str(query.skip + query.top)})}" if more else ""
    href = f"{here}?{encoded(parameters)}" if parameters else here
    return renderer.rows(resource, rows, expansion, href, following)


def find(segments: list[str], state: State) -> Place:
    """What a path names; `Problem` if nothing."""
    tables = state.dataset.tables
    if segments[0] not in AT_ROOT:
        raise _missing()
    place = Place(tables[segments[0]])
    for position, segment in enumerate(segments[1:], start=1):
        if place.row is not None:
            place = _sub_collection(place, segment, state)
            continue
        _follow_merge(segments, position, state)
        place = _row(place, segment)
    return place


def _row(place: Place, segment: str) -> Place:
    row = _numbered(place.table, segment)
    if row is None or (place.among is not None and row not in place.among):
        raise _missing()
    return Place(place.table, row)


def _numbered(table: Table, segment: str) -> Row | None:
    """The row of that number, or of that text where the key is one."""
    key = table.resource.key
    if table.resource.fields[key] == "text":
        return next((row for row in table.rows.values() if row.values[key] == segment), None)
    return table.rows.get(int(segment)) if segment.isascii() and segment.isdigit() else None


def _follow_merge(segments: list[str], position: int, state: State) -> None:
    """308 to the same path below the contact that this one was merged into, one merge at a time."""
    number = segments[position]
    if position != 1 or segments[0] != "contacts" or not (number.isascii() and number.isdigit()):
        return
    destination = state.dataset.merged.get(int(number))
    if destination is not None:
        target = "/".join([segments[0], str(destination), *segments[2:]])
        where = ("Location", f"{state.api_base}{target}/")
        raise Problem(HTTPStatus.PERMANENT_REDIRECT, f"The contact was merged into contact {destination}.", where)


def _sub_collection(place: Place, segment: str, state: State) -> Place:
    for relation in place.table.resource.relations:
        if relation.many and relation.segment == segment and place.row is not None:
            table = state.dataset.tables[relation.target]
            return Place(table, None, table.group(relation.back, place.row.number))
    raise _missing()


def _missing() -> Problem:
    return Problem(HTTPStatus.NOT_FOUND, "The resource does not exist.")


def _problem(problem: Problem) -> Response:
    code = problem.status.phrase.replace(" ", "")
    return xml_response(exception(code, str(problem)), problem.status, *problem.headers)


def _compressed(request: Request, response: Response, state: State) -> Response:
    wanted = state.settings.gzip and "gzip" in request.headers.get("accept-encoding", "").lower()
    if wanted and len(response.body) >= GZIP_FROM:
        response.body = gzip.compress(response.body, compresslevel=1, mtime=0)
        response.headers += [("Content-Encoding", "gzip"), ("Vary", "Accept-Encoding")]
    return response
