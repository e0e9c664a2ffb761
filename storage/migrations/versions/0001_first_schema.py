"""The first schema: sources, tracklets, trajectories, generations, embeddings."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def _key(name: str) -> sa.Column[int]:
    return sa.Column(name, KEY, sa.Identity(always=True), nullable=False)


def _cascade(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=f"fk_{table}_{column}", ondelete="CASCADE")


def upgrade() -> None:
    op.create_table(
        "gallery",
        sa.Column("id", KEY, autoincrement=False, nullable=False),
        sa.Column("uuid", sa.String(36), nullable=False),
        sa.Column("revision", KEY, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_gallery"),
    )
    op.create_table(
        "sources",
        _key("id"),
        sa.Column("camera", sa.Text, nullable=False),
        sa.Column("uri", sa.Text, nullable=False),
        sa.Column("fingerprint", sa.Text, nullable=False),
        sa.Column("start", sa.Double, nullable=False),
        sa.Column("settings_hash", sa.Text, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.Column("num_frames_done", KEY, nullable=False),
        sa.Column("counts", sa.JSON, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_sources"),
        sa.UniqueConstraint("camera", "fingerprint", name="uq_sources_camera_fingerprint"),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "tracklets",
        _key("id"),
        sa.Column("source_id", KEY, nullable=False),
        sa.Column("track_id", KEY, nullable=False),
        sa.Column("first_frame", KEY, nullable=False),
        sa.Column("num_frames", sa.Integer, nullable=False),
        sa.Column("start", sa.Double, nullable=False),
        sa.Column("end", sa.Double, nullable=False),
        sa.Column("quality", sa.Double, nullable=False),
        sa.Column("thumbnail", sa.Integer, nullable=False),
        sa.Column("crop_lengths", sa.LargeBinary, nullable=False),
        sa.Column("crop_positions", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_tracklets"),
        _cascade("tracklets", "source_id", "sources.id"),
        sa.UniqueConstraint(
            "source_id", "track_id", "first_frame", name="uq_tracklets_source_id_track_id_first_frame"
        ),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_tracklets_start_id", "tracklets", ["start", "id"])
    op.create_table(
        "trajectories",
        sa.Column("tracklet_id", KEY, autoincrement=False, nullable=False),
        sa.Column("packed", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("tracklet_id", name="pk_trajectories"),
        _cascade("trajectories", "tracklet_id", "tracklets.id"),
    )
    op.create_table(
        "generations",
        _key("id"),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("weights_hash", sa.Text, nullable=False),
        sa.Column("preprocessing_hash", sa.Text, nullable=False),
        sa.Column("dimension", sa.Integer, nullable=False),
        sa.Column("config", sa.JSON, nullable=False),
        sa.Column("status", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_generations"),
        sa.UniqueConstraint(
            "name",
            "weights_hash",
            "preprocessing_hash",
            "dimension",
            name="uq_generations_name_weights_hash_preprocessing_hash_dimension",
        ),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "embeddings",
        _key("seq"),
        sa.Column("generation_id", KEY, nullable=False),
        sa.Column("tracklet_id", KEY, nullable=False),
        sa.Column("vector", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("seq", name="pk_embeddings"),
        _cascade("embeddings", "generation_id", "generations.id"),
        _cascade("embeddings", "tracklet_id", "tracklets.id"),
        sa.UniqueConstraint("tracklet_id", "generation_id", name="uq_embeddings_tracklet_id_generation_id"),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_embeddings_generation_id_seq_tracklet_id", "embeddings", ["generation_id", "seq", "tracklet_id"]
    )


def downgrade() -> None:
    for table in ("embeddings", "generations", "trajectories", "tracklets", "sources", "gallery"):
        op.drop_table(table)
