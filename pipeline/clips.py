"""The moment a tracklet was seen, cut out of the recording it was found in."""

from __future__ import annotations

from pathlib import Path

from pipeline.video import file_fingerprint, is_stream
from storage.records import SourceRecord


def source_file(source: SourceRecord) -> Path | None:
    """The recording of a source, if it may be shown and is still what it was.

    Returns:
        An existing local regular file with the source's content. None for streams, folders of pictures,
        sources with masked parts (the file shows what nobody may see), and for a file that is gone, cannot be
        read, or has another content now.
    """
    if source.live or source.masked or is_stream(source.uri):
        return None
    path = Path(source.uri)
    try:
        if not path.is_absolute() or not path.is_file() or file_fingerprint(path) != source.fingerprint:
            return None
    except (OSError, ValueError):  # no permission; a name that no file can have
        return None
    return path
