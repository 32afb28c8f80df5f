"""What an integration's settings say about its provider's way of answering.

General rules read most providers. A dialect adds what no rule can know: codes that mean something only there, a unit
that the answer does not name, a place where the tokens lie.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

ExpiryUnit = Literal["seconds", "milliseconds", "minutes"]


@dataclass(frozen=True, slots=True)
class Dialect:
    """Settings for reading one provider's token answers.

    Codes are compared without case, numbers as text. One with a blank in it is a phrase of the error's description.
    """

    #: Codes that mean: this grant is dead, a human must consent.
    dead_errors: tuple[str, ...] = ()
    #: Codes that mean: try again later.
    transient_errors: tuple[str, ...] = ()
    #: Codes that mean: the client is at fault, all accounts are affected.
    client_errors: tuple[str, ...] = ()
    #: The unit of `expires_in`. RFC 6749 says seconds; some say otherwise without showing it.
    expires_in_unit: ExpiryUnit = "seconds"
    #: Seconds to assume when the answer names no lifetime; None leaves it unknown.
    default_expires_in: int | None = None
    #: Where the tokens lie, as names joined by dots (`data`, `authed_user`); "" finds them by itself.
    token_path: str = ""
    #: The provider's names for the standard ones, e.g. `{"access_token": "token"}`.
    names: Mapping[str, str] = field(default_factory=dict)
    #: What separates scopes; "" for blanks or commas.
    scope_separator: str = ""
    #: Scopes that were asked for and are granted although the answer's list leaves them out.
    unlisted_scopes: tuple[str, ...] = ()
    #: Codes of a refresh that brings no token and extends the old one instead.
    extending_codes: tuple[str, ...] = ()
