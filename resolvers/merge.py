"""Merge: one customer, of what every source says of a person."""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec

from adapters.mercately import client as mercately
from adapters.poster import client as poster
from adapters.storage import everyprint
from adapters.storage.directory import Entry
from adapters.storage.identity import Key, order
from resolvers.ids import to_id
from resolvers.phones import to_e164
from schema.customers import (
    Address,
    Customer,
    CustomField,
    Gender,
    Identification,
    IdentificationType,
    MarketplaceProfile,
    Tag,
)
from schema.scalars import PhoneNumber
from schema.sources import Source

Said = dict[str, Any]
"""Fields of a Customer, those that a source knows something of."""

ROW = "mercately-row"
"""The source, so to speak, of whom only conversations have told yet: the key is Mercately's row."""

_SOURCES = {source.value: source for source in Source}
_GENDERS = {everyprint.Gender.MALE: Gender.MALE, everyprint.Gender.FEMALE: Gender.FEMALE}
_SEXES = {1: Gender.MALE, 2: Gender.FEMALE}
_IDENTIFICATIONS = {each.value: each for each in IdentificationType}


def to_customer(
    entries: Sequence[Entry], as_of: datetime | None = None, gap: Exception | None = None
) -> Customer:
    """All entries of one person; where sources differ, the first in the order of identity is right."""
    by_key = {Key(entry.source, entry.key): entry for entry in entries}
    keys = sorted(by_key, key=order) if len(by_key) > 1 else list(by_key)
    entries = [by_key[key] for key in keys]
    said: Said = {}
    for entry in reversed(entries):
        for field, value in _READERS[entry.source](entry).items():
            if value or value is False:
                said[field] = value
    member_keys = [f"{source}:{id}" for source, id in keys]
    return Customer(
        id=to_id("Customer", entries[0].person or member_keys[0]),
        sources=[_SOURCES[source] for source in dict.fromkeys([key.source for key in keys])],
        as_of=as_of or _as_of(entries),
        member_keys=tuple(member_keys),
        group_keys=tuple([f"{entry.source}:{entry.group_key}" for entry in entries if entry.group_key]),
        row_ids=tuple([entry.row_number for entry in entries if entry.row_number]),
        phones=tuple(dict.fromkeys([entry.phone for entry in entries if entry.phone])),
        messenger_ids=tuple([entry.key for entry in entries if entry.source == "everyprint"]),
        gap=gap,
        **said,
    )


def to_customer_as_told(row: mercately.Conversation, region: str) -> Customer:
    """Of somebody whom the directory does not know yet; the id will lead to them when it does."""
    phone = to_e164(row.phone, region)
    return Customer(
        id=to_id("Customer", f"{ROW}:{row.customer_row_id}"),
        sources=[Source.MERCATELY],
        as_of=datetime.now(UTC),
        member_keys=(),
        group_keys=(),
        row_ids=(row.customer_row_id,) if row.customer_row_id else (),
        phones=(phone,) if phone else (),
        messenger_ids=(),
        first_name=row.first_name,
        last_name=row.last_name,
        email=row.email,
        phone=PhoneNumber(phone) if phone else None,
    )


def _as_of(entries: Sequence[Entry]) -> datetime:
    """Our own tables are never behind."""
    mirrored = [entry.as_of for entry in entries if entry.source != "everyprint"]
    return datetime.fromtimestamp(min(mirrored) / 1000, UTC) if mirrored else datetime.now(UTC)


def _everyprint(entry: Entry) -> Said:
    row = _read_everyprint(entry.profile)
    return {
        "messenger_id": row.messenger_id,
        "first_name": row.first_name,
        "last_name": row.last_name,
        "gender": None if row.gender is None else _GENDERS[row.gender],
        "email": row.email,
        "phone": row.phone_e164,
    }


def _mercately(entry: Entry) -> Said:
    row = _read_mercately(entry.profile)
    identified = row.id_type or row.id_number
    placed = row.address or row.city or row.state or row.zip_code or row.country
    selling = row.meli_customer_id or row.meli_nickname
    return {
        "first_name": row.first_name,
        "last_name": row.last_name,
        "email": row.email,
        "phone": entry.phone,
        "whatsapp_name": row.whatsapp_name,
        "whatsapp_opt_in": row.whatsapp_opt_in,
        "identification": identified and Identification(type=_document(row.id_type), number=row.id_number),
        "address": placed
        and Address(
            street=row.address,
            city=row.city,
            state=row.state,
            zip_code=row.zip_code,
            country_code=row.country,
        ),
        "marketplace": selling
        and MarketplaceProfile(
            customer_id=str(row.meli_customer_id) if row.meli_customer_id else None,
            nickname=row.meli_nickname,
        ),
        "notes": row.notes,
        "tags": [Tag(id=to_id("Tag", tag.id), name=tag.name) for tag in row.tags or ()],
        "custom_fields": [
            CustomField(name=field.name, content=field.content) for field in row.custom_fields or ()
        ],
    }


def _document(kind: str | None) -> IdentificationType | None:
    """A kind that they have added since is some other kind."""
    return _IDENTIFICATIONS.get(kind, IdentificationType.OTRO) if kind else None


def _poster(entry: Entry) -> Said:
    row = _read_poster(entry.profile)
    return {
        "first_name": row.first_name,
        "last_name": row.last_name,
        "gender": _SEXES.get(row.sex or 0),
        "email": row.email,
        "phone": entry.phone,
        "address": (row.address or row.city) and Address(street=row.address, city=row.city),
        "notes": row.comment,
        "birthday": row.birthday,
    }


class _KeptByMercately(mercately.Customer, frozen=True, kw_only=True):
    def __post_init__(self) -> None:
        """It was tidied before it was kept."""


class _KeptByPoster(poster.Client, frozen=True):
    def __post_init__(self) -> None:
        """As well."""


_read_everyprint = msgspec.json.Decoder(everyprint.Customer).decode
_read_mercately = msgspec.json.Decoder(_KeptByMercately).decode
_read_poster = msgspec.json.Decoder(_KeptByPoster).decode
_READERS: Mapping[str, Callable[[Entry], Said]] = {
    "everyprint": _everyprint,
    "mercately": _mercately,
    "poster": _poster,
}
