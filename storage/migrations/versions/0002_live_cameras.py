"""Live cameras: refined tracklets, gaps, the watch list and its alerts."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, KEY, sa.Identity(always=True), nullable=False)


def _cascade(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}", ondelete="CASCADE")


def upgrade() -> None:
    _add_columns()
    _create_gaps()
    _create_watch_list()
    _create_alerts()
    _create_cursor()


def _add_columns() -> None:
    op.add_column("sources", sa.Column("end", sa.Double))
    op.add_column("sources", sa.Column("live", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("tracklets", sa.Column("media_version", sa.Integer, nullable=False, server_default="0"))
    op.add_column("tracklets", sa.Column("finished", sa.Boolean, nullable=False, server_default=sa.true()))
    op.create_index("ix_tracklets_end_id", "tracklets", ["end", "id"])


def _create_gaps() -> None:
    op.create_table(
        "gaps",
        _key("id"),
        sa.Column("source_id", KEY, nullable=False),
        sa.Column("start", sa.Double, nullable=False),
        sa.Column("end", sa.Double),
        sa.Column("reason", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_gaps"),
        _cascade("gaps", "source_id", "sources.id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_gaps_source_id", "gaps", ["source_id"])


def _create_watch_list() -> None:
    op.create_table(
        "watches",
        _key("id"),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("threshold", sa.Double, nullable=False),
        sa.Column("cameras", sa.JSON, nullable=False),
        sa.Column("hours", sa.JSON, nullable=False),
        sa.Column("webhook", sa.Text),
        sa.Column("secret_env", sa.Text),
        sa.Column("enabled", sa.Boolean, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_watches"),
        sa.UniqueConstraint("name", name="uq_watches_name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "watch_examples",
        _key("id"),
        sa.Column("watch_id", KEY, nullable=False),
        sa.Column("tracklet_id", KEY),
        sa.Column("crop", sa.LargeBinary),
        sa.PrimaryKeyConstraint("id", name="pk_watch_examples"),
        _cascade("watch_examples", "watch_id", "watches.id"),
        _cascade("watch_examples", "tracklet_id", "tracklets.id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_watch_examples_watch_id", "watch_examples", ["watch_id"])
    op.create_index("ix_watch_examples_tracklet_id", "watch_examples", ["tracklet_id"])


def _create_alerts() -> None:
    op.create_table(
        "alerts",
        _key("id"),
        sa.Column("watch_id", KEY, nullable=False),
        sa.Column("tracklet_id", KEY, nullable=False),
        sa.Column("similarity", sa.Double, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("delivered", sa.Double),
        sa.Column("next_attempt", sa.Double),
        sa.Column("last_error", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_alerts"),
        _cascade("alerts", "watch_id", "watches.id"),
        _cascade("alerts", "tracklet_id", "tracklets.id"),
        sa.UniqueConstraint("watch_id", "tracklet_id", name="uq_alerts_watch_id_tracklet_id"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_alerts_tracklet_id", "alerts", ["tracklet_id"])
    op.create_index("ix_alerts_status_next_attempt", "alerts", ["status", "next_attempt"])


def _create_cursor() -> None:
    """What was stored before there was a watch list raises no alerts: the cursors begin behind it."""
    op.create_table(
        "alert_cursor",
        sa.Column("generation_id", KEY, autoincrement=False, nullable=False),
        sa.Column("seq", KEY, nullable=False),
        sa.PrimaryKeyConstraint("generation_id", name="pk_alert_cursor"),
        _cascade("alert_cursor", "generation_id", "generations.id"),
    )
    op.execute(
        "INSERT INTO alert_cursor (generation_id, seq) "
        "SELECT generation_id, MAX(seq) FROM embeddings GROUP BY generation_id"
    )


def downgrade() -> None:
    for table in ("alert_cursor", "alerts", "watch_examples", "watches", "gaps"):
        op.drop_table(table)
    op.drop_index("ix_tracklets_end_id", "tracklets")
    for table, column in (
        ("tracklets", "finished"),
        ("tracklets", "media_version"),
        ("sources", "live"),
        ("sources", "end"),
    ):
        op.drop_column(table, column)
