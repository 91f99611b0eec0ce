"""README, taken at its word: its commands are run, its query is asked, its answer is compared."""

import asyncio
import json
import os
import re
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path

from adapters.mercately.sandbox import MercatelySandbox
from gateway.cli import app
from tests.gateways import Gateway
from tests.processes import Served, environment

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def block(language: str, holding: str) -> str:
    """The one fenced block of this language that holds this."""
    blocks: list[str] = re.findall(rf"^```{language}\n(.*?)^```$", README, re.M | re.S)
    (found,) = [text for text in blocks if holding in text]
    return found


async def sh(script: str, folder: Path, **settings: object) -> str:
    process = await asyncio.create_subprocess_shell(
        script, cwd=folder, env=environment(**settings), stdout=PIPE, stderr=STDOUT
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    return out.decode()


async def test_make_run_serves_and_says_what_it_runs_on(tmp_path: Path) -> None:
    assert "make run " in block("sh", "make run")
    process = await asyncio.create_subprocess_exec(
        "make",
        "--silent",
        "run",
        cwd=ROOT,
        env=environment(PORT=0, DATA_DIR=tmp_path) | {"PYTHONWARNINGS": "default"},  # for pip, if it runs
        stdout=PIPE,
        stderr=PIPE,
    )
    served = Served(process)
    assert process.stdout
    while "Ctrl-C stops." not in served.banner:
        line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
        assert line, await served.result()
        served.banner += line
    ended = await served.end()

    assert "mercately   sandbox" in served.banner
    assert '"event":"stopped"' in ended.err  # make itself ends by the signal


async def test_the_first_query_and_the_first_change_get_the_answers_that_are_printed(
    peopled: Gateway, tmp_path: Path
) -> None:
    for shell, answer in (("phone:", "firstName"), ("saveCustomer", "lil kim")):
        command = block("sh", shell).replace("http://127.0.0.1:8000", peopled.url)

        answered = await sh(command, tmp_path)

        assert json.loads(answered) == json.loads(block("json", answer))


async def test_the_bots_endpoints_answer_what_is_printed(peopled: Gateway, tmp_path: Path) -> None:
    commands = block("sh", "/everyprint/api").replace("http://127.0.0.1:8000", peopled.url)

    answered = await sh(commands.replace("\n", "\necho\n"), tmp_path)

    said = [json.loads(line) for line in block("json", "return_code").splitlines()]
    assert [json.loads(line) for line in answered.splitlines() if line] == said


async def test_following_the_chapter_on_real_vendors_ends_at_the_doctor(tmp_path: Path) -> None:
    (tmp_path / ".venv").symlink_to(sys.prefix)
    async with MercatelySandbox() as stands_for_the_vendor:
        said = await sh(block("sh", "doctor"), tmp_path, MERCATELY__URL=stands_for_the_vendor.url)

    assert "Mercately refuses our credentials" in said
    assert stands_for_the_vendor.count("/agents") == 1


async def test_following_the_chapter_on_many_machines_they_start(
    mariadb_url: str, redis_url: str, tmp_path: Path
) -> None:
    *exports, migrate, serve, worker = block("sh", "BROKER_URL").splitlines()
    urls = {"DATABASE_URL": mariadb_url, "BROKER_URL": redis_url}
    named = [re.search(r"SWITCHBOARD_(\w+)=", line) for line in exports]
    exported = {name[1]: urls[name[1]] for name in named if name}
    assert exported == urls, "no other setting is asked for"

    (tmp_path / ".venv").symlink_to(sys.prefix)
    assert "up to date" in await sh(migrate, tmp_path, **exported)
    for command, says in ((serve, "/graphql"), (worker, "Worker: sends")):
        process = await asyncio.create_subprocess_shell(
            f"exec {command}", cwd=tmp_path, env=environment(PORT=0, **exported), stdout=PIPE, stderr=PIPE
        )
        served = Served(process)
        assert process.stdout
        while "Ctrl-C stops." not in served.banner:
            line = (await asyncio.wait_for(process.stdout.readline(), 60)).decode()
            assert line, await served.result()
            served.banner += line
        await served.end()
        assert says in served.banner


def test_every_command_is_in_the_table_and_every_one_in_the_table_exists() -> None:
    named = re.findall(r"^\| `switchboard (\w+)`", README, re.M)
    existing = [
        command.name or command.callback.__name__ for command in app.registered_commands if command.callback
    ] + [group.name for group in app.registered_groups if group.name]

    assert sorted(named) == sorted(existing)


def test_every_link_leads_to_a_file_that_is_there() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", README) if "://" not in link]

    assert links
    assert [link for link in links if not os.path.exists(ROOT / link)] == []
