"""Mutation: what can be changed, as a table of contents."""

import strawberry

from resolvers.balances import adjust_balance
from resolvers.broadcasting import broadcast
from resolvers.broadcasts import cancel_broadcast, pause_broadcast, resume_broadcast, retry_broadcast
from resolvers.changes import Change
from resolvers.groupings import create_group, remove_group, update_group
from resolvers.links import link_customers, unlink_customer
from resolvers.members import add_to_group, remove_from_group
from resolvers.messages import cancel_message
from resolvers.outbox import send_message
from resolvers.profiles import create_customer, save_customer, update_customer
from resolvers.suppressions import suppress, unsuppress
from schema.balances import Balance
from schema.broadcasts import Broadcast
from schema.customers import Customer
from schema.groups import Group, RemovedGroup
from schema.messages import Message, Suppression
from schema.scopes import Scope, requires


@strawberry.type
class Mutation:
    save_customer: Customer = strawberry.mutation(
        resolver=save_customer,
        extensions=[Change()],
        directives=requires(Scope.CUSTOMERS_WRITE),
        description="everyprint: save a customer at the first contact with the bot; saving again updates. "
        "The balance starts at 0.",
    )
    create_customer: Customer = strawberry.mutation(
        resolver=create_customer,
        extensions=[Change()],
        directives=requires(Scope.CUSTOMERS_WRITE),
        description="Mercately: create.",
    )
    update_customer: Customer = strawberry.mutation(
        resolver=update_customer,
        extensions=[Change()],
        directives=requires(Scope.CUSTOMERS_WRITE),
        description="Update in every source that knows the person: profile, agent, tags. When one of them "
        "fails, the error says which parts were written.",
    )
    link_customers: Customer = strawberry.mutation(
        resolver=link_customers,
        extensions=[Change()],
        directives=requires(Scope.CUSTOMERS_WRITE),
        description="These ids are one person; the ids given stay valid.",
    )
    unlink_customer: Customer = strawberry.mutation(
        resolver=unlink_customer,
        extensions=[Change()],
        directives=requires(Scope.CUSTOMERS_WRITE),
        description="What this source knows of the person is somebody else.",
    )
    adjust_balance: Balance = strawberry.mutation(
        resolver=adjust_balance,
        extensions=[Change()],
        directives=requires(Scope.BALANCES_WRITE),
        description="Add to (or, negative, take from) a balance. Never below zero. The same key never counts "
        "twice.",
    )
    create_group: Group = strawberry.mutation(
        resolver=create_group, extensions=[Change()], directives=requires(Scope.GROUPS_WRITE)
    )
    update_group: Group = strawberry.mutation(
        resolver=update_group, extensions=[Change()], directives=requires(Scope.GROUPS_WRITE)
    )
    remove_group: RemovedGroup = strawberry.mutation(
        resolver=remove_group,
        extensions=[Change()],
        directives=requires(Scope.GROUPS_WRITE),
        description="Poster deletes the group's customers with it, for good: refused unless customerCount is "
        "repeated exactly.",
    )
    add_to_group: Group = strawberry.mutation(
        resolver=add_to_group,
        extensions=[Change()],
        directives=requires(Scope.GROUPS_WRITE),
        description="A client of Poster is in exactly one of its groups: there, this moves them.",
    )
    remove_from_group: Group = strawberry.mutation(
        resolver=remove_from_group,
        extensions=[Change()],
        directives=requires(Scope.GROUPS_WRITE),
        description="Out of a group kept here; a client of Poster is added to another one instead.",
    )
    send_message: Message = strawberry.mutation(
        resolver=send_message,
        extensions=[Change()],
        directives=requires(Scope.MESSAGES_SEND),
        description="To one person, channel by channel until one delivers. It is kept before it is sent: the "
        "answer comes within a second, and what it does not tell yet the status tells later.",
    )
    broadcast: Broadcast = strawberry.mutation(
        resolver=broadcast,
        extensions=[Change()],
        directives=requires(Scope.BROADCASTS_MANAGE),
        description="To many, each with what is theirs. The answer comes at once; then it is written down "
        "who gets it, as they are at that moment, and only after that anything goes out.",
    )
    pause_broadcast: Broadcast = strawberry.mutation(
        resolver=pause_broadcast,
        extensions=[Change()],
        directives=requires(Scope.BROADCASTS_MANAGE),
        description="Holds back what has not gone out until it is resumed.",
    )
    resume_broadcast: Broadcast = strawberry.mutation(
        resolver=resume_broadcast,
        extensions=[Change()],
        directives=requires(Scope.BROADCASTS_MANAGE),
        description="Goes on with one that is paused.",
    )
    cancel_broadcast: Broadcast = strawberry.mutation(
        resolver=cancel_broadcast,
        extensions=[Change()],
        directives=requires(Scope.BROADCASTS_MANAGE),
        description="Stops it for good: what went out stays counted, the rest is cancelled.",
    )
    retry_broadcast: Broadcast = strawberry.mutation(
        resolver=retry_broadcast,
        extensions=[Change()],
        directives=requires(Scope.BROADCASTS_MANAGE),
        description="Queue the failed and expired deliveries of a finished broadcast again.",
    )
    cancel_message: Message = strawberry.mutation(
        resolver=cancel_message,
        extensions=[Change()],
        directives=requires(Scope.MESSAGES_SEND),
        description="Stops what has not gone out; CONFLICT for what has, or is over.",
    )
    suppress: Suppression = strawberry.mutation(
        resolver=suppress,
        extensions=[Change()],
        directives=requires(Scope.SUPPRESSIONS_WRITE),
        description="Never send to this address (on this channel, or on any) until it is taken back.",
    )
    unsuppress: bool = strawberry.mutation(
        resolver=unsuppress,
        extensions=[Change()],
        directives=requires(Scope.SUPPRESSIONS_WRITE),
        description="False where there was nothing to take back; one channel is one thing, any is another.",
    )
