"""An authorization server made of Django and django-oauth-toolkit, and a small API behind it.

    python django_server.py '{"folder": "/an/empty/folder", "access_ttl": 3, "clients": {"id": "secret"}}'

Run as a process of its own: listens on a free port of 127.0.0.1 under waitress, prints `READY <issuer>`. Refresh tokens
rotate, and reuse protection is on: one that comes back ends its family. The API and the handles for tests are those of
oidc-provider/start.mjs.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import django
from django.conf import settings
from django.urls import include, path

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.http import HttpRequest, HttpResponse

PAGE = 4
LOGIN_PAGE = """<form method="post"><input type="hidden" name="csrfmiddlewaretoken" value="{token}">
<input name="login"><button type="submit">Sign in</button></form>"""


class Facts:
    """What has happened."""

    def __init__(self, items: int) -> None:
        self.token_calls: dict[str, Counter[str]] = {}
        self.refreshes: Counter[str] = Counter()
        self.read: list[dict[str, object]] = []
        self.items = items

    def shown(self) -> dict[str, object]:
        """As JSON."""
        return {
            "tokenCalls": {kind: dict(outcomes) for kind, outcomes in self.token_calls.items()},
            "refreshes": dict(self.refreshes),
            "read": self.read,
            "items": self.items,
        }


def signing_key() -> str:
    """A key for ID tokens."""
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    plain = serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain).decode()


def configure(asked: dict[str, Any]) -> None:
    """A Django project without a file."""
    settings.configure(
        SECRET_KEY="for tests alone, and as long as Django wants it to be",
        ALLOWED_HOSTS=["127.0.0.1"],
        ROOT_URLCONF=__name__,
        INSTALLED_APPS=[
            "django.contrib.auth",
            "django.contrib.contenttypes",
            "django.contrib.sessions",
            "oauth2_provider",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.middleware.csrf.CsrfViewMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            f"{__name__}.counting",
        ],
        TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates", "APP_DIRS": True}],
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": f"{asked['folder']}/django.db",
                "OPTIONS": {"timeout": 20, "transaction_mode": "IMMEDIATE"},
            }
        },
        PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"],
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        LOGIN_URL="/login/",
        USE_TZ=True,
        OAUTH2_PROVIDER={
            "ACCESS_TOKEN_EXPIRE_SECONDS": asked["access_ttl"],
            "ROTATE_REFRESH_TOKEN": True,
            "REFRESH_TOKEN_REUSE_PROTECTION": True,
            "REFRESH_TOKEN_GRACE_PERIOD_SECONDS": 0,
            "PKCE_REQUIRED": True,
            "OIDC_ENABLED": True,
            "OIDC_RSA_PRIVATE_KEY": signing_key(),
            "SCOPES": {"openid": "Who you are", "items:read": "Read your items"},
            "ALLOWED_SCHEMES": ["http", "https"],
        },
    )
    django.setup()


facts = Facts(10)


def counting(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Middleware: counts what the token endpoint answers."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        if request.path == "/o/token/":
            kind = request.POST.get("grant_type", "unknown")
            outcome = "granted" if response.status_code == 200 else json.loads(response.content).get("error", "?")
            facts.token_calls.setdefault(kind, Counter())[outcome] += 1
        return response

    return middleware


def login(request: HttpRequest) -> HttpResponse:
    """Anybody who gives a name is that person."""
    from django.contrib.auth import get_user_model
    from django.contrib.auth import login as sign_in
    from django.http import HttpResponse, HttpResponseRedirect
    from django.middleware.csrf import get_token

    if request.method != "POST":
        return HttpResponse(LOGIN_PAGE.format(token=get_token(request)))
    user, _ = get_user_model().objects.get_or_create(username=request.POST["login"])
    sign_in(request, user)
    return HttpResponseRedirect(request.GET["next"])


def items(request: HttpRequest) -> HttpResponse:
    """The API; refuses as django-oauth-toolkit does it, with a Bearer challenge."""
    from django.http import JsonResponse
    from oauth2_provider.decorators import protected_resource_metadata

    @protected_resource_metadata(scopes=["items:read"])
    def read(request: HttpRequest) -> HttpResponse:
        after = int(request.GET.get("after", 0))
        facts.read.append({"account": request.resource_owner.username, "after": after})
        fresh = [{"id": number, "changed": number} for number in range(after + 1, facts.items + 1)]
        response = JsonResponse({"items": fresh[:PAGE]})
        if len(fresh) > PAGE:
            following = request.build_absolute_uri(f"/api/items?after={fresh[PAGE - 1]['changed']}")
            response["Link"] = f'<{following}>; rel="next"'
        return response

    return read(request)


def handle(request: HttpRequest, operation: str) -> HttpResponse:
    """The handles for tests."""
    from django.http import JsonResponse
    from oauth2_provider.models import get_access_token_model, get_refresh_token_model

    if operation == "facts":
        return JsonResponse(facts.shown())
    if operation == "add":
        facts.items += int(request.GET["count"])
    elif operation == "revoke":
        # What the toolkit's own page "authorized applications" does.
        for kind in (get_refresh_token_model(), get_access_token_model()):
            for token in kind.objects.filter(user__username=request.GET["account"]):
                token.revoke()
    return JsonResponse({})


def exempt(view: Callable[..., HttpResponse]) -> Callable[..., HttpResponse]:
    """The handles are posted to without a page."""
    from django.views.decorators.csrf import csrf_exempt

    return csrf_exempt(view)


def serve(asked: dict[str, Any]) -> None:
    """Make the database, then serve until killed."""
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.core.wsgi import get_wsgi_application
    from oauth2_provider.models import get_application_model
    from oauth2_provider.signals import app_authorized
    from waitress.server import create_server

    call_command("migrate", verbosity=0)
    owner = get_user_model().objects.create(username="administrator")
    for client_id, secret in asked["clients"].items():
        get_application_model().objects.create(
            client_id=client_id,
            client_secret=secret,
            user=owner,
            client_type="confidential",
            authorization_grant_type="authorization-code",
            redirect_uris=asked["redirect_uri"],
            algorithm="RS256",
        )

    def refreshed(sender: object, request: HttpRequest, token: Any, **_: object) -> None:
        if request.POST.get("grant_type") == "refresh_token":
            facts.refreshes[token.user.username] += 1

    app_authorized.connect(refreshed, weak=False)
    server = create_server(get_wsgi_application(), host="127.0.0.1", port=0, threads=8)
    sys.stdout.write(f"READY http://127.0.0.1:{server.effective_port}/o\n")
    sys.stdout.flush()
    server.run()


if __name__ == "__main__":
    # Django finds the URL configuration and the middleware by this module's name: here it is this very module.
    configure(json.loads(sys.argv[1]))
    from oauth2_provider.urls import metadata_urlpatterns

    urlpatterns = [
        path("login/", login),
        path("o/", include("oauth2_provider.urls", namespace="oauth2_provider")),
        path("", include((metadata_urlpatterns, "metadata"))),
        path("api/items", items),
        path("test/<str:operation>", exempt(handle)),
    ]
    serve(json.loads(sys.argv[1]))
