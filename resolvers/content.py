"""Content: what a message is to say on each channel, checked."""

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any, NamedTuple, TypeAlias

from strawberry import UNSET

from adapters import Adapters
from adapters.chatfuel import client as chatfuel
from adapters.hyber.message import Option, Push, Sms, Viber, Whatsapp
from resolvers.checks import Checks
from resolvers.ids import key_of
from resolvers.sending.body import Channel, Content, Template
from schema import messages as schema
from schema.templates import count_blanks

LONGEST_TEXT = 4_000
"""More than any vendor takes: their own limits say better what is too long for whom."""
LONGEST_PARAMETER, MOST_PARAMETERS = 1_000, 100
DEGREES = "{:.6f}".format
"""Of a place, to a tenth of a metre."""

NO_TITLE = "A push needs a title too: say it under `content.push`."
NO_ALPHA_NAME = "Say whom it comes from, or have SWITCHBOARD_HYBER__ALPHA_NAME set."

Said: TypeAlias = Option | Template | str
"""On one channel."""

_NAMES = {channel: channel.value for channel in Channel}
"""In the order of fallback. To ask an enum costs ten times as much, and every message does."""
_OPTIONS: Mapping[Channel, type[Option]] = {
    Channel.PUSH: Push,
    Channel.VIBER: Viber,
    Channel.WHATSAPP: Whatsapp,
    Channel.SMS: Sms,
}
_OF_A_TEXT: Mapping[Channel, Any] = {
    Channel.VIBER: schema.ViberInput,
    Channel.WHATSAPP: schema.WhatsAppInput,
    Channel.SMS: schema.SmsInput,
    Channel.MESSENGER: schema.MessengerInput,
}
"""What a channel says that has a text and nothing else."""


class Wanted(NamedTuple):
    content: Content
    """On those channels, and on no other."""
    channels: tuple[Channel, ...]
    """In the order of fallback."""


def checked_content(
    checks: Checks, input: schema.ContentInput, asked: Sequence[schema.Channel] | None, alpha_name: str
) -> Wanted:
    """`alpha_name` is for the SMS that does not say whom it comes from."""
    said = dict[Channel, Said]()
    for channel, name in _NAMES.items():
        if own := getattr(input, name):
            said[channel] = _OneChannel(checks, channel, own, alpha_name).said()
    if input.template:
        if Channel.WHATSAPP in said:
            checks.wrong("content.whatsapp", "Either this or a template, not both.")
        said[Channel.WHATSAPP] = _template(checks, input.template)
    wanted = [Channel(channel.value) for channel in asked] if asked else list(_NAMES)
    if text := checks.text("content.text", input.text, LONGEST_TEXT, lines=True):
        for channel, kind in _OF_A_TEXT.items():
            if channel in wanted and channel not in said:
                one = _OneChannel(checks, channel, kind(text=text), alpha_name, shared=True)
                said[channel] = one.said()
    if asked is None or asked is UNSET:
        if not said:
            checks.wrong("content", "Say something: a text, a template, or what each channel is to say.")
        wanted = [channel for channel in _NAMES if channel in said]
    else:
        _refuse_silent(checks, asked, said)
    return Wanted(_content(said, wanted), tuple(wanted))


async def refuse_template(checks: Checks, adapters: Adapters, template: Template) -> str | None:
    """Unless Mercately has such a template; then its text, with blanks."""
    found = (await adapters.mercately.templates()).get(template.id)
    if found is None:
        checks.wrong("content.template.id", "There is no such template.")
        return None
    takes, given = count_blanks(found.text), len(template.parameters)
    if takes != given:
        many = f"{takes} parameter{'' if takes == 1 else 's'}"
        checks.wrong("content.template.parameters", f"This template takes {many}, {given} given.")
        return None
    return found.text


def _refuse_silent(checks: Checks, asked: Sequence[schema.Channel], said: Mapping[Channel, Said]) -> None:
    if not asked:
        checks.wrong("channels", "Name one at least, or leave this out.")
    for index, channel in enumerate(asked):
        if asked.index(channel) < index:
            checks.wrong(f"channels.{index}", "Each channel once.")
        elif Channel(channel.value) not in said:
            is_push = channel is schema.Channel.PUSH
            checks.wrong(f"channels.{index}", NO_TITLE if is_push else "There is nothing to say there.")


def _content(said: Mapping[Channel, Said], wanted: Sequence[Channel]) -> Content:
    content: dict[str, Any] = {channel.value: said[channel] for channel in wanted if channel in said}
    if isinstance(content.get("whatsapp"), Template):
        content["template"] = content.pop("whatsapp")
    return Content(**content)


def _template(checks: Checks, input: schema.TemplateInput) -> Template:
    if len(input.parameters) > MOST_PARAMETERS:
        checks.wrong("content.template.parameters", f"At most {MOST_PARAMETERS}.")
    parameters = (
        checks.text(f"content.template.parameters.{index}", parameter, LONGEST_PARAMETER, required=True)
        for index, parameter in enumerate(input.parameters[:MOST_PARAMETERS])
    )
    return Template(
        id=checks.id("content.template.id", input.id, _template_key) or "",
        parameters=tuple(parameter or "" for parameter in parameters),
    )


def _template_key(id: str, argument: str) -> str:
    return key_of(id, "Template", argument)


class _OneChannel:
    """What is to be said on one channel; `shared` if its text was said for several."""

    def __init__(
        self, checks: Checks, channel: Channel, input: Any, alpha_name: str, *, shared: bool = False
    ) -> None:
        self._checks = checks
        self._channel = channel
        self._input = input
        self._alpha_name = alpha_name
        self._shared = shared

    def said(self) -> Option | str:
        if self._channel is Channel.MESSENGER:
            place, longest = self._place("text"), chatfuel.LONGEST_TEXT
            return self._checks.text(place, self._input.text, longest, required=True, lines=True) or ""
        kind = _OPTIONS[self._channel]
        names = [name for name in kind.__struct_fields__ if hasattr(self._input, name)]
        values = {name: value for name in names if (value := self._value(name)) is not None}
        option = kind(**self._defaults(kind) | values)
        if isinstance(option, Sms) and not option.alpha_name:
            self._checks.wrong(self._place("alpha_name"), NO_ALPHA_NAME)
        for name, sentence in option.problems():
            self._checks.wrong(self._place(name), sentence)
        return option

    def _defaults(self, kind: type[Option]) -> dict[str, Any]:
        defaults: dict[str, Any] = {"ttl": kind.longest_ttl}
        if kind is Push:
            defaults["title"] = ""
        if kind is Sms:
            defaults["alpha_name"] = self._alpha_name
        return defaults

    def _value(self, name: str) -> Any:
        """As Hyber's adapter takes it; None where nothing is said."""
        value = getattr(self._input, name)
        if value is None or value is UNSET:
            return None
        if isinstance(value, str):
            return self._checks.text(self._place(name), value, LONGEST_TEXT, lines=name == "text")
        if isinstance(value, Enum):
            return value.value
        return DEGREES(value) if isinstance(value, float) else value

    def _place(self, name: str) -> str:
        if self._shared and name == "text":
            return "content.text"
        first, *others = name.split("_")
        return f"content.{self._channel.value}.{first}{''.join(map(str.capitalize, others))}"
