"""Letter: what a broadcast says, and what that is for each of those who get it."""

from collections.abc import Callable, Mapping

import msgspec
from msgspec.structs import replace

from adapters.storage.audience import Part, read_part
from adapters.storage.broadcasts import Broadcast, Broadcasts
from adapters.storage.messages import ALONE, Message
from resolvers.sending.body import Body, Channel, Content, read_body, text_of
from resolvers.sending.cascade import steps_of
from resolvers.sending.placeholders import fill

MOST_KNOWN = 100


class Letter(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    content: Content
    """With placeholders."""
    channels: tuple[Channel, ...]
    template_text: str | None = None
    """What the WhatsApp template says."""
    tag: str | None = None
    division_code: str | None = None

    def to(self, part: Part) -> Body:
        """For one recipient; for one who was forgotten nothing is left."""
        if part.channels is None:
            return Body(tag=self.tag)
        channels = tuple(Channel(channel) for channel in part.channels)
        content = _each_text(self.content, lambda text: fill(text, part.values))
        of_template = None if self.template_text is None else fill(self.template_text, part.values)
        return Body(
            content=content,
            channels=self.channels,
            steps=steps_of(content, channels),
            text=text_of(content, channels or self.channels, of_template),
            tag=self.tag,
            division_code=self.division_code,
        )


class Letters:
    """Those of which this process sends, or tells; a broadcast never changes what it says."""

    def __init__(self, broadcasts: Broadcasts) -> None:
        self._broadcasts = broadcasts
        self._known: dict[int, tuple[Broadcast, Letter]] = {}

    async def of(self, broadcast_id: int) -> tuple[Broadcast, Letter]:
        if broadcast_id not in self._known:
            broadcast = (await self._broadcasts.of([broadcast_id]))[broadcast_id]
            if len(self._known) >= MOST_KNOWN:
                self._known.pop(next(iter(self._known)))
            self._known[broadcast_id] = broadcast, read_letter(broadcast.body)
        return self._known[broadcast_id]

    async def body_of(self, message: Message) -> Body:
        if message.broadcast_id == ALONE:
            return read_body(message.body)
        _, letter = await self.of(message.broadcast_id)
        return letter.to(read_part(message.body))

    async def own_rate(self, broadcast_id: int) -> tuple[int, float] | None:
        """The broadcast, and how many messages a second it may send, if it said so."""
        if broadcast_id == ALONE:
            return None
        broadcast, _ = await self.of(broadcast_id)
        return (broadcast_id, broadcast.rate_per_second) if broadcast.rate_per_second else None


write_letter = msgspec.json.Encoder().encode
read_letter = msgspec.json.Decoder(Letter).decode


def texts_of(content: Content) -> Mapping[str, str]:
    """All that may hold placeholders, by where it was said."""
    texts = {
        f"{name}.text": option.text
        for name in ("push", "viber", "sms", "whatsapp")
        if (option := getattr(content, name)) and option.text
    }
    if content.messenger:
        texts["messenger.text"] = content.messenger
    for index, parameter in enumerate(content.template.parameters if content.template else ()):
        texts[f"template.parameters.{index}"] = parameter
    return texts


def _each_text(content: Content, change: Callable[[str], str]) -> Content:
    said = {
        name: replace(option, text=change(option.text))
        for name in ("push", "viber", "sms", "whatsapp")
        if (option := getattr(content, name)) and option.text
    }
    if content.messenger:
        said["messenger"] = change(content.messenger)
    if content.template:
        parameters = tuple(change(parameter) for parameter in content.template.parameters)
        said["template"] = replace(content.template, parameters=parameters)
    return replace(content, **said)
