"""Courier: takes a message to its vendor, once, and writes into the ledger what became of it.

The ledger says `sending` before the vendor is asked. Whatever ends without an answer stays so until Hyber is
asked for it by our own id; the vendors that cannot be asked leave it unknown, and it is never sent again.
"""

import asyncio
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from time import monotonic, time

import structlog
from msgspec.structs import replace

from adapters import Adapters
from adapters.errors import Busy, Misconfigured, Rejected, SourceError
from adapters.hyber import message as hyber
from adapters.hyber import report
from adapters.storage.messages import Event, Failure, Id, Message, State
from resolvers.sending.body import Body, Channel, Step, read_body
from resolvers.sending.cascade import suppressed
from resolvers.sending.pace import Pace

SETTLE = 15_000
"""Milliseconds, beyond its time-out, after which a vendor has decided, and can be asked what."""
START = 5.0
"""Seconds within which a claimed message leaves, or does not: somebody else may take it for lost."""
AGAIN = 5_000
"""Milliseconds until what was certainly not sent is tried again."""
SLACK = 60_000
"""Milliseconds that a report may be late."""
FIRST_LOOK, LONGEST_PAUSE = 1_000, 300_000
"""Milliseconds from one look at what became of a message to the next, where no report is pushed to us."""
CHATFUELS_RATE = 25
"""Requests a second that a bot may make."""
PATIENCE = 86_400_000
"""Milliseconds for which a vendor that does not answer is tried: then the step has failed."""

_EXTERNAL_ID = re.compile(r"([a-z0-9]{1,12})-([0-9]{1,19})-([0-9]{1,19})-([0-9]{1,5})")
_LARGEST = 2**63 - 1
_CHANNELS = frozenset(Channel)
_STATES = {
    report.State.SENT: State.SENT,
    report.State.DELIVERED: State.DELIVERED,
    report.State.SEEN: State.SEEN,
    report.State.EXPIRED: State.EXPIRED,
    report.State.FAILED: State.FAILED,
}

log = structlog.get_logger("switchboard.courier")


class Courier:
    def __init__(
        self,
        adapters: Adapters,
        environment: str,
        callback_url: str | None,
        told: Callable[[Id], Awaitable[None]],
        clock: Callable[[], float] = time,
    ) -> None:
        self._adapters = adapters
        self._ledger = adapters.storage.messages
        self._environment = environment
        """In our ids at the vendor, so that a copy of the database is nobody's twin."""
        self._callback_url = callback_url
        self._told = told
        self._clock = clock
        self._paces = {"chatfuel": Pace(CHATFUELS_RATE)}

    def claimed_until(self) -> int:
        """From when on somebody may ask what became of a message that is claimed now."""
        return self._now() + self._settle

    async def send(self, id: Id) -> Message | None:
        """Sends it if it is due, and nobody else does; as it is then, if it was taken."""
        claimed_at = monotonic()
        message = await self._ledger.claim(id, self._now(), due=self.claimed_until())
        if message is None:
            return None
        await self._told(id)
        return await self.send_claimed(message, claimed_at)

    async def send_claimed(self, message: Message, claimed_at: float) -> Message | None:
        """The same for a message that is ours to send."""
        body = read_body(message.body)
        message, step = await self._what_is_wanted(message, body)
        if monotonic() - claimed_at > START:  # this process was asleep
            await self._ledger.put_back(message.id, attempt=message.attempt, due=self._now())
        elif not step.channels:
            await self._step_is_over(message, Event(state=State.SKIPPED, reason="Nothing is wanted there."))
        elif await self._its_turn(message, step):
            try:
                vendor_id = await self._ask(step.source, message, body, step)
            except SourceError as error:
                await self._failed(message, step, error)
            else:
                return await self._accepted(message, body, step, vendor_id)
        return None

    async def ask(self, message: Message) -> None:
        """What became of a message of which nothing more was heard, or how to go on with it."""
        moment = self._now()
        if message.state is State.PENDING:
            await self.send(message.id)
            return
        body = read_body(message.body)
        step = body.steps[message.step]
        end = self._end(message, body, step)
        if not await self._ledger.hold(message, due=self._next_look(message, moment, end)):
            return
        if step.source != "hyber":
            await self._raise(message, Event(state=State.UNKNOWN, channel=step.channels[0]))
            return
        try:
            found = await self._adapters.hyber.report_of(self.external_id(message))
        except SourceError as error:
            log.warning("a message could not be looked up", code=error.code)
            return
        if found:
            await self._found(message, step, found, is_over=moment >= end)
        elif message.state is State.SENDING:
            await self._ledger.put_back(message.id, attempt=message.attempt, due=moment)
        elif moment >= end:
            await self._step_is_over(message, Event(state=State.EXPIRED, reason="No report came."))

    async def apply(self, found: report.Report) -> None:
        """What Hyber says of a message of ours, whenever and however often."""
        place = self._place(found)
        message = place and (await self._ledger.messages([place[0]])).get(place[0])
        if place and message:
            await self._report(replace(message, attempt=place[1]), found)

    def is_ours(self, found: report.Report) -> bool:
        """By its id: whether there is such a message is another question."""
        return self._place(found) is not None

    def _place(self, found: report.Report) -> tuple[Id, int] | None:
        """The message and which attempt to send it."""
        place = _EXTERNAL_ID.fullmatch(found.extra_id or "")
        if not place or place[1] != self._environment:
            return None
        id = Id(int(place[2]), int(place[3]))
        return (id, int(place[4])) if max(id) <= _LARGEST else None

    @property
    def _settle(self) -> int:
        rests = self._adapters.hyber, self._adapters.mercately, self._adapters.chatfuel
        return SETTLE + round(1000 * max(rest.timeout for rest in rests))

    def external_id(self, message: Message) -> str:
        return f"{self._environment}-{message.broadcast_id}-{message.seq}-{message.attempt}"

    def _now(self) -> int:
        return int(self._clock() * 1000)

    def _end(self, message: Message, body: Body, step: Step) -> int:
        """When the time of all its channels is over, in milliseconds."""
        options = (body.content.option(channel) for channel in step.channels)
        since = _milliseconds(message.accepted_at) if message.accepted_at else self._now()
        return since + sum(option.ttl for option in options if option) * 1000 + SLACK

    def _next_look(self, message: Message, moment: int, end: int) -> int:
        """Of what is under way after it has settled; of what was taken the later, the older it is."""
        if message.state is State.SENDING or moment >= end or not message.accepted_at:
            return moment + self._settle
        age = moment - _milliseconds(message.accepted_at)
        return min(moment + max(FIRST_LOOK, min(age, LONGEST_PAUSE)), end)

    # What is asked

    async def _its_turn(self, message: Message, step: Step) -> bool:
        """Whether the vendor may be asked now; if not, it is later."""
        if pace := self._paces.get(step.source):
            is_soon, wait = pace.turn(patience=1)
            if not is_soon:
                due = self._now() + round(wait * 1000)
                await self._ledger.put_back(message.id, attempt=message.attempt, due=due)
                return False
            await asyncio.sleep(wait)
        return True

    async def _what_is_wanted(self, message: Message, body: Body) -> tuple[Message, Step]:
        """The step without the channels on which the addresses want nothing, as of this moment."""
        addresses = [address for address in (message.phone, message.messenger_id) if address]
        nothing = await self._ledger.wanted_nothing(*addresses)
        step = body.steps[message.step]
        out = suppressed(step.channels, nothing, phone=message.phone, messenger_id=message.messenger_id)
        left = tuple(channel for channel in step.channels if channel not in out)
        if left and out:
            skipped = [
                Event(state=State.SKIPPED, channel=channel, reason=why) for channel, why in out.items()
            ]
            message = await self._ledger.note(message, *skipped)
        return message, Step(step.source, left)

    async def _ask(self, source: str, message: Message, body: Body, step: Step) -> str | None:
        """The vendor's id of the message, from those who give one."""
        if source == "hyber":
            return await self._ask_hyber(message, body, step)
        if source == "mercately":
            await self._ask_mercately(message, body)
        else:
            await self._adapters.chatfuel.send(message.messenger_id or "", body.content.messenger or "")
        return None

    async def _ask_hyber(self, message: Message, body: Body, step: Step) -> str:
        options = (body.content.option(channel) for channel in step.channels)
        return await self._adapters.hyber.send(
            hyber.Message(
                phone=message.phone or "",
                options=tuple(option for option in options if option),
                extra_id=self.external_id(message),
                callback_url=self._callback_url,
                tag=body.tag,
                division_code=body.division_code,
            )
        )

    async def _ask_mercately(self, message: Message, body: Body) -> None:
        if template := body.content.template:
            await self._adapters.mercately.send_template(
                message.phone or "",
                template.id,
                template.parameters,
                agent_id=template.agent_id,
                tags=template.tags,
                details=template.details,
            )

    # What came of it

    async def _accepted(
        self, message: Message, body: Body, step: Step, vendor_id: str | None
    ) -> Message | None:
        """As it is then; None if somebody knew more already."""
        due = None
        if step.source == "hyber":
            end = self._end(message, body, step)
            due = end if self._callback_url else min(self._now() + FIRST_LOOK, end)
        event, id = Event(state=State.ACCEPTED, channel=step.channels[0]), message.id
        is_news = await self._ledger.raise_to(
            id, event, attempt=message.attempt, vendor_id=vendor_id, due=due
        )
        await self._told(id)
        if not is_news:
            return None
        return message.after(event, due=due, vendor_id=vendor_id, accepted_at=event.at)

    async def _failed(self, message: Message, step: Step, error: SourceError) -> None:
        channel = step.channels[0]
        if isinstance(error, Rejected | Misconfigured):
            event = Event(state=State.FAILED, channel=channel, reason=str(error))
            await self._step_is_over(message, event, _failure(error))
        elif isinstance(error, Busy) or not error.in_doubt:
            await self._try_again(message, channel, error)
        elif step.source != "hyber":
            await self._raise(message, Event(state=State.UNKNOWN, channel=channel, reason=str(error)))
        # What Hyber may have taken stays `sending`, until it is asked.

    async def _try_again(self, message: Message, channel: Channel, error: SourceError) -> None:
        moment = self._now()
        if moment - _milliseconds(message.send_at or message.created_at) > PATIENCE:
            event = Event(state=State.FAILED, channel=channel, reason=str(error))
            await self._step_is_over(message, event, _failure(error))
            return
        wait = AGAIN
        if isinstance(error, Busy) and error.retry_after:
            wait = int(error.retry_after * 1000)
        await self._ledger.put_back(message.id, attempt=message.attempt, due=moment + wait)
        await self._told(message.id)

    async def _found(self, message: Message, step: Step, found: report.Report, *, is_over: bool) -> None:
        """Looked up: what is not over when the time of all its channels is, is over now."""
        if message.state is State.SENDING:
            await self._accepted(message, read_body(message.body), step, found.message_id)
        elif is_over and found.state in (report.State.ACCEPTED, report.State.SENT):
            found = replace(found, state=report.State.EXPIRED)
        await self._report(message, found)

    async def _report(self, message: Message, found: report.Report) -> None:
        state = _STATES.get(found.state)
        if state is None:  # accepted, which we know
            return
        channel = found.channel if found.channel in _CHANNELS else None
        event = Event(state=state, channel=channel, reason=found.vendor_code, at=found.at or _moment())
        if state in (State.FAILED, State.EXPIRED):
            failure = Failure("SOURCE_REJECTED", "Hyber did not deliver the message.", found.vendor_code)
            await self._step_is_over(message, event, failure)
        else:
            await self._raise(message, event)

    async def _step_is_over(self, message: Message, event: Event, failure: Failure | None = None) -> None:
        steps = read_body(message.body).steps
        following = message.step + 1
        if following < len(steps):
            await self._ledger.go_on(
                message.id,
                event,
                attempt=message.attempt,
                step=following,
                channel=steps[following].channels[0],
                failure=failure,
                due=self._now(),
            )
        else:
            await self._ledger.raise_to(message.id, event, attempt=message.attempt, failure=failure)
        await self._told(message.id)

    async def _raise(self, message: Message, event: Event) -> None:
        """What is not over is looked at again when it was to be anyway."""
        await self._ledger.raise_to(message.id, event, keep_due=not event.state.is_final)
        await self._told(message.id)


def _failure(error: SourceError) -> Failure:
    return Failure(error.code, str(error), getattr(error, "vendor_code", None))


def _moment() -> datetime:
    return datetime.now(UTC)


def _milliseconds(moment: datetime) -> int:
    return int(moment.timestamp() * 1000)
