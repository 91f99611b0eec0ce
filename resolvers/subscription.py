"""Subscription: what can be watched, as a table of contents."""

import strawberry

from resolvers.broadcasts import broadcast_progress
from resolvers.messages import message_status


@strawberry.type
class Subscription:
    broadcast_progress = strawberry.subscription(
        resolver=broadcast_progress,
        description="Now, and after changes, at most four times a second, until the broadcast is over.",
    )
    message_status = strawberry.subscription(
        resolver=message_status, description="Now, and after every change, until the status is final."
    )
