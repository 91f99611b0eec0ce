"""Outbox: how what somebody asks to be sent becomes a message of the ledger, and goes out."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from time import monotonic, time
from typing import NamedTuple

from msgspec import structs

from adapters.hyber.message import LONGEST_DIVISION_CODE, LONGEST_TAG
from adapters.storage.messages import Event, NewMessage, State
from resolvers import profiles
from resolvers.caller import Caller
from resolvers.checks import Checks
from resolvers.content import Wanted, checked_content, refuse_template
from resolvers.context import Context, Info
from resolvers.ids import number_of
from resolvers.messages import as_it_is_now, to_message
from resolvers.orders import UseOfKey, checked_key, checked_send_at, one_use_of_the_key
from resolvers.people import By
from resolvers.recipients import ADDRESSES, Recipient, checked_recipient, recipient_of
from resolvers.sending.body import Body, Channel, Content, text_of, write_body
from resolvers.sending.cascade import steps_of, unreachable
from schema.customers import AddressInput
from schema.messages import CustomerDetailsInput, Message, SendMessageInput, TagInput
from schema.scopes import Scope
from schema.templates import fill_blanks

PATIENCE = 0.8
"""Seconds until the answer leaves, whatever the vendors do: the sending goes on without it."""
PATIENCE_BEFORE = 0.5
"""Those in which Mercately may say that it has no such template, agent or tag; later it refuses to send."""

NO_TEMPLATE = "This goes with a WhatsApp template, and there is none."


class Draft(NamedTuple):
    """What is asked for, and nothing wrong with it as far as we know ourselves."""

    by: By
    wanted: Wanted
    send_at: datetime | None
    """None is now."""
    tag: str | None
    division_code: str | None
    use: UseOfKey | None


async def send_message(info: Info, input: SendMessageInput) -> Message:
    return await send(info.context, input, Checks())


async def send(context: Context, input: SendMessageInput, checks: Checks) -> Message:
    ledger, started = context.adapters.storage.messages, monotonic()
    draft = _draft(context, input, checks)
    with one_use_of_the_key(checks):
        if draft.use and _asks_others(draft) and (first := await ledger.first(*draft.use)):
            return to_message(first)  # though who was asked then may be down now
        text = await _text(context, draft.wanted)
        recipient = await recipient_of(
            context, input.to, draft.by, on_whatsapp=Channel.WHATSAPP in draft.wanted.channels
        )
        at_once = context.post.sends_at_once and not draft.send_at
        claimed_until = context.post.pump.claimed_until() if at_once else None
        kept, is_new, wanted_nothing = await ledger.add(_new_message(draft, recipient, text, claimed_until))
    if not is_new or not at_once or kept.state.is_final:
        return to_message(kept)
    sending = context.post.pump.send(kept, wanted_nothing)
    await asyncio.wait([sending], timeout=max(started + PATIENCE - monotonic(), 0))
    sent = sending.result() if sending.done() else None
    return to_message(sent) if sent else await as_it_is_now(context, kept.id)


# What is wrong with it


def _draft(context: Context, input: SendMessageInput, checks: Checks) -> Draft:
    alpha_name = context.adapters.hyber.alpha_name
    wanted = checked_content(checks, input.content, input.channels, alpha_name)
    draft = Draft(
        by=checked_recipient(checks, input.to, context.region),
        wanted=wanted._replace(content=_with_updates(context.caller, checks, input, wanted.content)),
        send_at=checked_send_at(checks, input.send_at),
        tag=checks.text("tag", input.tag, LONGEST_TAG) or None,
        division_code=checks.text("divisionCode", input.division_code, LONGEST_DIVISION_CODE) or None,
        use=checked_key(checks, input),
    )
    checks.refuse()
    return draft


def _with_updates(caller: Caller, checks: Checks, input: SendMessageInput, content: Content) -> Content:
    """What Mercately is to do with the customer besides."""
    if input.agent_id or input.tags or input.customer:
        caller.need(Scope.CUSTOMERS_WRITE)
    if content.template is None:
        for name, said in (("agentId", input.agent_id), ("tags", input.tags), ("customer", input.customer)):
            if said:
                checks.wrong(name, NO_TEMPLATE)
        return content
    template = structs.replace(
        content.template,
        agent_id=checks.id("agentId", input.agent_id, _agent_key) if input.agent_id else None,
        tags=_tags(checks, input.tags or ()) or None,
        details=_details(checks, input.customer) if input.customer else None,
    )
    return structs.replace(content, template=template)


def _agent_key(id: str, argument: str) -> int:
    return number_of(id, "Agent", argument)


def _tags(checks: Checks, tags: Sequence[TagInput]) -> dict[str, bool]:
    if len(tags) > profiles.MOST_TAGS:
        checks.wrong("tags", f"At most {profiles.MOST_TAGS} at a time; {len(tags)} given.")
        return {}
    names = dict[str, bool]()
    for index, tag in enumerate(tags):
        name = checks.text(_place(index), tag.name, profiles.LONGEST_TAG, required=True)
        if name in names:
            checks.wrong(_place(index), "Each tag once.")
        elif name:
            names[name] = tag.add
    return names


def _place(index: int) -> str:
    return f"tags.{index}.name"


def _details(checks: Checks, input: CustomerDetailsInput) -> dict[str, str]:
    """By Mercately's names."""
    address, longest = input.address or AddressInput(), profiles.LONGEST_TEXT
    said = {
        "first_name": checks.text("customer.firstName", input.first_name, longest),
        "last_name": checks.text("customer.lastName", input.last_name, longest),
        "email": checks.email("customer.email", input.email),
        "notes": checks.text("customer.notes", input.notes, profiles.LONGEST_NOTES, lines=True),
        "address": checks.text("customer.address.street", address.street, longest),
        "city": checks.text("customer.address.city", address.city, longest),
        "state": checks.text("customer.address.state", address.state, longest),
        "zip_code": checks.text("customer.address.zipCode", address.zip_code, longest),
    }
    return {name: value for name, value in said.items() if value}


# What others have to be asked


def _asks_others(draft: Draft) -> bool:
    return draft.wanted.content.template is not None or draft.by.kind not in ADDRESSES


async def _text(context: Context, wanted: Wanted) -> str | None:
    """Unless Mercately does not know the template, the agent or a tag; then what the message says."""
    template = wanted.content.template
    if template is None:
        return text_of(*wanted)
    checks, of_template = Checks(), None
    agent = {} if template.agent_id is None else {"agent_id": template.agent_id}
    tags = {_place(index): name for index, name in enumerate(template.tags or ())}
    with suppress(TimeoutError):
        async with asyncio.timeout(PATIENCE_BEFORE):
            blanks = await refuse_template(checks, context.adapters, template)
            of_template = blanks and fill_blanks(blanks, list(template.parameters))
            await profiles.refuse_unknown(context, checks, agent, tags)
    return text_of(*wanted, of_template)


# How it is kept


def _new_message(
    draft: Draft, recipient: Recipient, text: str | None, claimed_until: int | None
) -> NewMessage:
    content, channels = draft.wanted
    out = unreachable(channels, **recipient._asdict())
    within = [channel for channel in channels if channel not in out]
    steps = steps_of(content, within)
    # Claimed by who writes it down, it is not written twice; but where nobody can be asked later, a message
    # that was claimed and did not leave would be unknown for good.
    can_be_asked = bool(steps) and steps[0].source == "hyber"
    body = Body(
        content=content,
        channels=channels,
        steps=steps,
        text=text,
        tag=draft.tag,
        division_code=draft.division_code,
    )
    events = [Event(state=State.SKIPPED, channel=channel, reason=why) for channel, why in out.items()]
    if within:
        events.append(Event(state=State.PENDING, channel=within[0]))
    return NewMessage(
        phone=recipient.phone,
        messenger_id=recipient.messenger_id,
        body=write_body(body),
        channel=within[0] if within else None,
        due=_milliseconds(draft.send_at) if within else None,
        claimed_until=claimed_until if can_be_asked else None,
        send_at=draft.send_at,
        tag=draft.tag,
        idempotency_key=draft.use and draft.use.key,
        input_hash=draft.use and draft.use.hash,
        events=tuple(events),
    )


def _milliseconds(moment: datetime | None) -> int:
    return int((moment.timestamp() if moment else time()) * 1000)
