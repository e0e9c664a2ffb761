"""The tables. A change here needs a new file in `storage/migrations/versions`; a test compares the two."""

from __future__ import annotations

from typing import Any, TypeAlias

import sqlalchemy as sa

AnyRow: TypeAlias = sa.Row[*tuple[Any, ...]]
AnySelect: TypeAlias = sa.Select[*tuple[Any, ...]]

VERSION = "0003"
"""The newest migration: what this code reads and writes."""

VERSION_TABLE = "retrace_schema"
"""Not alembic's default name, so that a database shared with another program stays unharmed."""

metadata = sa.MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    }
)


class Key(sa.TypeDecorator[int]):
    """64-bit whole numbers, also those of numpy, which SQLite would take for bytes."""

    impl = sa.BigInteger
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[int]:
        # SQLite numbers rows only in a column of exactly this type.
        return dialect.type_descriptor(sa.Integer() if dialect.name == "sqlite" else sa.BigInteger())

    def process_bind_param(self, value: int | None, dialect: sa.Dialect) -> int | None:
        return None if value is None else int(value)


def key(name: str) -> sa.Column[int]:
    return sa.Column(name, Key, sa.Identity(always=True), primary_key=True)


def reference(
    name: str,
    target: str,
    *,
    primary_key: bool = False,
    nullable: bool = False,
    index: bool = False,
    on_delete: str = "CASCADE",
) -> sa.Column[int]:
    return sa.Column(
        name,
        Key,
        sa.ForeignKey(target, ondelete=on_delete),
        primary_key=primary_key,
        nullable=nullable,
        index=index,
        autoincrement=False,
    )


gallery = sa.Table(
    "gallery",
    metadata,
    sa.Column("id", Key, primary_key=True, autoincrement=False),  # always 1
    sa.Column("uuid", sa.String(36), nullable=False),
    # Counts what an index that only reads new rows would miss: deletions, and a new current generation.
    sa.Column("revision", Key, nullable=False),
)

sources = sa.Table(
    "sources",
    metadata,
    key("id"),
    sa.Column("camera", sa.Text, nullable=False),
    sa.Column("uri", sa.Text, nullable=False),
    sa.Column("fingerprint", sa.Text, nullable=False),
    sa.Column("start", sa.Double, nullable=False),  # seconds UTC
    sa.Column("settings_hash", sa.Text, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),  # records.SourceStatus
    sa.Column("num_frames_done", Key, nullable=False),
    sa.Column("counts", sa.JSON, nullable=False),
    sa.Column("end", sa.Double),  # time of the last analysed frame, as far as it is known
    sa.Column("live", sa.Boolean, nullable=False, server_default=sa.false()),
    # Whether parts of its pictures were blacked out: then the video itself shows what nobody may see.
    sa.Column("masked", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.UniqueConstraint("camera", "fingerprint"),
    sqlite_autoincrement=True,
)

tracklets = sa.Table(
    "tracklets",
    metadata,
    key("id"),
    reference("source_id", "sources.id"),
    sa.Column("track_id", Key, nullable=False),
    sa.Column("first_frame", Key, nullable=False),
    sa.Column("num_frames", sa.Integer, nullable=False),
    sa.Column("start", sa.Double, nullable=False),  # seconds UTC
    sa.Column("end", sa.Double, nullable=False),
    sa.Column("quality", sa.Double, nullable=False),  # [0, 1]
    sa.Column("thumbnail", sa.Integer, nullable=False),  # which crop
    sa.Column("crop_lengths", sa.LargeBinary, nullable=False),  # (K,) int32, bytes of each crop
    sa.Column("crop_positions", sa.LargeBinary, nullable=False),  # (K,) int32
    sa.Column("media_version", sa.Integer, nullable=False, server_default="0"),  # see media.py
    sa.Column("finished", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("camera", sa.Text, nullable=False, server_default=""),  # its source's, for the index below
    # Retention may take the crops or the embeddings before it takes the rest.
    sa.Column("has_crops", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.Column("searchable", sa.Boolean, nullable=False, server_default=sa.true()),
    sa.UniqueConstraint("source_id", "track_id", "first_frame"),
    # With the quality at their ends, what is not good enough is passed over without reading its row.
    sa.Index("ix_tracklets_camera_start_id_quality", "camera", "start", "id", "quality"),
    sa.Index("ix_tracklets_start_id_quality", "start", "id", "quality"),
    sa.Index("ix_tracklets_end_id", "end", "id"),
    sqlite_autoincrement=True,
)

# How many tracklets began in each hour, kept with every insertion and deletion: time lines of millions.
tracklet_hours = sa.Table(
    "tracklet_hours",
    metadata,
    sa.Column("camera", sa.Text, primary_key=True),
    sa.Column("hour", Key, primary_key=True, autoincrement=False),  # whole hours since 1970, UTC
    sa.Column("num_tracklets", sa.Integer, nullable=False),  # never 0
    # Of any that began in it, those deleted since included.
    sa.Column("longest_s", sa.Double, nullable=False),
    sa.Index("ix_tracklet_hours_camera_longest_s", "camera", "longest_s"),
)

# What the last run or ingest of a camera said of it.
camera_views = sa.Table(
    "camera_views",
    metadata,
    sa.Column("camera", sa.Text, primary_key=True),
    sa.Column("state", sa.String(16), nullable=False),  # of a run, or "recorded"
    sa.Column("detail", sa.Text, nullable=False),
    sa.Column("updated", sa.Double, nullable=False),  # seconds UTC
    sa.Column("frame", sa.LargeBinary),  # JPEG, masked as the camera is
    sa.Column("frame_time", sa.Double),  # seconds UTC
)

# Erased while their source was still being read: a run that goes on with it must not store them again.
erased_tracks = sa.Table(
    "erased_tracks",
    metadata,
    reference("source_id", "sources.id", primary_key=True),
    sa.Column("track_id", Key, primary_key=True, autoincrement=False),
    sa.Column("first_frame", Key, primary_key=True, autoincrement=False),
)

trajectories = sa.Table(
    "trajectories",
    metadata,
    reference("tracklet_id", "tracklets.id", primary_key=True),
    sa.Column("packed", sa.LargeBinary, nullable=False),  # see database/encoding.py
)

generations = sa.Table(
    "generations",
    metadata,
    key("id"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("weights_hash", sa.Text, nullable=False),
    sa.Column("preprocessing_hash", sa.Text, nullable=False),
    sa.Column("dimension", sa.Integer, nullable=False),
    sa.Column("config", sa.JSON, nullable=False),
    sa.Column("status", sa.String(16), nullable=False),  # records.GenerationStatus
    sa.UniqueConstraint("name", "weights_hash", "preprocessing_hash", "dimension"),
    sqlite_autoincrement=True,
)

embeddings = sa.Table(
    "embeddings",
    metadata,
    key("seq"),  # rises with the order of commits: writers take turns
    reference("generation_id", "generations.id"),
    reference("tracklet_id", "tracklets.id"),
    sa.Column("vector", sa.LargeBinary, nullable=False),  # (D,) float16, little-endian
    sa.UniqueConstraint("tracklet_id", "generation_id"),
    # Covers the list of an index's rows without reading the vectors.
    sa.Index("ix_embeddings_generation_id_seq_tracklet_id", "generation_id", "seq", "tracklet_id"),
    sqlite_autoincrement=True,
)

gaps = sa.Table(
    "gaps",
    metadata,
    key("id"),
    reference("source_id", "sources.id"),
    sa.Column("start", sa.Double, nullable=False),  # seconds UTC
    sa.Column("end", sa.Double),  # null while it lasts
    sa.Column("reason", sa.Text, nullable=False),
    # With the end, what was over before the time asked for is passed over without reading its row.
    sa.Index("ix_gaps_start_id_end", "start", "id", "end"),
    sa.Index("ix_gaps_source_id_start_id_end", "source_id", "start", "id", "end"),
    sqlite_autoincrement=True,
)

watches = sa.Table(
    "watches",
    metadata,
    key("id"),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("threshold", sa.Double, nullable=False),  # cosine
    sa.Column("cameras", sa.JSON, nullable=False),  # list of names; empty: every camera
    sa.Column("hours", sa.JSON, nullable=False),  # list of texts; empty: always
    sa.Column("webhook", sa.Text),
    sa.Column("secret_env", sa.Text),  # name of an environment variable, never the key itself
    sa.Column("enabled", sa.Boolean, nullable=False),
    sa.Column("created", sa.Double, nullable=False),  # seconds UTC
    sa.UniqueConstraint("name"),
    sqlite_autoincrement=True,
)

watch_examples = sa.Table(
    "watch_examples",
    metadata,
    key("id"),
    reference("watch_id", "watches.id", index=True),
    reference("tracklet_id", "tracklets.id", nullable=True, index=True),
    sa.Column("crop", sa.LargeBinary),  # JPEG, of an example that is no tracklet
    sqlite_autoincrement=True,
)

alerts = sa.Table(
    "alerts",
    metadata,
    key("id"),
    reference("watch_id", "watches.id"),
    reference("tracklet_id", "tracklets.id", index=True),
    sa.Column("similarity", sa.Double, nullable=False),  # cosine
    sa.Column("created", sa.Double, nullable=False),  # seconds UTC
    sa.Column("status", sa.String(16), nullable=False),  # records.AlertStatus
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("delivered", sa.Double),  # seconds UTC
    sa.Column("next_attempt", sa.Double),  # seconds UTC; null unless pending
    sa.Column("last_error", sa.Text),
    sa.UniqueConstraint("watch_id", "tracklet_id"),
    sa.Index("ix_alerts_status_next_attempt", "status", "next_attempt"),
    sqlite_autoincrement=True,
)

alert_cursor = sa.Table(
    "alert_cursor",
    metadata,
    reference("generation_id", "generations.id", primary_key=True),
    sa.Column("seq", Key, nullable=False),  # of the last embedding that was compared with the watch list
)
