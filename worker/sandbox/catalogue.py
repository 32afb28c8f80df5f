"""The resources that the API offers: their fields in the order of the document, their links, their scopes."""

from __future__ import annotations

from worker.sandbox.tables import Relation, Resource

EVENTS = Resource(
    name="Event",
    collection="events",
    element="Events",
    key="EventID",
    fields={
        "EventID": "number",
        "UniqueIdentifier": "text",
        "Code": "text",
        "Name": "text",
        "StartDateTime": "local",
        "FinishDateTime": "local",
        "StartTimeZoneAbbr": "text",
        "FinishTimeZoneAbbr": "text",
        "Description": "text",
        "LocationName": "text",
        "Status": "text",
        "CreatedDateTime": "instant",
        "LastModifiedDateTime": "instant",
    },
    relations=(Relation("Registrations", "registrations", many=True, back="Event", segment="registrations"),),
    scope="events",
    revised="Description",
    place="events/{number}/",
)

REGISTRATIONS = Resource(
    name="Registration",
    collection="registrations",
    element="Registrations",
    key="RegistrationID",
    fields={
        "RegistrationID": "number",
        "UniqueIdentifier": "text",
        "Attendance": "text",
        "Outcome": "text",
        "Grade": "text",
        "Status": "text",
        "ProgressPercent": "number",
        "ProgressStatus": "text",
        "LastActivityDateTime": "instant",
        "CompletedDateTime": "instant",
        "CertificateSentDateTime": "instant",
        "Comments": "text",
        "CreatedDateTime": "instant",
        "LastModifiedDateTime": "instant",
    },
    relations=(Relation("Contact", "contacts"), Relation("Event", "events")),
    scope="registrations",
    revised="Grade",
    place="registrations/{number}/",
)

CONTACTS = Resource(
    name="Contact",
    collection="contacts",
    element="Contacts",
    key="ContactID",
    fields={
        "ContactID": "number",
        "UniqueIdentifier": "text",
        "FirstName": "text",
        "LastName": "text",
        "Email": "text",
        "CodePrimary": "text",
        "PhoneWork": "text",
        "PhoneHome": "text",
        "PhoneMobile": "text",
        "Status": "text",
        "CreatedDateTime": "instant",
        "LastModifiedDateTime": "instant",
    },
    relations=(Relation("Registrations", "registrations", many=True, back="Contact", segment="registrations"),),
    scope="contacts",
    revised="PhoneMobile",
    place="contacts/{number}/",
)

ORDERS = Resource(
    name="Order",
    collection="orders",
    element="Orders",
    key="OrderID",
    fields={
        "OrderID": "number",
        "UniqueIdentifier": "text",
        "Code": "text",
        "ReferenceCode": "text",
        "Date": "text",
        "DueDate": "text",
        "LineAmountsTaxInclusive": "flag",
        "ExpectedPaymentMethod": "text",
        "SubTotal": "number",
        "TotalTax": "number",
        "Total": "number",
        "CurrencyCode": "text",
        "ApprovedDateTime": "instant",
        "MarkedAsInvoiceSentDateTime": "instant",
        "MarkedAsPaidDateTime": "instant",
        "CancelledDateTime": "instant",
        "Status": "text",
        "CreatedDateTime": "instant",
        "LastModifiedDateTime": "instant",
    },
    relations=(
        Relation("BillToContact", "contacts"),
        Relation("Lines", "orderlines", many=True, back="Order", segment="lines"),
    ),
    scope="",
    revised="ReferenceCode",
    place="orders/{number}/",
)

ORDER_LINES = Resource(
    name="OrderLine",
    collection="orderlines",
    element="OrderLines",
    key="OrderLineID",
    fields={
        "OrderLineID": "number",
        "LineNumber": "number",
        "Description": "text",
        "UnitAmount": "number",
        "Quantity": "number",
        "DiscountAmount": "number",
        "TaxAmount": "number",
        "LineAmount": "number",
        "AccountCode": "text",
    },
    relations=(Relation("Order", "orders"), Relation("Registration", "registrations")),
    scope="",
    revised="Description",
    place="orders/{Order}/lines/{number}/",
    part_of="Order",
)

MERGE_REQUESTS = Resource(
    name="ContactMergeRequest",
    collection="contactmergerequests",
    element="ContactMergeRequests",
    key="RequestID",
    fields={
        "RequestID": "text",
        "SourceContactInfo": "group",
        "DestinationContactInfo": "group",
        "CreatedDateTime": "local",
    },
    relations=(),
    scope="contacts",
    revised="",
    place="contactmergerequests/{key}/",
)

RESOURCES = {one.collection: one for one in (EVENTS, REGISTRATIONS, CONTACTS, ORDERS, ORDER_LINES, MERGE_REQUESTS)}
#: Collections at the root; order lines are reached through their order only.
AT_ROOT = ("events", "registrations", "contacts", "orders", "contactmergerequests")
