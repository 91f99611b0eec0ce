"""Tables: everyprint's, our own groups, identity, the directory, messages; alike on every database.

Text compares by code point, as in SQLite: MySQL would take "a" for "A" and "é" for "e".
"""

from datetime import UTC, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any

from sqlalchemy import (
    CheckConstraint,
    Column,
    DateTime,
    Dialect,
    Index,
    Integer,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects import mysql
from sqlalchemy.types import BigInteger, SmallInteger, TypeDecorator, TypeEngine
from sqlmodel import Field, SQLModel

ON_MYSQL = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}

DIGITS, PLACES = 26, 6
LONGEST_NAME, LONGEST_EMAIL, LONGEST_PHONE, LONGEST_TAG = 255, 254, 32, 255
LONGEST_WORDS = 4000
LONGEST_NUMBER = 16
"""Characters of a phone that takes messages, with its plus; what is longer no vendor takes."""
_AMOUNTS = Context(prec=DIGITS, traps=[Inexact, InvalidOperation])
_SMALLEST = Decimal(1).scaleb(-PLACES)


def exact(amount: Decimal) -> Decimal:
    """The same amount, as short as can be; a ValueError for one that we would have to round."""
    if not amount.is_finite():
        raise ValueError("the amount is no number")
    try:
        kept = amount.quantize(_SMALLEST, context=_AMOUNTS)
    except (Inexact, InvalidOperation):
        raise ValueError("the amount has too many digits") from None
    whole = kept.to_integral_value()
    return whole + 0 if whole == kept else kept.normalize()  # + 0: zero has no sign


class Amount(TypeDecorator[Decimal]):
    """Exact money: DECIMAL on MySQL, text on SQLite, whose numbers are floats; so do its sums in Python."""

    impl = String
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return mysql.DECIMAL(DIGITS, PLACES) if dialect.name == "mysql" else String(DIGITS + 2)

    def process_bind_param(self, value: Decimal | None, dialect: Dialect) -> str | None:
        return None if value is None else f"{exact(value):f}"

    def process_result_value(self, value: Any, dialect: Dialect) -> Decimal | None:
        return None if value is None else exact(Decimal(value))


class Moment(TypeDecorator[datetime]):
    """A moment in UTC, to the millisecond."""

    impl = DateTime
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return mysql.DATETIME(fsp=3) if dialect.name == "mysql" else DateTime()

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.astimezone(UTC).replace(tzinfo=None)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        return value and value.replace(tzinfo=UTC)


class Json(TypeDecorator[bytes]):
    """JSON as msgspec has it, in bytes; stored as text, since aiomysql passes no bytes on."""

    impl = Text().with_variant(mysql.LONGTEXT(), "mysql")
    cache_ok = True

    def process_bind_param(self, value: bytes | None, dialect: Dialect) -> str | None:
        return None if value is None else value.decode()

    def process_result_value(self, value: str | None, dialect: Dialect) -> bytes | None:
        return None if value is None else value.encode()


def now() -> datetime:
    """Now, as a table will say it."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _id() -> Any:
    """A number that names a row and, even when the row is gone, never another."""
    return Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


def _said(column: str) -> dict[str, Any]:
    """Of an index: on SQLite nothing is in it that is null there, as most of it would be."""
    return {"sqlite_where": text(f"{column} IS NOT NULL")}


class CustomerRow(SQLModel, table=True):
    __tablename__ = "customer"
    __table_args__ = (CheckConstraint("gender IN (0, 1)", name="ck_customer_gender"), ON_MYSQL)

    messenger_id: str = Field(primary_key=True, max_length=64)
    last_name: str = Field(max_length=50)
    first_name: str | None = Field(max_length=50)
    gender: int | None = Field(sa_type=SmallInteger)
    phone_e164: str | None = Field(max_length=16, index=True)
    email: str | None = Field(max_length=254, index=True)
    created_at: datetime = Field(sa_type=Moment)
    updated_at: datetime = Field(sa_type=Moment)


class BalanceRow(SQLModel, table=True):
    __tablename__ = "balance"
    # Right for text too: a minus sorts before every digit.
    __table_args__ = (CheckConstraint("amount >= 0", name="ck_balance_amount"), ON_MYSQL)

    messenger_id: str = Field(primary_key=True, max_length=64, foreign_key="customer.messenger_id")
    amount: Decimal = Field(sa_type=Amount, sa_column_kwargs={"server_default": "0"})
    currency: str = Field(max_length=3, sa_column_kwargs={"server_default": "XOF"})
    updated_at: datetime = Field(sa_type=Moment)


class EntryRow(SQLModel, table=True):
    """Rows are added, never changed; those of one customer sum up to the balance."""

    __tablename__ = "balance_entry"
    __table_args__ = (
        UniqueConstraint("idempotency_key", name="uq_balance_entry_idempotency_key"),
        Index("ix_balance_entry_newest", "messenger_id", "id"),
        ON_MYSQL | {"sqlite_autoincrement": True},
    )

    id: int = Field(sa_column=_id())
    messenger_id: str = Field(max_length=64, foreign_key="balance.messenger_id")
    amount: Decimal = Field(sa_type=Amount)
    balance_after: Decimal = Field(sa_type=Amount)
    reason: str = Field(max_length=255)
    idempotency_key: str = Field(max_length=255)
    created_at: datetime = Field(sa_type=Moment)


class GroupRow(SQLModel, table=True):
    __tablename__ = "customer_group"
    __table_args__ = (
        UniqueConstraint("name", name="uq_customer_group_name"),
        ON_MYSQL | {"sqlite_autoincrement": True},
    )

    id: int = Field(sa_column=_id())
    name: str = Field(max_length=128)
    created_at: datetime = Field(sa_type=Moment)


class MemberRow(SQLModel, table=True):
    """The member is a key as text; the person is that of the key, as in the directory."""

    __tablename__ = "customer_group_member"
    __table_args__ = (Index("ix_customer_group_member_person", "group_id", "person"), ON_MYSQL)

    group_id: int = Field(sa_type=BigInteger, primary_key=True, foreign_key="customer_group.id")
    member: str = Field(primary_key=True, max_length=128, index=True)
    person: str | None = Field(max_length=128)


class LinkRow(SQLModel, table=True):
    """All keys of one person say the same `person`, which means nothing else; what is apart was unlinked."""

    __tablename__ = "identity_link"
    __table_args__ = (ON_MYSQL,)

    source: str = Field(primary_key=True, max_length=16)
    key: str = Field(primary_key=True, max_length=128)
    person: str = Field(max_length=32, index=True)
    apart: bool


class IdentityLockRow(SQLModel, table=True):
    """The one row that every transaction holds which can change who is who."""

    __tablename__ = "identity_lock"
    __table_args__ = (ON_MYSQL,)

    id: int = Field(primary_key=True)


class DirectoryEntryRow(SQLModel, table=True):
    __tablename__ = "directory_entry"
    __table_args__ = (
        UniqueConstraint("source", "key", name="uq_directory_entry_key"),
        Index("ix_directory_entry_row", "source", "row_number"),
        Index("ix_directory_entry_source", "source", "person"),
        Index("ix_directory_entry_group", "source", "group_key", "person"),
        Index("ix_directory_entry_seen", "source", "seen"),
        ON_MYSQL,
    )

    # A number of our own, since full-text indexes know a row by its number.
    id: int = Field(sa_column=Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True))
    source: str = Field(max_length=16)
    key: str = Field(max_length=64)
    row_number: int | None = Field(sa_type=BigInteger)
    person: str | None = Field(max_length=128, index=True)
    first_name: str | None = Field(max_length=LONGEST_NAME)
    last_name: str | None = Field(max_length=LONGEST_NAME)
    email: str | None = Field(max_length=LONGEST_EMAIL, index=True)
    phone: str | None = Field(max_length=LONGEST_PHONE, index=True)
    group_key: str | None = Field(max_length=64)
    opted_out: bool
    """Mercately's customer has not agreed to WhatsApp."""
    tags: bytes = Field(sa_type=Json)
    profile: bytes = Field(sa_type=Json)
    words: str = Field(max_length=LONGEST_WORDS)
    seen: int
    as_of: int = Field(sa_type=BigInteger)


class DirectoryRecipientRow(SQLModel, table=True):
    """A person, summed up from their entries (`recipients.sum_up`)."""

    __tablename__ = "directory_recipient"
    __table_args__ = (ON_MYSQL | {"sqlite_with_rowid": False},)

    person: str = Field(primary_key=True, max_length=128)
    phone: str | None = Field(max_length=LONGEST_NUMBER)
    messenger_id: str | None = Field(max_length=64)
    first_name: str | None = Field(max_length=LONGEST_NAME)
    last_name: str | None = Field(max_length=LONGEST_NAME)
    email: str | None = Field(max_length=LONGEST_EMAIL)
    opted_out: bool


class DirectoryTagRow(SQLModel, table=True):
    """The person is the entry's: so people with a tag are listed in their order."""

    __tablename__ = "directory_tag"
    __table_args__ = (Index("ix_directory_tag_tag", "tag", "person"), ON_MYSQL)

    entry_id: int = Field(sa_type=BigInteger, primary_key=True)
    tag: str = Field(primary_key=True, max_length=LONGEST_TAG)
    person: str | None = Field(max_length=128)


class DirectoryPassRow(SQLModel, table=True):
    __tablename__ = "directory_pass"
    __table_args__ = (ON_MYSQL,)

    source: str = Field(primary_key=True, max_length=16)
    number: int
    next: int
    started_at: int = Field(sa_type=BigInteger)
    finished_at: int | None = Field(sa_type=BigInteger)
    owner: str | None = Field(max_length=64)
    leased_until: int | None = Field(sa_type=BigInteger)


class DeliveryRow(SQLModel, table=True):
    """One message to one recipient, of a broadcast or, where that is 0, alone."""

    __tablename__ = "delivery"
    __table_args__ = (
        # MySQL's indexes grow by all rows, also where they are null: each costs a big broadcast seconds.
        UniqueConstraint("broadcast_id", "own_key", name="uq_delivery_own_key"),
        Index("ix_delivery_due", "due", **_said("due")),
        Index("ix_delivery_phone", "phone", **_said("phone")),
        Index("ix_delivery_messenger_id", "messenger_id", **_said("messenger_id")),
        Index("ix_delivery_state", "broadcast_id", "state", "seq"),
        ON_MYSQL,
    )

    broadcast_id: int = Field(sa_type=BigInteger, primary_key=True)
    seq: int = Field(sa_type=BigInteger, primary_key=True)
    own_key: str | None = Field(max_length=255)
    """Nobody else's in its broadcast, the address to which it goes first, which is not written down twice
    (`messages.addresses_of`); of a message that is alone, its idempotency key."""
    phone: str | None = Field(max_length=16)
    messenger_id: str | None = Field(max_length=64)
    state: str = Field(max_length=12)
    state_rank: int = Field(sa_type=SmallInteger)
    due: int | None = Field(sa_type=BigInteger)
    step: int = Field(sa_type=SmallInteger)
    attempt: int = Field(sa_type=SmallInteger)
    channel: str | None = Field(max_length=10)
    vendor_id: str | None = Field(max_length=64)
    body: bytes = Field(sa_type=Json)
    history: bytes = Field(sa_type=Json)
    """A line of JSON for each event, oldest first."""
    failure_code: str | None = Field(max_length=32)
    failure_text: str | None = Field(max_length=255)
    vendor_code: str | None = Field(max_length=32)
    input_hash: str | None = Field(max_length=64)
    tag: str | None = Field(max_length=64)
    created_at: datetime = Field(sa_type=Moment)
    send_at: datetime | None = Field(sa_type=Moment)
    accepted_at: datetime | None = Field(sa_type=Moment)
    final_at: datetime | None = Field(sa_type=Moment)


class BroadcastRow(SQLModel, table=True):
    """The phase is what is still to be done to its rows, from `place` on; while leased, by its owner."""

    __tablename__ = "broadcast"
    __table_args__ = (
        UniqueConstraint("idempotency_key", name="uq_broadcast_idempotency_key"),
        ON_MYSQL | {"sqlite_autoincrement": True},
    )

    id: int = Field(sa_column=_id())
    state: str = Field(max_length=12, index=True)
    reason: str | None = Field(max_length=255)
    phase: str | None = Field(max_length=8, index=True)
    place: str = Field(max_length=128)
    owner: str | None = Field(max_length=64)
    leased_until: int = Field(sa_type=BigInteger)
    total: int
    """Of the rows that are planned by now."""
    last_seq: int = Field(sa_type=BigInteger)
    chunks: int
    plan: bytes = Field(sa_type=Json)
    listed: bytes = Field(sa_type=Json)
    """The keys of its people, if they were named one by one."""
    body: bytes = Field(sa_type=Json)
    rate_per_second: float | None
    tag: str | None = Field(max_length=64)
    idempotency_key: str | None = Field(max_length=255)
    input_hash: str | None = Field(max_length=64)
    created_at: datetime = Field(sa_type=Moment)
    send_at: datetime | None = Field(sa_type=Moment)
    started_at: datetime | None = Field(sa_type=Moment)
    finished_at: datetime | None = Field(sa_type=Moment)
    purged_counts: bytes | None = Field(sa_type=Json)
    """By state, of its deliveries that are not kept any more."""


class ChunkRow(SQLModel, table=True):
    """Deliveries of a broadcast, from `lo` to `hi`; `due` is when it may be taken, or its lease is over."""

    __tablename__ = "chunk"
    __table_args__ = (Index("ix_chunk_due", "broadcast_id", "state", "due"), ON_MYSQL)

    broadcast_id: int = Field(sa_type=BigInteger, primary_key=True)
    n: int = Field(primary_key=True)
    lo: int = Field(sa_type=BigInteger)
    hi: int = Field(sa_type=BigInteger)
    state: str = Field(max_length=8)
    token: str | None = Field(max_length=64)
    due: int = Field(sa_type=BigInteger)
    tries: int


class ReportRow(SQLModel, table=True):
    """What a vendor told us of a message, as it came; the same twice is one."""

    __tablename__ = "report"
    __table_args__ = (
        UniqueConstraint("source", "external_id", "status", "at", name="uq_report_source"),
        Index("ix_report_waiting", "waiting", "id"),
        ON_MYSQL | {"sqlite_autoincrement": True},
    )

    id: int = Field(sa_column=_id())
    source: str = Field(max_length=16)
    external_id: str = Field(max_length=64)
    status: str = Field(max_length=32)
    at: int = Field(sa_type=BigInteger)
    body: bytes = Field(sa_type=Json)
    waiting: bool
    received_at: datetime = Field(sa_type=Moment)


class SuppressionRow(SQLModel, table=True):
    """Without a channel it holds for all of them."""

    __tablename__ = "suppression"
    __table_args__ = (ON_MYSQL,)

    address: str = Field(primary_key=True, max_length=64)
    channel: str = Field(primary_key=True, max_length=10)
    reason: str = Field(max_length=255)
    created_at: datetime = Field(sa_type=Moment)


class AtticRow(SQLModel, table=True):
    """The one row by which a single process clears; nobody else does until then."""

    __tablename__ = "attic"
    __table_args__ = (ON_MYSQL,)

    id: int = Field(primary_key=True)
    owner: str | None = Field(max_length=64)
    until: int = Field(sa_type=BigInteger)


class ApiKeyRow(SQLModel, table=True):
    """Never deleted: where there has been a key, nobody is let in without one."""

    __tablename__ = "api_key"
    __table_args__ = (ON_MYSQL,)

    id: str = Field(primary_key=True, max_length=16)
    name: str = Field(max_length=64)
    hash: str = Field(max_length=64)
    scopes: bytes = Field(sa_type=Json)
    created_at: datetime = Field(sa_type=Moment)
    expires_at: datetime | None = Field(sa_type=Moment)
    revoked_at: datetime | None = Field(sa_type=Moment)
    used_at: datetime | None = Field(sa_type=Moment)


ENTRY: Table = SQLModel.metadata.tables["directory_entry"]
RECIPIENT: Table = SQLModel.metadata.tables["directory_recipient"]
TAG: Table = SQLModel.metadata.tables["directory_tag"]
MEMBER: Table = SQLModel.metadata.tables["customer_group_member"]
DELIVERY: Table = SQLModel.metadata.tables["delivery"]
BROADCAST: Table = SQLModel.metadata.tables["broadcast"]
CHUNK: Table = SQLModel.metadata.tables["chunk"]
REPORT: Table = SQLModel.metadata.tables["report"]
SUPPRESSION: Table = SQLModel.metadata.tables["suppression"]
ATTIC: Table = SQLModel.metadata.tables["attic"]
API_KEY: Table = SQLModel.metadata.tables["api_key"]
