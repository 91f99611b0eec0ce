"""Forgetting: one person, by any of their keys, taken out of all that was sent, or is to be."""

from collections.abc import AsyncIterator
from typing import NamedTuple

from adapters.errors import Malformed
from adapters.hyber.report import read_reports, without_phones
from adapters.storage.client import Storage
from adapters.storage.directory import Directory, Entry
from adapters.storage.identity import Key
from adapters.storage.traces import REPORTS, Addresses, Emptied, KeptReport
from resolvers.checks import Checks
from resolvers.ids import NotOurs, split_id
from resolvers.merge import ROW
from resolvers.people import By, by_id
from resolvers.phones import to_e164
from resolvers.recipients import MESSENGER, PHONE
from schema.errors import NotFound

ARGUMENT = "customer"
UNKNOWN = "The directory does not know this customer: name the phone, or the Messenger id."


class Somebody(NamedTuple):
    addresses: Addresses
    keys: frozenset[str]
    """As text, in all sources."""


class Traces(NamedTuple):
    """How much of what there is holds something of theirs."""

    messages: int
    reports: int
    lists: int
    """Of broadcasts, in which they were named."""


async def somebody(storage: Storage, region: str, text: str) -> Somebody:
    """As the directory knows them: no source is asked, for what it says would be written down again."""
    by = _read(text, region)
    found = await _entries(storage.directory, by)
    persons = {entry.person for entry in found if entry.person}
    if len(persons) == 1:
        found = [entry for some in (await storage.directory.of_persons(persons)).values() for entry in some]
    elif persons:  # a phone of several: of none of them more is known to be meant
        found = []
    phones = {entry.phone for entry in found if entry.phone}
    keys = {Key(entry.source, entry.key) for entry in found}
    if by.kind == PHONE:
        phones.add(by.value)
    elif by.kind != ROW:
        keys.add(Key("everyprint" if by.kind == MESSENGER else by.kind, by.value))
    messenger_ids = {key.id for key in keys if key.source == "everyprint"}
    addresses = Addresses(frozenset(phones), frozenset(messenger_ids))
    if not found and not addresses:
        raise NotFound({ARGUMENT: UNKNOWN})
    return Somebody(addresses, frozenset(map(str, keys)))


async def traces_of(storage: Storage, of: Somebody) -> Traces:
    reports = 0
    async for some in _reports(storage, of):
        reports += len(some)
    return Traces(await storage.traces.messages(of.addresses), reports, await storage.traces.lists(of.keys))


async def forget(storage: Storage, of: Somebody) -> tuple[Emptied, Traces]:
    """What happened to the messages, and in how much there was something."""
    lists = await storage.traces.unlist(of.keys)  # first, so that nothing new is planned for them
    emptied = await storage.traces.empty_messages(of.addresses)
    reports = 0
    async for some in _reports(storage, of):
        await storage.traces.replace_reports(
            [KeptReport(each.id, without_phones(each.body)) for each in some]
        )
        reports += len(some)
    return emptied, Traces(emptied.messages, reports, lists)


def _read(text: str, region: str) -> By:
    """What reads as a phone is a phone."""
    text = text.strip()
    try:
        split_id(text)
    except NotOurs:
        pass
    else:
        return by_id(text, ARGUMENT)
    if phone := to_e164(text, region):
        return By(PHONE, phone)
    checks = Checks(at="")
    messenger_id = checks.messenger_id(ARGUMENT, text)
    checks.refuse()
    return By(MESSENGER, messenger_id)


async def _entries(directory: Directory, by: By) -> list[Entry]:
    if by.kind == PHONE:
        return (await directory.of_phones([by.value])).get(by.value, [])
    if by.kind == ROW:
        return list((await directory.of_rows([("mercately", int(by.value))])).values())
    source = "everyprint" if by.kind == MESSENGER else by.kind
    return list((await directory.entries([Key(source, by.value)])).values())


async def _reports(storage: Storage, of: Somebody) -> AsyncIterator[list[KeptReport]]:
    """All of their phones, some at a time."""
    digits = {phone.removeprefix("+") for phone in of.addresses.phones}
    last = await storage.traces.last_report() if digits else 0
    for after in range(0, last, REPORTS):
        found = await storage.traces.reports(digits, after)
        if theirs := [each for each in found if _is_of(each.body, of.addresses.phones)]:
            yield theirs


def _is_of(body: bytes, phones: frozenset[str]) -> bool:
    """One that cannot be read is taken for theirs: nobody can apply it either."""
    try:
        return any(report.phone in phones for report in read_reports(body))
    except Malformed:
        return True
