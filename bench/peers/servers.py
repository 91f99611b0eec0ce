"""Servers: the peers, each a process tree that answers the same questions from the same upstream."""

import os
import subprocess
from collections.abc import Mapping
from http.client import HTTPException
from pathlib import Path
from typing import ClassVar

from bench.peers.upstream import QUESTIONS
from bench.servers import ENV, SERVER_CORE, Peer, Unshared, pinned
from tests.services import Program, path_of

NODE = Program(("node",), "nodejs")
HERE = Path(__file__).parent / "node"


class Other(Peer):
    """One that is told its port and the upstream as arguments; it knows nobody from before."""


class Plain(Other):
    name = "Strawberry"
    kind = "plain"

    def arguments(self) -> list[str]:
        return ["-m", "bench.peers.plain", self.kind, str(self.port), self.upstream]


class Tuned(Plain):
    name = "Strawberry, tuned"
    kind = "tuned"


class Handler(Other):
    name = "handler by hand"

    def arguments(self) -> list[str]:
        return ["-m", "bench.peers.handler", str(self.port), self.upstream]

    def answers(self) -> bool:
        try:
            return bool(self.ask(QUESTIONS["Q2"].query))
        except (OSError, HTTPException):
            return False

    def path(self, query: str) -> str:
        return next(f"/{name}" for name, question in QUESTIONS.items() if question.query == query)


class Node(Other):
    script: ClassVar[str]
    packages: ClassVar[tuple[str, ...]]
    """Those whose versions are told."""
    folder: ClassVar[Path] = HERE
    warming = 5

    def arguments(self) -> list[str]:
        return [str(HERE / self.script), str(self.port), self.upstream]

    def command(self) -> list[str]:
        node = pinned(SERVER_CORE, path_of(NODE), *self.arguments())
        return [path_of(ENV), "-i", "-C", str(self.folder), "NODE_ENV=production", *node]


class Apollo(Node):
    name = "Apollo Server"
    script = "apollo.mjs"
    packages = ("@apollo/server", "@apollo/datasource-rest")


class Yoga(Node):
    name = "Yoga, JIT"
    script = "yoga.mjs"
    packages = ("graphql-yoga", "@envelop/graphql-jit")


class Mercurius(Node):
    name = "Mercurius, JIT"
    script = "mercurius.mjs"
    packages = ("mercurius", "fastify", "graphql-jit", "undici")


class Hive(Node):
    """What Mesh composes of the upstream, served by Hive Gateway."""

    name = "Hive Gateway, JIT"
    packages = ("@graphql-hive/gateway", "@graphql-mesh/compose-cli", "@omnigraph/json-schema")
    folder = HERE / "hive"

    def arguments(self) -> list[str]:
        graph = self.directory / "supergraph.graphql"
        compose = [path_of(NODE), "node_modules/.bin/mesh-compose", "-o", str(graph)]
        environment = {"PATH": os.environ["PATH"], "UPSTREAM": self.upstream}
        subprocess.run(compose, cwd=self.folder, env=environment, capture_output=True, check=True)
        where = ["--host", self.host, "--port", str(self.port)]
        return ["node_modules/.bin/hive-gateway", "supergraph", str(graph), *where, "--fork", "1"]


class Ours(Other):
    """Unshared: identical calls in flight stay calls of their own, as they do in the peers."""

    name = "Switchboard"
    kind = "unshared"
    executor = "compiled"

    def arguments(self) -> list[str]:
        return ["-m", "bench.peers.ours", self.kind, self.upstream, "serve"]

    def environment(self) -> Mapping[str, str]:
        return {**super().environment(), **executed_by(self.executor)}


class Core(Ours):
    name = "Switchboard, graphql-core"
    executor = "core"


class Sharing(Ours):
    name = "Switchboard, sharing"
    kind = "shared"


class OwnCompiled(Unshared):
    """Switchboard with its own nouns and vendors."""

    name = "our nouns"
    executor = "compiled"

    def environment(self) -> Mapping[str, str]:
        return {**super().environment(), **executed_by(self.executor)}


class OwnCore(OwnCompiled):
    name = "our nouns, graphql-core"
    executor = "core"


def executed_by(executor: str) -> Mapping[str, str]:
    """Without lines in a log: the peers write none."""
    return {"SWITCHBOARD_EXECUTOR": executor, "SWITCHBOARD_LOG_LEVEL": "warning"}


PYTHONS: tuple[type[Peer], ...] = (Plain, Tuned, Handler, Ours, Core, Sharing)
NODES: tuple[type[Node], ...] = (Apollo, Yoga, Mercurius, Hive)
OWNS: tuple[type[Peer], ...] = (OwnCore, OwnCompiled)
