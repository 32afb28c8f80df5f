"""The seeded data: the same seed and size give the same rows, byte for byte.

Made to be difficult where a sync can fail: equal `LastModifiedDateTime` across the border of a default page and of
the largest one, neighbours that differ only behind the third fractional digit, between zero and seven digits, absent
optional elements, empty elements, markup characters and letters from several scripts.
"""

from __future__ import annotations

import uuid
from decimal import Decimal
from functools import partial
from random import Random
from typing import TYPE_CHECKING

from worker.sandbox.catalogue import RESOURCES
from worker.sandbox.dataset import Dataset
from worker.sandbox.tables import Row, Table, Tables
from worker.sandbox.values import TICKS, TICKS_PER_MS, Instant, Local, Value

if TYPE_CHECKING:
    from collections.abc import Callable

#: 2025-01-01T00:00:00Z in ticks; everything seeded happens in the year after it.
START = 1_735_689_600 * TICKS
DAY = 86_400 * TICKS
YEAR_SECONDS = 300 * 86_400
#: A moment that nothing seeded comes after.
LATEST = START + YEAR_SECONDS * TICKS + 61 * DAY
#: First numbers; the provider's collections do not start at 1 either.
FIRST = {"events": 41, "registrations": 7001, "contacts": 512, "orders": 90, "orderlines": 1}
#: Places in the order of modification (from, to) that share one moment: around rows 100 and 250.
TIES = ((95, 105), (245, 255))
#: … and places that share a millisecond, but not the digits behind it.
NEAR_TIES = ((10, 16), (150, 156))

COURSES = ("First Aid", "Fire Warden", "Manual Handling", "Excel & Beyond", "Führung <kompakt>", "Te Reo Māori")
PLACES = ("Napier", "Auckland", "Ōtautahi", "Zürich", "São Paulo", "東京")
GIVEN = ("Ana", "Bo", "Chloë", "Dmitri", "Esi", "Fáelán", "Grace", "Hana")
FAMILY = ("Rua", "O'Neill", "Smith & Jones", "Nguyễn", "Kovács", "Tamati", "Ødegård")
COMMENTS = ("Vegetarian", 'Said "maybe" <twice>', "Needs a ramp & parking", "日本語のメモ", "Two\nlines")


def seeded_dataset(rows: int, seed: int) -> Dataset:
    """All tables with `rows` rows in each collection, twice as many order lines, and no merge so far."""
    makers = _makers(rows)

    def new_row(collection: str, number: int, moment: int, owner: int | None) -> Row:
        row = makers[collection](Random(f"{seed} {collection} {number}"), number)
        if owner is not None:
            row.references[RESOURCES[collection].part_of] = owner
        _stamp(row, moment, moment)
        return row

    def table(collection: str, count: int) -> Table:
        rng, made = Random(f"{seed} {collection}"), list[Row]()
        for number in range(FIRST.get(collection, 1), FIRST.get(collection, 1) + count):
            row = makers[collection](rng, number)
            created = START + rng.randrange(YEAR_SECONDS) * TICKS + _fraction(rng)
            _stamp(row, created, created + rng.randrange(60 * 86_400) * TICKS + rng.randrange(TICKS))
            made.append(row)
        _tie(made)
        return Table(RESOURCES[collection], made)

    counts = dict.fromkeys(RESOURCES, rows) | {"orderlines": rows * 2, "contactmergerequests": 0}
    tables = Tables({name: (count, partial(table, name, count)) for name, count in counts.items()})
    return Dataset(tables, new_row, seed, LATEST)


def _fraction(rng: Random) -> int:
    """Ticks within a second that print with 7, 3, 1 or no digits."""
    return rng.randrange(TICKS) // (step := rng.choice((1, 1, TICKS_PER_MS, TICKS // 10, TICKS))) * step


def _stamp(row: Row, created: int, modified: int) -> None:
    row.values["CreatedDateTime"] = Instant(created)
    row.values["LastModifiedDateTime"] = Instant(modified)


def _tie(rows: list[Row]) -> None:
    """Make the difficult moments. They are at or behind the latest of the group: never before a row's creation."""
    by_time = sorted(rows, key=lambda row: (_modified(row), row.number))
    for first, last in TIES:
        group = by_time[first:last]
        for row in group:
            row.values["LastModifiedDateTime"] = Instant(_modified(group[-1]))
    for first, last in NEAR_TIES:
        group = by_time[first:last]
        base = (_modified(group[-1]) // TICKS_PER_MS + 1) * TICKS_PER_MS if group else 0
        for place, row in enumerate(group):
            row.values["LastModifiedDateTime"] = Instant(base + place * 7)


def _modified(row: Row) -> int:
    value = row.values["LastModifiedDateTime"]
    assert isinstance(value, Instant)
    return int(value)


def _makers(rows: int) -> dict[str, Callable[[Random, int], Row]]:
    """How a row of each collection is made, without its two timestamps; references point into `rows` rows."""

    def some(rng: Random, collection: str) -> int:
        return FIRST[collection] + rng.randrange(max(rows, 1))

    def registration(rng: Random, number: int) -> Row:
        references = {"Contact": some(rng, "contacts"), "Event": some(rng, "events")}
        return Row(number, _registration_values(rng, number), references)

    def order(rng: Random, number: int) -> Row:
        return Row(number, _order_values(rng, number), {"BillToContact": some(rng, "contacts")})

    def line(rng: Random, number: int) -> Row:
        references = {"Order": some(rng, "orders"), "Registration": some(rng, "registrations")}
        return Row(number, _line_values(rng, number), references)

    return {
        "events": lambda rng, number: Row(number, _event_values(rng, number)),
        "registrations": registration,
        "contacts": lambda rng, number: Row(number, _contact_values(rng, number)),
        "orders": order,
        "orderlines": line,
    }


def _unique(rng: Random) -> str:
    return str(uuid.UUID(int=rng.getrandbits(128), version=4))


def _event_values(rng: Random, number: int) -> dict[str, Value]:
    begin = START + rng.randrange(600) * DAY + rng.randrange(17, 28) * 1800 * TICKS
    offset, zone = rng.choice(((780, "NZDT"), (720, "NZST"), (660, "AEDT"), (-210, "NDT"), (0, "GMT")))
    return {
        "EventID": number,
        "UniqueIdentifier": _unique(rng),
        "Code": f"EV-{number:05d}",
        "Name": rng.choice(COURSES),
        "StartDateTime": Local(begin, offset),
        "FinishDateTime": Local(begin + rng.randrange(1, 17) * 1800 * TICKS, offset),
        "StartTimeZoneAbbr": zone,
        "FinishTimeZoneAbbr": zone,
        "Description": rng.choice(("1 day", "2 days", "")),
        "LocationName": rng.choice(PLACES),
        "Status": rng.choice(("Active", "Active", "Completed", "Cancelled", "Draft")),
    }


def _registration_values(rng: Random, number: int) -> dict[str, Value]:
    done = rng.random() < 0.5  # noqa: PLR2004 - a coin
    moment = Instant(START + rng.randrange(YEAR_SECONDS) * TICKS + _fraction(rng))
    values: dict[str, Value] = {
        "RegistrationID": number,
        "UniqueIdentifier": _unique(rng),
        "Attendance": "Attended" if done else "Unknown",
        "Outcome": rng.choice(("Pass", "Fail")) if done else "Unknown",
        "Grade": f"{rng.randrange(40, 101)}%" if done else "",
        "Status": "Completed" if done else rng.choice(("Approved", "PendingApproval", "Cancelled")),
        "ProgressPercent": Decimal("100.0") if done else Decimal(rng.randrange(0, 1000)) / 10,
        "ProgressStatus": "Done" if done else "Started",
        "LastActivityDateTime": moment,
    }
    if done:
        values["CompletedDateTime"] = moment
        values["CertificateSentDateTime"] = Instant(moment + rng.randrange(DAY))
    if rng.randrange(3) == 0:
        values["Comments"] = rng.choice(COMMENTS)
    return values


def _contact_values(rng: Random, number: int) -> dict[str, Value]:
    given, family = rng.choice(GIVEN), rng.choice(FAMILY)
    return {
        "ContactID": number,
        "UniqueIdentifier": _unique(rng),
        "FirstName": given,
        "LastName": family,
        "Email": f"contact{number}@example.org",
        "CodePrimary": f"C{number:06d}",
        "PhoneWork": "",
        "PhoneHome": rng.choice(("", "09 555 0100")),
        "PhoneMobile": f"021 {rng.randrange(1000):03d}",
        "Status": rng.choice(("Active", "Active", "Inactive")),
    }


def _order_values(rng: Random, number: int) -> dict[str, Value]:
    net = Decimal(rng.randrange(1000, 500_000)) / 100
    tax = (net * Decimal("0.15")).quantize(Decimal("0.01"))
    day = START + rng.randrange(300) * DAY
    status = rng.choice(("Approved", "Approved", "Pending", "AwaitingApproval", "Cancelled"))
    values: dict[str, Value] = {
        "OrderID": number,
        "UniqueIdentifier": _unique(rng),
        "Code": f"ORD-{number}",
        "ReferenceCode": f"PO {rng.randrange(1000)}",
        "Date": str(Instant(day))[:10],
        "DueDate": str(Instant(day + 28 * DAY))[:10],
        "LineAmountsTaxInclusive": rng.randrange(4) == 0,
        "ExpectedPaymentMethod": rng.choice(("Account", "CreditCard")),
        "SubTotal": net.quantize(Decimal("0.01")),
        "TotalTax": tax,
        "Total": (net + tax).quantize(Decimal("0.01")),
        "CurrencyCode": rng.choice(("NZD", "AUD", "EUR")),
    }
    if status == "Approved":
        values["ApprovedDateTime"] = Instant(day + rng.randrange(DAY))
    if status == "Cancelled":
        values["CancelledDateTime"] = Instant(day + rng.randrange(DAY))
    return values | {"Status": status}


def _line_values(rng: Random, number: int) -> dict[str, Value]:
    amount, quantity = Decimal(rng.randrange(10_000, 5_000_000)) / 10_000, rng.randrange(1, 6)
    return {
        "OrderLineID": number,
        "LineNumber": number % 3 + 1,
        "Description": rng.choice(COURSES),
        "UnitAmount": amount.quantize(Decimal("0.0001")),
        "Quantity": quantity,
        "TaxAmount": (amount * quantity * Decimal("0.15")).quantize(Decimal("0.01")),
        "LineAmount": (amount * quantity).quantize(Decimal("0.01")),
        "AccountCode": f"{rng.randrange(200, 230)}",
    }
