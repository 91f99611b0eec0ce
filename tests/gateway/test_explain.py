"""`switchboard explain`: a document -> how it is carried out, and whom it asked in a run of its own."""

import asyncio
import re
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from tests.processes import SWITCHBOARD, Ended, environment, run

CHAPTER = Path(__file__).parents[2] / "docs" / "execution.md"
ELSEWHERE = {"DATABASE_URL": "mysql+aiomysql://nobody@127.0.0.1:1/nothing", "SANDBOX": "off"}
"""What would be asked if it were not for demo people and sandboxes."""


async def explain(folder: Path, text: str, *arguments: str, **settings: object) -> Ended:
    (folder / "asked.graphql").write_text(text, encoding="utf-8")
    ended = await run(folder, "explain", "asked.graphql", *arguments, **settings)
    assert [path.name for path in folder.glob("*")] == ["asked.graphql"]  # noqa: ASYNC240
    assert "Traceback" not in ended.err
    return ended


async def test_the_chapters_operation_is_explained_as_printed_there(tmp_path: Path) -> None:
    chapter = CHAPTER.read_text(encoding="utf-8")
    (asked,) = re.findall(r"```graphql\n(.*?)```", chapter, re.DOTALL)
    (printed,) = re.findall(r"```text\n(.*?)```", chapter, re.DOTALL)
    process = await asyncio.create_subprocess_exec(
        *SWITCHBOARD, "explain", "-", cwd=tmp_path, env=environment(), stdin=PIPE, stdout=PIPE, stderr=PIPE
    )
    out, err = await process.communicate(asked.encode())

    assert (process.returncode, err.decode()) == (0, "")
    assert out.decode() == printed


async def test_every_kind_of_field_says_how_it_is_carried_out(tmp_path: Path) -> None:
    ended = await explain(
        tmp_path,
        """query Who($awa: String!, $not: Boolean = false) {
          customer(by: {messengerId: $awa}) {
            __typename called: firstName tags { name } balance { amount entries { totalCount } }
            messages { edges { node { template { text } } } }
          }
          agents { conversations(first: 1) { edges { cursor } } } other: agents { email }
          groups @include(if: $not) { name }
          nodes(ids: []) { id ... on Agent { email } }
        }
        query Other { agents { email } }""",
        *("--operation", "Who", "--variables", '{"awa": "2413659892012345"}', "--code"),
        **ELSEWHERE,
    )

    assert ended.code == 0, ended
    tree = [line.strip("│├└─ ") for line in ended.out.splitlines()]
    for line in (
        "__typename String!: constant",
        "called: firstName: read",
        "tags [Tag!]!: read",
        "entries BalanceEntryConnection!: resolver, called once, asked database entries once",
        "totalCount Int: resolver, called once, asked database entry_count once",
        "template Template: relation, loader template by template_id, nothing to load",
        "agents [Agent!]: resolver, called once, asked mercately agents once",
        "conversations ConversationConnection: resolver, called 40 times, asked mercately conversations",
        "other: agents [Agent!]: resolver, called once",
        "... on Agent id, email: read",
    ):
        assert any(each.startswith(line) for each in tree), (line, ended.out)
    assert re.match(
        r"query Who, compiled to \d+ functions of \d+ lines, after 2 runs by graphql-core", tree[0]
    )
    assert "Tried once on the demo, it asked database balances once, " in ended.out
    assert "groups" not in ended.out
    assert "value_2 = it.email" in ended.out or "value_1 = it.email" in ended.out


async def test_what_everybody_on_a_page_is_related_to_is_loaded_in_one_batch(tmp_path: Path) -> None:
    ended = await explain(
        tmp_path,
        "{ customers(first: 20) { edges { node { groups { name } agent { email } balance { amount } } } } }",
    )

    for line in (
        r"groups .* by membership, a batch of \d+, asked database groups_of once, poster groups once",
        r"agent .* by known_row_ids, a batch of \d+, asked mercately agents once, mercately conversations",
        r"balance .* by account, a batch of \d+, asked database balances once",
    ):
        assert re.search(line, ended.out), ended.out


@pytest.mark.parametrize(
    ("text", "arguments", "says"),
    [
        ("{ agents {\n  nope } }", (), "asked.graphql:2:3: Cannot query field 'nope' on type 'Agent'."),
        ("{ agents {", (), "asked.graphql:1:11: Syntax Error: Expected Name, found <EOF>."),
        ("query A { __typename } query B { __typename }", (), "Say which with --operation: A, B."),
        ("query A { __typename }", ("--operation", "B"), "There is no operation B, only A."),
        ("fragment A on Agent { id } ", (), "Fragment 'A' is never used."),
        (
            "{ agents { conversations { edges { node { customer { conversations(first: 100)"
            " { edges { cursor } } } } } } } }",
            (),
            "fields in its answer are allowed",
        ),
    ],
)
async def test_what_is_wrong_is_said_with_its_place(
    tmp_path: Path, text: str, arguments: tuple[str, ...], says: str
) -> None:
    ended = await explain(tmp_path, text, *arguments)

    assert (ended.code, ended.out) == (1, "")
    assert says in ended.err


@pytest.mark.parametrize(
    ("text", "settings", "says"),
    [
        (
            'subscription { messageStatus(id: "x") { id } }',
            {},
            ["subscription, graphql-core executes it. Subscriptions are not compiled."],
        ),
        (
            "{ agents { email } __schema { queryType { name } } }",
            {},
            [
                "query, graphql-core executes it. Introspection is compiled nowhere.",
                "Tried once on the demo, it asked mercately agents once.",
            ],
        ),
        (
            "{ sources { source } }",
            {"EXECUTOR": "core"},
            [
                "query, graphql-core executes it. SWITCHBOARD_EXECUTOR is core.",
                "Tried once on the demo, it asked nobody.",
            ],
        ),
    ],
)
async def test_what_graphql_core_executes_says_why(
    tmp_path: Path, text: str, settings: dict[str, str], says: list[str]
) -> None:
    ended = await explain(tmp_path, text, **settings)

    assert (ended.code, ended.err) == (0, "")
    assert ended.out.splitlines() == says


async def test_what_fails_in_the_run_is_told_with_the_rest(tmp_path: Path) -> None:
    unsaid = await explain(tmp_path, "query ($id: ID!) { agent(id: $id) { email } }")
    wrong = await explain(tmp_path, '{ agent(id: "x") { email } }')

    assert (unsaid.code, wrong.code) == (0, 0)
    assert "agent Agent: resolver, not called" in unsaid.out
    assert (
        "It was not run: Variable '$id' has invalid value: Expected a value of non-null type 'ID!' to"
        in unsaid.out
    )
    assert "agent: " in wrong.out.splitlines()[-1]


async def test_a_mutation_is_tried_where_it_changes_nothing_of_ours(tmp_path: Path) -> None:
    ended = await explain(
        tmp_path,
        'mutation { suppress(address: "+593999999999", reason: "wish") { address } '
        'createCustomer(input: {firstName: "A", lastName: "B", email: "a@example.com"}) { firstName } }',
        **ELSEWHERE,
    )

    assert ended.code == 0
    assert "createCustomer Customer!: resolver, called once, asked database" in ended.out
    assert "mercately create customer once" in ended.out, ended.out


async def test_files_and_variables_that_cannot_be_read_are_wrong_usage(tmp_path: Path) -> None:
    (tmp_path / "latin").write_bytes("# é\n{ agents { email } }".encode("latin-1"))

    for arguments, says in (
        (("nothing.graphql",), "No such file"),
        (("latin",), "latin is not UTF-8."),
        (("latin", "--variables", "{"), "Write --variables as JSON"),
        (("latin", "--variables", "[]"), "Write --variables as JSON"),
    ):
        ended = await run(tmp_path, "explain", *arguments)
        assert (ended.code, ended.out) == (2, ""), ended
        assert says in " ".join(ended.err.split())
