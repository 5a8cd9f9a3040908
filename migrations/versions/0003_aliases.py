"""Aliases with variants, shadows and a history.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NEW = ("variant", "number", "shadows", "shadow_images", "shadow_disagreements")
VARIANTS = "variant IN ('fp32', 'int8')"


def upgrade() -> None:
    with op.batch_alter_table("aliases") as table:
        table.add_column(sa.Column("variant", sa.String(8), nullable=False, server_default="fp32"))
        table.add_column(sa.Column("number", sa.Integer, nullable=False, server_default="1"))
        table.add_column(sa.Column("shadows", sa.String(64)))
        table.add_column(sa.Column("shadow_images", sa.BigInteger, nullable=False, server_default="0"))
        table.add_column(sa.Column("shadow_disagreements", sa.BigInteger, nullable=False, server_default="0"))
        table.create_foreign_key("fk_aliases_shadows_aliases", "aliases", ["shadows"], ["alias"], ondelete="SET NULL")
        table.create_check_constraint(op.f("ck_aliases_variant_known"), VARIANTS)
        table.create_check_constraint(op.f("ck_aliases_number_counts"), "number >= 1")
        table.create_check_constraint(op.f("ck_aliases_shadows_another"), "shadows <> alias")
        table.create_check_constraint(
            op.f("ck_aliases_disagreements_in_range"),
            "shadow_disagreements >= 0 AND shadow_disagreements <= shadow_images",
        )
    with op.batch_alter_table("aliases") as table:
        # The defaults were for the rows that were there.
        for column in ("variant", "number", "shadow_images", "shadow_disagreements"):
            table.alter_column(column, server_default=None)

    op.create_table(
        "alias_changes",
        sa.Column("alias", sa.String(64), nullable=False),
        sa.Column("number", sa.Integer, nullable=False),
        sa.Column("experiment_id", sa.Integer, nullable=False),
        sa.Column("variant", sa.String(8), nullable=False),
        sa.Column("shadows", sa.String(64)),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("alias", "number", name="pk_alias_changes"),
        sa.CheckConstraint(VARIANTS, name=op.f("ck_alias_changes_variant_known")),
        sa.CheckConstraint(
            "action IN ('first', 'promote', 'rollback', 'delete')", name=op.f("ck_alias_changes_action_known")
        ),
        sa.CheckConstraint("number >= 1", name=op.f("ck_alias_changes_number_counts")),
    )
    # Of what an alias meant before, nothing is known.
    op.execute(
        "INSERT INTO alias_changes (alias, number, experiment_id, variant, action, changed_at) "
        "SELECT alias, number, experiment_id, variant, 'promote', updated_at FROM aliases"
    )


def downgrade() -> None:
    op.drop_table("alias_changes")
    with op.batch_alter_table("aliases") as table:
        table.drop_constraint("fk_aliases_shadows_aliases", type_="foreignkey")
        for check in ("disagreements_in_range", "shadows_another", "number_counts", "variant_known"):
            table.drop_constraint(op.f(f"ck_aliases_{check}"), type_="check")
        for column in reversed(NEW):
            table.drop_column(column)
