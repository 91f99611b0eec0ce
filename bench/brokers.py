"""Brokers: RabbitMQ and NATS, private to one run, as Debian has them."""

import os
import socket
from pathlib import Path

from tests.services import Program, Service, path_of

NATS = Program(("nats-server",), "nats-server")
RABBITMQ = Program(("rabbitmq-server",), "rabbitmq-server")
RABBITMQ_ITSELF = Path("/usr/lib/rabbitmq/bin/rabbitmq-server")
"""What is on PATH wants to be root, and somebody else."""


class Broker(Service):
    scheme: str

    @property
    def url(self) -> str:
        return f"{self.scheme}://{self.host}:{self.port}"

    def answers(self) -> bool:
        try:
            socket.create_connection((self.host, self.port), 1).close()
        except OSError:
            return False
        return True


class Nats(Broker):
    scheme = "nats"

    def command(self) -> list[str]:
        store = str(self.directory / "jetstream")
        return [path_of(NATS), "-a", self.host, "-p", str(self.port), "-js", "-sd", store]


class Rabbitmq(Broker):
    scheme = "amqp"

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@{self.host}:{self.port}/"

    def command(self) -> list[str]:
        path_of(RABBITMQ)
        folder = str(self.directory)
        settings = {
            "HOME": folder,
            "RABBITMQ_NODENAME": f"bench{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": self.host,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.port + 20_000),
            "RABBITMQ_MNESIA_BASE": folder,
            "RABBITMQ_LOG_BASE": folder,
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
        }
        said = [f"{name}={value}" for name, value in settings.items()]
        return ["env", "-i", f"PATH={os.environ['PATH']}", *said, str(RABBITMQ_ITSELF)]
