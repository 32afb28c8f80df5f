"""The pages a person sees: plain forms without scripts, so that a program can fill them in as well."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 30rem; margin: 4rem auto; padding: 0 1rem; color: #222 }}
label {{ display: block; margin: .4rem 0 }}
button {{ font: inherit; padding: .4rem 1.2rem; margin-right: .5rem }}
.error {{ color: #a00 }}
.note {{ color: #666; font-size: .85em }}
</style></head><body>
<h1>{title}</h1>
{content}
<p class="note">This is a local sandbox. Nothing here reaches a real provider.</p>
</body></html>
"""

_FORM = """{error}<p><b>{client}</b> asks to work with <b>{platform}</b> on your behalf.</p>
<form method="post" action="/oauth/connect/authorize">
<input type="hidden" name="interaction" value="{interaction}">
<label>Your user name <input name="login" value="{login}" autocomplete="username" autofocus></label>
<p>It asks for the following. Tick what you do not want to give.</p>
{scopes}
<p><button type="submit" name="decision" value="allow">Allow</button>
<button type="submit" name="decision" value="deny">Deny</button></p>
</form>"""


@dataclass(frozen=True, slots=True)
class Question:
    """What the consent page shows."""

    interaction: str
    client: str
    platform: str
    scopes: tuple[str, ...]
    login: str = ""
    error: str = ""


def consent_page(question: Question) -> str:
    """The question. A checkbox `refuse:<scope>` leaves a scope out; the first button is the default."""
    boxes = "\n".join(
        f'<label><input type="checkbox" name="refuse:{escape(scope)}" value="yes"'
        f"{' disabled' if scope == 'openid' else ''}> {escape(scope)}</label>"
        for scope in question.scopes
    )
    content = _FORM.format(
        error=f'<p class="error">{escape(question.error)}</p>' if question.error else "",
        client=escape(question.client),
        platform=escape(question.platform),
        interaction=escape(question.interaction),
        login=escape(question.login),
        scopes=boxes,
    )
    return _PAGE.format(title="Allow access?", content=content)


def error_page(message: str) -> str:
    """Shown where sending the person back to the client would be unsafe (RFC 6749 section 4.1.2.1)."""
    return _PAGE.format(title="This request cannot be served", content=f'<p class="error">{escape(message)}</p>')
