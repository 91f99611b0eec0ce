"""The check for leaks, checked: what belongs to somebody fails the test that logs it, and only that one."""

import os
import subprocess
import sys
from pathlib import Path

from pydantic import BaseModel

from adapters import RESTS
from gateway.settings import Settings
from tests.processes import run

ROOT = Path(__file__).parent.parent
LEAKY = """
import logging, structlog
from structlog.testing import capture_logs
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from tests.leaks import hear, hear_span

log = structlog.get_logger()

def test_phone(): log.info("sent", to="+593999999999")
def test_name(): log.info("saved", who="Mariana Espinoza")
def test_key(): log.bind(key="sb_" + "0" * 16 + "_" + "x" * 43).warning("let in")
def test_token():
    with capture_logs():
        log.info("let in", token="eyJhbGciOi.eyJzdWIiOi.x")
def test_library(): logging.getLogger("a.library").warning("cannot reach %s", "ana@example.com")
def test_process(): hear("a process", '{"event":"called","url":"?token=745d516e1b9320ed85b84d5bfda14148"}')
def test_span():
    span = Span(name="send")
    said = span.events.add(name="exception").attributes.add(key="exception.message")
    said.value.string_value = "nobody is called Mariana Espinoza"
    hear_span(span)
def test_name_of_a_span(): hear_span(Span(name="sent to +593999999999"))
def test_attribute():
    span = Span(name="send")
    span.attributes.add(key="to").value.string_value = "ana@example.com"
    hear_span(span)
def test_text_of_an_exception():
    try:
        raise RuntimeError("hunter2")
    except RuntimeError:
        log.exception("unexpected")
def test_nothing(): log.info("request", caller="key:0123456789abcdef", ms=12.5)
"""


def test_who_logs_what_is_somebodys_fails(tmp_path: Path) -> None:
    (tmp_path / "test_leaky.py").write_text(LEAKY)
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.leaks", "-c", os.devnull, tmp_path],
        cwd=ROOT,
        env=os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
    )

    failed = {
        line.split("::")[1].split()[0] for line in ended.stdout.splitlines() if line.startswith("ERROR")
    }
    logged, traced = (
        ("phone", "name", "key", "token", "library", "process"),
        ("span", "name_of_a_span", "attribute"),
    )
    assert failed == {f"test_{leak}" for leak in (*logged, *traced)}
    assert "test_leaky.py:10 logs '" in ended.stdout


async def test_config_shows_no_secret_there_is(tmp_path: Path) -> None:
    def secrets(model: type[BaseModel]) -> list[str]:
        return [name for name, field in model.model_fields.items() if "SecretStr" in str(field.annotation)]

    urls = {"database_url": "mysql+aiomysql://me:%s@db/x", "redis_url": "rediss://:%s@cache/0"}
    urls["broker_url"] = "amqp://me:%s@broker/"
    names = [
        *secrets(Settings),
        *(f"{rest.name}__{name}" for rest in RESTS for name in secrets(rest.Settings)),
    ]
    given = {
        name.upper(): urls.get(name, "%s") % f"hunter2hunter2hunter2{number}"
        for number, name in enumerate(names)
    }
    beside = {
        f"{rest.name}__{name}".upper(): value
        for rest in RESTS
        for name, value in rest.Sandbox.credentials.items()
    }
    ended = await run(tmp_path, "config", **beside | given)

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.count("=(hidden)") + ended.out.count(":***@") == len(names)
    assert "hunter2" not in ended.out
