"""The door: everyprint's REST endpoints, as its documents have them and its bot calls them."""

import hmac
from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import orjson
import structlog
from aiohttp import hdrs, web

from adapters.deadline import deadline
from adapters.errors import SourceError
from gateway.credentials import Misdirected, Missing, Refused
from gateway.keys import ADAPTERS, CALLER, CREDENTIALS, GATE, POST, REQUEST_ID, RETURN_CODE
from gateway.parameters import Parameters, read
from gateway.settings import Settings, variable_name
from resolvers.broadcasting import start
from resolvers.caller import DOOR
from resolvers.changes import to_the_end
from resolvers.context import Context
from resolvers.outbox import send
from resolvers.profiles import save
from schema.broadcasts import AudienceInput, BroadcastInput
from schema.customers import Gender, SaveCustomerInput
from schema.errors import NotFound, Refusal
from schema.messages import Channel, ContentInput, MessengerInput, RecipientInput, SendMessageInput

ROOT = "/everyprint/api"
HEADER = "X-Switchboard-Secret"

DONE, WRONG, FAILED = "111", "222", "333"
"""The return codes; HTTP says 200 to each, or the bot would not read on."""

_GENDERS = {"male": Gender.MALE, "0": Gender.MALE, "female": Gender.FEMALE, "1": Gender.FEMALE}

Answer = Mapping[str, str]
Endpoint = Callable[[Context, Parameters], Awaitable[Answer]]

log = structlog.get_logger("switchboard.door")


def routes(settings: Settings) -> list[web.RouteDef]:
    if not settings.has_door:
        return []
    return [
        web.post(f"{ROOT}/customer/save", partial(_serve, settings, save_customer)),
        web.get(f"{ROOT}/customer/balance", partial(_serve, settings, balance)),
        web.post(f"{ROOT}/broadcast", partial(_serve, settings, broadcast_to_all)),
        # As everyprint's documents have it; who asks for the headers alone means to send nothing.
        web.get(f"{ROOT}/broadcast/customer", partial(_serve, settings, send_to_one), allow_head=False),
        web.post(f"{ROOT}/broadcast/customer", partial(_serve, settings, send_to_one)),
        web.post(f"{ROOT}/broadcast/group", partial(_serve, settings, broadcast_to_group)),
    ]


async def save_customer(context: Context, said: Parameters) -> Answer:
    gender = _GENDERS.get((said.get("gender") or "").lower())
    if gender is None:
        said.wrong("gender", "This must be Male or Female, or 0 or 1.")
    input = SaveCustomerInput(
        messenger_id=said.get("messenger_id") or "",
        last_name=said.get("last_name") or "",
        gender=gender,  # type: ignore[arg-type]  # None is refused with all else that is wrong
        first_name=said.get("first_name"),
        phone=said.get("phone"),
        email=said.get("email"),
    )
    await to_the_end(save(context.adapters.storage.everyprint, context.region, input, said))
    return {}


async def balance(context: Context, said: Parameters) -> Answer:
    messenger_id = said.messenger_id("messengerId", said.get("messenger_id") or "")
    said.refuse()
    found = await context.loaders.balance.load(messenger_id)
    if found is None:
        raise NotFound({"messenger_id": "No customer has this id: save the customer first."})
    return {"balance": f"{found.amount:f}"}


async def broadcast_to_all(context: Context, said: Parameters) -> Answer:
    return await _broadcast(context, said, AudienceInput(all=True))


async def broadcast_to_group(context: Context, said: Parameters) -> Answer:
    return await _broadcast(context, said, AudienceInput(group=said.get("group") or ""))


async def send_to_one(context: Context, said: Parameters) -> Answer:
    to = RecipientInput(messenger_id=said.get("customer_id") or "")
    key = said.get("idempotencyKey")
    input = SendMessageInput(to=to, channels=[Channel.MESSENGER], content=_content(said), idempotency_key=key)
    message = await to_the_end(send(context, input, said))
    return {"message_id": message.id}


async def _broadcast(context: Context, said: Parameters, audience: AudienceInput) -> Answer:
    key = said.get("idempotencyKey")
    input = BroadcastInput(
        audience=audience, channels=[Channel.MESSENGER], content=_content(said), idempotency_key=key
    )
    broadcast = await to_the_end(start(context, input, said))
    return {"broadcast_id": broadcast.id}


def _content(said: Parameters) -> ContentInput:
    return ContentInput(messenger=MessengerInput(text=said.get("message") or ""))


async def _serve(settings: Settings, endpoint: Endpoint, request: web.Request) -> web.Response:
    if _is_of_another_site(request):
        return _answer(request, WRONG, _message("Pages of other sites are not let in."), status=403)
    if not _knows_the_secret(request, settings):
        way_out = f"Send the secret as the header {HEADER} or as the query parameter secret."
        return _answer(request, WRONG, _message(way_out), status=401)
    request[CALLER] = DOOR
    if settings.door_secret is not None:
        await request.app[GATE].shown(DOOR)
    context = Context(
        request.app[ADAPTERS], request.app[POST], request[REQUEST_ID], settings.timeout, settings.region, DOOR
    )
    try:
        if settings.door_secret is None:
            await request.app[CREDENTIALS].anybody(request)
        said = await read(request)
        with deadline(settings.timeout):
            return _answer(request, DONE, await endpoint(context, said))
    except Refusal as refusal:
        faults = (f"{name}: {sentence}" for name, sentence in refusal.fields.items())
        return _answer(request, WRONG, _message(" ".join(faults)))
    except Missing:
        return _answer(request, WRONG, _message(f"Set {variable_name('door_secret')} first."), status=401)
    except Misdirected as refused:
        return _answer(request, WRONG, _message(str(refused)), status=refused.status)
    except (SourceError, Refused):  # logged where it was asked
        pass
    except Exception:
        log.exception("unexpected")
    return _answer(request, FAILED, _message("Something failed behind us: wait, then try again."))


def _answer(request: web.Request, return_code: str, answer: Answer, *, status: int = 200) -> web.Response:
    request[RETURN_CODE] = return_code
    return web.Response(
        status=status,
        body=orjson.dumps({**answer, "return_code": return_code}),
        content_type="application/json",
        headers={"Cache-Control": "no-store"},
    )


def _message(sentence: str) -> Answer:
    return {"message": sentence}


def _is_of_another_site(request: web.Request) -> bool:
    """A browser lets any page send a form to any address, also to a loopback; bots send none of this."""
    origin = request.headers.get(hdrs.ORIGIN)
    if origin is not None and origin.partition("://")[2].lower() != request.host.lower():
        return True
    return request.headers.get("Sec-Fetch-Site") in ("cross-site", "same-site")


def _knows_the_secret(request: web.Request, settings: Settings) -> bool:
    if settings.door_secret is None:
        return True
    given = request.headers.get(HEADER) or request.query.get("secret", "")
    secret = settings.door_secret.get_secret_value()
    return hmac.compare_digest(_bytes(given), _bytes(secret))


def _bytes(text: str) -> bytes:
    return text.encode(errors="surrogatepass")
