"""What an error's description says, for providers whose codes say nothing (`{"message": "Invalid refresh token"}`).

Only descriptions from structured answers are read, never pages. A phrase counts when what is broken and how it is
broken stand in one sentence next to each other.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from worker.oauth.codes import Meaning

#: Characters of a description that are read; sentences that matter come first.
_READ = 1000
_BROKEN = (
    r"(?:invalid(?:ated)?|expired|revoked|not found|unknown|unrecogni[sz]ed|incorrect|wrong|malformed|illegal|inactive|"
    r"not active|not valid|no longer (?:valid|active)|(?:does not|doesn t) exist|(?:already |been )(?:used|consumed)|"
    r"reused|already redeemed|blacklisted|bad|terminated|deleted|not recogni[sz]ed)"
)
_GRANT = (
    r"(?:refresh ?token(?! grant)|(?:authori[sz]ation|auth|verification|matching|device|access) code|"
    r"(?:authori[sz]ation )?grant(?! type)|offline (?:user )?session)"
)
#: A thing that ended, or that is something else as well and therefore needs its state right beside it.
_SHORT = (
    r"(?:(?:access |oauth |bearer )?(?<!csrf )(?<!client )token|"
    r"(?<!error )(?<!status )(?<!response )(?<!country )code|session)"
)
_ENDED = r"(?:expired|revoked|terminated|withdrawn)"
_IS = r"(?:is|was|are|has|have|had|been|be|already|or|has been)"
_DEAD = re.compile(
    rf"\b{_GRANT}\b[^.;]{{0,50}}?\b{_BROKEN}\b"
    rf"|\b{_BROKEN}\b(?: or \w+| and \w+)?(?: the| an?)? {_GRANT}\b"
    r"|\brequires? an? (?:active|valid) refresh ?token"
    rf"|\b{_BROKEN} {_SHORT}\b(?! (?:type|verifier|challenge|format|header|parameter))"
    rf"|\b{_SHORT}(?: {_IS}){{0,3}} {_BROKEN}\b(?! (?:type|grant))"
    rf"|\b(?:authori[sz]ation|consent)(?: record)?(?: {_IS}){{0,3}} {_ENDED}\b"
    r"|\bvalue passed for the (?:token|authori[sz]ation code) was invalid"
    r"|\b(?:user|person|you|please)\b[^.;]{0,25}\b(?:must|need to|needs to|have to|try) (?:sign|log)(?:ing)? ?in again"
    r"|\b(?:re ?authenticat|re ?authori[sz])(?:e|ion) (?:is )?required|\breconnect (?:the|your) account"
    r"|\baccess (?:was |has been )?revoked|\b(?:has )?revoked (?:the )?(?:access|consent)"
    r"|\bnot authori[sz]ed application"
    rf"|\b(?:session|token)\b[^.;]{{0,60}}\b(?:expired|revoked|has been invalidated)\b"
)
_CLIENT_PART = (
    r"(?:client(?: ?id| ?secret| ?credentials)?|consumer(?: key| secret)?|app(?:lication)?(?: ?id| ?key| ?secret)?|"
    r"platform app|api ?key|(?:client )?secret|credentials?|redirect(?:ion)? ?ur[il]|grant ?type)"
)
_CLIENT_BROKEN = (
    rf"(?:{_BROKEN}|unauthori[sz]ed|unsupported|mismatch(?:ed|es)?|disabled|suspended|missing|required|failed|"
    r"not (?:allowed|authori[sz]ed|enabled|permitted|supported)|(?:do|does) not match|(?:don|doesn) t match)"
)
_CLIENT = re.compile(
    rf"\b{_CLIENT_PART}\b[^.;]{{0,40}}?\b{_CLIENT_BROKEN}\b"
    rf"|\b(?:{_CLIENT_BROKEN}|validating|parameter|parameters?:?)\b(?: \w+){{0,2}} {_CLIENT_PART}\b"
    r"|\b(?:missing|required)\b[^.;]{0,30}\b(?:parameter|param|field|header)\b|\b(?:field|parameter) (?:is )?required\b"
)
_REDIRECT = re.compile(
    rf"\bredirect(?:ion)? ?ur[il]\b[^.;]{{0,40}}?\b{_CLIENT_BROKEN}\b"
    rf"|\b{_CLIENT_BROKEN}\b(?: \w+)? redirect(?:ion)? ?ur[il]\b"
)
#: Said by servers that are busy, whatever code they pack it into.
_BUSY = re.compile(
    r"\b(?:too many requests|rate ?limit|rate (?:limit )?exceeded|throttl|temporar(?:y|ily)|already being processed|"
    r"retry (?:your|the) request|please retry|(?:please )?(?:try|retry) (?:again )?(?:later|in \d)|"
    r"transient (?:error|failure)|concurrent requests|request loop|encountered a loop)"
)
_PASSING = re.compile(
    r"\b(?:(?:system|server|service|internal|internal server|backend|gateway|database) "
    r"(?:error|exceptions?|failure|busy)|"
    r"(?:server|system|service) is (?:too )?busy|unavailable|timed? ?out|maintenance|overloaded|over capacity|"
    r"quota|minute quota|unexpected error (?:has )?occurred|(?:an )?error has occurred please)"
)
_NOISE = re.compile(r"""[_\-"'`*()\[\]<>,!:=/\s]+""")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")


def read_texts(texts: Iterable[str]) -> frozenset[Meaning]:
    """Everything the descriptions say, of any of them."""
    return frozenset(meaning for text in texts for meaning in _read(_even(text)))


def is_busy(texts: Iterable[str]) -> bool:
    """Whether a description asks for patience in so many words."""
    return any(_BUSY.search(_even(text)) for text in texts)


def blames_redirect(texts: Iterable[str]) -> bool:
    """Whether a description names the redirect URI, and nothing about the grant, as what is wrong."""
    return any(_REDIRECT.search(_even(text)) and not _DEAD.search(_even(text)) for text in texts)


def _read(text: str) -> list[Meaning]:
    patterns: tuple[tuple[re.Pattern[str], Meaning], ...] = (
        (_DEAD, "dead"),
        (_CLIENT, "client"),
        (_BUSY, "transient"),
        (_PASSING, "transient"),
    )
    return [meaning for pattern, meaning in patterns if pattern.search(text)]


def _even(text: str) -> str:
    """Lower case, separators as single blanks: `refresh_token`, `Refresh-Token` and `RefreshToken` are one."""
    return _NOISE.sub(" ", _CAMEL.sub(" ", text[:_READ])).strip().lower()
