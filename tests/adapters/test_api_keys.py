"""API keys, as the database keeps them."""

import asyncio
from datetime import timedelta

from adapters.storage.api_keys import ApiKeys
from adapters.storage.client import Storage
from adapters.storage.tables import now

SECRET = "hunter2"


async def _added(keys: ApiKeys, id: str, lasting: timedelta | None = None) -> None:
    await keys.add(id, "shop", SECRET, {"customers:read"}, now() + lasting if lasting else None)


async def test_a_key_is_kept_as_its_hash_and_is_good_until_it_expires_or_is_revoked(storage: Storage) -> None:
    keys = storage.api_keys
    assert await keys.any() is False

    await _added(keys, "1")
    await _added(keys, "2", timedelta(days=1))
    await _added(keys, "3", timedelta(seconds=-1))

    first, second, third = sorted(await keys.all(), key=lambda key: key.id)
    assert first.is_opened_by(SECRET)
    assert not first.is_opened_by("hunter3")
    assert SECRET not in repr(first)
    assert (first.name, first.used_at) == ("shop", None)
    assert first.scopes == {"customers:read"}
    assert [key.is_good for key in (first, second, third)] == [True, True, False]

    assert await keys.revoke("1")
    revoked = await keys.find(["1"])
    assert not revoked["1"].is_good
    assert await keys.revoke("1"), "it is revoked still"
    assert await keys.find(["1"]) == revoked
    assert not await keys.revoke("4")
    assert await keys.find(["4"]) == {}
    assert await keys.any() is True, "that there were keys is not forgotten"


async def test_the_last_use_is_written_down_roughly(storage: Storage) -> None:
    keys = storage.api_keys
    await _added(keys, "1")

    await asyncio.gather(*(keys.was_used("1") for _ in range(5)))
    used = (await keys.find(["1"]))["1"]
    await keys.was_used("1")

    assert used.used_at is not None
    assert not used.use_is_news
    assert await keys.find(["1"]) == {"1": used}
