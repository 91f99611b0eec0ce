"""Tables: everyprint's customers and balances, our own groups, identity links; alike on every database.

Text compares by code point, as in SQLite: MySQL would take "a" for "A" and "é" for "e".
"""

from datetime import UTC, datetime
from decimal import Context, Decimal, Inexact, InvalidOperation
from typing import Any

from sqlalchemy import CheckConstraint, Column, DateTime, Dialect, Index, Integer, String, UniqueConstraint
from sqlalchemy.dialects import mysql
from sqlalchemy.types import BigInteger, SmallInteger, TypeDecorator, TypeEngine
from sqlmodel import Field, SQLModel

ON_MYSQL = {"mysql_engine": "InnoDB", "mysql_charset": "utf8mb4", "mysql_collate": "utf8mb4_bin"}

DIGITS, PLACES = 26, 6
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


def now() -> datetime:
    """Now, as a table will say it."""
    moment = datetime.now(UTC)
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)


def _id() -> Any:
    """A number that names a row and, even when the row is gone, never another."""
    return Column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True)


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
        UniqueConstraint("messenger_id", "idempotency_key", name="uq_balance_entry_key"),
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
    __tablename__ = "customer_group_member"
    __table_args__ = (ON_MYSQL,)

    group_id: int = Field(sa_type=BigInteger, primary_key=True, foreign_key="customer_group.id")
    member: str = Field(primary_key=True, max_length=128, index=True)


class LinkRow(SQLModel, table=True):
    """All keys of one person say the same `person`, which means nothing else."""

    __tablename__ = "identity_link"
    __table_args__ = (ON_MYSQL,)

    source: str = Field(primary_key=True, max_length=16)
    key: str = Field(primary_key=True, max_length=128)
    person: str = Field(max_length=32, index=True)
