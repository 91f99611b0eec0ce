"""The reference of settings: what `switchboard config` shows, and the table in README."""

from collections.abc import Iterable

from gateway.settings import Variable


def environment(variables: Iterable[Variable]) -> str:
    """In the form of a .env; what is not set anywhere stands behind a #, with its default."""
    return "\n\n".join(
        f"# {one.description}\n{'' if one.is_set else '# '}{one.name}={one.value}" for one in variables
    )


def markdown(variables: Iterable[Variable]) -> str:
    rows = [f"| `{one.name}` | {_code(one.default)} | {one.description} |" for one in variables]
    return "\n".join(["| variable | default | meaning |", "|---|---|---|", *rows])


def _code(text: str) -> str:
    return f"`{text}`" if text else ""
