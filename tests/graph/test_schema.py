"""The printed schema is the contract that clients rely on."""

from pathlib import Path

from graphql import build_schema, parse, validate

from gateway.graph import build_graph

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "gateway" / "explorer" / "src" / "examples"


def test_the_committed_schema_is_the_one_that_is_served() -> None:
    assert (ROOT / "schema.graphql").read_text(encoding="utf-8").strip() == build_graph().as_str().strip()


def test_what_crosses_a_source_is_nullable_so_that_a_dead_one_leaves_a_gap() -> None:
    fields = build_graph()._schema.query_type.fields  # type: ignore[union-attr]

    always = [name for name, field in fields.items() if str(field.type).endswith("!")]
    assert always == ["nodes", "broadcasts", "broadcastPreview", "sources"]


def test_every_example_of_the_explorer_is_a_valid_operation() -> None:
    schema = build_schema((ROOT / "schema.graphql").read_text(encoding="utf-8"))
    documents = [parse(file.read_text(encoding="utf-8")) for file in EXAMPLES.glob("*.graphql")]

    assert documents
    assert [fault for document in documents for fault in validate(schema, document)] == []
