"""Subscription: what can be watched, as a table of contents."""

import strawberry

from resolvers.messages import message_status


@strawberry.type
class Subscription:
    message_status = strawberry.subscription(
        resolver=message_status, description="Now, and after every change, until the status is final."
    )
