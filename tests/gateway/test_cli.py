"""The commands other than serve, as processes."""

import asyncio
import re
from functools import partial
from pathlib import Path

from aiohttp import ClientSession

from tests.processes import ask, run, serve
from tests.services import Mariadb

ROOT = Path(__file__).parent.parent.parent


async def test_help_names_every_command_with_a_sentence(tmp_path: Path) -> None:
    ended = await run(tmp_path, "--help")

    for command in ("serve", "sandbox", "migrate", "sync", "forget", "schema", "config", "doctor"):
        assert re.search(rf"│ {command} +\w.+", ended.out), command


async def test_no_command_is_help_and_an_unknown_one_says_so(tmp_path: Path) -> None:
    nothing = await run(tmp_path)
    unknown = await run(tmp_path, "srve")

    assert "Usage" in nothing.out + nothing.err
    assert unknown.code == 2
    assert "No such command 'srve'" in unknown.err


async def test_the_version_is_printed(tmp_path: Path) -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", (await run(tmp_path, "--version", cold=True)).out)


async def test_schema_prints_what_is_committed(tmp_path: Path) -> None:
    ended = await run(tmp_path, "schema", cold=True)

    assert ended.out == (ROOT / "schema.graphql").read_text(encoding="utf-8")


async def test_sandbox_prints_the_settings_that_point_a_gateway_at_it(tmp_path: Path) -> None:
    async with serve(tmp_path, "sandbox", until="API_KEY=", cold=True) as sandbox:
        (tmp_path / ".env").write_text(sandbox.banner)
        async with serve(tmp_path) as gateway:
            answer = await ask(gateway.url, "{ agents { id } }")
            await gateway.end()
        ended = await sandbox.end()

    assert isinstance(answer, dict)
    assert len(answer["data"]["agents"]) == 40
    assert "mercately   real" in gateway.banner
    assert ended.code == 0
    assert ended.err == "Ctrl-C stops.\n"


async def test_the_doctor_finds_the_embedded_default_well(tmp_path: Path) -> None:
    ended = await run(tmp_path, "doctor", cold=True)

    assert ended.code == 0
    assert re.search(r"database +SQLite +yes", ended.out)
    assert re.search(r"mercately +sandbox +yes +Set SWITCHBOARD_MERCATELY__SLUG", ended.out)


async def test_the_doctor_says_what_to_set_for_refused_credentials(tmp_path: Path) -> None:
    async with serve(tmp_path, "sandbox", until="API_KEY=") as sandbox:
        url = sandbox.banner.partition("\n")[0].partition("=")[2]
        ended = await run(
            tmp_path, "doctor", MERCATELY__URL=url, MERCATELY__SLUG="sandbox", MERCATELY__API_KEY="wrong"
        )

    said = " ".join(ended.out.split())
    assert ended.code == 1
    assert "Mercately refuses our credentials" in said
    assert "SWITCHBOARD_MERCATELY__SLUG and SWITCHBOARD_MERCATELY__API_KEY" in said
    assert "wrong" not in ended.out + ended.err
    assert "Traceback" not in ended.err


async def test_the_doctor_names_what_is_dead_and_what_is_off(tmp_path: Path) -> None:
    dead = await run(
        tmp_path,
        "doctor",
        DATABASE_URL="mysql+aiomysql://me:hunter2@127.0.0.1:9/x",
        MERCATELY__URL="http://127.0.0.1:9",
        MERCATELY__SLUG="a",
        MERCATELY__API_KEY="b",
    )
    off = await run(tmp_path, "doctor", SANDBOX="off")

    assert dead.code == 1
    assert re.search(r"database +MySQL +no +The database cannot be reached", dead.out)
    assert re.search(r"mercately +real +no +Mercately cannot be reached", dead.out)
    assert "hunter2" not in dead.out + dead.err
    assert off.code == 0
    assert re.search(r"mercately +off +- +Set SWITCHBOARD_MERCATELY__SLUG", off.out)


async def test_a_server_database_is_migrated_on_command_and_not_by_serve(
    tmp_path: Path, mariadb_url: str
) -> None:
    refused = await run(tmp_path, "serve", "--port", "0", DATABASE_URL=mariadb_url)
    migrated = await run(tmp_path, "migrate", DATABASE_URL=mariadb_url)
    again = await run(tmp_path, "migrate", DATABASE_URL=mariadb_url)
    async with serve(tmp_path, DATABASE_URL=mariadb_url) as served:
        ready = await health(served.url)
        ended = await served.end()

    assert (refused.code, refused.out) == (1, "")
    assert refused.err == "The database has an old schema: run `switchboard migrate`, then start again.\n"
    assert (migrated.code, migrated.out) == (0, "The database's schema is up to date.\n")
    assert (again.code, again.out) == (0, migrated.out)
    assert ready == 200
    assert "mercately   off" in served.banner
    assert mariadb_url not in served.banner
    assert ended.code == 0


async def test_two_migrations_at_once_take_turns(tmp_path: Path, mariadb_url: str) -> None:
    migrate = partial(run, tmp_path, "migrate", cold=True, DATABASE_URL=mariadb_url)
    both = await asyncio.gather(*(migrate() for _ in range(2)))

    assert [ended.code for ended in both] == [0, 0]


async def test_migrate_without_a_database_is_one_line(tmp_path: Path) -> None:
    ended = await run(tmp_path, "migrate", DATABASE_URL="mysql+aiomysql://me:hunter2@127.0.0.1:9/x")

    assert (ended.code, ended.out) == (1, "")
    assert ended.err == "The database cannot be reached: try again later. See SWITCHBOARD_DATABASE_URL.\n"


async def test_a_server_starts_while_its_database_is_down(
    tmp_path: Path, mariadb_server: Mariadb, mariadb_url: str
) -> None:
    mariadb_server.stop()
    async with serve(tmp_path, DATABASE_URL=mariadb_url, SANDBOX="on") as served:
        answer = await ask(served.url, "{ agents { id } }")
        ready = await health(served.url)
        ended = await served.end()

    assert isinstance(answer, dict)
    assert len(answer["data"]["agents"]) == 40
    assert ready == 503
    assert "the database does not answer" in ended.err
    assert "Traceback" not in ended.err


async def health(url: str) -> int:
    async with ClientSession() as session, session.get(f"{url}/health/ready") as ready:
        return ready.status
