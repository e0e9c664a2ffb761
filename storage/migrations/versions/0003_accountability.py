"""Accounts, audit trail, cases, retention; and what browsing by camera and time needs among millions."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

_TABLES = (
    "erased_tracks",
    "retention_rules",
    "decisions",
    "search_examples",
    "searches",
    "case_notes",
    "case_members",
    "cases",
    "audit_crops",
    "audit_head",
    "audit",
    "login_failures",
    "api_tokens",
    "user_sessions",
    "invitations",
    "users",
    "camera_views",
    "tracklet_hours",
)


def upgrade() -> None:
    _add_columns()
    _create_browsing()
    _create_accounts()
    _create_audit()
    _create_cases()
    _create_searches()
    _create_retention()


def _key(name: str = "id") -> sa.Column[int]:
    return sa.Column(name, KEY, sa.Identity(always=True), nullable=False)


def _number(name: str, *, nullable: bool = False) -> sa.Column[int]:
    return sa.Column(name, KEY, autoincrement=False, nullable=nullable)


def _text(name: str, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable)


def _short(name: str, length: int, *, nullable: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.String(length), nullable=nullable)


def _seconds(name: str, *, nullable: bool = False) -> sa.Column[float]:
    return sa.Column(name, sa.Double, nullable=nullable)


def _primary(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=f"pk_{table}")


def _unique(table: str, column: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(column, name=f"uq_{table}_{column}")


def _refers(table: str, column: str, target: str, on_delete: str = "CASCADE") -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}", ondelete=on_delete)


def _index(table: str, *columns: str) -> None:
    op.create_index(f"ix_{table}_{'_'.join(columns)}", table, list(columns))


def _add_columns() -> None:
    op.add_column("sources", sa.Column("masked", sa.Boolean, nullable=False, server_default=sa.false()))
    op.add_column("tracklets", sa.Column("camera", sa.Text, nullable=False, server_default=""))
    op.add_column("tracklets", sa.Column("has_crops", sa.Boolean, nullable=False, server_default=sa.true()))
    op.add_column("tracklets", sa.Column("searchable", sa.Boolean, nullable=False, server_default=sa.true()))
    op.execute(
        "UPDATE tracklets SET camera = (SELECT camera FROM sources WHERE sources.id = tracklets.source_id)"
    )
    op.drop_index("ix_tracklets_start_id", "tracklets")
    _index("tracklets", "start", "id", "quality")
    _index("tracklets", "camera", "start", "id", "quality")
    op.drop_index("ix_gaps_source_id", "gaps")
    _index("gaps", "start", "id", "end")
    _index("gaps", "source_id", "start", "id", "end")


def _create_browsing() -> None:
    op.create_table(
        "tracklet_hours",
        _text("camera"),
        _number("hour"),
        sa.Column("num_tracklets", sa.Integer, nullable=False),
        _seconds("longest_s"),
        _primary("tracklet_hours", "camera", "hour"),
    )
    _index("tracklet_hours", "camera", "longest_s")
    op.execute(
        "INSERT INTO tracklet_hours (camera, hour, num_tracklets, longest_s) "
        'SELECT camera, CAST(FLOOR(start / 3600) AS BIGINT), COUNT(*), MAX("end" - start) '
        "FROM tracklets GROUP BY 1, 2"
    )
    op.create_table(
        "camera_views",
        _text("camera"),
        _short("state", 16),
        _text("detail"),
        _seconds("updated"),
        sa.Column("frame", sa.LargeBinary),
        _seconds("frame_time", nullable=True),
        _primary("camera_views", "camera"),
    )


def _create_accounts() -> None:
    op.create_table(
        "users",
        _key(),
        _text("name"),
        _text("password", nullable=True),
        _short("role", 16),
        sa.Column("cameras", sa.JSON),
        sa.Column("enabled", sa.Boolean, nullable=False),
        _seconds("created"),
        _primary("users", "id"),
        _unique("users", "name"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "invitations",
        _short("token_hash", 64),
        _number("user_id"),
        _seconds("expires"),
        _primary("invitations", "token_hash"),
        _refers("invitations", "user_id", "users.id"),
    )
    _index("invitations", "user_id")
    op.create_table(
        "user_sessions",
        _key(),
        _number("user_id"),
        _short("token_hash", 64),
        _short("previous_hash", 64, nullable=True),
        _seconds("previous_until", nullable=True),
        _seconds("rotated"),
        _short("csrf_token", 64),
        _seconds("created"),
        _seconds("last_seen"),
        _text("address"),
        _primary("user_sessions", "id"),
        _refers("user_sessions", "user_id", "users.id"),
        _unique("user_sessions", "token_hash"),
        sqlite_autoincrement=True,
    )
    _index("user_sessions", "user_id")
    _index("user_sessions", "previous_hash")
    op.create_table(
        "api_tokens",
        _key(),
        _number("user_id"),
        _text("name"),
        _short("token_hash", 64),
        _short("hint", 16),
        _short("role", 16),
        _seconds("created"),
        _seconds("expires", nullable=True),
        _seconds("last_used", nullable=True),
        _primary("api_tokens", "id"),
        _refers("api_tokens", "user_id", "users.id"),
        _unique("api_tokens", "token_hash"),
        sqlite_autoincrement=True,
    )
    _index("api_tokens", "user_id", "id")
    op.create_table(
        "login_failures",
        _text("subject"),
        sa.Column("failures", sa.Integer, nullable=False),
        _seconds("last"),
        _primary("login_failures", "subject"),
    )


def _create_audit() -> None:
    op.create_table(
        "audit",
        _number("seq"),
        _seconds("time"),
        _text("actor"),
        _short("action", 64),
        _text("entry"),
        _short("previous", 64),
        _short("hash", 64),
        _primary("audit", "seq"),
    )
    _index("audit", "actor", "seq")
    _index("audit", "action", "seq")
    op.create_table(
        "audit_head",
        _number("id"),
        _number("seq"),
        _short("hash", 64),
        _primary("audit_head", "id"),
    )
    op.create_table(
        "audit_crops",
        _key(),
        _number("seq"),
        _short("sha256", 64),
        sa.Column("crop", sa.LargeBinary, nullable=False),
        _number("tracklet_id", nullable=True),
        _number("search_id", nullable=True),
        _primary("audit_crops", "id"),
        sqlite_autoincrement=True,
    )
    for column in ("seq", "tracklet_id", "search_id"):
        _index("audit_crops", column)
    _make_append_only()


def _make_append_only() -> None:
    """Neither a mistake nor the program itself changes the trail; who owns the database still can."""
    if op.get_bind().dialect.name == "sqlite":
        for what in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_refuses_{what.lower()} BEFORE {what} ON audit "
                "BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END"
            )
        return
    op.execute(
        "CREATE OR REPLACE FUNCTION audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit trail is append-only'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_refuses_changes BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_is_append_only()"
    )


def _create_cases() -> None:
    op.create_table(
        "cases",
        _key(),
        _text("name"),
        _text("description"),
        _text("owner"),
        _seconds("created"),
        _seconds("closed", nullable=True),
        sa.Column("held", sa.Boolean, nullable=False),
        _primary("cases", "id"),
        _unique("cases", "name"),
        sqlite_autoincrement=True,
    )
    _index("cases", "owner")
    op.create_table(
        "case_members",
        _number("case_id"),
        _text("user"),
        _primary("case_members", "case_id", "user"),
        _refers("case_members", "case_id", "cases.id"),
    )
    _index("case_members", "user")
    op.create_table(
        "case_notes",
        _key(),
        _number("case_id"),
        _text("author"),
        _seconds("created"),
        _text("text"),
        _primary("case_notes", "id"),
        _refers("case_notes", "case_id", "cases.id"),
        sqlite_autoincrement=True,
    )
    _index("case_notes", "case_id", "id")


def _create_searches() -> None:
    op.create_table(
        "searches",
        _key(),
        _number("case_id", nullable=True),
        _text("author"),
        _seconds("created"),
        _text("reason"),
        _seconds("threshold"),
        _text("model"),
        sa.Column("filter", sa.JSON, nullable=False),
        _primary("searches", "id"),
        _refers("searches", "case_id", "cases.id"),
        sqlite_autoincrement=True,
    )
    _index("searches", "case_id", "id")
    _index("searches", "author", "id")
    op.create_table(
        "search_examples",
        _key(),
        _number("search_id"),
        _number("tracklet_id", nullable=True),
        sa.Column("description", sa.JSON, nullable=False),
        sa.Column("crops", sa.LargeBinary),
        sa.Column("crop_lengths", sa.LargeBinary),
        _number("generation_id", nullable=True),
        sa.Column("vector", sa.LargeBinary),
        _primary("search_examples", "id"),
        _refers("search_examples", "search_id", "searches.id"),
        _refers("search_examples", "tracklet_id", "tracklets.id"),
        _refers("search_examples", "generation_id", "generations.id", "SET NULL"),
        sqlite_autoincrement=True,
    )
    _index("search_examples", "search_id")
    _index("search_examples", "tracklet_id")
    op.create_table(
        "decisions",
        _key(),
        _number("search_id"),
        _number("tracklet_id"),
        _short("verdict", 16),
        _text("author"),
        _seconds("created"),
        _seconds("undone", nullable=True),
        _text("undone_by", nullable=True),
        _primary("decisions", "id"),
        _refers("decisions", "search_id", "searches.id"),
        _refers("decisions", "tracklet_id", "tracklets.id"),
        sqlite_autoincrement=True,
    )
    _index("decisions", "tracklet_id")
    _index("decisions", "search_id", "tracklet_id")


def _create_retention() -> None:
    op.create_table(
        "retention_rules",
        _text("camera"),
        _seconds("crops_days", nullable=True),
        _seconds("embeddings_days", nullable=True),
        _seconds("metadata_days", nullable=True),
        _primary("retention_rules", "camera"),
    )
    op.create_table(
        "erased_tracks",
        _number("source_id"),
        _number("track_id"),
        _number("first_frame"),
        _primary("erased_tracks", "source_id", "track_id", "first_frame"),
        _refers("erased_tracks", "source_id", "sources.id"),
    )


def downgrade() -> None:
    for table in _TABLES:
        op.drop_table(table)
    if op.get_bind().dialect.name != "sqlite":
        op.execute("DROP FUNCTION audit_is_append_only()")
    op.drop_index("ix_tracklets_camera_start_id_quality", "tracklets")
    op.drop_index("ix_tracklets_start_id_quality", "tracklets")
    _index("tracklets", "start", "id")
    op.drop_index("ix_gaps_source_id_start_id_end", "gaps")
    op.drop_index("ix_gaps_start_id_end", "gaps")
    _index("gaps", "source_id")
    for table, column in (
        ("tracklets", "searchable"),
        ("tracklets", "has_crops"),
        ("tracklets", "camera"),
        ("sources", "masked"),
    ):
        op.drop_column(table, column)
