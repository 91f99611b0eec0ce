"""The guard: refuses to start beside foreign packages that use our import names."""

import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

OURS = ("schema", "resolvers", "adapters")
MARK = "switchboard-gateway"


def foreign_packages() -> list[str]:
    """One sentence for each of our names that leads to somebody else's package."""
    home = Path(__file__).resolve().parent.parent
    return [complaint for name in OURS if (complaint := _complaint(name, home))]


def _complaint(name: str, home: Path) -> str | None:
    spec = find_spec(name)
    if spec is None:
        return f"The package {name} is missing: install switchboard-gateway again."
    origin = Path(spec.origin or "").resolve()
    # A foreign package is found by where it lies, and never imported.
    if origin.parent.parent == home and getattr(import_module(name), "DISTRIBUTION", None) == MARK:
        return None
    return (
        f"The package {name} at {origin.parent} is not Switchboard's: uninstall the distribution that "
        "brought it, or install switchboard-gateway into a virtual environment of its own."
    )


def check() -> None:
    if complaints := foreign_packages():
        sys.exit("\n".join(complaints))
