"""Peers: other servers of GraphQL, and one by hand, beside ours, over the same upstream."""
