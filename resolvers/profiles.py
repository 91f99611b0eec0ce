"""Profiles: what is written of a customer, in one source or in every one that knows them."""

from collections.abc import Awaitable, Collection, Iterable, Mapping
from contextlib import suppress
from typing import Any

import msgspec
import strawberry
from phonenumbers import country_code_for_region
from strawberry import UNSET

from adapters.errors import SourceError, Unacceptable
from adapters.mercately import client as mercately
from adapters.storage import everyprint
from adapters.storage.directory import Entry
from adapters.storage.identity import Key
from resolvers.changes import all_written, refusal, taken_at
from resolvers.checks import Checks, given
from resolvers.context import Context, Info
from resolvers.customers import as_it_is_now
from resolvers.ids import number_of
from resolvers.mirror import mercately_entry, now
from resolvers.people import By, Person, by_id, pass_on, person_now, person_of
from schema.customers import (
    AddressInput,
    CreateCustomerInput,
    Customer,
    Gender,
    SaveCustomerInput,
    UpdateCustomerInput,
)
from schema.errors import BadInput, Conflict, NotFound

LONGEST_NAME = 50
"""Of everyprint."""
LONGEST_TEXT, LONGEST_NOTES, LONGEST_TAG = 255, 5_000, 255
"""Of the vendors, who say nothing of it: what they certainly keep."""
MOST_TAGS = 50

_GENDERS = {Gender.MALE: everyprint.Gender.MALE, Gender.FEMALE: everyprint.Gender.FEMALE}
_SEXES = {Gender.MALE: 1, Gender.FEMALE: 2}

_ARGUMENTS = {
    "first_name": "firstName",
    "last_name": "lastName",
    "gender": "gender",
    "email": "email",
    "phone": "phone",
    "notes": "notes",
    "address": "address.street",
    "city": "address.city",
    "state": "address.state",
    "zip_code": "address.zipCode",
    "agent_id": "agentId",
}
"""Where what we call so, as Mercately does, comes from."""
_KEPT: Mapping[str, Mapping[str, str]] = {
    "everyprint": {
        "first_name": "first_name",
        "last_name": "last_name",
        "gender": "gender",
        "email": "email",
        "phone": "phone_e164",
    },
    "mercately": {name: name for name in _ARGUMENTS if name != "gender"},
    "poster": {
        "first_name": "first_name",
        "last_name": "last_name",
        "gender": "sex",
        "email": "email",
        "phone": "phone",
        "notes": "comment",
        "address": "address",
        "city": "city",
    },
}
"""What each source keeps, and by which name."""


async def save_customer(info: Info, input: SaveCustomerInput) -> Customer:
    saved = await save(info.context.adapters.storage.everyprint, info.context.region, input)
    return await as_it_is_now(info.context, By("everyprint", saved.messenger_id))


async def save(
    storage: everyprint.Everyprint, region: str, input: SaveCustomerInput, checks: Checks | None = None
) -> everyprint.Customer:
    """Who is saved again keeps what is not said this time; `checks` may know of something wrong already."""
    checks = checks or Checks()
    messenger_id = checks.messenger_id("messengerId", input.messenger_id)
    last_name = checks.text("lastName", input.last_name, LONGEST_NAME, required=True) or ""
    said = {
        "first_name": checks.text("firstName", input.first_name, LONGEST_NAME),
        "phone_e164": checks.phone("phone", input.phone, region),
        "email": checks.email("email", input.email),
    }
    checks.refuse()
    return await storage.save_customer(
        messenger_id, last_name, gender=_GENDERS[input.gender], **given(**said)
    )


async def create_customer(info: Info, input: CreateCustomerInput) -> Customer:
    checks = Checks()
    profile = _profile(checks, input, info.context.region)
    tags = checks.texts("tags", input.tags, LONGEST_TAG, MOST_TAGS)
    if not (profile.get("email") or profile.get("phone")):
        checks.wrong("email", "Mercately needs an e-mail or a phone.")
    checks.refuse()
    await refuse_unknown(info.context, checks, profile, tags)
    await _refuse_taken(info.context, profile)
    adapters = info.context.adapters
    try:
        created = await adapters.mercately.create_customer(_without_nothing(profile), tags.values())
    except Unacceptable as error:
        raise refusal(error, _paths()) from error
    await pass_on(adapters, [mercately_entry(created, info.context.region, now())])
    return await as_it_is_now(info.context, By("mercately", created.id))


async def update_customer(info: Info, id: strawberry.ID, input: UpdateCustomerInput) -> Customer:
    context, by = info.context, by_id(id, "id")
    checks = Checks()
    profile = _profile(checks, input, context.region)
    tags = _changed_tags(checks, input)
    if not (profile or tags):
        checks.wrong("", "Say what to change.")
    checks.refuse()
    person = await person_of(context, id, "id")
    _refuse_unkept(checks, person, profile, tags)
    checks.refuse()
    await refuse_unknown(context, checks, profile, {path: name for path, (name, _) in tags.items()})
    if person.in_("mercately"):
        await _refuse_taken(context, profile, person.keys)
    try:
        await all_written(dict(_changes(context, person, profile, dict(tags.values()))))
    except Exception:
        with suppress(SourceError, NotFound):  # what was written is to be seen in the lists too
            await person_now(context, by)
        raise
    return await as_it_is_now(info.context, by)


# What is wrong with it


def _profile(checks: Checks, input: CreateCustomerInput | UpdateCustomerInput, region: str) -> dict[str, Any]:
    """What is said of the person, by our names, which are Mercately's."""
    address = AddressInput() if input.address is UNSET else input.address
    if address is None:  # all of it is taken away
        address = AddressInput(street=None, city=None, state=None, zip_code=None)
    return given(
        first_name=checks.text("firstName", input.first_name, LONGEST_TEXT, required=True),
        last_name=checks.text("lastName", input.last_name, LONGEST_TEXT, required=True),
        gender=getattr(input, "gender", UNSET),
        email=checks.email("email", input.email),
        phone=checks.phone("phone", input.phone, region),
        notes=checks.text("notes", input.notes, LONGEST_NOTES, lines=True),
        address=checks.text("address.street", address.street, LONGEST_TEXT),
        city=checks.text("address.city", address.city, LONGEST_TEXT),
        state=checks.text("address.state", address.state, LONGEST_TEXT),
        zip_code=checks.text("address.zipCode", address.zip_code, LONGEST_TEXT),
        agent_id=_agent_id(checks, input.agent_id),
    )


def _agent_id(checks: Checks, id: str | None) -> Any:
    if id is UNSET:
        return UNSET
    if id is None:
        checks.wrong("agentId", "Mercately takes no agent away: name another one, or leave this out.")
        return None
    try:
        return number_of(id, "Agent", "agentId")
    except BadInput as error:
        checks.wrong("agentId", str(error))
        return None


def _changed_tags(checks: Checks, input: UpdateCustomerInput) -> dict[str, tuple[str, bool]]:
    """By the place of its argument, each tag and whether it is added."""
    added = checks.texts("addTags", input.add_tags or (), LONGEST_TAG, MOST_TAGS)
    removed = checks.texts("removeTags", input.remove_tags or (), LONGEST_TAG, MOST_TAGS)
    for place, tag in removed.items():
        if tag in added.values():
            checks.wrong(place, "This tag is to be added, too.")
    return {place: (tag, True) for place, tag in added.items()} | {
        place: (tag, False) for place, tag in removed.items()
    }


def _refuse_unkept(checks: Checks, person: Person, profile: Mapping[str, Any], tags: Iterable[str]) -> None:
    """What none of the sources that know the person keeps, or not like this."""
    sources = {entry.source for entry in person.entries}
    titles = ", ".join(sorted(sources))
    for name in profile:
        if not any(name in _KEPT[source] for source in sources):
            checks.wrong(_ARGUMENTS[name], f"Nobody who knows this customer keeps it: they are in {titles}.")
    if "mercately" not in sources:
        for path in tags:
            checks.wrong(path, f"Only Mercately has tags: this customer is in {titles}.")
    if "everyprint" in sources:
        for name in ("first_name", "last_name"):
            checks.text(_ARGUMENTS[name], profile.get(name, UNSET), LONGEST_NAME)
    for entry in person.in_("mercately")[:1]:
        country = msgspec.json.decode(entry.profile, type=mercately.Customer).country
        phone, code = profile.get("phone"), country and country_code_for_region(country.upper())
        if phone and code and not phone.startswith(f"+{code}"):
            checks.wrong(
                "phone", f"Mercately has this customer in {country}, and would put +{code} before this."
            )


async def refuse_unknown(
    context: Context, checks: Checks, profile: Mapping[str, Any], tags: Mapping[str, str]
) -> None:
    """The agents and tags that Mercately does not know: it would ignore them without a word."""
    adapters = context.adapters
    if "agent_id" in profile and profile["agent_id"] not in await adapters.mercately.agents():
        checks.wrong("agentId", "There is no such agent.")
    known = await adapters.storage.directory.tags_among(tags.values()) if tags else set()
    for path, name in tags.items():
        if name not in known:
            checks.wrong(
                path,
                "Nobody at Mercately has this tag, as far as the directory knows: see how it is spelled.",
            )
    checks.refuse()


async def _refuse_taken(context: Context, profile: Mapping[str, Any], own: Collection[Key] = ()) -> None:
    """Mercately keeps phones unique as they are spelled, and would take the same one spelled otherwise."""
    if phone := profile.get("phone"):
        entries = (await context.adapters.storage.directory.of_phones([phone])).get(phone, ())
        if any(entry.source == "mercately" and Key(entry.source, entry.key) not in own for entry in entries):
            raise Conflict({"input.phone": taken_at("mercately")})


# How it is written


def _changes(
    context: Context, person: Person, profile: Mapping[str, Any], tags: Mapping[str, bool]
) -> Iterable[tuple[str, Awaitable[object]]]:
    """One change for each source that knows the person and keeps something of it, by the source's name."""
    for source, write in _WRITERS.items():
        for entry in person.in_(source)[:1]:
            said = {_KEPT[source][name]: value for name, value in profile.items() if name in _KEPT[source]}
            those = tags if source == "mercately" else {}
            if said or those:
                yield source.upper(), write(context, entry, said, those)


async def _change_in_everyprint(
    context: Context, entry: Entry, said: dict[str, Any], _: Mapping[str, bool]
) -> None:
    if gender := said.get("gender"):
        said["gender"] = _GENDERS[gender]
    if email := said.get("email"):
        said["email"] = email.lower()
    try:
        await context.adapters.storage.everyprint.change_customer(entry.key, said)
    except everyprint.NotFound as error:
        raise _gone("everyprint") from error


async def _change_in_mercately(
    context: Context, entry: Entry, said: dict[str, Any], tags: Mapping[str, bool]
) -> None:
    try:
        if not await context.adapters.mercately.update_customer(entry.key, said, tags):
            raise _gone("Mercately")
    except Unacceptable as error:
        raise refusal(error, _paths()) from error


async def _change_in_poster(
    context: Context, entry: Entry, said: dict[str, Any], _: Mapping[str, bool]
) -> None:
    """The whole client is written, and so read right before."""
    if "sex" in said:
        said["sex"] = _SEXES.get(said["sex"], 0)
    source = context.adapters.poster
    try:
        client = await source.client(int(entry.key))
        if client is None or not await source.update_client(client, **said):
            raise _gone("Poster")
    except Unacceptable as error:
        raise refusal(error, _paths("poster")) from error


_WRITERS = {
    "everyprint": _change_in_everyprint,
    "mercately": _change_in_mercately,
    "poster": _change_in_poster,
}


def _gone(title: str) -> NotFound:
    return NotFound({"id": f"{title} does not know this customer any more."})


def _paths(source: str = "mercately") -> dict[str, str]:
    """From a source's name of a value to where in the input it came from."""
    return {theirs: f"input.{_ARGUMENTS[ours]}" for ours, theirs in _KEPT[source].items()}


def _without_nothing(profile: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in profile.items() if value is not None}
