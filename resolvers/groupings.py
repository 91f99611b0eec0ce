"""Groupings: what is written of a group, at Poster or here."""

from decimal import Decimal
from typing import Any

import strawberry
import structlog
from msgspec.structs import replace
from strawberry import UNSET

from adapters.errors import SourceError, Unacceptable
from adapters.poster.client import Poster
from adapters.storage import everyprint
from adapters.storage.identity import Key
from resolvers.changes import refusal
from resolvers.checks import Checks, given
from resolvers.context import Context, Info
from resolvers.groups import as_it_is_now, group_key
from schema.errors import Conflict, NotFound, Refusal
from schema.groups import CreateGroupInput, Group, LoyaltyInput, LoyaltyType, RemovedGroup, UpdateGroupInput

LONGEST_NAMES = {"everyprint": 128, "poster": 255}
UNKNOWN = "There is no such group."

_TYPES = {LoyaltyType.BONUS: 1, LoyaltyType.DISCOUNT: 2}
_HUNDREDTH = Decimal("0.01")

log = structlog.get_logger("switchboard.groupings")


async def create_group(info: Info, input: CreateGroupInput) -> Group:
    adapters, source = info.context.adapters, input.source.value
    checks = Checks()
    if source not in LONGEST_NAMES:
        checks.wrong("source", "Groups are at POSTER or, kept here, at EVERYPRINT.")
    if source == "poster" and not input.loyalty:
        checks.wrong("loyalty", "A group at Poster does not go without this.")
    said = _said(checks, source, input, adapters.poster)
    checks.refuse()
    try:
        if source == "poster":
            id = await adapters.poster.create_group(**{"birthday_bonus": Decimal(0)} | said)
        else:
            id = (await adapters.storage.everyprint.create_group(**said)).id
    except (Unacceptable, everyprint.Refused) as error:
        raise _refusal(error) from error
    return await as_it_is_now(info.context, Key(source, str(id)))


async def update_group(info: Info, id: strawberry.ID, input: UpdateGroupInput) -> Group:
    adapters, key = info.context.adapters, group_key(id)
    checks = Checks()
    if input.name is UNSET and input.loyalty is UNSET:
        checks.wrong("", "Say what to change.")
    if input.loyalty is None:
        checks.wrong("loyalty", "No loyalty scheme can be taken away: leave this out.")
    said = _said(checks, key.source, input, adapters.poster)
    checks.refuse()
    try:
        if key.source == "poster":
            await _update_at_poster(adapters.poster, int(key.id), said)
        else:
            await adapters.storage.everyprint.rename_group(int(key.id), **said)
    except (Unacceptable, everyprint.Refused) as error:
        raise _refusal(error) from error
    return await as_it_is_now(info.context, key)


async def remove_group(info: Info, id: strawberry.ID, confirm_customer_count: int) -> RemovedGroup:
    key, count = group_key(id), confirm_customer_count
    if key.source == "poster":
        await _remove_at_poster(info.context, key, count)
        return RemovedGroup(id=id, customers_removed=count)
    try:
        await info.context.adapters.storage.everyprint.remove_group(int(key.id), count)
    except everyprint.OtherSize as error:
        raise _other_count(error.size, "it") from error
    except everyprint.NotFound as error:
        raise NotFound({"id": UNKNOWN}) from error
    return RemovedGroup(id=id, customers_removed=0)


def _said(
    checks: Checks, source: str, input: CreateGroupInput | UpdateGroupInput, poster: Poster
) -> dict[str, Any]:
    """What is to be written, by the names of Poster's groups."""
    name = checks.text("name", input.name, LONGEST_NAMES.get(source, 255), required=True)
    if input.loyalty and source == "everyprint":
        checks.wrong("loyalty", "A group kept here has no loyalty scheme: leave this out.")
    elif input.loyalty:
        return given(name=name, **_loyalty(checks, input.loyalty, poster))
    return given(name=name)


def _loyalty(checks: Checks, loyalty: LoyaltyInput, poster: Poster) -> dict[str, Any]:
    percent, bonus = loyalty.percent, loyalty.birthday_bonus
    if not 0 <= percent <= 100 or percent != percent.quantize(_HUNDREDTH):
        checks.wrong("loyalty.percent", "A percentage is from 0 to 100, of at most 2 decimals.")
    if loyalty.type is LoyaltyType.DISCOUNT:
        if bonus:
            checks.wrong("loyalty.birthdayBonus", "Only where bonuses are saved up: leave this out.")
        bonus = Decimal(0)
    elif bonus is not UNSET:
        bonus = bonus or Decimal(0)
        if bonus < 0:
            checks.wrong("loyalty.birthdayBonus", "This must be 0 or more.")
        elif not poster.keeps(bonus):
            checks.wrong("loyalty.birthdayBonus", "Poster does not keep this exactly: give fewer digits.")
    return {"loyalty_type": _TYPES[loyalty.type], "percent": percent, "birthday_bonus": bonus}


async def _update_at_poster(poster: Poster, id: int, said: dict[str, Any]) -> None:
    group = await poster.group(id)
    if group is None:
        raise NotFound({"id": UNKNOWN})
    new = replace(group, **said)
    if not await poster.update_group(id, new.name, new.loyalty_type, new.percent, new.birthday_bonus):
        raise NotFound({"id": UNKNOWN})


async def _remove_at_poster(context: Context, key: Key, count: int) -> None:
    poster, id = context.adapters.poster, int(key.id)
    group = await poster.group(id)
    if group is None:
        raise NotFound({"id": UNKNOWN})
    if group.customer_count != count:
        raise _other_count(group.customer_count, "it and them, for good")
    if not await poster.remove_group(id):
        raise NotFound({"id": UNKNOWN})
    try:
        await context.adapters.storage.directory.remove_group(key)
    except SourceError as error:  # the next pass finds that they are gone
        log.warning("the directory did not forget who was removed", code=error.code)


def _other_count(count: int, what: str) -> Conflict:
    sentence = f"The group has {count} customers: repeat this number to remove {what}."
    return Conflict({"confirmCustomerCount": sentence}, customerCount=count)


def _refusal(error: Unacceptable | everyprint.Refused) -> Refusal:
    if isinstance(error, Unacceptable):
        return refusal(error, {"name": "input.name"})
    if isinstance(error, everyprint.NameTaken):
        return Conflict({"input.name": "Another group has this name."})
    return NotFound({"id": UNKNOWN})
