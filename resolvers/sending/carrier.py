"""Carrier: sends a chunk of a broadcast, some of its messages at a time.

Each time the ledger says `sending` before the vendor is asked, and only while the chunk is ours and the
broadcast runs. What is left `sending` is looked at later, as a message of its own.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from time import monotonic, time
from typing import NamedTuple

import structlog

from adapters import Adapters, tracing
from adapters.errors import Busy, Misconfigured, Rejected, SourceError, Unacceptable, Unavailable
from adapters.hyber import message as hyber
from adapters.storage.audience import read_part
from adapters.storage.broadcasts import Forbidden
from adapters.storage.chunks import Chunk
from adapters.storage.messages import Event, Id, Message, State
from adapters.tracing import Kind
from resolvers.sending.body import Body, Channel, Step
from resolvers.sending.cascade import steps_of
from resolvers.sending.courier import AGAIN, START, Courier
from resolvers.sending.letter import Letter
from resolvers.sending.limits import portion

LEASE = 15_000
"""Milliseconds from one part of a chunk to the next, after which somebody else may go on with it."""
MOST = 200
"""Messages of a chunk that are under way at once: so many may still go out when it is paused."""
ONE_BY_ONE = 10
"""The same for vendors who take them one by one."""
ALL_REFUSED = 10
"""So many refusals for one reason, and nothing taken, are no fault of the recipients."""

log = structlog.get_logger("switchboard.carrier")


class _Errand(NamedTuple):
    message: Message
    body: Body
    step: Step


class _Handed(NamedTuple):
    """What was taken of a chunk at once."""

    chunk: Chunk
    letter: Letter
    source: str
    rows: Sequence[Message]
    taken_at: float
    bodies: dict[bytes, Body]
    """By what is the recipients' own: often it is the same."""


class _Refused(NamedTuple):
    errand: _Errand
    error: SourceError


class _InTime(NamedTuple):
    """Until when what was taken may leave: a process that was asleep does not know who looks at it now."""

    end: float

    def check(self, source: str) -> None:
        if monotonic() > self.end:
            raise Unavailable(source, "This process was too slow to send it.")


class _Trouble(NamedTuple):
    """Why a chunk does not go on now."""

    wait: int
    """Milliseconds after which it may."""
    pause: str | None = None
    """One sentence, if the whole broadcast is not to go on."""


class Carrier:
    def __init__(self, adapters: Adapters, courier: Courier, told: Callable[[Id], Awaitable[None]]) -> None:
        self._adapters = adapters
        self._courier = courier
        self._told = told
        self._ledger = adapters.storage.messages
        self._chunks = adapters.storage.chunks
        self._broadcasts = adapters.storage.broadcasts
        self._refusals: dict[int, tuple[str | None, int]] = {}
        """Of each broadcast the last code, and how many messages in a row were refused with it."""

    async def carry(self, broadcast_id: int, n: int, token: str) -> None:
        """Sends what is left of the chunk, if it was given out with this token and to nobody since."""
        try:
            if chunk := await self._chunks.ours(broadcast_id, n, token):
                await self._carry(chunk, token)
        except SourceError as error:  # the database: whoever has the chunk next goes on
            log.warning("a chunk was left where it is", code=error.code)
        await self._told(Id(broadcast_id, 0))

    async def _carry(self, chunk: Chunk, token: str) -> None:
        if chunk.tries > 1:  # who had it before may have left some of it behind
            await self._chunks.leave(chunk, due=self._courier.claimed_until())
        trouble = await self._send(chunk, token)
        if trouble and trouble.pause:
            await self._pause(chunk.broadcast_id, trouble.pause)
        if trouble or not await self._chunks.finish(chunk, token):
            await self._chunks.release(chunk, token, _now() + (trouble.wait if trouble else AGAIN))

    async def _send(self, chunk: Chunk, token: str) -> _Trouble | None:
        broadcast, letter = await self._courier.letters.of(chunk.broadcast_id)
        channel, source, count = None, "", 0
        bodies: dict[bytes, Body] = {}
        while True:
            # Hyber can be asked about what was taken and not sent: so that is taken before its turn, and then
            # goes on time. Of the others nothing is taken before.
            if channel and source != "hyber" and (wait := await self._turn(chunk, source, count)):
                return _Trouble(wait)
            taken_at = monotonic()
            taken = await self._chunks.take(chunk, token, channel, count, lease_until=_now() + LEASE)
            if taken is None:  # it is not ours any more, or does not run
                return _Trouble(1)
            if taken.rows:
                handed = _Handed(chunk, letter, source, taken.rows, taken_at, bodies)
                if trouble := await self._hand_over(handed):
                    return trouble
                await self._told(Id(chunk.broadcast_id, 0))
            if taken.next is None:
                return None
            channel, source = taken.next, _source_of(letter, taken.next)
            count = self._count(source, broadcast.rate_per_second)

    async def _turn(self, chunk: Chunk, source: str, count: int) -> int | None:
        return await self._courier.turn(source, count, chunk.broadcast_id)

    def _count(self, source: str, own_rate: float | None) -> int:
        rates = [rate for rate in (self._courier.rate_of(source), own_rate) if rate]
        return portion(min(rates, default=None), MOST if source == "hyber" else ONE_BY_ONE)

    async def _hand_over(self, handed: _Handed) -> _Trouble | None:
        rows, source = handed.rows, handed.source
        nothing = await self._ledger.wanted_nothing(*_addresses(rows))
        errands = [self._errand(handed, row) for row in rows if not _may_want_nothing(row, nothing)]
        if len(errands) < len(rows):
            apart = [row for row in rows if _may_want_nothing(row, nothing)]
            await self._without_some_channels(handed, apart)
        if source == "hyber" and (wait := await self._turn(handed.chunk, source, len(errands))):
            await self._put_back(handed, errands)
            return _Trouble(wait)
        refused = await self._send_all(source, errands, _InTime(handed.taken_at + START))
        return await self._judge(handed, len(errands), refused)

    async def _send_all(self, source: str, errands: Sequence[_Errand], in_time: _InTime) -> list[_Refused]:
        with tracing.span(f"send {source}", Kind.PRODUCER) as span:
            span.say({"switchboard.source": source, "switchboard.messages": len(errands)})
            send = self._to_hyber if source == "hyber" else self._one_by_one
            refused = await send(errands, in_time)
            if refused:
                span.say({"switchboard.refused": len(refused)})
                span.fail(refused[0].error.code)
            return refused

    async def _without_some_channels(self, handed: _Handed, rows: Sequence[Message]) -> None:
        """Those who may want nothing on one of theirs: each as a message of its own, for they are few."""
        seqs = [row.seq for row in rows]
        await self._chunks.leave(handed.chunk, seqs, due=self._courier.claimed_until())
        for row in rows:
            await self._courier.send_claimed(row, handed.taken_at)

    def _errand(self, handed: _Handed, message: Message) -> _Errand:
        body = handed.bodies.get(message.body)
        if body is None:
            body = handed.bodies[message.body] = handed.letter.to(read_part(message.body))
        return _Errand(message, body, body.steps[message.step])

    async def _put_back(self, handed: _Handed, errands: Sequence[_Errand]) -> None:
        await self._chunks.put_back(handed.chunk, [errand.message.seq for errand in errands])

    async def _leave(self, chunk: Chunk, errands: Sequence[_Errand]) -> None:
        seqs = [errand.message.seq for errand in errands]
        await self._chunks.leave(chunk, seqs, due=self._courier.claimed_until())

    async def _one_by_one(self, errands: Sequence[_Errand], in_time: _InTime) -> list[_Refused]:
        async def send(errand: _Errand) -> _Refused | None:
            try:
                in_time.check(errand.step.source)
                await self._courier.try_once(*errand)
            except SourceError as error:
                return _Refused(errand, error)
            return None

        outcomes = await asyncio.gather(*map(send, errands))
        return [outcome for outcome in outcomes if outcome]

    async def _to_hyber(self, errands: Sequence[_Errand], in_time: _InTime) -> list[_Refused]:
        batches, alone = _Batches(), list[_Errand]()
        for errand in errands:
            if not batches.take(errand, self._courier.to_hyber(*errand)):
                alone.append(errand)
        refused = await self._one_by_one(alone, in_time)
        for form, batch in batches:
            refused += await self._batch(form, batch, in_time)
        return refused

    async def _batch(
        self, form: hyber.Form, batch: Sequence[tuple[_Errand, hyber.Message]], in_time: _InTime
    ) -> list[_Refused]:
        try:
            in_time.check("hyber")
            outcomes = await self._adapters.hyber.send_batch(form, [message for _, message in batch])
        except SourceError as error:
            return [_Refused(errand, error) for errand, _ in batch]
        accepted, refused = list[tuple[Message, str | None]](), list[_Refused]()
        for (errand, _), outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, str):
                accepted.append((errand.message, outcome))
            else:
                refused.append(_Refused(errand, outcome))
        if accepted:
            one = batch[0][0]
            event = Event(state=State.ACCEPTED, channel=one.step.channels[0])
            await self._ledger.accept(accepted, event, due=self._courier.next_look_at(*one))
        return refused

    async def _judge(self, handed: _Handed, count: int, refused: Sequence[_Refused]) -> _Trouble | None:
        """Writes down what came of those that were not taken, and says whether to go on."""
        reason = self._reason_to_pause(handed.chunk.broadcast_id, count, refused)
        wait, back, left = 0, list[_Errand](), list[_Errand]()
        for errand, error in refused:
            if isinstance(error, Busy):
                wait = max(wait, await self._courier.pause(handed.source, error))
                back.append(errand)
            elif reason and isinstance(error, Rejected | Misconfigured):
                back.append(errand)
            elif error.in_doubt and errand.step.source == "hyber":
                left.append(errand)
                wait = max(wait, AGAIN)
            elif error.in_doubt or isinstance(error, Rejected):
                await self._courier.failed(errand.message, errand.step, error)
                wait = max(wait, AGAIN if error.in_doubt else 0)
            else:  # it certainly did not leave
                back.append(errand)
                wait = max(wait, AGAIN)
        if back:
            await self._put_back(handed, back)
        if left:
            await self._leave(handed.chunk, left)
        return _Trouble(max(wait, 1), reason) if wait or reason else None

    def _reason_to_pause(self, broadcast_id: int, count: int, refused: Sequence[_Refused]) -> str | None:
        for _, error in refused:
            if isinstance(error, Misconfigured):
                return str(error)
        codes = {
            error.vendor_code if isinstance(error, Rejected) and not isinstance(error, Unacceptable) else None
            for _, error in refused
        }
        if len(refused) < count or len(codes) != 1 or None in codes:
            self._refusals.pop(broadcast_id, None)
            return None
        (code,) = codes
        last, before = self._refusals.get(broadcast_id, (code, 0))
        self._refusals[broadcast_id] = code, len(refused) + (before if last == code else 0)
        if self._refusals[broadcast_id][1] < ALL_REFUSED:
            return None
        del self._refusals[broadcast_id]
        return f"{refused[0].error} Nobody gets it for now ({code})."

    async def _pause(self, broadcast_id: int, reason: str) -> None:
        try:
            await self._broadcasts.pause(broadcast_id, reason)
        except Forbidden:  # somebody was faster
            return
        log.warning("a broadcast was paused", broadcast=broadcast_id, reason=reason)


class _Batches:
    """Messages for Hyber by what they have in common, which is looked at once for each text."""

    def __init__(self) -> None:
        self._batches: dict[hyber.Form, list[tuple[_Errand, hyber.Message]]] = defaultdict(list)
        self._of_body: dict[tuple[int, int], list[tuple[_Errand, hyber.Message]] | None] = {}

    def take(self, errand: _Errand, message: hyber.Message) -> bool:
        """Unless it says something else on each channel, which no batch can."""
        body = id(errand.body), errand.message.step
        if body not in self._of_body:
            form = message.form
            self._of_body[body] = self._batches[form] if form else None
        batch = self._of_body[body]
        if batch is None:
            return False
        batch.append((errand, message))
        return True

    def __iter__(self) -> Iterator[tuple[hyber.Form, list[tuple[_Errand, hyber.Message]]]]:
        return iter(self._batches.items())


def _source_of(letter: Letter, channel: str) -> str:
    (step,) = steps_of(letter.content, [Channel(channel)])
    return step.source


def _addresses(rows: Iterable[Message]) -> Iterator[str]:
    for row in rows:
        if row.phone:
            yield row.phone
        if row.messenger_id:
            yield row.messenger_id


def _may_want_nothing(row: Message, nothing: Mapping[str, set[str]]) -> bool:
    return bool(nothing) and any(address in nothing for address in _addresses([row]))


def _now() -> int:
    return int(time() * 1000)
