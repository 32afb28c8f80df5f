"""Where an answer's error stands, and what all of it together means.

RFC 6749 section 5.2 puts the code into `error`. Real answers put it into `error_code`, `status`, `errors[0].errorType`,
`fault.detail.errorcode`, an object under `error`, or spread it over `resource`, `field` and `code`. So the whole answer
is walked, to a bounded depth, and everything with a telling name is collected: the more telling name first.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from worker.oauth.body import plain
from worker.oauth.codes import CodeReading, Meaning, read_code
from worker.oauth.texts import blames_redirect, is_busy, read_texts

if TYPE_CHECKING:
    from collections.abc import Iterator

    from worker.oauth.dialect import Dialect

#: Members that hold a code, and how telling they are (0 most). `status` and `type` hold many other things too.
CODE_RANKS = {
    "err": 0, "error": 0, "errorcode": 1, "errcode": 1, "errortype": 1, "errorkey": 1, "errorname": 1, "code": 2,
    "errors": 2, "status": 3, "statuscode": 3, "result": 3, "resultcode": 3, "ret": 3, "reason": 4, "title": 4,
    "name": 4, "type": 5, "suberror": 6, "errorid": 6, "errorsubtype": 6, "errorsubcode": 6,
}  # fmt: skip
#: Codes up to this rank claim that something went wrong just by being there.
_CLAIMING = 3
_TEXTS = {
    "error", "errors", "errordescription", "errormessage", "errorsummary", "errormsg", "errmsg", "message", "msg",
    "description", "localizedmessage", "detail", "details", "reason", "hint", "faultstring", "cause", "title",
}  # fmt: skip
#: What codes and statuses say when all is well.
_FINE = {"", "0", "00", "000", "0000", "200", "201", "ok", "success", "succeeded", "true", "none", "null", "false"}
_DEEPEST = 5
_MOST_MEMBERS = 400


@dataclass(frozen=True, slots=True)
class Signs:
    """What an answer says about its failure."""

    #: Codes with their ranks, the most telling first.
    codes: tuple[tuple[int, str], ...] = ()
    texts: tuple[str, ...] = ()
    #: The answer calls itself a failure without naming one (`"ok": false`).
    refused: bool = False

    @property
    def claimed(self) -> bool:
        """Whether the answer says that something went wrong."""
        return self.refused or any(rank <= _CLAIMING for rank, _ in self.codes)

    @property
    def explicit(self) -> Signs:
        """Only what stands in members that hold nothing but errors: for answers that hold a token as well."""
        return Signs(codes=tuple(pair for pair in self.codes if pair[0] <= 1))

    @property
    def code(self) -> str:
        """The code to show: the most telling one that is a word, else the most telling number."""
        shown = [code for _, code in self.codes]
        return next((code for code in shown if not code.lstrip("-").isdigit()), shown[0] if shown else "")

    @property
    def status(self) -> int | None:
        """An HTTP status that the body repeats or invents."""
        numbers = (int(code) for rank, code in self.codes if rank <= _CLAIMING and code.isascii() and code.isdigit())
        return next((number for number in numbers if 400 <= number <= 599), None)  # noqa: PLR2004 - RFC 9110 section 15


@dataclass(frozen=True, slots=True)
class Judgement:
    """What the signs mean together, and which of them decided."""

    meaning: Meaning
    because: str
    #: Nothing but a weak code: what else is known of the answer may outweigh it.
    weak: bool = False


def collect(value: object) -> Signs:
    """The signs in a decoded body."""
    codes: list[tuple[int, str]] = []
    texts: list[str] = []
    refused = False
    for name, item in _members(value):
        if name in {"ok", "success"} and (item is False or item == "false"):
            refused = True
        code = _code_of(item)
        if name in CODE_RANKS and code.lower() not in _FINE:
            codes.append((CODE_RANKS[name], code))
        if name in _TEXTS and isinstance(item, str) and " " in item.strip():
            texts.append(item)
        elif name in _TEXTS and isinstance(item, str) and name not in CODE_RANKS and code.lower() not in _FINE:
            texts.append(item)
            codes.append((CODE_RANKS["suberror"], code))
    return Signs(tuple(sorted(codes, key=lambda pair: pair[0])), tuple(texts), refused)


def judge(signs: Signs, dialect: Dialect) -> Judgement | None:
    """What the signs mean; None when they mean nothing that we know."""
    return _by_settings(signs, dialect) or _by_codes(signs) or _by_texts(signs)


def _code_of(item: object) -> str:
    if isinstance(item, str):
        return item.strip()
    return str(item) if isinstance(item, int) and not isinstance(item, bool) else ""


def _members(value: object) -> Iterator[tuple[str, object]]:
    """Named scalars of a JSON value, breadth first, names without case and separators."""
    level: list[tuple[str, object]] = [("suberror" if isinstance(value, str) else "", value)]
    left = _MOST_MEMBERS
    for _ in range(_DEEPEST):
        below: list[tuple[str, object]] = []
        for context, item in level[:left]:
            if isinstance(item, dict):
                below += [(plain(name), inner) for name, inner in item.items()]
                below += _composites(context, item)
            elif isinstance(item, list):
                below += [(context, inner) for inner in item[:left]]
            elif context:
                yield context, item
        left -= len(level)
        level = below
        if left <= 0:
            return


def _composites(context: str, item: dict[str, object]) -> list[tuple[str, object]]:
    """Errors that are spread over a record: `resource`, `field`, `code`; or a field's name and its complaints."""
    named = {plain(name): inner for name, inner in item.items()}
    parts = [named.get(part) for part in ("resource", "field", "code")]
    whole = " ".join(part for part in parts if isinstance(part, str) and part)
    found: list[tuple[str, object]] = []
    if isinstance(named.get("code"), str) and whole != named["code"]:
        found.append(("errorcode", whole))
    if context == "errors":
        for name, inner in item.items():
            complaints = inner if isinstance(inner, list) else [inner]
            found += [("detail", f"{name} {text}") for text in complaints[:5] if isinstance(text, str) and " " in text]
    return found


def _by_settings(signs: Signs, dialect: Dialect) -> Judgement | None:
    said = {code.casefold(): code for _, code in reversed(signs.codes)}
    described = [text.casefold() for text in signs.texts]
    settings: tuple[tuple[Meaning, tuple[str, ...]], ...] = (
        ("transient", dialect.transient_errors),
        ("client", dialect.client_errors),
        ("dead", dialect.dead_errors),
    )
    for meaning, codes in settings:
        for code in codes:
            if code.casefold() in said:
                return Judgement(meaning, f"setting for {said[code.casefold()]}")
            if " " in code and any(code.casefold() in text for text in described):
                return Judgement(meaning, f"setting for {code}")
    return None


def _by_codes(signs: Signs) -> Judgement | None:
    readings = [(code, reading) for _, code in signs.codes if (reading := read_code(code))]
    strong = next(((code, reading) for code, reading in readings if not reading.weak), None)
    code, reading = strong or next(iter(readings), ("", None))
    if reading is None:
        return None
    meaning = _weigh(reading, signs)
    if meaning == reading.meaning:
        return Judgement(meaning, f"code {code}", weak=reading.weak and meaning not in read_texts(signs.texts))
    return Judgement(meaning, f"description, against code {code}")


def _weigh(reading: CodeReading, signs: Signs) -> Meaning:
    """A code's meaning once its description has been heard."""
    if reading.meaning == "dead":
        if is_busy(signs.texts):
            return "transient"
        return "client" if blames_redirect(signs.texts) else "dead"
    if reading.weak:
        said = read_texts(signs.texts)
        if "dead" in said:
            return "dead"
        if is_busy(signs.texts):
            return "transient"
    return reading.meaning


def _by_texts(signs: Signs) -> Judgement | None:
    said = read_texts(signs.texts)
    order: tuple[Meaning, ...] = ("dead", "client", "transient")
    return next((Judgement(meaning, "description") for meaning in order if meaning in said), None)
