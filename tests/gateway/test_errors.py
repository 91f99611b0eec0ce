"""What clients see of an error: ours as it is, a bug never."""

import strawberry

from gateway.graph import Graph
from gateway.settings import Settings
from tests.gateways import gateway_on


@strawberry.type(name="Query")
class Buggy:
    @strawberry.field
    def fine(self) -> str:
        return "fine"

    @strawberry.field
    def broken(self) -> str | None:
        raise RuntimeError("the password of +593999999999 is hunter2")

    @strawberry.field
    def never_null(self) -> str:
        return None  # type: ignore[return-value]


async def test_a_bug_is_masked_with_a_request_id_and_its_siblings_arrive(settings: Settings) -> None:
    async with gateway_on(settings, graph=Graph(query=Buggy)) as gateway:
        answer = await gateway.ask("{ broken fine }", headers={"X-Request-Id": "r-1"})

    assert answer["data"] == {"broken": None, "fine": "fine"}
    (error,) = answer["errors"]
    assert error["message"] == "Something went wrong on our side: tell us the request id."
    assert error["extensions"] == {"code": "INTERNAL", "requestId": "r-1"}
    assert error["path"] == ["broken"]


async def test_a_null_that_may_not_be_is_a_bug_too(settings: Settings) -> None:
    async with gateway_on(settings, graph=Graph(query=Buggy)) as gateway:
        answer = await gateway.ask("{ neverNull fine }")

    assert answer["data"] is None
    assert answer["errors"][0]["extensions"]["code"] == "INTERNAL"
