"""Source: a system the gateway unifies."""

from enum import Enum

import strawberry


@strawberry.enum(description="A system the gateway unifies.")
class Source(Enum):
    EVERYPRINT = "everyprint"
    MERCATELY = "mercately"
    POSTER = "poster"
    HYBER = "hyber"
    CHATFUEL = "chatfuel"
