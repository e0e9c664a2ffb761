"""The tables of those who search: accounts, the audit trail, cases with their decisions, retention."""

from __future__ import annotations

import sqlalchemy as sa

from storage.database.schema import Key, key, metadata, reference

users = sa.Table(
    "users",
    metadata,
    key("id"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("password", sa.Text),  # argon2; null until the invitation was used
    sa.Column("role", sa.String(16), nullable=False),  # account_records.Role
    sa.Column("cameras", sa.JSON),  # list of names; null: every camera
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("created", sa.Double, nullable=False),  # seconds UTC
    sa.UniqueConstraint("name"),
    sqlite_autoincrement=True,
)

# Links that let somebody choose a password, once. Of all secrets here only sha256 is kept.
invitations = sa.Table(
    "invitations",
    metadata,
    sa.Column("token_hash", sa.String(64), primary_key=True),
    reference("user_id", "users.id", index=True),
    sa.Column("expires", sa.Double, nullable=False),
)

user_sessions = sa.Table(
    "user_sessions",
    metadata,
    key("id"),
    reference("user_id", "users.id", index=True),
    sa.Column("token_hash", sa.String(64), nullable=False),
    sa.Column("previous_hash", sa.String(64)),  # the token before the last rotation
    sa.Column("previous_until", sa.Double),  # so long it is good; null: until the token after it is shown
    sa.Column("rotated", sa.Double, nullable=False),
    sa.Column("csrf_token", sa.String(64), nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("last_seen", sa.Double, nullable=False),
    sa.Column("address", sa.Text, nullable=False),
    sa.UniqueConstraint("token_hash"),
    sa.Index("ix_user_sessions_previous_hash", "previous_hash"),
    sqlite_autoincrement=True,
)

api_tokens = sa.Table(
    "api_tokens",
    metadata,
    key("id"),
    reference("user_id", "users.id"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("token_hash", sa.String(64), nullable=False),
    sa.Column("hint", sa.String(16), nullable=False),  # its first letters, to recognise it by
    sa.Column("role", sa.String(16), nullable=False),  # at most its user's
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("expires", sa.Double),
    sa.Column("last_used", sa.Double),
    sa.UniqueConstraint("token_hash"),
    sa.Index("ix_api_tokens_user_id_id", "user_id", "id"),
    sqlite_autoincrement=True,
)

# Failed log-ins, by user name and by address.
login_failures = sa.Table(
    "login_failures",
    metadata,
    sa.Column("subject", sa.Text, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("last", sa.Double, nullable=False),
)

# Append-only, by triggers. No reference to other tables: what it says outlives what it is about.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("seq", Key, primary_key=True, autoincrement=False),  # 1, 2, 3 ... without a hole
    sa.Column("time", sa.Double, nullable=False),  # seconds UTC
    sa.Column("actor", sa.Text, nullable=False),
    sa.Column("action", sa.String(64), nullable=False),
    sa.Column("entry", sa.Text, nullable=False),  # canonical JSON of everything, the columns above included
    sa.Column("previous", sa.String(64), nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),  # sha256 of `previous` and `entry`
    sa.Index("ix_audit_actor_seq", "actor", "seq"),
    sa.Index("ix_audit_action_seq", "action", "seq"),
)

# Where the chain ends: that its last rows are gone must be found, too.
audit_head = sa.Table(
    "audit_head",
    metadata,
    sa.Column("id", Key, primary_key=True, autoincrement=False),  # always 1
    sa.Column("seq", Key, nullable=False),
    sa.Column("hash", sa.String(64), nullable=False),
)

# The pictures that were searched with. The trail holds their sha256; they can be erased and it stays whole.
audit_crops = sa.Table(
    "audit_crops",
    metadata,
    key("id"),
    sa.Column("seq", Key, nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("crop", sa.LargeBinary, nullable=False),  # JPEG
    sa.Column("tracklet_id", Key),  # whom it shows, if it is stored
    sa.Column("search_id", Key),
    sa.Index("ix_audit_crops_seq", "seq"),
    sa.Index("ix_audit_crops_tracklet_id", "tracklet_id"),
    sa.Index("ix_audit_crops_search_id", "search_id"),
    sqlite_autoincrement=True,
)

cases = sa.Table(
    "cases",
    metadata,
    key("id"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("description", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),  # name of a user
    sa.Column("created", sa.Double, nullable=False),  # seconds UTC
    sa.Column("closed", sa.Double),
    sa.Column("held", sa.Boolean, nullable=False),  # legal hold: nothing it is about is deleted
    sa.UniqueConstraint("name"),
    sa.Index("ix_cases_owner", "owner"),
    sqlite_autoincrement=True,
)

case_members = sa.Table(
    "case_members",
    metadata,
    reference("case_id", "cases.id", primary_key=True),
    sa.Column("user", sa.Text, primary_key=True),
    sa.Index("ix_case_members_user", "user"),
)

case_notes = sa.Table(
    "case_notes",
    metadata,
    key("id"),
    reference("case_id", "cases.id"),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("text", sa.Text, nullable=False),
    sa.Index("ix_case_notes_case_id_id", "case_id", "id"),
    sqlite_autoincrement=True,
)

searches = sa.Table(
    "searches",
    metadata,
    key("id"),
    reference("case_id", "cases.id", nullable=True),
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("threshold", sa.Double, nullable=False),  # cosine: what lies below is a candidate, not a match
    sa.Column("model", sa.Text, nullable=False),  # the threshold's: case_records.model_identity, or nothing
    sa.Column("filter", sa.JSON, nullable=False),
    sa.Index("ix_searches_author_id", "author", "id"),
    sa.Index("ix_searches_case_id_id", "case_id", "id"),
    sqlite_autoincrement=True,
)

search_examples = sa.Table(
    "search_examples",
    metadata,
    key("id"),
    reference("search_id", "searches.id", index=True),
    reference("tracklet_id", "tracklets.id", nullable=True, index=True),
    sa.Column("description", sa.JSON, nullable=False),
    sa.Column("crops", sa.LargeBinary),  # JPEG files one after the other, of an example that is no tracklet
    sa.Column("crop_lengths", sa.LargeBinary),  # (K,) int32
    reference("generation_id", "generations.id", nullable=True, on_delete="SET NULL"),
    sa.Column("vector", sa.LargeBinary),  # (D,) float16 of that generation
    sqlite_autoincrement=True,
)

decisions = sa.Table(
    "decisions",
    metadata,
    key("id"),
    reference("search_id", "searches.id"),
    reference("tracklet_id", "tracklets.id", index=True),
    sa.Column("verdict", sa.String(16), nullable=False),  # case_records.Verdict
    sa.Column("author", sa.Text, nullable=False),
    sa.Column("created", sa.Double, nullable=False),
    sa.Column("undone", sa.Double),  # taken back then; the newest that is not counts
    sa.Column("undone_by", sa.Text),
    sa.Index("ix_decisions_search_id_tracklet_id", "search_id", "tracklet_id"),
    sqlite_autoincrement=True,
)

# Days after which things leave; null: never. The camera "" is for all that have no rule of their own.
retention_rules = sa.Table(
    "retention_rules",
    metadata,
    sa.Column("camera", sa.Text, primary_key=True),
    sa.Column("crops_days", sa.Double),
    sa.Column("embeddings_days", sa.Double),
    sa.Column("metadata_days", sa.Double),
)
