"""What clients see of an error: ours as it is, a bug never."""

from typing import NewType

import pytest
import strawberry

from gateway.graph import Graph
from gateway.settings import Settings
from tests.gateways import gateway_on


def breaks(value: str) -> str:
    raise RuntimeError("the password of +593999999999 is hunter2")


with pytest.warns(DeprecationWarning, match="scalar"):  # a scalar of a graph's own is said in another way
    Odd = strawberry.scalar(NewType("Odd", str), parse_value=breaks)


@strawberry.type(name="Query")
class Buggy:
    @strawberry.field
    def fine(self) -> str:
        return "fine"

    @strawberry.field
    def broken(self) -> str | None:
        raise RuntimeError("the password of +593999999999 is hunter2")

    @strawberry.field
    def odd(self, value: Odd) -> str:  # type: ignore[valid-type]
        return "even"

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


async def test_a_bug_in_a_scalar_is_masked_too_before_anything_is_run(settings: Settings) -> None:
    async with gateway_on(settings, graph=Graph(query=Buggy)) as gateway:
        for query in ('{ odd(value: "x") }', "query ($value: Odd!) { odd(value: $value) }"):
            error = await gateway.error(query, value="x")

            assert error["message"] == "Something went wrong on our side: tell us the request id."
            assert error["extensions"]["code"] == "INTERNAL"


async def test_a_null_that_may_not_be_is_a_bug_too(settings: Settings) -> None:
    async with gateway_on(settings, graph=Graph(query=Buggy)) as gateway:
        answer = await gateway.ask("{ neverNull fine }")

    assert answer["data"] is None
    assert answer["errors"][0]["extensions"]["code"] == "INTERNAL"
