"""Resources as XML, in the documented shapes: values first, then links; an expanded resource stands inside its link.

A row's document without expansion is kept with the row until it changes; a page of links and plain rows is then little
more than a join of strings.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

from worker.sandbox.filtering import BadQuery
from worker.sandbox.querying import DEFAULT_TOP
from worker.sandbox.values import Group, Value, shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from worker.sandbox.dataset import Dataset
    from worker.sandbox.tables import Relation, Resource, Row

SCHEMA = "http://schemas.arlo.co/api/2012/02/auth"
MEDIA = "application/xml"
MAX_EXPANSIONS = 20

#: What to expand: title to what to expand inside it.
Expansion = dict[str, "Expansion"]


def read_expansion(text: str) -> Expansion:
    """`Registration,Registration/Contact` as a tree. A path counts only if each of its prefixes is listed too."""
    tree: Expansion = {}
    paths = [part.strip() for part in text.split(",") if part.strip()]
    if len(paths) > MAX_EXPANSIONS:
        raise BadQuery(f"expand lists more than {MAX_EXPANSIONS} paths.")
    for path in sorted(paths, key=lambda one: one.count("/")):
        *prefix, last = path.split("/")
        place: Expansion | None = tree
        for title in prefix:
            place = place.get(title) if place is not None else None
        if place is not None:
            place.setdefault(last, {})
    return tree


class Renderer:
    """Writes resources of a data set whose API is at `base` (with a slash at its end)."""

    def __init__(self, dataset: Dataset, base: str) -> None:
        self._dataset = dataset
        self._base = base

    def check(self, resource: Resource, expansion: Expansion) -> None:
        """`BadQuery` if something to expand is no link of the resource."""
        for title, inner in expansion.items():
            relation = resource.relation(title)
            if relation is None:
                raise BadQuery(f"{resource.name} has no link {title!r} to expand.")
            target = self._dataset.tables[relation.target].resource
            self.check(target, inner.get(target.name, {}) if relation.many else inner)

    def row(self, resource: Resource, row: Row, expansion: Expansion | None = None) -> str:
        """One resource."""
        if not expansion and row.document:
            return row.document
        values = "".join(_element(name, row.values[name]) for name in resource.fields if name in row.values)
        links = [_link("self", self._base + row.path(resource))]
        links += [self._related(resource, row, relation, expansion or {}) for relation in resource.relations]
        document = f"<{resource.name}>{values}{''.join(links)}</{resource.name}>"
        if not expansion:
            row.document = document
        return document

    def _related(self, resource: Resource, row: Row, relation: Relation, expansion: Expansion) -> str:
        target = self._dataset.tables[relation.target]
        rel = f"{SCHEMA}/related/{relation.title}"
        if relation.many:
            href = f"{self._base}{row.path(resource)}{relation.segment}/"
            if relation.title not in expansion:
                return _link(rel, href, relation.title)
            rows = target.group(relation.back, row.number)
            following = f"{href}?skip={DEFAULT_TOP}" if len(rows) > DEFAULT_TOP else ""
            inside = self.rows(target.resource, rows[:DEFAULT_TOP], expansion[relation.title], href, following)
            return _link(rel, href, relation.title, inside)
        if relation.title not in row.references:
            return ""
        other = target.rows.get(row.references[relation.title])
        href = f"{self._base}{target.resource.collection}/{row.references[relation.title]}/"
        if other is not None:
            href = self._base + other.path(target.resource)
        nested = relation.title in expansion and other is not None
        inside = self.row(target.resource, other, expansion[relation.title]) if nested and other else ""
        return _link(rel, href, relation.title, inside)

    def rows(
        self, resource: Resource, rows: Sequence[Row], expansion: Expansion, href: str, following: str = ""
    ) -> str:
        """A collection: links to its resources, which stand inside if the resource's own name is expanded."""
        rel, inside = f"{SCHEMA}/{resource.name}", expansion.get(resource.name)
        parts = [
            _link(
                rel,
                self._base + row.path(resource),
                resource.name,
                "" if inside is None else self.row(resource, row, inside),
            )
            for row in rows
        ]
        if following:
            parts.append(_link("next", following))
        parts.append(_link("self", href))
        return f"<{resource.element}>{''.join(parts)}</{resource.element}>"

    def root(self, resources: Sequence[Resource]) -> str:
        """The entry document: a link to each collection."""
        links = [
            _link(f"{SCHEMA}/related/{one.element}", f"{self._base}{one.collection}/", one.element) for one in resources
        ]
        return f"<Resources>{''.join(links)}{_link('self', self._base)}</Resources>"


def exception(code: str, message: str) -> str:
    """An error document."""
    return f"<ApiException><Code>{escape(code)}</Code><Message>{escape(message)}</Message></ApiException>"


def encoded(parameters: dict[str, str]) -> str:
    """A query string in the order given; what the filter language uses stays readable."""
    return "&".join(f"{quote(name)}={quote(value, safe=',/()')}" for name, value in parameters.items())


def _element(name: str, value: Value) -> str:
    if isinstance(value, Group):
        return f"<{name}>{''.join(_element(inner, one) for inner, one in value.items())}</{name}>"
    text = shown(value)
    return f"<{name}>{escape(text)}</{name}>" if text else f"<{name}/>"


def _link(rel: str, href: str, title: str = "", inside: str = "") -> str:
    name = f' title="{title}"' if title else ""
    start = f'<Link rel="{rel}" type="{MEDIA}"{name} href={quoteattr(href)}'
    return f"{start}>{inside}</Link>" if inside else f"{start}/>"
