"""Broadcasting: how what somebody asks to be sent to many becomes a broadcast of the ledger, or a preview."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from typing import NamedTuple

from strawberry import UNSET

from adapters.chatfuel import client as chatfuel
from adapters.deadline import clock_stopped
from adapters.hyber import message as hyber
from adapters.hyber.gsm7 import length_in_ucs2
from adapters.storage.audience import Address, Plan, Text, Way
from adapters.storage.broadcasts import NewBroadcast, Preview, Sample
from adapters.storage.messages import ALONE, State
from adapters.storage.messages import Message as Row
from adapters.storage.tables import now
from resolvers import audiences
from resolvers.audiences import Audience, audience_of, checked_audience
from resolvers.broadcasts import to_broadcast
from resolvers.checks import Checks
from resolvers.content import LONGEST_PARAMETER, Wanted, checked_content, refuse_template
from resolvers.context import Context, Info
from resolvers.messages import to_delivery
from resolvers.orders import UseOfKey, checked_key, checked_send_at, one_use_of_the_key
from resolvers.sending.body import Channel, Content
from resolvers.sending.letter import Letter, texts_of, write_letter
from resolvers.sending.placeholders import Pieces, as_it_stands, fill, pieces_of
from schema import messages as schema
from schema.broadcasts import Broadcast, BroadcastInput, BroadcastPreview, ChannelCount, ReasonCount
from schema.messages import ContentInput
from schema.templates import fill_blanks

COUNTING = 30.0
"""Seconds that a preview may take: to count a million people is more than there is time for otherwise."""
EMPTY = "For somebody of whom nothing is known this would be empty: say more, or leave out the default."

_LONGEST = {
    "push": hyber.LONGEST_TEXT,
    "viber": hyber.LONGEST_TEXT,
    "whatsapp": hyber.LONGEST_TEXT,
    "sms": hyber.LONGEST_SMS_IN_UCS2,
    "messenger": chatfuel.LONGEST_TEXT,
    "template": LONGEST_PARAMETER,
}
"""Of a text with placeholders: what they stand for may be written in any alphabet."""


class Draft(NamedTuple):
    """What is asked for, and nothing wrong with it as far as we know ourselves."""

    audience: audiences.Wanted
    wanted: Wanted
    texts: tuple[Text, ...]
    """With placeholders."""
    rate_per_second: float | None
    send_at: datetime | None
    """None is now."""
    tag: str | None
    use: UseOfKey | None


async def broadcast(info: Info, input: BroadcastInput) -> Broadcast:
    return await start(info.context, input, Checks())


async def start(context: Context, input: BroadcastInput, checks: Checks) -> Broadcast:
    """Written down, to be planned."""
    broadcasts, draft = context.adapters.storage.broadcasts, _draft(context, input, checks)
    with one_use_of_the_key(checks):
        if draft.use and (first := await broadcasts.first(*draft.use)):
            return to_broadcast(first)  # though who was asked then may be down now
        letter = await _letter(context, draft)
        audience = await audience_of(context, checks, draft.audience)
        kept, _ = await broadcasts.add(_new_broadcast(draft, letter, audience))
    context.post.wake()
    return to_broadcast(kept)


async def broadcast_preview(info: Info, input: BroadcastInput) -> BroadcastPreview:
    context, checks = info.context, Checks()
    draft = _draft(context, input, checks)
    letter = await _letter(context, draft)
    audience = await audience_of(context, checks, draft.audience)
    plan = _plan(draft, audience)
    with clock_stopped(COUNTING):
        found = await context.adapters.storage.broadcasts.preview(plan, audience.listed or ())
    return _to_preview(found, letter, draft.send_at)


# What is wrong with it


def _draft(context: Context, input: BroadcastInput, checks: Checks) -> Draft:
    wanted = checked_content(checks, input.content, input.channels, context.adapters.hyber.alpha_name)
    draft = Draft(
        audience=checked_audience(checks, input.audience),
        wanted=wanted,
        texts=tuple(_checked_texts(checks, input.content, wanted.content)),
        rate_per_second=_checked_rate(checks, input.rate_per_second),
        send_at=checked_send_at(checks, input.send_at),
        tag=checks.text("tag", input.tag, hyber.LONGEST_TAG) or None,
        use=checked_key(checks, input),
    )
    checks.refuse()
    return draft


def _checked_rate(checks: Checks, rate: float | None) -> float | None:
    if rate is None or rate is UNSET:
        return None
    if rate <= 0:
        checks.wrong("ratePerSecond", "This must be more than 0.")
    return rate


def _checked_texts(checks: Checks, input: ContentInput, content: Content) -> Iterator[Text]:
    """Those that have placeholders."""
    for name, text in texts_of(content).items():
        kind = name.partition(".")[0]
        place = f"content.{name}" if getattr(input, kind) else "content.text"
        pieces, longest = pieces_of(text), _LONGEST[kind]
        fixed = _length_of_what_stands(pieces, in_ucs2=kind == "sms")
        if pieces.wrong:
            checks.wrong(place, pieces.wrong)
        elif pieces.uses and fixed > longest:
            many = f"{fixed} given without them"
            checks.wrong(place, f"At most {longest} characters where there are placeholders; {many}.")
        elif all(use.default is not None for use in pieces.uses) and not fill(text, {}).strip():
            checks.wrong(place, EMPTY)
        elif pieces.uses:
            yield Text(fixed=fixed, uses=pieces.uses, longest=longest)


def _length_of_what_stands(pieces: Pieces, *, in_ucs2: bool) -> int:
    said = (piece for piece in pieces.said if isinstance(piece, str))
    return sum(map(length_in_ucs2, said)) if in_ucs2 else pieces.fixed


# How it is kept


async def _letter(context: Context, draft: Draft) -> Letter:
    """Unless Mercately does not know the template."""
    content, channels = draft.wanted
    text = None
    if content.template:
        checks = Checks()
        blanks = await refuse_template(checks, context.adapters, content.template)
        checks.refuse()
        # Of what stands between the blanks no brace is ours.
        text = fill_blanks(as_it_stands(blanks or ""), list(content.template.parameters))
    return Letter(content=content, channels=channels, template_text=text, tag=draft.tag)


def _plan(draft: Draft, audience: Audience) -> Plan:
    return Plan(
        group=audience.group,
        listed=None if audience.listed is None else len(audience.listed),
        ways=tuple(map(_way, draft.wanted.channels)),
        texts=draft.texts,
    )


def _way(channel: Channel) -> Way:
    if channel is Channel.MESSENGER:
        return Way(channel.value, Address.MESSENGER_ID)
    return Way(channel.value, Address.PHONE, asks_opt_in=channel is Channel.WHATSAPP)


def _new_broadcast(draft: Draft, letter: Letter, audience: Audience) -> NewBroadcast:
    return NewBroadcast(
        plan=_plan(draft, audience),
        listed=audience.listed or (),
        body=write_letter(letter),
        rate_per_second=draft.rate_per_second,
        send_at=draft.send_at,
        tag=draft.tag,
        idempotency_key=draft.use and draft.use.key,
        input_hash=draft.use and draft.use.hash,
    )


# What it would do


def _to_preview(found: Preview, letter: Letter, send_at: datetime | None) -> BroadcastPreview:
    unreachable = Counter(found.unreachable)
    return BroadcastPreview(
        recipients=found.recipients,
        by_channel=[
            ChannelCount(channel=schema.Channel(channel.value), recipients=count)
            for channel in letter.channels
            if (count := found.by_channel.get(channel.value))
        ],
        unreachable=unreachable.total(),
        reasons=[ReasonCount(reason=why, recipients=count) for why, count in unreachable.most_common()],
        sample=[to_delivery(_row(sample, letter), letter, send_at) for sample in found.samples],
    )


def _row(sample: Sample, letter: Letter) -> Row:
    """As it would be written down, but for its id: so small a number was no message's in this century."""
    digest = sha256(write_letter(letter) + sample.person.encode()).digest()
    return Row(
        broadcast_id=ALONE,
        seq=int.from_bytes(digest[:7]),
        phone=sample.phone,
        messenger_id=sample.messenger_id,
        state=State.PENDING,
        due=None,
        step=0,
        attempt=0,
        channel=sample.channel,
        vendor_id=None,
        body=sample.part,
        history=b"",
        failure_code=None,
        failure_text=None,
        vendor_code=None,
        tag=None,
        created_at=now(),
        send_at=None,
        accepted_at=None,
        final_at=None,
    )
