"""Node: anything with an id that the graph can find again."""

import strawberry


@strawberry.interface(description="Anything with an id that `node` can find again.")
class Node:
    id: strawberry.ID
