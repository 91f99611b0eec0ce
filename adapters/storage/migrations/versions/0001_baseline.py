"""The baseline: an empty database that knows its revision; tables come with the nouns that need them."""

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None: ...


def downgrade() -> None: ...
