"""Sending: how a message leaves. Knows the adapters and nothing of GraphQL; all that send anything use it."""
