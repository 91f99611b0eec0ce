"""Whom a source's line leads to: the vendor, its sandbox or nobody."""

from itertools import product

import psutil
import pytest
from pydantic import SecretStr

from adapters import RESTS
from adapters.lines import UseSandbox, mode_of, open_lines
from adapters.mercately.client import Mercately, MercatelySettings
from adapters.mercately.sandbox import MercatelySandbox
from adapters.rest import Mode, Source

SET = MercatelySettings(slug="shop", api_key=SecretStr("key"))
UNSET = MercatelySettings()
HALF_SET = MercatelySettings(slug="shop")

# By whether there are credentials, by SWITCHBOARD_SANDBOX, by whether all is embedded.
MODES = {
    (True, UseSandbox.AUTO, True): Mode.REAL,
    (True, UseSandbox.AUTO, False): Mode.REAL,
    (True, UseSandbox.ON, True): Mode.SANDBOX,
    (True, UseSandbox.ON, False): Mode.SANDBOX,
    (True, UseSandbox.OFF, True): Mode.REAL,
    (True, UseSandbox.OFF, False): Mode.REAL,
    (False, UseSandbox.AUTO, True): Mode.SANDBOX,
    (False, UseSandbox.AUTO, False): Mode.OFF,
    (False, UseSandbox.ON, True): Mode.SANDBOX,
    (False, UseSandbox.ON, False): Mode.SANDBOX,
    (False, UseSandbox.OFF, True): Mode.OFF,
    (False, UseSandbox.OFF, False): Mode.OFF,
}


def listening() -> set[int]:
    """The ports that this process listens on."""
    connections = psutil.Process().net_connections("tcp")
    return {c.laddr.port for c in connections if c.status == psutil.CONN_LISTEN}


def test_the_table_of_modes_is_complete() -> None:
    assert MODES.keys() == set(product((True, False), UseSandbox, (True, False)))


@pytest.mark.parametrize(("have", "use", "embedded"), list(MODES))
def test_who_answers_for_a_source(have: bool, use: UseSandbox, embedded: bool) -> None:
    assert mode_of(SET if have else UNSET, use, embedded=embedded) is MODES[have, use, embedded]


@pytest.mark.parametrize(("have", "use", "embedded"), [case for case in MODES if not case[0]])
def test_half_of_the_credentials_are_none(have: bool, use: UseSandbox, embedded: bool) -> None:
    assert mode_of(HALF_SET, use, embedded=embedded) is MODES[have, use, embedded]


async def test_a_sandbox_answers_as_long_as_the_block_lasts() -> None:
    before = listening()
    async with open_lines([Mercately], {"mercately": UNSET}, UseSandbox.AUTO, embedded=True) as lines:
        line = lines["mercately"]
        async with Mercately.open(line.settings, line.mode) as mercately:
            assert 2763 in await mercately.agents()

        assert line.mode is Mode.SANDBOX
        assert listening() - before == {int(line.settings.url.rpartition(":")[2])}
    assert listening() == before


async def test_a_sandbox_never_sees_the_real_credentials_and_keeps_the_limits() -> None:
    real = SET.model_copy(update={"timeout": 7.0, "connections": 3})
    async with open_lines([Mercately], {"mercately": real}, UseSandbox.ON, embedded=False) as lines:
        settings = lines["mercately"].settings

    assert isinstance(settings, MercatelySettings)
    assert (settings.timeout, settings.connections) == (7.0, 3)
    assert settings.slug == MercatelySandbox.credentials["slug"]
    assert settings.api_key.get_secret_value() == MercatelySandbox.credentials["api_key"]


@pytest.mark.parametrize(("source", "mode"), [(SET, Mode.REAL), (UNSET, Mode.OFF)])
async def test_nothing_listens_for_a_source_without_a_sandbox(source: Source, mode: Mode) -> None:
    before = listening()
    async with open_lines([Mercately], {"mercately": source}, UseSandbox.OFF, embedded=True) as lines:
        assert lines["mercately"].mode is mode
        assert lines["mercately"].settings is source
        assert listening() == before


def test_every_source_has_a_name_a_title_and_a_sandbox_of_its_own() -> None:
    assert len({rest.name for rest in RESTS}) == len(RESTS) > 0
    for rest in RESTS:
        assert rest.title
        assert rest.Sandbox.name == rest.name
        assert rest.Sandbox.credentials.keys() == set(rest.Settings.credentials)


def test_what_is_secret_hides_itself() -> None:
    assert "key" not in repr(SET.model_dump()["api_key"])
    assert "'key'" not in repr(SET)


@pytest.mark.parametrize("url", ["", "app.example.com", "ftp://example.com", "https://", "http:///path"])
def test_a_url_names_a_scheme_and_a_host(url: str) -> None:
    with pytest.raises(ValueError, match="must start with http:// or https:// and name a host"):
        MercatelySettings(url=url)


@pytest.mark.parametrize("url", ["http://x:99999", "http://x:y", "http://[::1"])
def test_a_url_that_nobody_can_call_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="must have a host and a port that can be called"):
        MercatelySettings(url=url)


def test_a_url_loses_the_slash_at_its_end() -> None:
    assert MercatelySettings(url="https://crm.example/").url == "https://crm.example"
