"""Whatever is asked, the compiled operation answers what graphql-core answers."""

import gc
import warnings
from contextlib import suppress

from hypothesis.strategies import integers

from gateway.execution import NotCompiled
from tests.execution import own
from tests.execution.differential import Case, awaited, compare
from tests.properties import holds_for_any


async def test_both_executors_answer_the_same_whatever_is_asked_and_whatever_goes_wrong() -> None:
    async def same(seed: int) -> None:
        await compare(seed)

    with warnings.catch_warnings():
        # Of what is lost graphql-core leaves coroutines behind that nobody has awaited.
        warnings.simplefilter("ignore", RuntimeWarning)
        await holds_for_any(integers(0, 2**32), same, examples=400)
        gc.collect()


async def test_over_our_own_schema_both_executors_answer_the_same() -> None:
    await holds_for_any(integers(0, 2**32), own.compare, examples=150)


async def test_compiled_operations_leave_no_coroutine_behind_that_nobody_awaited() -> None:
    gc.collect()
    for seed in range(100):
        case = Case(seed)
        with suppress(NotCompiled):
            await awaited(case.compiled(case.world()))
    gc.collect()
