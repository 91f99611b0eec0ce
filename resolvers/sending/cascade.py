"""Cascade: the steps in which a message is tried, channel by channel, until one delivers."""

from collections.abc import Iterable, Sequence

from adapters.storage.messages import ANY_CHANNEL, WantedNothing
from resolvers.sending.body import Channel, Content, Step

NO_PHONE = "There is no phone."
NO_MESSENGER_ID = "There is no Messenger id."
NO_OPT_IN = "The customer has not agreed to WhatsApp."
SUPPRESSED = "The address wants nothing there."


def unreachable(
    channels: Iterable[Channel], *, phone: str | None, messenger_id: str | None, whatsapp_opt_in: bool | None
) -> dict[Channel, str]:
    """The channels on which somebody cannot be reached, and why."""
    reasons = dict[Channel, str]()
    for channel in channels:
        if channel is Channel.MESSENGER:
            if not messenger_id:
                reasons[channel] = NO_MESSENGER_ID
        elif not phone:
            reasons[channel] = NO_PHONE
        elif channel is Channel.WHATSAPP and whatsapp_opt_in is False:
            reasons[channel] = NO_OPT_IN
    return reasons


def suppressed(
    channels: Iterable[Channel],
    wanted_nothing: WantedNothing,
    *,
    phone: str | None,
    messenger_id: str | None,
) -> dict[Channel, str]:
    """The channels on which the addresses want nothing."""
    reasons = dict[Channel, str]()
    for channel in channels:
        address = messenger_id if channel is Channel.MESSENGER else phone
        nothing = wanted_nothing.get(address or "", ())
        if channel.value in nothing or ANY_CHANNEL in nothing:
            reasons[channel] = SUPPRESSED
    return reasons


def steps_of(content: Content, channels: Sequence[Channel]) -> tuple[Step, ...]:
    """Neighbouring channels of Hyber are one step: it has a cascade of its own."""
    steps: list[Step] = []
    for channel in channels:
        source = _source(content, channel)
        if steps and source == steps[-1].source == "hyber":
            steps[-1] = Step(source, (*steps[-1].channels, channel))
        else:
            steps.append(Step(source, (channel,)))
    return tuple(steps)


def _source(content: Content, channel: Channel) -> str:
    if channel is Channel.MESSENGER:
        return "chatfuel"
    return "hyber" if content.option(channel) else "mercately"
