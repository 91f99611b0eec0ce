"""Suppressions: the addresses to which nothing is sent."""

from strawberry import UNSET

from adapters.storage import messages as ledger
from resolvers.checks import Checks
from resolvers.context import Info
from resolvers.phones import to_e164
from schema.messages import Channel, Suppression

LONGEST_REASON = 255


async def suppress(info: Info, address: str, *, channel: Channel | None = UNSET, reason: str) -> Suppression:
    checks = Checks(at="")
    address = _address(checks, address, channel, info.context.region)
    reason = checks.text("reason", reason, LONGEST_REASON, required=True) or ""
    checks.refuse()
    source = info.context.adapters.storage.messages
    return _to_suppression(await source.suppress(address, _name(channel), reason))


async def unsuppress(info: Info, address: str, channel: Channel | None = UNSET) -> bool:
    """Whether there was such a one."""
    checks = Checks(at="")
    address = _address(checks, address, channel, info.context.region)
    checks.refuse()
    return await info.context.adapters.storage.messages.unsuppress(address, _name(channel))


def _address(checks: Checks, text: str, channel: Channel | None, region: str) -> str:
    """A channel goes by one kind of address; without one, what reads as a phone is a phone."""
    is_phone = channel is not Channel.MESSENGER
    if not channel:
        is_phone = bool(to_e164(text, region)) or not text.isalnum()
    if not is_phone:
        return checks.messenger_id("address", text)
    phone = checks.phone("address", text, region)
    if phone is None:
        checks.wrong("address", "This must not be empty.")
    return phone or ""


def _name(channel: Channel | None) -> str:
    return channel.value if channel else ledger.ANY_CHANNEL


def _to_suppression(suppression: ledger.Suppression) -> Suppression:
    return Suppression(
        address=suppression.address,
        channel=Channel(suppression.channel) if suppression.channel else None,
        reason=suppression.reason,
        created_at=suppression.created_at,
    )
