"""Queries: what is asked of every peer, by name; and the mix that memory is tried with."""

QUERIES = {
    "agents": "{ agents { id firstName lastName email admin } }",
    "customers": """{ customers(first: 100) { edges { node {
        id firstName lastName email phone whatsappName whatsappOptIn notes birthday asOf
    } } } }""",
    "agents of conversations": "{ conversations(first: 100) { edges { node { id agent { email } } } } }",
    "conversations": """{ conversations(first: 100) { edges { node {
        id channel messageCount lastInteraction
        customer { firstName lastName phone } agent { firstName email }
    } } } }""",
}

SMALL = [query.replace("first: 100", "first: 5") for query in QUERIES.values()]
MISTAKE = '{ agents { email } agent(id: "nobody") { email } }'
MIX = [*QUERIES.values(), *[*SMALL, MISTAKE] * 8]
