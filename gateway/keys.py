"""The names under which the parts of the application find what they share."""

from collections.abc import Sequence

from aiohttp import web
from graphql import GraphQLError

from adapters import Adapters
from gateway.credentials import Credentials
from gateway.gate import Gate
from gateway.metrics import Metrics
from resolvers.caller import Caller
from resolvers.context import Context
from resolvers.sending.post import Post

ADAPTERS = web.AppKey("adapters", Adapters)
CREDENTIALS = web.AppKey("credentials", Credentials)
POST = web.AppKey("post", Post)
GATE = web.AppKey("gate", Gate)
METRICS = web.AppKey("metrics", Metrics)

REQUEST_ID = web.RequestKey("request_id", str)
CALLER = web.RequestKey("caller", Caller)
CONTEXT = web.RequestKey("context", Context)
ANSWER = web.RequestKey("answer", web.Response)
ERRORS = web.RequestKey("errors", Sequence[GraphQLError])
STAYS = web.RequestKey("stays", bool)
RETURN_CODE = web.RequestKey("return_code", str)
