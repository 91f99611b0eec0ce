"""The command line: `switchboard`."""

import gc
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

from gateway import __version__, guard

gc.set_threshold(50_000, 20, 20)  # what a start makes stays: to look through it all the time costs a tenth
guard.check()  # before anything is imported that could be somebody else's

import typer  # noqa: E402

if TYPE_CHECKING:
    from gateway.settings import Settings

app = typer.Typer(
    name="switchboard",
    help="One GraphQL endpoint over a business's customers and every way it can reach them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

broadcasts = typer.Typer(no_args_is_help=True)
app.add_typer(broadcasts, name="broadcast", help="How far broadcasts are.")

keys = typer.Typer(no_args_is_help=True)
app.add_typer(keys, name="keys", help="The API keys with which others may ask the graph.")


def main() -> None:
    from gateway.server import CannotStart
    from gateway.settings import WrongSettings

    try:
        app()
    except WrongSettings as error:
        _leave(2, error)
    except CannotStart as error:
        _leave(1, error)
    except KeyboardInterrupt:
        sys.exit(130)


def _leave(code: int, error: Exception) -> NoReturn:
    typer.echo(str(error), err=True)
    sys.exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(__version__)
        raise typer.Exit


@app.callback()
def switchboard(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None: ...


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    unix: Annotated[Path | None, typer.Option(help="Unix socket to listen on instead.")] = None,
    workers: Annotated[int | None, typer.Option(help="Server processes.")] = None,
) -> None:
    """Run the gateway. What is said here goes before the settings."""
    from gateway import server

    server.run(server.serve(_settings(host=host, port=port, unix=unix, workers=workers)))


@app.command()
def worker() -> None:
    """Send what waits, messages and broadcasts, and serve nobody; run as many as you like."""
    from gateway import server
    from gateway import worker as worker_

    server.run(worker_.work(_settings()))


@app.command()
def sandbox(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port of the first vendor, the next ones follow; 0 takes free ones.")
    ] = 0,
) -> None:
    """Run the emulated vendors alone, and print the settings that point a gateway at them."""
    from gateway import sandboxes, server

    server.run(sandboxes.run(host, port))


@app.command()
def migrate() -> None:
    """Bring the database's schema to this version."""
    from gateway import server

    server.run(server.migrate(_settings()))


@app.command()
def sync(
    sources: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[SOURCE]...", help="Which; left out, all that are connected.", show_default=False
        ),
    ] = None,
) -> None:
    """Bring the directory of customers up to date with its sources."""
    from gateway import logs, server, sync

    settings = _settings()
    logs.configure(settings, quiet=True)
    try:
        outcomes = server.run(sync.run(settings, sources or ()))
    except KeyboardInterrupt:
        typer.echo("Stopped: the next sync, or the running gateway, goes on from here.", err=True)
        raise typer.Exit(130) from None
    sync.show(outcomes)
    if any(outcome.trouble for outcome in outcomes):
        raise typer.Exit(1)


@app.command()
def forget(
    customer: Annotated[
        str,
        typer.Argument(
            metavar="CUSTOMER", help="The id of the graph, a phone, or a Messenger id.", show_default=False
        ),
    ],
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
) -> None:
    """Take a customer's addresses and texts out of all messages and reports, and keep the counts."""
    from gateway import forget, logs, server

    settings = _settings()
    logs.configure(settings, quiet=True)
    if not server.run(forget.run(settings, customer, ask=not yes)):
        raise typer.Exit(1)


@app.command()
def schema() -> None:
    """Print the schema of the graph."""
    from gateway.graph import build_graph

    typer.echo(build_graph().as_str())


@app.command()
def explain(
    file: Annotated[
        typer.FileText,
        typer.Argument(
            metavar="FILE", encoding="utf-8", help="Of GraphQL; - is standard input.", show_default=False
        ),
    ],
    operation: Annotated[str | None, typer.Option(help="Which, where there are several.")] = None,
    variables: Annotated[str, typer.Option(metavar="JSON", help="Its variables.")] = "{}",
    code: Annotated[bool, typer.Option("--code", help="And the Python that it is compiled to.")] = False,
) -> None:
    """Show how an operation is carried out, and whom it asks, tried once on the demo."""
    import json

    from gateway import explain, logs, server

    settings = _settings()
    logs.configure(settings, quiet=True)
    try:
        given = json.loads(variables)
    except ValueError:
        given = None
    if not isinstance(given, dict):
        raise typer.BadParameter('Write --variables as JSON: {"first": 10}.')
    try:
        explained = server.run(explain.explain(settings, file.read(), file.name, operation, given))
    except UnicodeDecodeError:
        raise typer.BadParameter(f"{file.name} is not UTF-8.") from None
    except explain.CannotExplain as error:
        _leave(1, error)
    explain.show(explained, code=code)


@app.command()
def documents(
    folder: Annotated[Path, typer.Argument(exists=True, file_okay=False, help="Of .graphql files.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="The manifest to write.")],
) -> None:
    """Compile a folder of operations into a manifest of those that are trusted."""
    import json

    from gateway.graph import build_graph
    from gateway.manifest import WrongDocuments, compiled

    try:
        manifest = compiled(folder, build_graph(_settings()))
    except WrongDocuments as error:
        _leave(1, error)
    output.write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    typer.echo(f"{len(manifest)} operations: set SWITCHBOARD_DOCUMENTS to {output}, and nothing else is run.")


@app.command()
def config(
    markdown: Annotated[bool, typer.Option("--markdown", help="As the table in README.")] = False,
) -> None:
    """Show every setting: its value in force, secrets hidden, and what it is for."""
    from gateway import reference, settings

    variables = settings.variables(_settings())
    typer.echo(reference.markdown(variables) if markdown else reference.environment(variables))


@app.command()
def doctor() -> None:
    """Try the database and every source, and say what works, what does not and what to set."""
    from gateway import doctor, logs, server

    settings = _settings()
    logs.configure(settings, quiet=True)
    findings = server.run(doctor.examine(settings))
    doctor.show(findings)
    if any(finding.works is False for finding in findings):
        raise typer.Exit(1)


@broadcasts.command("show")
def show_broadcast(
    id: Annotated[str, typer.Argument(metavar="ID", help="As the graph has it.", show_default=False)],
    once: Annotated[bool, typer.Option("--once", help="Say how far it is now, and end.")] = False,
) -> None:
    """Watch how far a broadcast is, until it is over."""
    from gateway import broadcasts, logs, server

    settings = _settings()
    logs.configure(settings, quiet=True)
    try:
        server.run(broadcasts.show(settings, id, once=once))
    except KeyboardInterrupt:
        typer.echo("Stopped watching: the broadcast goes on.", err=True)
        raise typer.Exit(130) from None


@broadcasts.command("list")
def list_broadcasts(
    count: Annotated[int, typer.Option(min=1, max=1000, help="So many.")] = 20,
) -> None:
    """The newest broadcasts, and how far each is."""
    from gateway import broadcasts, logs, server

    settings = _settings()
    logs.configure(settings, quiet=True)
    server.run(broadcasts.list_newest(settings, count))


@keys.command("create")
def create_key(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whom it is for.", show_default=False)],
    scope: Annotated[
        list[str],
        typer.Option(help="What it may do, as `customers:read`; again for more, `all` for all there are."),
    ],
    expires: Annotated[
        str | None, typer.Option(help="Its last day, as 2027-01-31, or in so many days, as 90d.")
    ] = None,
) -> None:
    """Make an API key and show it, this once."""
    from gateway import api_keys, logs, server

    settings = _settings()
    logs.configure(settings, quiet=True)
    server.run(api_keys.create(settings, name, scope, expires))


@keys.command("list")
def list_keys() -> None:
    """Every API key: whose, for what, until when, and when it was used last."""
    from gateway import api_keys, logs, server

    settings = _settings()
    logs.configure(settings, quiet=True)
    server.run(api_keys.list_all(settings))


@keys.command("revoke")
def revoke_key(
    id: Annotated[str, typer.Argument(metavar="ID", help="As `keys list` has it.", show_default=False)],
) -> None:
    """Take an API key back: within five seconds nobody gets in with it."""
    from gateway import api_keys, logs, server

    settings = _settings()
    logs.configure(settings, quiet=True)
    server.run(api_keys.revoke(settings, id))


def _settings(**flags: object) -> "Settings":
    from gateway import settings

    loaded = settings.load(**flags)
    for complaint in settings.unknown_variables(os.environ):
        typer.echo(complaint, err=True)
    return loaded


if __name__ == "__main__":
    main()
