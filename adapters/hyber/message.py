"""Message: what Hyber is asked to send, and the limits it has for that."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar, Literal, NamedTuple

import msgspec
from msgspec.structs import replace

from adapters.hyber import gsm7

LONGEST_TEXT = 1000
LONGEST_SMS = 765
LONGEST_SMS_IN_UCS2 = 335
LONGEST_TITLE = 20
LONGEST_CAPTION = 30
LONGEST_ALPHA_NAME = 11
LONGEST_FILE_NAME = 25
LONGEST_URL = 256
LONGEST_EXTRA_ID = 64
LONGEST_TAG = 64
LONGEST_DIVISION_CODE = 100

FILE = re.compile(
    r".+\.(docx?|rtf|dotx?|odt|odf|fodt|txt|info|pdf|xps|pdax|eps|xlsx?|ods|fods|csv|xlsm|xltx)",
    re.IGNORECASE,
)
PHONE = re.compile(r"\+[1-9][0-9]{6,14}")
WEB = re.compile(r"https?://[^\s/?#]+\S*", re.IGNORECASE)
WEB_OR_APP = re.compile(rf"{WEB.pattern}|(viber://|tel:)\S+", re.IGNORECASE)
"""A button in Viber may also start a call, or open a part of the app."""
DEGREES = re.compile(r"-?[0-9]{1,3}(\.[0-9]{1,15})?")

Problems = Iterator[tuple[str, str]]
"""A value's name, and one sentence about what is wrong with it."""


class _Option(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is said on one channel; what is None is not sent."""

    channel: ClassVar[str]
    shortest_ttl: ClassVar[int]
    longest_ttl: ClassVar[int]

    text: str | None = None
    ttl: int
    """Seconds that the channel has before it is the next one's turn."""
    # A factory, for msgspec would leave out a default, and all their examples say this one.
    track_clicks: bool = msgspec.field(name="ctr", default_factory=bool)

    def problems(self) -> Problems:
        if not self.shortest_ttl <= self.ttl <= self.longest_ttl:
            yield "ttl", f"Between {self.shortest_ttl} and {self.longest_ttl} seconds; {self.ttl} given."


class Push(_Option, frozen=True, kw_only=True, omit_defaults=True):
    channel: ClassVar = "push"
    shortest_ttl: ClassVar = 30
    longest_ttl: ClassVar = 86_400

    title: str
    image: str | None = msgspec.field(name="img", default=None)
    caption: str | None = None
    """On the button."""
    action: str | None = None
    """Where the button leads."""

    def problems(self) -> Problems:
        yield from super().problems()
        yield from _text("text", self.text, LONGEST_TEXT, required=True)
        yield from _text("title", self.title, LONGEST_TITLE, required=True)
        yield from _url("image", self.image)
        yield from _text("caption", self.caption, LONGEST_CAPTION)
        yield from _url("action", self.action)


class Viber(_Option, frozen=True, kw_only=True, omit_defaults=True):
    """A text, an image or both, with or without a button; or a file and nothing else."""

    channel: ClassVar = "viber"
    shortest_ttl: ClassVar = 40
    longest_ttl: ClassVar = 86_400

    device: Literal["all", "phone"] | None = None
    alpha_name: str | None = None
    """The Viber service that speaks, as agreed with GMS."""
    image: str | None = msgspec.field(name="img", default=None)
    caption: str | None = None
    action: str | None = None
    """Where the button leads, or where the file is."""
    file_name: str | None = None

    def problems(self) -> Problems:
        yield from super().problems()
        yield from _text("text", self.text, LONGEST_TEXT)
        yield from _url("image", self.image)
        yield from _text("caption", self.caption, LONGEST_CAPTION)
        yield from _url("action", self.action, WEB_OR_APP)
        if self.file_name is not None:
            yield from self._problems_of_file(self.file_name)
        elif not (self.text or self.image):
            yield "text", "A Viber message needs a text, an image or a file."

    def _problems_of_file(self, name: str) -> Problems:
        yield from _text("file_name", name, LONGEST_FILE_NAME)
        if not FILE.fullmatch(name):
            yield "file_name", "A file's name ends with what it is, such as .pdf, .docx or .xlsx."
        if not self.action:
            yield "action", "Say where the file is."
        for other in ("text", "image", "caption"):
            if getattr(self, other):
                yield other, "Leave this out: a file goes alone."


class Sms(_Option, frozen=True, kw_only=True, omit_defaults=True):
    channel: ClassVar = "sms"
    shortest_ttl: ClassVar = 300
    longest_ttl: ClassVar = 259_200

    alpha_name: str
    """Who it is from."""

    def problems(self) -> Problems:
        yield from super().problems()
        if not self.text:
            yield "text", "This must not be empty."
        else:
            yield from self._problems_of_text(self.text)
        yield from _text("alpha_name", self.alpha_name, LONGEST_ALPHA_NAME, required=True)
        if not set(self.alpha_name) <= gsm7.ALPHABET:
            yield "alpha_name", "Only letters, digits and signs of the GSM alphabet."

    def _problems_of_text(self, text: str) -> Problems:
        length = gsm7.length(text)
        if length is None:
            if (length := gsm7.length_in_ucs2(text)) > LONGEST_SMS_IN_UCS2:
                yield (
                    "text",
                    f"At most {LONGEST_SMS_IN_UCS2} characters where one of them is not in the GSM alphabet; "
                    f"{length} given.",
                )
        elif length > LONGEST_SMS:
            yield "text", f"At most {LONGEST_SMS} characters; {length} given."


class Whatsapp(_Option, frozen=True, kw_only=True, omit_defaults=True):
    channel: ClassVar = "whatsapp"
    shortest_ttl: ClassVar = 604_800
    longest_ttl: ClassVar = 604_800

    image: str | None = msgspec.field(name="img", default=None)
    image_name: str | None = msgspec.field(name="img_name", default=None)
    document: str | None = msgspec.field(name="doc", default=None)
    document_name: str | None = msgspec.field(name="doc_name", default=None)
    audio: str | None = None
    video: str | None = None
    video_name: str | None = None
    latitude: str | None = None
    longitude: str | None = None

    def problems(self) -> Problems:
        if self.ttl != self.longest_ttl:
            yield "ttl", f"WhatsApp takes {self.longest_ttl} seconds and nothing else."
        yield from _text("text", self.text, LONGEST_TEXT)
        for name in ("image", "document", "audio", "video"):
            yield from _url(name, getattr(self, name))
        for name in ("image_name", "document_name", "video_name"):
            yield from _text(name, getattr(self, name), LONGEST_TEXT)
        yield from _degrees("latitude", self.latitude, 90)
        yield from _degrees("longitude", self.longitude, 180)
        if self.latitude is None and self.longitude is not None:
            yield "latitude", "A place needs both its latitude and its longitude."
        if self.longitude is None and self.latitude is not None:
            yield "longitude", "A place needs both its latitude and its longitude."
        said = (self.text, self.image, self.document, self.audio, self.video, self.latitude, self.longitude)
        if not any(said):
            yield "text", "A WhatsApp message needs a text, an image, a document, audio, a video or a place."


Option = Push | Viber | Sms | Whatsapp


class Message(msgspec.Struct, frozen=True, kw_only=True):
    phone: str
    """In E.164."""
    options: tuple[Option, ...]
    """In the order of fallback."""
    extra_id: str | None = None
    """Our own id for it, by which it can be asked for."""
    callback_url: str | None = None
    start_time: str | None = None
    """Their scheduling, which cannot be taken back: ours does without."""
    tag: str | None = None
    division_code: str | None = None

    @property
    def body(self) -> dict[str, Any]:
        """The message as they read it, sent alone."""
        return {**self._recipient(), **self._form(self.options).body}

    @property
    def form(self) -> "Form | None":
        """What the messages of a batch have in common: all but the recipient and the one text.

        None where the channels say different things, for a batch says the same on all of them.
        """
        if len({option.text for option in self.options}) != 1:
            return None
        return self._form(tuple(replace(option, text=None) for option in self.options))

    @property
    def part(self) -> dict[str, Any]:
        """What is its own in a batch."""
        text = self.options[0].text
        return {**self._recipient(), **({"text": text} if text is not None else {})}

    def _recipient(self) -> dict[str, Any]:
        extra_id = {} if self.extra_id is None else {"extra_id": self.extra_id}
        return {"phone_number": int(self.phone.removeprefix("+")), **extra_id}

    def _form(self, options: tuple[Option, ...]) -> "Form":
        return Form(options, self.callback_url, self.start_time, self.tag, self.division_code)


class Form(NamedTuple):
    """All of a message but whom it goes to."""

    options: tuple[Option, ...]
    callback_url: str | None
    start_time: str | None
    tag: str | None
    division_code: str | None

    @property
    def body(self) -> dict[str, Any]:
        """As they read it."""
        names = ("callback_url", "start_time", "tag", "division_code")
        return {
            **{name: value for name in names if (value := getattr(self, name)) is not None},
            "channels": [option.channel for option in self.options],
            "channel_options": {option.channel: msgspec.to_builtins(option) for option in self.options},
        }


def problems(message: Message) -> dict[str, str]:
    """All that is wrong with it, by path, such as `viber.ttl`; of a value, what was found first."""
    found: dict[str, str] = {}
    for name, problem in _problems_of(message):
        found.setdefault(name, problem)
    for option in message.options:
        for name, problem in option.problems():
            found.setdefault(f"{option.channel}.{name}", problem)
    return found


def _problems_of(message: Message) -> Problems:
    if not PHONE.fullmatch(message.phone):
        yield "phone", "This is no phone number: write it as +593999999999."
    if not message.options:
        yield "channels", "At least one channel is needed."
    for channel, times in Counter(option.channel for option in message.options).items():
        if times > 1:
            yield "channels", f"Each channel at most once; {channel} stands there {times} times."
    yield from _text("extra_id", message.extra_id, LONGEST_EXTRA_ID)
    yield from _url("callback_url", message.callback_url)
    yield from _text("tag", message.tag, LONGEST_TAG)
    yield from _text("division_code", message.division_code, LONGEST_DIVISION_CODE)


def _text(name: str, text: str | None, longest: int, *, required: bool = False) -> Problems:
    if required and not text:
        yield name, "This must not be empty."
    elif text and len(text) > longest:
        yield name, f"At most {longest} characters; {len(text)} given."


def _url(name: str, url: str | None, kind: re.Pattern[str] = WEB) -> Problems:
    if url is None:
        return
    if len(url) > LONGEST_URL:
        yield name, f"At most {LONGEST_URL} characters; {len(url)} given."
    elif not kind.fullmatch(url):
        yield name, "This is no address: write it as https://example.com/page."


def _degrees(name: str, text: str | None, most: int) -> Problems:
    if text is not None and not (DEGREES.fullmatch(text) and abs(float(text)) <= most):
        yield name, f"A number between -{most} and {most}."
