"""Body: what a message says and by which steps, frozen when it was accepted."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

import msgspec

from adapters.hyber.message import Option, Push, Sms, Viber, Whatsapp


class Channel(StrEnum):
    PUSH = "push"
    VIBER = "viber"
    WHATSAPP = "whatsapp"
    SMS = "sms"
    MESSENGER = "messenger"


class Template(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of WhatsApp, as Mercately sends it."""

    id: str
    parameters: tuple[str, ...]
    agent_id: int | None = None
    tags: Mapping[str, bool] | None = None
    details: Mapping[str, str] | None = None


class Content(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is said on each channel; on WhatsApp a template or a text of a session, not both."""

    push: Push | None = None
    viber: Viber | None = None
    sms: Sms | None = None
    whatsapp: Whatsapp | None = None
    template: Template | None = None
    messenger: str | None = None

    def says_on(self, channel: Channel) -> bool:
        if channel is Channel.WHATSAPP and self.template:
            return True
        return getattr(self, channel.value) is not None

    def option(self, channel: Channel) -> Option | None:
        """What Hyber is to say there."""
        if channel is Channel.MESSENGER or (channel is Channel.WHATSAPP and self.template):
            return None
        option: Option | None = getattr(self, channel.value)
        return option


class Step(msgspec.Struct, frozen=True):
    """What one vendor is asked for at once."""

    source: str
    channels: tuple[Channel, ...]
    """In the order of fallback."""


class Body(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Of a message whose recipient was forgotten there is nothing."""

    content: Content = Content()
    channels: tuple[Channel, ...] = ()
    """As they were asked for."""
    steps: tuple[Step, ...] = ()
    """By those channels on which the recipient can be reached."""
    text: str | None = None
    """As a person reads it."""
    tag: str | None = None
    division_code: str | None = None


def text_of(content: Content, channels: Iterable[Channel], of_template: str | None = None) -> str | None:
    """As a person reads it, on the first of the channels that has a text."""
    for channel in channels:
        if option := content.option(channel):
            text = option.text
        else:
            text = content.messenger if channel is Channel.MESSENGER else of_template
        if text:
            return text
    return None


write_body = msgspec.json.Encoder().encode
read_body = msgspec.json.Decoder(Body).decode
