"""Truth: what the demo data says of everybody, so that what is somebody else's is seen to be."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from adapters.demo import PEOPLE
from adapters.mercately import demo as mercately
from adapters.poster import demo as poster
from resolvers.ids import to_id

Said = Mapping[str, Any]
Path = tuple[str | int, ...]
Wrong = tuple[Path, str]
"""Where in an answer, and what is wrong there."""


@dataclass(frozen=True, slots=True)
class Known:
    first_name: str | None
    last_name: str | None
    groups: frozenset[str] = frozenset()
    balance: Decimal | None = None
    agent: str | None = None
    """Of a conversation, or of somebody's latest one."""

    def wrong_in(self, said: Said, path: Path) -> Iterator[Wrong]:
        for name, known in (("firstName", self.first_name), ("lastName", self.last_name)):
            if said[name] != known:
                yield (*path, name), f"{said[name]!r}, who is {known!r}"
        if "groups" in said:
            groups = None if said["groups"] is None else sorted(group["name"] for group in said["groups"])
            if groups != sorted(self.groups):
                yield (*path, "groups"), f"{groups}, where {sorted(self.groups)} are theirs"
        if "balance" in said:
            balance = said["balance"] and Decimal(said["balance"]["amount"])
            if balance != self.balance:
                yield (*path, "balance"), f"{balance}, where {self.balance} is theirs"
        if "agent" in said:
            yield from self._wrong_agent(said["agent"], (*path, "agent"))

    def _wrong_agent(self, said: Said | None, path: Path) -> Iterator[Wrong]:
        if (said and said["email"]) != self.agent:
            yield path, f"{said and said['email']}, where {self.agent} is theirs"


class Truth:
    def __init__(self) -> None:
        self.customers = dict(_customers())
        self.by_phone = {phone: to_id("Customer", person.key) for person, phone in _phones()}
        self.conversations = dict(_conversations())

    def plant(self) -> str:
        """Takes one of the newest conversations for somebody else's, for whoever looks to find it."""
        awa = PEOPLE[0].mercately
        assert awa
        id = to_id("Conversation", f"messenger:{awa.id[-4:]}")
        known = self.conversations[id]
        self.conversations[id] = replace(known, agent="nobody@example.com")
        return id

    def wrong_in_customers(self, said: Said, path: Path) -> Iterator[Wrong]:
        for number, edge in enumerate(said["edges"]):
            place = (*path, "edges", number, "node")
            if edge["node"]["id"] not in self.customers:
                yield place, f"nobody has the id {edge['node']['id']}"
            else:
                yield from self.customers[edge["node"]["id"]].wrong_in(edge["node"], place)

    def wrong_in_conversations(self, said: Said, path: Path) -> Iterator[Wrong]:
        for number, edge in enumerate(said["edges"]):
            place, node = (*path, "edges", number, "node"), edge["node"]
            known = self.conversations.get(node["id"])
            if known is None:
                yield place, f"no conversation has the id {node['id']}"
                continue
            yield from known._wrong_agent(node["agent"], (*place, "agent"))
            if node["customer"] is None:
                yield (*place, "customer"), "nobody, where there is somebody"
            else:
                yield from known.wrong_in(node["customer"], (*place, "customer"))

    def wrong_in_person(self, phone: str, said: Said | None, path: Path) -> Iterator[Wrong]:
        if said is None:
            yield path, f"nobody, where {phone} is somebody's"
            return
        if said["id"] != self.by_phone[phone]:
            yield (*path, "id"), "somebody else's phone"
        yield from self.customers[self.by_phone[phone]].wrong_in(said, path)
        for number, edge in enumerate((said["conversations"] or {"edges": ()})["edges"]):
            place, node = (*path, "conversations", "edges", number, "node"), edge["node"]
            known = self.conversations.get(node["id"])
            theirs = self.customers[self.by_phone[phone]]
            if known is None or (known.first_name, known.last_name) != (theirs.first_name, theirs.last_name):
                yield place, "somebody else's conversation"
        for number, edge in enumerate(said["messages"]["edges"] if said["messages"] else ()):
            customer = edge["node"]["recipient"]["customer"]
            if customer and customer["id"] != said["id"]:
                place = (*path, "messages", "edges", number, "node", "recipient", "customer")
                yield place, "somebody else's message"


def _phones() -> Iterator[tuple[Any, str]]:
    for person in PEOPLE:
        for known in (person.everyprint, person.mercately, person.poster):
            if known and known.phone:
                yield person, known.phone
                break


def _customers() -> Iterator[tuple[str, Known]]:
    """Everybody, by the id that the graph gives them."""
    emails = {agent.id: agent.email for agent in mercately.agents()}
    groups = {group.id: group.name for group in poster.GROUPS}
    in_group = {client.id: groups.get(client.group_id) for client in poster.clients()}
    for person in PEOPLE:
        theirs = set(person.groups)
        if person.poster and (group := in_group[person.poster.id]):
            theirs.add(group)
        ledger = person.everyprint.ledger if person.everyprint else None
        money = None if ledger is None else Decimal(sum(entry.amount for entry in ledger))
        known = person.mercately
        talked = known and (known.messenger or known.whatsapp) and known.agent_id
        yield (
            to_id("Customer", person.key),
            Known(
                person.first_name,
                person.last_name,
                frozenset(theirs),
                money,
                emails[talked] if talked else None,
            ),
        )
    shared = {person.mercately.id for person in PEOPLE if person.mercately}
    for customer in mercately.customers():
        if customer.id not in shared:
            yield (
                to_id("Customer", f"mercately:{customer.id}"),
                Known(customer.first_name, customer.last_name),
            )
    shared_clients = {person.poster.id for person in PEOPLE if person.poster}
    for client in poster.clients():
        if client.id not in shared_clients:
            group = in_group[client.id]
            yield (
                to_id("Customer", f"poster:{client.id}"),
                Known(
                    client.first_name or None,
                    client.last_name or None,
                    frozenset({group} if group else ()),
                ),
            )


def _conversations() -> Iterator[tuple[str, Known]]:
    """Each that there is or, once somebody is written to, may be; with its customer and its agent."""
    emails = {agent.id: agent.email for agent in mercately.agents()}
    for channel in ("messenger", "whatsapp"):
        for customer in mercately.customers():
            yield (
                to_id("Conversation", f"{channel}:{customer.row}"),
                Known(
                    customer.first_name,
                    customer.last_name,
                    agent=emails[customer.agent_id] if customer.agent_id else None,
                ),
            )
