"""Courier: takes a message to its vendor, once, and writes into the ledger what became of it.

The ledger says `sending` before the vendor is asked. Whatever ends without an answer stays so until Hyber is
asked for it by our own id; the vendors that cannot be asked leave it unknown, and it is never sent again.
"""

import asyncio
import re
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from time import monotonic, time

import structlog
from msgspec.structs import replace

from adapters import Adapters, tracing
from adapters.errors import Busy, Misconfigured, Rejected, SourceError
from adapters.hyber import message as hyber
from adapters.hyber import report
from adapters.storage.messages import ALONE, Event, Failure, Id, Message, State, WantedNothing
from adapters.tracing import Kind
from resolvers.sending.body import Body, Channel, Step
from resolvers.sending.cascade import suppressed
from resolvers.sending.letter import Letters
from resolvers.sending.limits import Limits

SETTLE = 15_000
"""Milliseconds, beyond its time-out, after which a vendor has decided, and can be asked what."""
START = 5.0
"""Seconds within which a claimed message leaves, or does not: somebody else may take it for lost."""
PATIENCE_FOR_A_TURN = 1.0
"""Seconds to wait for one's turn at a vendor."""
AGAIN = 5_000
"""Milliseconds until what was certainly not sent is tried again."""
SLACK = 60_000
"""Milliseconds that a report may be late."""
FIRST_LOOK, LONGEST_PAUSE = 1_000, 300_000
"""Milliseconds from one look at what became of a message to the next, where no report is pushed to us."""
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
        limits: Limits | None = None,
        clock: Callable[[], float] = time,
    ) -> None:
        self._adapters = adapters
        self._ledger = adapters.storage.messages
        self._environment = environment
        """In our ids at the vendor, so that a copy of the database is nobody's twin."""
        self._callback_url = callback_url
        self._told = told
        self._clock = clock
        self._limits = limits or Limits()
        self.letters = Letters(adapters.storage.broadcasts)

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

    async def send_claimed(
        self, message: Message, claimed_at: float, nothing: WantedNothing | None = None
    ) -> Message | None:
        """The same for a message that is ours to send; `nothing` is what the ledger said of it just now."""
        body = await self.letters.body_of(message)
        message, step = await self._what_is_wanted(message, body, nothing)
        if monotonic() - claimed_at > START:  # this process was asleep
            await self._ledger.put_back(message.id, attempt=message.attempt, due=self._now())
        elif not step.channels:
            await self._step_is_over(message, Event(state=State.SKIPPED, reason="Nothing is wanted there."))
        elif await self._its_turn(message, step):
            return await self.hand_over(message, body, step)
        return None

    async def hand_over(self, message: Message, body: Body, step: Step) -> Message | None:
        """To the vendor, and write down what came of it; as it is then, if it was taken."""
        with tracing.span(f"send {step.source}", Kind.PRODUCER) as span:
            span.say({"switchboard.source": step.source, "switchboard.messages": 1})
            try:
                return await self.try_once(message, body, step)
            except SourceError as error:
                span.fail(error.code)
                await self.failed(message, step, error)
                return None

    async def try_once(self, message: Message, body: Body, step: Step) -> Message | None:
        """The same, but who asks has to write down what the vendor did not take."""
        vendor_id = await self._ask(step.source, message, body, step)
        try:
            return await self._accepted(message, body, step, vendor_id)
        except SourceError as error:  # the database: only the vendor knows that it was taken
            error.doubt()
            raise

    async def ask(self, message: Message) -> None:
        """What became of a message of which nothing more was heard, or how to go on with it."""
        moment = self._now()
        if message.state is State.PENDING:
            if not await self.send(message.id) and message.broadcast_id != ALONE:
                await self._ledger.cancel_with_its_broadcast(message.id)
            return
        body = await self.letters.body_of(message)
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
            await self._found(message, body, step, found, is_over=moment >= end)
        elif message.state is State.SENDING:
            await self._ledger.put_back(message.id, attempt=message.attempt, due=moment)
        elif moment >= end:
            await self._step_is_over(message, Event(state=State.EXPIRED, reason="No report came."))

    async def apply(self, reports: Sequence[report.Report]) -> None:
        """What Hyber says of messages of ours, whenever and however often: the oldest first."""
        placed = [(place, found) for found in reports if (place := self._place(found))]
        messages = await self._ledger.messages({place[0] for place, _ in placed})
        waiting = deque((messages[id], attempt, found) for (id, attempt), found in placed if id in messages)
        while waiting:  # each time of every message the next that is news
            risen = dict[Id, tuple[Message, Event]]()
            for _ in range(len(waiting)):
                message, attempt, found = waiting.popleft()
                event = self._event(found)
                if message.id in risen:
                    waiting.append((message, attempt, found))
                elif event and event.state in (State.FAILED, State.EXPIRED):
                    await self._report(replace(message, attempt=attempt), found)
                elif event and event.state.rank > messages[message.id].state.rank:
                    risen[message.id] = message, event
                    messages[message.id] = messages[message.id].after(event)
            await self._ledger.raise_all([(id, event) for id, (_, event) in risen.items()])
            for id in {id if id.broadcast == ALONE else Id(id.broadcast, 0) for id in risen}:
                await self._told(id)

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

    def next_look_at(self, message: Message, body: Body, step: Step) -> int | None:
        """What was taken now; a broadcast's are looked at when the time of all their channels is over."""
        if step.source != "hyber":
            return None
        end = self._end(message, body, step)
        if self._callback_url or message.broadcast_id != ALONE:
            return end
        return min(self._now() + FIRST_LOOK, end)

    def _next_look(self, message: Message, moment: int, end: int) -> int:
        """Of what is under way after it has settled; of what was taken the later, the older it is."""
        if message.state is State.SENDING or moment >= end or not message.accepted_at:
            return moment + self._settle
        age = moment - _milliseconds(message.accepted_at)
        return min(moment + max(FIRST_LOOK, min(age, LONGEST_PAUSE)), end)

    # What is asked

    async def _its_turn(self, message: Message, step: Step) -> bool:
        """Whether the vendor may be asked now; if not, it is later."""
        wait = await self.turn(step.source, 1, message.broadcast_id)
        if wait is None:
            return True
        await self._ledger.put_back(message.id, attempt=message.attempt, due=self._now() + wait)
        return False

    async def turn(self, source: str, count: int, broadcast_id: int) -> int | None:
        """None when the vendor may be sent so many, after waiting for it; else in how many milliseconds."""
        try:
            turn = await self._limits.turn(
                source,
                count,
                rate=self.rate_of(source),
                patience=PATIENCE_FOR_A_TURN,
                alone=broadcast_id == ALONE,
                broadcast=await self.letters.own_rate(broadcast_id),
            )
        except SourceError:  # without Redis nobody knows how fast the others are
            return AGAIN
        if not turn.granted:
            return max(round(turn.wait * 1000), 1)
        await asyncio.sleep(turn.wait)
        return None

    def rate_of(self, source: str) -> float | None:
        rate: float | None = getattr(self._adapters, source).rate
        return rate

    async def pause(self, source: str, error: Busy) -> int:
        """Nobody asks the vendor for a while, as it wants it; how many milliseconds."""
        seconds = AGAIN / 1000 if error.retry_after is None else error.retry_after
        await self._limits.pause(source, seconds)
        return int(seconds * 1000)

    async def _what_is_wanted(
        self, message: Message, body: Body, nothing: WantedNothing | None
    ) -> tuple[Message, Step]:
        """The step without the channels on which the addresses want nothing, as of this moment."""
        if nothing is None:
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
        return await self._adapters.hyber.send(self.to_hyber(message, body, step))

    def to_hyber(self, message: Message, body: Body, step: Step) -> hyber.Message:
        options = (body.content.option(channel) for channel in step.channels)
        return hyber.Message(
            phone=message.phone or "",
            options=tuple(option for option in options if option),
            extra_id=self.external_id(message),
            callback_url=self._callback_url,
            tag=body.tag,
            division_code=body.division_code,
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
        due = self.next_look_at(message, body, step)
        event, id = Event(state=State.ACCEPTED, channel=step.channels[0]), message.id
        is_news = await self._ledger.raise_to(
            id, event, attempt=message.attempt, vendor_id=vendor_id, due=due
        )
        await self._told(id)
        if not is_news:
            return None
        return message.after(event, due=due, vendor_id=vendor_id, accepted_at=event.at)

    async def failed(self, message: Message, step: Step, error: SourceError) -> None:
        channel = step.channels[0]
        if isinstance(error, Rejected | Misconfigured):
            event = Event(state=State.FAILED, channel=channel, reason=str(error))
            await self._step_is_over(message, event, _failure(error))
        elif isinstance(error, Busy) or not error.in_doubt:
            await self._try_again(message, step, error)
        elif step.source != "hyber":
            await self._raise(message, Event(state=State.UNKNOWN, channel=channel, reason=str(error)))
        # What Hyber may have taken stays `sending`, until it is asked.

    async def _try_again(self, message: Message, step: Step, error: SourceError) -> None:
        moment = self._now()
        if moment - _milliseconds(message.send_at or message.created_at) > PATIENCE:
            event = Event(state=State.FAILED, channel=step.channels[0], reason=str(error))
            await self._step_is_over(message, event, _failure(error))
            return
        wait = await self.pause(step.source, error) if isinstance(error, Busy) else AGAIN
        await self._ledger.put_back(message.id, attempt=message.attempt, due=moment + wait)
        await self._told(message.id)

    async def _found(
        self, message: Message, body: Body, step: Step, found: report.Report, *, is_over: bool
    ) -> None:
        """Looked up: what is not over when the time of all its channels is, is over now."""
        if message.state is State.SENDING:
            await self._accepted(message, body, step, found.message_id)
        elif is_over and found.state in (report.State.ACCEPTED, report.State.SENT):
            found = replace(found, state=report.State.EXPIRED)
        await self._report(message, found)

    async def _report(self, message: Message, found: report.Report) -> None:
        event = self._event(found)
        if event is None:  # accepted, which we know
            return
        if event.state in (State.FAILED, State.EXPIRED):
            failure = Failure("SOURCE_REJECTED", "Hyber did not deliver the message.", found.vendor_code)
            await self._step_is_over(message, event, failure)
        else:
            await self._raise(message, event)

    def _event(self, found: report.Report) -> Event | None:
        state = _STATES.get(found.state)
        if state is None:
            return None
        channel = found.channel if found.channel in _CHANNELS else None
        return Event(state=state, channel=channel, reason=found.vendor_code, at=found.at or _moment())

    async def _step_is_over(self, message: Message, event: Event, failure: Failure | None = None) -> None:
        steps = (await self.letters.body_of(message)).steps
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
