"""What a token endpoint's answer means for what happens next.

Two mistakes cost a grant: to take an error for a token and store it over the refresh token, and to call a grant dead
that is not. So a token is taken from nothing but a 2xx answer that holds one and no error; and consent is asked for
only on a structured signal from something that has read our request. A busy server, a proxy's page, an unknown code or
bytes that nobody can read leave everything as it is: try again later.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

from worker.oauth.body import Body, read_body
from worker.oauth.challenge import parse_challenges
from worker.oauth.dialect import Dialect
from worker.oauth.evidence import LONGEST_CODE, page_title, safe_text
from worker.oauth.lifetime import read_moment, read_number, read_wait
from worker.oauth.signs import Judgement, Signs, collect, judge
from worker.oauth.texts import read_texts
from worker.oauth.tokens import Tokens, extended, find_tokens, read_tokens

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.oauth.codes import Meaning


@dataclass(frozen=True, slots=True)
class TokenGranted:
    """The answer grants tokens: store them before using them."""

    kind: ClassVar[Literal["token"]] = "token"
    tokens: Tokens


@dataclass(frozen=True, slots=True)
class GrantDead:
    """The grant is dead or wants the person: a human must consent. The refresh token is kept until then."""

    kind: ClassVar[Literal["needs_consent"]] = "needs_consent"
    evidence: dict[str, object]


@dataclass(frozen=True, slots=True)
class Postponed:
    """Nothing has been decided: try again later with the same refresh token."""

    kind: ClassVar[Literal["try_again_later"]] = "try_again_later"
    evidence: dict[str, object]
    #: Seconds the server asks us to wait, whole as it said; None when it names no time.
    after: float | None = None


@dataclass(frozen=True, slots=True)
class ClientAtFault:
    """The client or its settings are at fault: an incident of the integration, not of one account."""

    kind: ClassVar[Literal["misconfigured"]] = "misconfigured"
    evidence: dict[str, object]


Outcome = TokenGranted | GrantDead | Postponed | ClientAtFault

_PLAIN = Dialect()
#: Statuses that speak of the server's state, not of our request (RFC 9110 section 15, RFC 6585, RFC 8470).
_PASSING = {408, 423, 425, 429}
#: Nothing at this address answers token requests in this way: the settings name the wrong one.
_WRONG_PLACE = {404, 405, 406, 410, 415}
_MOVED_FOR_GOOD = {301, 308}
_UNAUTHORIZED = 401
_SERVER_ERROR = 500
#: A bare line longer than this is prose from somebody else.
_LONGEST_LINE = 200
_BARE_CODE = re.compile(r"[A-Za-z]\w{2,60}")
_ERROR_TEXT = re.compile(r"error\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class _Answer:
    """One answer, decoded."""

    status: int
    fields: dict[str, str]
    body: Body
    signs: Signs = field(default_factory=Signs)

    @property
    def successful(self) -> bool:
        return 200 <= self.status <= 299  # noqa: PLR2004 - RFC 9110 section 15.3


def read_token_answer(
    status: int, headers: Mapping[str, str], body: bytes, *, now: float, dialect: Dialect | None = None
) -> Outcome:
    """Read an answer of the token endpoint (RFC 6749 sections 5.1 and 5.2, and what is sent instead of them).

    `now` is seconds since the epoch. Header names count without case. Never raises, whatever the bytes are.
    """
    settings = dialect or _PLAIN
    answer = _decode(status, headers, body)
    judgement = judge(answer.signs, settings)
    if answer.successful:
        granted = _granted(answer, settings, now)
        if granted is not None:
            return granted
        answer = _token_member_as_text(answer, settings)
        judgement = judgement or judge(answer.signs, settings)
    if judgement is None or _overruled(judgement, answer.status):
        judgement = _by_status(answer)
    return _outcome(judgement, answer, now)


def _overruled(judgement: Judgement, status: int) -> bool:
    """Whether the status outweighs what the body says. Nothing outweighs the settings."""
    if judgement.because.startswith("setting"):
        return False
    if status == _UNAUTHORIZED and judgement.weak:
        return judgement.meaning == "dead"
    return status in _PASSING or status >= _SERVER_ERROR


def _decode(status: int, headers: Mapping[str, str], body: bytes) -> _Answer:
    fields = {str(name).lower(): str(value) for name, value in headers.items()}
    content = read_body(body, fields.get("content-type", ""))
    if content.form in {"json", "form"}:
        signs = collect(content.value)
    elif content.form == "text" and len(content.text) <= _LONGEST_LINE:
        signs = _line(content.text, status)
    else:
        signs = Signs()
    return _Answer(status, fields, content, signs)


def _line(text: str, status: int) -> Signs:
    """A bare line: a code alone counts, and a sentence that a 4xx answer gives as its reason."""
    if _BARE_CODE.fullmatch(text):
        return Signs(codes=((0, text),))
    return Signs(texts=(text,)) if 400 <= status < _SERVER_ERROR else Signs()  # noqa: PLR2004 - RFC 9110 section 15.5


def _granted(answer: _Answer, dialect: Dialect, now: float) -> TokenGranted | None:
    """The tokens of a 2xx answer; None when it holds none, or an error that we know beside them."""
    members = find_tokens(answer.body.record, dialect)
    if members and not _is_error_text(str(members["accesstoken"])):
        explicit = judge(answer.signs.explicit, dialect)
        return None if explicit else TokenGranted(read_tokens(members, dialect, now=now))
    said = {str(value).casefold() for value in answer.body.record.values() if isinstance(value, str | int)}
    if any(code.casefold() in said for code in dialect.extending_codes):
        return TokenGranted(extended(dialect))
    return None


def _is_error_text(token: str) -> bool:
    """Whether a sentence stands where the token should: blanks are legal in no bearer token (RFC 6750 section 2.1)."""
    return " " in token and bool(_ERROR_TEXT.match(token) or read_texts([token]))


def _token_member_as_text(answer: _Answer, dialect: Dialect) -> _Answer:
    """The answer with an error text that stands in the place of the token among its signs."""
    text = str(find_tokens(answer.body.record, dialect).get("accesstoken", ""))
    if not _is_error_text(text):
        return answer
    signs = Signs(answer.signs.codes, (*answer.signs.texts, text), refused=True)
    return _Answer(answer.status, answer.fields, answer.body, signs)


def _by_status(answer: _Answer) -> Judgement:
    """What is left to go by when the body says nothing that we know."""
    status, structured = answer.status, answer.body.form in {"json", "form"}
    inner = answer.signs.status
    meaning: Meaning = "transient"
    because = f"status {status}"
    if answer.successful and structured:
        claimed = answer.signs.claimed
        because = "an error that we do not know" if claimed else "no token and no error"
        if inner is not None:
            because = f"status {inner} inside status {status}"
        meaning = "transient" if claimed or inner is not None else "client"
    elif answer.successful:
        because = f"{answer.body.form} instead of tokens"
    elif status == _UNAUTHORIZED and (structured or _challenges(answer)):
        meaning = "client"  # RFC 6749 section 5.2: 401 is for failed client authentication
    elif (status in _WRONG_PLACE and structured) or status in _MOVED_FOR_GOOD:
        meaning = "client"
    return Judgement(meaning, because)


def _challenges(answer: _Answer) -> bool:
    return bool(parse_challenges([answer.fields.get("www-authenticate", "")]))


def _outcome(judgement: Judgement, answer: _Answer, now: float) -> Outcome:
    evidence = _evidence(answer, judgement)
    if judgement.meaning == "dead":
        return GrantDead(evidence)
    if judgement.meaning == "client":
        return ClientAtFault(evidence)
    after = read_retry_after(answer.fields.get("retry-after", ""), now=now)
    if after is None:
        after = read_wait(answer.body.record.get("retryAfter", answer.body.record.get("retry_after")))
    if after is not None:
        evidence["retry_after"] = after
    return Postponed(evidence, after)


def read_retry_after(value: str, *, now: float) -> float | None:
    """Seconds to wait by a Retry-After field, in either form (RFC 9110 section 10.2.3); None when unreadable."""
    if read_number(value) is not None:
        return read_wait(value)
    moment = read_moment(value)
    return None if moment is None else read_wait(max(0.0, moment - now))


def _evidence(answer: _Answer, judgement: Judgement) -> dict[str, object]:
    """Redacted facts; empty ones are left out."""
    signs = answer.signs
    facts: dict[str, object] = {
        "status": answer.status,
        "error": safe_text(signs.code, LONGEST_CODE),
        "error_description": safe_text(_description(signs)),
        "because": safe_text(judgement.because),
        "content_type": safe_text(answer.fields.get("content-type", ""), LONGEST_CODE),
        "body": answer.body.form,
        "page_title": page_title(answer.body.text) if answer.body.form == "html" else "",
    }
    return {name: fact for name, fact in facts.items() if fact != ""}


def _description(signs: Signs) -> str:
    """The fullest description that is not just the code again."""
    return max((text for text in signs.texts if text != signs.code), key=len, default="")
