"""Who is who, said by storage alone: its lock, the persons of members, who was unlinked, whose a pass is."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    lock = op.create_table(
        "identity_lock",
        sa.Column("id", sa.Integer(), primary_key=True, autoincrement=False),
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
    )
    op.bulk_insert(lock, [{"id": 1}])

    op.add_column("identity_link", sa.Column("apart", sa.Boolean(), nullable=False, server_default="0"))
    op.add_column("customer_group_member", sa.Column("person", sa.String(128)))
    op.create_index("ix_customer_group_member_person", "customer_group_member", ["group_id", "person"])
    op.add_column("directory_pass", sa.Column("owner", sa.String(64)))
    op.add_column("directory_pass", sa.Column("leased_until", sa.BigInteger()))


def downgrade() -> None:
    op.drop_column("directory_pass", "leased_until")
    op.drop_column("directory_pass", "owner")
    op.drop_index("ix_customer_group_member_person", "customer_group_member")
    op.drop_column("customer_group_member", "person")
    op.drop_column("identity_link", "apart")
    op.drop_table("identity_lock")
