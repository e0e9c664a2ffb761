"""Hours by the clock on the wall: days, nights, whole weeks, and the two odd days of the year."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from pipeline.live.hours import Hours
from pipeline.live.settings import CameraSettings, LiveSettings

BERLIN = "Europe/Berlin"


def at(text: str, zone: str = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


# 2024-05-06 is a Monday.
@pytest.mark.parametrize(
    ("texts", "moment", "is_open"),
    [
        ([], "2024-05-06 03:00", True),
        (["mon-fri 07:00-19:00"], "2024-05-06 06:59:59", False),
        (["mon-fri 07:00-19:00"], "2024-05-06 07:00", True),
        (["mon-fri 07:00-19:00"], "2024-05-10 18:59:59", True),
        (["mon-fri 07:00-19:00"], "2024-05-10 19:00", False),
        (["mon-fri 07:00-19:00"], "2024-05-11 12:00", False),
        (["sat,sun 10:00-14:00"], "2024-05-12 13:59", True),
        (["sat,sun 10:00-14:00"], "2024-05-13 13:59", False),
        (["mon,wed-fri 10:00-14:00"], "2024-05-07 12:00", False),
        (["mon,wed-fri 10:00-14:00"], "2024-05-09 12:00", True),
        (["sat-mon 10:00-14:00"], "2024-05-12 12:00", True),
        (["sat-mon 10:00-14:00"], "2024-05-07 12:00", False),
        (["22:00-06:00"], "2024-05-06 23:30", True),
        (["22:00-06:00"], "2024-05-06 05:59", True),
        (["22:00-06:00"], "2024-05-06 06:00", False),
        (["fri 22:00-06:00"], "2024-05-11 05:00", True),
        (["fri 22:00-06:00"], "2024-05-10 05:00", False),
        (["sun 22:00-06:00"], "2024-05-06 05:00", True),  # over the end of the week
        (["sun 22:00-06:00"], "2024-05-12 05:00", False),
        (["18:00-24:00"], "2024-05-06 23:59:59", True),
        (["24h"], "2024-05-06 00:00", True),
        (["sun 24h"], "2024-05-12 23:59", True),
        (["sun 24h"], "2024-05-13 00:00", False),
        (["mon 08:00-12:00", "mon 11:00-13:00"], "2024-05-06 12:30", True),
        (["MON - FRI  7:00 - 19:00"], "2024-05-06 07:00", True),
    ],
)
def test_open_or_not(texts: list[str], moment: str, is_open: bool) -> None:
    assert Hours.parse(texts, BERLIN).open_at(at(moment)) is is_open


@pytest.mark.parametrize(
    ("texts", "now", "change"),
    [
        ([], "2024-05-06 03:00", None),
        (["24h"], "2024-05-06 03:00", None),
        (["mon-sun 24h"], "2024-05-06 03:00", None),
        (["00:00-12:00", "12:00-24:00"], "2024-05-06 03:00", None),
        (["mon-fri 07:00-19:00"], "2024-05-06 06:00", "2024-05-06 07:00"),
        (["mon-fri 07:00-19:00"], "2024-05-06 07:00", "2024-05-06 19:00"),
        (["mon-fri 07:00-19:00"], "2024-05-10 20:00", "2024-05-13 07:00"),
        (["mon 08:00-12:00", "mon 11:00-13:00"], "2024-05-06 09:00", "2024-05-06 13:00"),
        (["22:00-06:00"], "2024-05-06 23:00", "2024-05-07 06:00"),
        (["sat,sun 24h"], "2024-05-11 01:00", "2024-05-13 00:00"),
        (["sun 22:00-06:00"], "2024-05-12 23:00", "2024-05-13 06:00"),
        (["mon 07:00-08:00"], "2024-05-06 08:00", "2024-05-13 07:00"),
    ],
)  # fmt: skip
def test_the_next_change(texts: list[str], now: str, change: str | None) -> None:
    expected = None if change is None else at(change)
    assert Hours.parse(texts, BERLIN).next_change(at(now)) == expected


def test_days_on_which_the_clock_is_changed() -> None:
    """Spring 2024-03-31: 02:00 becomes 03:00. Autumn 2024-10-27: 03:00 becomes 02:00."""
    day = Hours.parse(["08:00-20:00"], BERLIN)
    for date in ("2024-03-30", "2024-03-31", "2024-10-27"):
        assert day.next_change(at(f"{date} 00:30")) == at(f"{date} 08:00")
    before = day.next_change(at("2024-03-30 00:30"))
    after = day.next_change(at("2024-03-31 00:30"))
    assert before is not None
    assert after is not None
    assert after - before == 23 * 3600

    night = Hours.parse(["02:30-05:00"], BERLIN)
    assert night.next_change(at("2024-03-31 01:00")) == at("2024-03-31 03:00")  # 02:30 does not exist
    assert night.next_change(at("2024-10-27 01:00")) == at("2024-10-27 02:30")
    assert night.next_change(at("2024-10-27 02:45")) == at("2024-10-27 02:00", fold=1)  # the wall shows 02:00
    assert night.next_change(at("2024-10-27 02:10", fold=1)) == at("2024-10-27 02:30", fold=1)

    left_out = Hours.parse(["sun 02:10-02:50"], BERLIN)
    assert left_out.next_change(at("2024-03-31 00:00")) == at("2024-04-07 02:10")


def test_every_change_that_a_minute_by_minute_look_sees() -> None:
    for texts in (["mon-fri 07:00-19:00", "sat 22:30-02:15"], ["02:30-05:00", "sun 24h"]):
        hours = Hours.parse(texts, BERLIN)
        now, end = at("2024-10-24 00:00"), at("2024-10-30 00:00")
        state, seen = hours.open_at(now), []
        for minute in range(int(now), int(end), 60):
            if hours.open_at(minute) != state:
                state = not state
                seen.append(float(minute))
        found: list[float] = []
        change = hours.next_change(now)
        while change is not None and change < end:
            found.append(change)
            change = hours.next_change(change)
        assert found == seen


def test_a_zone_is_where_the_wall_is() -> None:
    text = ["07:00-19:00"]
    moment = at("2024-05-06 12:00", "Asia/Kolkata")
    assert Hours.parse(text, "Asia/Kolkata").open_at(moment)
    assert not Hours.parse(text, "UTC").open_at(moment)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("weekdays 07:00-19:00", "'weekdays' is not one of mon, tue"),
        ("mon-xyz 07:00-19:00", "'xyz' is not one of"),
        ("mon", "it has no times"),
        ("mon 7-19", "'7-19' is not a span"),
        ("07:00", "'07:00' is not a span"),
        ("25:00-26:00", "00:00 to 24:00"),
        ("07:60-08:00", "00:00 to 24:00"),
        ("07:00-07:00", "the whole day is '24h'"),
        ("", "it has no times"),
        ("mon, 07:00-08:00", "'' is not one of"),
    ],
)
def test_what_cannot_be_read_is_named_with_an_example(text: str, why: str) -> None:
    with pytest.raises(ValueError, match="cannot read the hours") as error:
        Hours.parse(["08:00-09:00", text], "UTC")
    assert f"'{text}'" in str(error.value)
    assert why in str(error.value)
    assert "'mon-fri 07:00-19:00'" in str(error.value)
    with pytest.raises(ValueError, match="cannot read the hours"):
        CameraSettings(name="door", uri="rtsp://127.0.0.1/1", hours=[text])


@pytest.mark.parametrize("name", ["Europe/Berlim", "Europe", "../etc/passwd", "", "CEST", "/etc/localtime"])
def test_an_unknown_zone_is_named(name: str) -> None:
    with pytest.raises(ValueError, match="no time zone is named") as error:
        Hours.parse([], name)
    assert f"'{name}'" in str(error.value)
    with pytest.raises(ValueError, match="no time zone is named"):
        LiveSettings(timezone=name)


def test_a_zone_nearly_right_is_suggested() -> None:
    with pytest.raises(ValueError, match="did you mean Europe/Berlin"):
        Hours.parse([], "Europe/Berlim")
    assert LiveSettings(timezone=BERLIN).timezone == BERLIN
    assert CameraSettings(name="door", uri="0", hours=["mon-fri 07:00-19:00"]).hours == [
        "mon-fri 07:00-19:00"
    ]
