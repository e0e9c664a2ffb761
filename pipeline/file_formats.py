"""What a file is by its bytes, and whether a picture ends where it says; nothing of it is decoded here."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Literal

PictureFormat = Literal["jpeg", "png", "webp", "bmp"]
ClipFormat = Literal["mp4", "matroska", "avi"]
Reason = Literal[
    "unknown format", "damaged", "cut off", "bytes behind", "animated", "12 bit", "picture too large",
    "no video", "codec", "clip too long", "too many frames", "clip too large", "memory",
]  # fmt: skip

HEAD_BYTES = 1024
"""So many bytes of a file are enough for `sniff`."""

TAKEN = "pictures as JPEG, PNG, WebP or BMP and clips as MP4, MOV, MKV, WebM or AVI are taken"

_STILL_BRANDS = re.compile(rb"hei[cxms]|hev[cxms]|mif1|msf1|avi[fs]|crx ")
_OLD_QUICKTIME = frozenset((b"moov", b"mdat", b"wide", b"free", b"skip"))
_KNOWN_BY_START = (
    (b"GIF8", "a GIF"),
    (b"PK", "a ZIP archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"%PDF", "a PDF"),
    (b"%!PS", "a PostScript file"),
    (b"II*\0", "a TIFF"),
    (b"MM\0*", "a TIFF"),
    (b"OggS", "an Ogg file"),
    (b"FLV", "a Flash video"),
    (b"\0\0\1\xba", "an MPEG program stream"),
    (b"0&\xb2u", "a Windows Media file"),
    (b"#EXTM3U", "a playlist"),
    (b"ffconcat", "a playlist"),
    (b"[playlist]", "a playlist"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"#!", "a script"),
)


class UnknownFormat(ValueError):
    """A file of a kind that is not taken; the message says what it is and what is taken."""


class BadFile(ValueError):
    """A file of a known kind that cannot be used.

    Attributes:
        reason: what is wrong with it.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


def sniff(head: bytes) -> PictureFormat | ClipFormat:
    """What a file is.

    Args:
        head: its first `HEAD_BYTES` bytes, or all of it.

    Raises:
        UnknownFormat: nothing that is taken.
    """
    if head.startswith(b"\xff\xd8\xff"):
        return "jpeg"
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return "png"
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "webp"
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return "avi"
    if head.startswith(b"BM") and head[14:18] in (b"\x0c\0\0\0", b"\x28\0\0\0", b"\x6c\0\0\0", b"\x7c\0\0\0"):
        return "bmp"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "matroska"
    if (head[4:8] == b"ftyp" and not _STILL_BRANDS.match(head[8:12])) or head[4:8] in _OLD_QUICKTIME:
        return "mp4"
    raise UnknownFormat(f"this is {_name(head)}; {TAKEN}")


def _name(head: bytes) -> str:
    for start, name in _KNOWN_BY_START:
        if head.startswith(start):
            return name
    if head[4:8] == b"ftyp":
        return "a HEIC, AVIF or raw picture"
    if head[257:262] == b"ustar":
        return "a tar archive"
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(b"<"):
        return "an SVG, XML or HTML document"
    return "no picture and no clip" if head else "an empty file"


def picture_size(format: PictureFormat, content: bytes) -> tuple[int, int]:
    """Width and height that a picture's header claims, after its parts were walked to its very end.

    Args:
        format: as `sniff` says.
        content: the whole file.

    Raises:
        BadFile: its parts do not fit, it breaks off, or something lies behind its end.
    """
    walk = {"jpeg": _jpeg, "png": _png, "webp": _webp, "bmp": _bmp}[format]
    try:
        (width, height), end = walk(content)
    except (struct.error, IndexError) as error:
        raise BadFile("cut off") from error
    if end > len(content):
        raise BadFile("cut off")
    if end < len(content):
        raise BadFile("bytes behind")
    if width < 1 or height < 1:
        raise BadFile("damaged")
    return width, height


def _jpeg(content: bytes) -> tuple[tuple[int, int], int]:
    size, position = None, 2
    # In the coded picture, FF is followed by 00 or by a restart mark; anything else ends it.
    next_mark = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
    while True:
        if content[position] != 0xFF:
            raise BadFile("damaged")
        while content[position] == 0xFF:
            position += 1
        mark = content[position]
        position += 1
        if mark == 0xD9:
            if size is None:
                raise BadFile("damaged")
            return size, position
        (length,) = struct.unpack_from(">H", content, position)
        if 0xC0 <= mark <= 0xCF and mark not in (0xC4, 0xC8, 0xCC):
            if size is not None:
                raise BadFile("damaged")
            bits, height, width = struct.unpack_from(">BHH", content, position + 2)
            if bits != 8:
                raise BadFile("12 bit")
            size = (width, height)
        position += length
        if mark == 0xDA:
            found = next_mark.search(content, position)
            if found is None:
                raise BadFile("cut off")
            position = found.start()


def _png(content: bytes) -> tuple[tuple[int, int], int]:
    size, position = None, 8
    while True:
        length, kind = struct.unpack_from(">I4s", content, position)
        end = position + 12 + length
        (checksum,) = struct.unpack_from(">I", content, end - 4)
        if zlib.crc32(memoryview(content)[position + 4 : end - 4]) != checksum:
            raise BadFile("damaged")
        if (kind == b"IHDR") != (size is None):
            raise BadFile("damaged")
        if kind == b"IHDR":
            size = struct.unpack_from(">II", content, position + 8)
        if kind == b"acTL":
            raise BadFile("animated")
        position = end
        if kind == b"IEND":
            assert size is not None
            return (size[0], size[1]), position


def _webp(content: bytes) -> tuple[tuple[int, int], int]:
    (length,) = struct.unpack_from("<I", content, 4)
    end = 8 + length
    sizes = []
    for kind, position in _riff_chunks(content, 12, min(end, len(content))):
        if kind in (b"ANIM", b"ANMF"):
            raise BadFile("animated")
        if kind == b"VP8X":
            low = struct.unpack_from("<HBHB", content, position + 4)
            sizes.append((1 + low[0] + (low[1] << 16), 1 + low[2] + (low[3] << 16)))
        elif kind == b"VP8L":
            (bits,) = struct.unpack_from("<I", content, position + 1)
            sizes.append((1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)))
        elif kind == b"VP8 ":
            width, height = struct.unpack_from("<HH", content, position + 6)
            sizes.append((width & 0x3FFF, height & 0x3FFF))
    if not sizes:
        raise BadFile("damaged")
    return (max(width for width, _ in sizes), max(height for _, height in sizes)), end


def _riff_chunks(content: bytes, position: int, end: int) -> Iterator[tuple[bytes, int]]:
    """Kind and place of each chunk's bytes; they must fill the file exactly."""
    while position < end:
        kind, length = struct.unpack_from("<4sI", content, position)
        yield kind, position + 8
        position += 8 + length + length % 2
    if position != end:
        raise BadFile("cut off" if position > end else "damaged")


def _bmp(content: bytes) -> tuple[tuple[int, int], int]:
    length, _, first_pixel, header = struct.unpack_from("<IIII", content, 2)
    if header == 12:
        width, height, _, bits = struct.unpack_from("<HHHH", content, 18)
        packed, coded = 0, 0
    else:
        width, height, _, bits, packed, coded = struct.unpack_from("<iiHHII", content, 18)
    size = (width, abs(height))
    if packed in (1, 2):  # run lengths: the header says how long they are
        last = first_pixel + coded
    else:
        last = first_pixel + (width * bits + 31) // 32 * 4 * abs(height)
    if length < last:
        raise BadFile("cut off")
    if length > last + 3:  # some writers round up
        raise BadFile("bytes behind")
    return size, length
