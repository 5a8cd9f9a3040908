"""How far a model's confidence is from how often it is right.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Empty for what was evaluated before it was measured.
    with op.batch_alter_table("evaluations") as table:
        table.add_column(sa.Column("expected_calibration_error", sa.Double))


def downgrade() -> None:
    with op.batch_alter_table("evaluations") as table:
        table.drop_column("expected_calibration_error")
