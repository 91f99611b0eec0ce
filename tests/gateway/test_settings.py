"""Settings: read once, frozen; a wrong one is one line that names its variable."""

import os
import re
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from gateway.reference import markdown
from gateway.settings import Settings, WrongSettings, load, unknown_variables, variables
from tests.processes import run

README = Path(__file__).parent.parent.parent / "README.md"

AMONG_OTHERS = [
    {"WORKERS": "2"},
    {"REDIS_URL": "redis://cache:6379/0"},
    {"BROKER_URL": "redis://broker:6379/0"},
    {"DATABASE_URL": "mysql+aiomysql://me@db/x"},
]

WRONG = {
    "PORT": (
        "http",
        "SWITCHBOARD_PORT: input should be a valid integer, unable to parse string as an integer.",
    ),
    "WORKERS": ("0", "SWITCHBOARD_WORKERS: input should be greater than or equal to 1."),
    "SANDBOX": ("maybe", "SWITCHBOARD_SANDBOX: input should be 'auto', 'on' or 'off'."),
    "DEMO": (
        "maybe",
        "SWITCHBOARD_DEMO: input should be a valid boolean, unable to interpret input.",
    ),
    "DATABASE_URL": (
        "postgresql://me:hunter2@db/x",
        "SWITCHBOARD_DATABASE_URL: must start with sqlite+aiosqlite:/// or mysql+aiomysql://.",
    ),
    "REDIS_URL": (
        "redis://:hunter2@cache:port",
        "SWITCHBOARD_REDIS_URL: must be redis://host:port/number or rediss://host:port/number.",
    ),
    "BROKER_URL": (
        "kafka://me:hunter2@broker",
        "SWITCHBOARD_BROKER_URL: must be redis://host:port/number, amqp://user:password@host/ or nats://host.",
    ),
    "HYBER__RATE": ("0", "SWITCHBOARD_HYBER__RATE: input should be greater than 0."),
    "MERCATELY__TIMEOUT": ("0", "SWITCHBOARD_MERCATELY__TIMEOUT: input should be greater than 0."),
    "MERCATELY__URL": (
        "app.mercately.com",
        "SWITCHBOARD_MERCATELY__URL: must start with http:// or https:// and name a host.",
    ),
    "MERCATELY__SLUG": (
        "shop",
        "SWITCHBOARD_MERCATELY__API_KEY: missing, while its other credentials are set; "
        "set all of them, or none.",
    ),
    "MERCATELY__SLUGG": (
        "x",
        "SWITCHBOARD_MERCATELY__SLUGG is not a setting: did you mean SWITCHBOARD_MERCATELY__SLUG?",
    ),
    "REGION": ("XX", "SWITCHBOARD_REGION: must be the two letters of a country, such as EC."),
    "MERCATELY": ("{", "SWITCHBOARD_MERCATELY: set its variables one by one."),
}


@pytest.mark.parametrize("name", WRONG)
async def test_a_wrong_value_is_one_line_that_names_its_variable(tmp_path: Path, name: str) -> None:
    value, says = WRONG[name]

    ended = await run(tmp_path, "config", **{name: value})

    assert (ended.code, ended.out, ended.err) == (2, "", says + "\n")


async def test_several_wrong_values_are_told_at_once(tmp_path: Path) -> None:
    ended = await run(tmp_path, "serve", PORT="x", WORKERS="y")

    assert ended.code == 2
    assert [line.partition(":")[0] for line in ended.err.splitlines()] == [
        "SWITCHBOARD_PORT",
        "SWITCHBOARD_WORKERS",
    ]


async def test_an_unknown_variable_is_pointed_out_with_the_likely_one(tmp_path: Path) -> None:
    ended = await run(tmp_path, "config", PROT="1", SERVICE_HOST="10.0.0.1")

    assert ended.code == 0
    assert ended.err.splitlines() == [
        "SWITCHBOARD_PROT is not a setting: did you mean SWITCHBOARD_PORT?",
        "SWITCHBOARD_SERVICE_HOST is not a setting: `switchboard config` lists them all.",
    ]


async def test_a_dot_env_is_read_and_the_environment_goes_before_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("SWITCHBOARD_PORT=9001\nSWITCHBOARD_WORKERS=3\nOTHER=1\n")

    ended = await run(tmp_path, "config", PORT="9002")

    assert "\nSWITCHBOARD_PORT=9002\n" in ended.out
    assert "\nSWITCHBOARD_WORKERS=3\n" in ended.out
    assert "\n# SWITCHBOARD_HOST=127.0.0.1\n" in ended.out


async def test_secrets_are_never_shown(tmp_path: Path) -> None:
    secret = "hunter2-secret"
    ended = await run(
        tmp_path,
        "config",
        MERCATELY__SLUG="shop",
        MERCATELY__API_KEY=secret,
        DATABASE_URL=f"mysql+aiomysql://me:{secret}@db/x",
        REDIS_URL=f"rediss://:{secret}@cache/0",
        BROKER_URL=f"amqp://me:{secret}@broker/",
    )

    assert ended.code == 0
    assert "SWITCHBOARD_MERCATELY__API_KEY=(hidden)" in ended.out
    assert "SWITCHBOARD_DATABASE_URL=mysql+aiomysql://me:***@db/x" in ended.out
    assert "SWITCHBOARD_REDIS_URL=rediss://:***@cache/0" in ended.out
    assert secret not in ended.out + ended.err


async def test_what_config_prints_is_a_dot_env(tmp_path: Path) -> None:
    first = await run(tmp_path, "config", PORT="9003", DRAIN="2.5")
    (tmp_path / ".env").write_text(first.out)

    assert (await run(tmp_path, "config")).out == first.out


@pytest.mark.parametrize(
    ("urls", "redis", "broker"),
    [
        ({}, None, None),
        ({"redis_url": "redis://cache/0"}, "redis://cache/0", None),
        ({"broker_url": "redis://broker/0"}, "redis://broker/0", "redis://broker/0"),
        ({"broker_url": "rediss://broker/0"}, "rediss://broker/0", "rediss://broker/0"),
        (
            {"redis_url": "redis://cache/0", "broker_url": "redis://broker/0"},
            "redis://cache/0",
            "redis://broker/0",
        ),
        ({"broker_url": "amqp://me:it@broker/"}, None, "amqp://me:it@broker/"),
        ({"broker_url": "nats://broker:4222"}, None, "nats://broker:4222"),
    ],
)
def test_a_redis_that_is_the_broker_is_used_for_the_rest_too(
    urls: dict[str, str], redis: str | None, broker: str | None
) -> None:
    settings = load(**urls)

    assert (settings.redis, settings.broker) == (redis, broker)


def test_a_broker_whose_client_is_not_installed_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "taskiq_nats", None)

    with pytest.raises(WrongSettings, match=r"its client is missing, install switchboard-gateway\[brokers\]"):
        load(broker_url="nats://broker")


def test_secrets_hide_themselves() -> None:
    shown = repr(
        load(mercately={"slug": "a", "api_key": "hunter2"}, database_url="mysql+aiomysql://a:hunter2@b/c")
    )

    assert "hunter2" not in shown


def test_settings_are_frozen(settings: Settings) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        settings.port = 1  # type: ignore[misc]  # which is the point


def test_every_variable_is_documented() -> None:
    assert [variable.name for variable in variables(load()) if not variable.description.endswith(".")] == []


def test_no_variable_of_this_machine_leaks_into_the_tests() -> None:
    assert [*unknown_variables(os.environ)] == []
    assert not any(name.startswith("SWITCHBOARD_") for name in os.environ)


def test_the_table_in_readme_is_that_of_the_code() -> None:
    table = re.search(r"\| variable \|.*?(?=\n\n)", README.read_text(encoding="utf-8"), re.DOTALL)

    assert table
    assert table[0] == markdown(variables(load()))


@pytest.mark.parametrize("others", AMONG_OTHERS, ids=lambda others: next(iter(others)))
def test_only_a_process_alone_keeps_what_others_may_change(
    others: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = load().sources
    for name, value in others.items():
        monkeypatch.setenv(f"SWITCHBOARD_{name}", value)
    among_others = load().sources
    monkeypatch.setenv("SWITCHBOARD_POSTER__CACHE", "1")

    kept = [sources["poster"].model_dump()["cache"] for sources in (alone, among_others, load().sources)]
    assert kept == [2, 0, 1]
