"""The guard: another distribution's package under one of our names is found, named and never run."""

from pathlib import Path

import pytest

from gateway.guard import foreign_packages
from tests.processes import run


def test_our_own_packages_pass() -> None:
    assert foreign_packages() == []


@pytest.mark.parametrize("name", ["schema", "resolvers", "adapters"])
async def test_a_foreign_package_is_named_and_never_imported(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "elsewhere" / name
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"open({str(tmp_path / 'was_run')!r}, 'w')")
    monkeypatch.setenv("PYTHONPATH", str(package.parent))

    ended = await run(tmp_path, "--version", cold=True)

    assert (ended.code, ended.out) == (1, "")
    assert ended.err == (
        f"The package {name} at {package} is not Switchboard's: uninstall the distribution that brought it, "
        "or install switchboard-gateway into a virtual environment of its own.\n"
    )
    assert not (tmp_path / "was_run").exists()
