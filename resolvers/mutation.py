"""Mutation: what can be changed, as a table of contents."""

import strawberry

from resolvers.changes import Change
from resolvers.profiles import save_customer
from schema.customers import Customer


@strawberry.type
class Mutation:
    save_customer: Customer = strawberry.mutation(
        resolver=save_customer,
        extensions=[Change()],
        description="everyprint: save a customer at the first contact with the bot; saving again updates. "
        "The balance starts at 0.",
    )
