"""Series in the files that people really have: each is read as a person would, or refused with a way out that works."""

from __future__ import annotations

import codecs
import csv as csv_module
import datetime
import gzip
import io
import random
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import elman
from elman.data import Series, read_series
from elman.data.series.calendar import Step, advance
from elman.errors import DataError, ElmanError


def table(dates, header: str = "t,v", first: int = 0) -> str:
    return "\n".join([header, *(f"{date},{first + i}" for i, date in enumerate(dates))]) + "\n"


def day_texts(first: str, count: int, form: str = "%Y-%m-%d") -> list[str]:
    days = (np.datetime64(first) + np.arange(count)).tolist()
    return [day.strftime(form) for day in days]


def business_days(first: str, count: int) -> list[str]:
    return np.busday_offset(first, np.arange(count), roll="forward").astype(str).tolist()


def hours_of(days, times=("09:30", "10:30", "11:30", "12:30", "13:30")) -> list[str]:
    return [f"{day} {time}" for day in days for time in times]


MONTH_ENDS = np.busday_offset(
    (np.arange("2022-02", "2025-02", dtype="M8[M]")).astype("M8[D]") - 1, 0, roll="backward"
).astype(str)

NEW_YEAR, TRADING, TWO_DAYS = "2024-01-01", "1h from 09:30 to 13:30", ("1d", "2024-01-01", "2024-01-02", "2024-01-03")

# A text, and what it must give: the first and last value, the step, the first and last date, the next, words of notes.
READ = {
    "a semicolon, and a comma in the header": (
        "date;price (EUR, net)\n2024-01-01;12,5\n2024-01-02;13,7\n2024-01-03;14,2\n",
        (12.5, 14.2, "1d", "2024-01-01", "2024-01-03", "2024-01-04", "decimal comma"),
    ),
    "business days": (
        table(business_days("2024-01-01", 200)),
        (0, 199, "1b", "2024-01-01", "2024-10-04", "2024-10-07", ""),
    ),
    "last business days of months": (
        table(MONTH_ENDS),
        (0, 35, "1mo", "2022-01-31", "2024-12-31", "2025-01-31", ""),
    ),
    "market hours": (
        table(hours_of(business_days("2024-01-08", 8))),
        (
            0,
            39,
            "1h from 09:30 to 13:30, business days",
            "2024-01-08T09:30",
            "2024-01-17T13:30",
            "2024-01-18T09:30",
            "",
        ),
    ),
    "no header": (
        "".join(f"{day},{i + 5}\n" for i, day in enumerate(day_texts("2024-01-01", 30))),
        (5, 34, "1d", "2024-01-01", "2024-01-30", "2024-01-31", "there is no header"),
    ),
    "newest first": (
        table(reversed(day_texts("2024-01-01", 19))),
        (18, 0, "1d", "2024-01-01", "2024-01-19", "2024-01-20", "from the newest to the oldest"),
    ),
    "quarters": (
        table([f"{year}Q{q}" for year in range(2015, 2020) for q in (1, 2, 3, 4)]),
        (0, 19, "3mo", "2015-01-01", "2019-10-01", "2020-01-01", "%YQ%q"),
    ),
    "quarters with a dash": (
        table([f"{year}-Q{q}" for year in (2015, 2016) for q in (1, 2, 3, 4)]),
        (0, 7, "3mo", "2015-01-01", "2016-10-01", "2017-01-01", "%Y-Q%q"),
    ),
    "months with an M": (
        table([f"2024M{m:02}" for m in range(1, 13)]),
        (0, 11, "1mo", "2024-01-01", "2024-12-01", "2025-01-01", "%YM%m"),
    ),
    "ISO weeks": (
        table([f"2020-W{w}" for w in range(45, 54)] + [f"2021-W{w:02}" for w in range(1, 12)], "week,v"),
        (0, 19, "1w", "2020-11-02", "2021-03-15", "2021-03-22", "%Y-W%V"),
    ),
    "names of months": (
        table(["Jan 2024", "Feb 2024", "March 2024"]),
        (0, 2, "1mo", "2024-01-01", "2024-03-01", "2024-04-01", "%b %Y"),
    ),
    "months and two digits of the year": (
        table([f"1/{d}/24" for d in range(1, 20)]),
        (0, 18, "1d", "2024-01-01", "2024-01-19", "2024-01-20", "%m/%d/%y"),
    ),
    "no zeros before": (
        table([f"2024-1-{d}" for d in range(1, 20)]),
        (0, 18, "1d", "2024-01-01", "2024-01-19", "2024-01-20", ""),
    ),
    "days and dots": (
        table([f"{d:02}.04.2024" for d in range(1, 20)]),
        (0, 18, "1d", "2024-04-01", "2024-04-19", "2024-04-20", "%d.%m.%Y"),
    ),
    "slashes, year first": (
        table(day_texts("2024-01-01", 5, "%Y/%m/%d")),
        (0, 4, "1d", "2024-01-01", "2024-01-05", "2024-01-06", "%Y/%m/%d"),
    ),
    "Chinese dates": (
        table([f"2024年1月{d}日" for d in range(1, 6)], "日期,v"),
        (0, 4, "1d", "2024-01-01", "2024-01-05", "2024-01-06", "年"),
    ),
    "halves of a day": (
        table(
            [f"1/31/2024 {h} {half}" for half in ("AM", "PM") for h in ("12:00", "1:00", "2:00", "3:00", "4:00")][:5]
        ),
        (0, 4, "1h", "2024-01-31T00:00", "2024-01-31T04:00", "2024-01-31T05:00", "%m/%d/%Y"),
    ),
    "seconds since 1970": (
        table(range(1704067200, 1704067200 + 3600 * 20, 3600)),
        (
            0,
            19,
            "1h",
            "2024-01-01T00:00:00+00:00",
            "2024-01-01T19:00:00+00:00",
            "2024-01-01T20:00:00+00:00",
            "seconds since",
        ),
    ),
    "milliseconds since 1970": (
        table(range(1704067200000, 1704067200000 + 86400000 * 20, 86400000)),
        (
            0,
            19,
            "1d",
            "2024-01-01T00:00:00+00:00",
            "2024-01-20T00:00:00+00:00",
            "2024-01-21T00:00:00+00:00",
            "milliseconds",
        ),
    ),
    "dates with an offset": (
        table([f"2024-06-01T{h:02}:00:00+02:00" for h in range(24)]),
        (0, 23, "1h", "2024-06-01T00:00:00+02:00", "2024-06-01T23:00:00+02:00", "2024-06-02T00:00:00+02:00", ""),
    ),
    "an index from 1000": (table(range(1000, 1060)), (0, 59, "None", "index in equal steps")),
    "an index of year and month": (
        table([f"{y}-{m:02}" for y in (1, 2, 3) for m in range(1, 13)], "Month,Sales"),
        (0, 35, "None", "no years"),
    ),
    "years": (table(range(1950, 1970), "year,v"), (0, 19, "1y", "1950-01-01", "1969-01-01", "1970-01-01", "'year'")),
    "tabs": (
        "date\tv\n2024-01-01\t1.5\n2024-01-02\t2.5\n",
        (1.5, 2.5, "1d", "2024-01-01", "2024-01-02", "2024-01-03", ""),
    ),
    "pipes": (
        "date|v\n2024-01-01|1.5\n2024-01-02|2.5\n",
        (1.5, 2.5, "1d", "2024-01-01", "2024-01-02", "2024-01-03", ""),
    ),
    "a line that says the separator": (
        "sep=;\ndate;v\n2024-01-01;1.5\n2024-01-02;2.5\n",
        (1.5, 2.5, "1d", "2024-01-01", "2024-01-02", "2024-01-03", ""),
    ),
    "commas at the end": (
        "date,v,,\n2024-01-01,1,,\n2024-01-02,2,,\n",
        (1, 2, "1d", "2024-01-01", "2024-01-02", "2024-01-03", "empty cells at the end"),
    ),
    "a remark at the end": (
        "date,v\n2024-01-01,1\n2024-01-02,2\nSource: bureau\n",
        (1, 2, "1d", "2024-01-01", "2024-01-02", "2024-01-03", "'Source: bureau'"),
    ),
    "lines before the header": (
        '"Data Source","World"\n\n"date","v"\n2024-01-01,1\n2024-01-02,2\n',
        (1, 2, "1d", "2024-01-01", "2024-01-02", "2024-01-03", "before the header in row 3"),
    ),
    "names in three rows": (
        "Price,Close\nTicker,AAPL\nDate,\n2024-01-01,1\n2024-01-02,2\n",
        (1, 2, "1d", "2024-01-01", "2024-01-02", "2024-01-03", "before the header"),
    ),
    "money": (
        "date,v\n2024-01-01,$12.5\n2024-01-02,$13\n",
        (12.5, 13, "1d", "2024-01-01", "2024-01-02", "2024-01-03", "$"),
    ),
    "per cent": (
        "date,v\n2024-01-01,12%\n2024-01-02,13%\n",
        (12, 13, "1d", "2024-01-01", "2024-01-02", "2024-01-03", "%"),
    ),
    "thousands and a point": (
        'date,v\n2024-01-01,"1,234.50"\n2024-01-02,"1,240.25"\n',
        (1234.5, 1240.25, "1d", "2024-01-01", "2024-01-02", "2024-01-03", ""),
    ),
    "thousands and a comma": (
        "date;v\n2024-01-01;1.234,5\n2024-01-02;999\n",
        (1234.5, 999, "1d", "2024-01-01", "2024-01-02", "2024-01-03", "decimal comma"),
    ),
}


@pytest.mark.parametrize("case", READ)
def test_what_people_have_is_read_as_they_read_it(write, case):
    text, (first, last, step, *dates, words) = READ[case]
    series = read_series(write(text))
    assert series.values[[0, -1], 0].tolist() == [first, last]
    assert str(series.step) == step
    assert words in " ".join(series.notes)
    if dates:
        assert series.written(series.times[[0, -1]]) == dates[:2]
        assert series.written(series.later(1)) == dates[2:]
    else:
        assert series.times is None


AUTUMN = [f"2024-10-27 {h:02}:00:00" for h in (0, 1, 2, 2, 3, 4, 5)]
PANEL = "unique_id,ds,y\n" + "".join(f"{u},2024-01-{d:02},{d}\n" for u in "AB" for d in range(1, 16))

# A text, the words of its refusal, and options that are a way out, with the values they give.
REFUSED = {
    "days and months that may be either": (
        table(["03/04/2021", "04/04/2021", "05/04/2021"]),
        ["'03/04/2021'", "2021-04-03 or 2021-03-04", "`date_format=%d/%m/%Y` or `date_format=%m/%d/%Y`"],
        {"date_format": "%d/%m/%Y"},
    ),
    "an hour that stands twice": (
        table(AUTUMN),
        ["row 5 ", "a second time", "`zone=Europe/Berlin`"],
        {"zone": "Europe/Berlin"},
    ),
    "several series": (PANEL, ["2 series", "'unique_id' (A, B)", "`id=unique_id=A`"], {"id": "unique_id=A"}),
    "several series side by side": (PANEL, ["or all side by side with `id=unique_id`"], {"id": "unique_id"}),
    "an empty cell": (
        "date,v\n2024-01-01,1\n2024-01-02,\n2024-01-03,3\n",
        ["row 3 ", "'v' is empty", "`fill` (interpolate, previous, zero, mean)"],
        {"fill": "interpolate"},
    ),
    "days that are missing": (
        table([*day_texts("2024-01-01", 5), *day_texts("2024-01-08", 5), "2024-01-20"]),
        ["row 7 ", "between 2024-01-05 and 2024-01-08: 2 missing", "(9 in 2 gaps)", "`fill`"],
        {"fill": "previous"},
    ),
    "a date that stands twice": (
        table(["2024-01-01", "2024-01-02", "2024-01-02", "2024-01-03"]),
        ["row 4 ", "2024-01-02 twice, in rows 3 and 4, and differ: v is 1 and 2", "`resample`"],
        {"resample": "1d"},
    ),
    "Excel's days, or an index": (
        table(range(45292, 45312)),
        ["2024-01-01", "`date_format=excel` or `date_format=index`"],
        {"date_format": "excel"},
    ),
    "months in one number, or an index": (
        table(range(202401, 202413)),
        ["2024-01", "`date_format=%Y%m` or `date_format=index`"],
        {"date_format": "%Y%m"},
    ),
    "a comma for thousands or decimals": (
        'date,v\n2024-01-01,"1,234"\n2024-01-02,"1,240"\n2024-01-03,999\n',
        ["1234 with a decimal point and 1.234 with a decimal comma", "`decimal=point` or `decimal=comma`"],
        {"decimal": "point"},
    ),
    "a point for thousands or decimals": (
        "date;v\n2024-01-01;1.234\n2024-01-02;1.240\n2024-01-03;999\n",
        ["1.234 with a decimal point and 1234 with a decimal comma", "`decimal=point` or `decimal=comma`"],
        {"decimal": "comma"},
    ),
    "two columns of dates": (
        "made,sold,v\n2024-01-01,2024-02-01,1\n2024-01-02,2024-02-02,2\n",
        ["2 columns hold dates", "`time=made` or `time=sold`"],
        {"time": "sold"},
    ),
    "a column called a date that is none": (
        "date,v\nfirst,1\nsecond,2\n",
        ["'date' holds 'first'", "`time=none`"],
        {"time": "none"},
    ),
    "a clock that skips an hour": (
        table([f"2024-03-31 {h:02}:00" for h in (0, 1, 3, 4, 5)]),
        ["2024-03-31 01:00:00 and 2024-03-31 03:00:00: 1 missing", "`zone`"],
        {"zone": "Europe/Berlin"},
    ),
    "an encoding that is not said": (
        table(day_texts("2024-01-01", 3), "date,Größe").encode("cp1252"),
        ["row 1 is not UTF-8", "`encoding`, such as cp1252"],
        {"encoding": "cp1252"},
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_may_be_read_in_two_ways_is_asked_about_and_the_way_out_works(write, case):
    text, words, options = REFUSED[case]
    path = write(text)
    with pytest.raises(DataError) as caught:
        read_series(path)
    for word in [str(path), *words]:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)
    series = read_series(path, **options)
    assert len(series) >= 3 or case == "two columns of dates" or case == "a column called a date that is none"


def test_zones_some_rows_have_and_some_lack(write):
    with pytest.raises(DataError, match=r"00:00Z' in row 2 has a zone and '2024-01-01T01:00' in row 3 has no"):
        read_series(write("t,v\n2024-01-01T00:00Z,0\n2024-01-01T01:00,1\n"))


def test_the_ways_to_fill(write):
    path = write("date,v\n2024-01-01,1\n2024-01-02,\n2024-01-03,5\n2024-01-06,6\n")
    ways = {"interpolate": [1, 3, 5, 16 / 3, 17 / 3, 6], "previous": [1, 1, 5, 5, 5, 6]}
    ways |= {"zero": [1, 0, 5, 0, 0, 6], "mean": [1, 4, 5, 4, 4, 6]}
    for fill, values in ways.items():
        series = read_series(path, fill=fill)
        assert series.values[:, 0] == pytest.approx(values)
        assert series.notes[-2:] == (
            f"filled 1 empty cell(s) ({fill}): row 3",
            f"filled 2 missing date(s) ({fill}): 2 after 2024-01-03",
        )
    with pytest.raises(DataError, match="no value before row 3 to repeat; give `fill=interpolate`"):
        read_series(write("date,v\n2024-01-01,\n2024-01-02,2\n2024-01-03,5\n"), fill="previous")
    late = write("date,v\n2024-01-01,\n2024-01-31,\n2024-02-01,2\n2024-02-02,5\n", "c.csv")
    with pytest.raises(DataError, match="no value before row 4 to repeat"):
        read_series(late, fill="previous")
    with pytest.raises(DataError, match="has no value at all"):
        read_series(write("date,v\n2024-01-01,\n2024-01-02,\n", "b.csv"), target="v", fill="mean")
    apart = write(table([*(f"2024-01-01 00:00:0{second}" for second in range(3)), "2034-01-01"]))
    with pytest.raises(DataError, match="dates missing at a step of 1s, and 4 are there"):
        read_series(apart, fill="zero")


def test_a_clock_of_a_place_is_read_both_ways(write):
    series = read_series(write(table(AUTUMN)), zone="Europe/Berlin")
    assert series.written(series.times)[2:4] == ["2024-10-27T02:00:00+02:00", "2024-10-27T02:00:00+01:00"]
    newest_first = read_series(write(table(AUTUMN[::-1])), zone="Europe/Berlin")
    assert (newest_first.times == series.times).all()
    assert newest_first.values[:, 0].tolist() == series.values[::-1, 0].tolist()
    with pytest.raises(DataError, match=r"row 3 .*02:30:00, which the clocks of Europe/Berlin skip"):
        read_series(write(table(["2024-03-31 01:30", "2024-03-31 02:30"])), zone="Europe/Berlin")
    by_day = read_series(write(table(day_texts("2024-03-25", 10))), zone="Europe/Berlin")
    assert by_day.written(by_day.times)[6:8] == ["2024-03-31T00:00:00+01:00", "2024-04-01T00:00:00+02:00"]


def test_resampling_keeps_what_holds_as_much_as_the_others(write):
    weeks = read_series(write(table(business_days("2024-01-01", 50))), resample="1w")
    assert len(weeks) == 10
    days = read_series(write(table(hours_of(business_days("2024-01-08", 5)))), resample="1d")
    assert (len(days), days.values[0, 0]) == (5, 2.0)
    months = read_series(write(table(MONTH_ENDS)), resample="1mo")
    assert len(months) == 36
    short = read_series(write(table(business_days("2024-01-01", 48))), resample="1w")
    assert len(short) == 9
    assert "dropped 2024-03-04: partial, 3 of 5 values" in " ".join(short.notes)


def test_several_files_packed_files_and_encodings(write, tmp_path):
    write(table(day_texts("2024-01-01", 3)), "2024-01.csv")
    write(table(day_texts("2024-01-04", 3), first=3), "2024-02.csv")
    series = read_series(str(tmp_path / "2024-*.csv"))
    assert series.values[:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    write("t,w\n2024-01-07,1\n", "2024-03.csv")
    with pytest.raises(DataError, match=r"2024-03.csv: has columns t, w, and .*2024-01.csv has t, v"):
        read_series(str(tmp_path / "2024-*.csv"))
    write(table(["2024-01-07", "x"]), "2024-03.csv")
    with pytest.raises(DataError, match=r"2024-03.csv: row 3 "):
        read_series(str(tmp_path / "2024-*.csv"), time="t")
    packed = write(gzip.compress(table(day_texts("2024-01-01", 3)).encode()), "a.csv.gz")
    assert len(read_series(packed)) == 3
    with pytest.raises(DataError, match="no gzip file that can be read"):
        read_series(write(packed.read_bytes()[:-9], "b.csv.gz"))
    text = table(day_texts("2024-01-01", 3), "t,价格")
    for encoding in ("utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"):
        assert read_series(write(text.encode(encoding))).names == ("价格",)
    assert read_series(write(text.encode("gbk")), encoding="gbk").names == ("价格",)
    for encoding in ("nothing", "rot13", "base64"):
        with pytest.raises(DataError, match="`encoding`"):
            read_series(write(text), encoding=encoding)


def test_workbooks(tmp_path):
    pytest.importorskip("fastexcel")
    openpyxl = pytest.importorskip("openpyxl")
    book = openpyxl.Workbook()
    for row in (["Report"], [], ["date", "v"], *([np.datetime64(f"2024-01-0{d}").item(), d / 2] for d in (1, 2, 3))):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    series = read_series(tmp_path / "a.xlsx")
    assert series.values[:, 0].tolist() == [0.5, 1.0, 1.5]
    assert str(series.step) == "1d"
    (tmp_path / "b.xlsx").write_bytes(b"PK\x03\x04 nothing")
    with pytest.raises(DataError, match="no workbook that can be read"):
        read_series(tmp_path / "b.xlsx")


def test_dataframes_as_their_libraries_give_them():
    pandas = pytest.importorskip("pandas")
    days = pandas.date_range("2024-01-01", periods=3, freq="D")
    indexed = pandas.DataFrame({"x": [1.0, 2, 3]}, index=days)
    assert str(read_series(indexed).step) == "1d"
    assert str(read_series(indexed["x"]).step) == "1d"
    periods = pandas.DataFrame({"x": [1.0, 2, 3]}, index=pandas.period_range("2024-01", periods=3, freq="M"))
    assert str(read_series(periods).step) == "1mo"
    columns = pandas.MultiIndex.from_product([["Close", "Open"], ["AAPL"]], names=["Price", "Ticker"])
    quotes = pandas.DataFrame([[1.0, 2], [3, 4], [5, 6]], index=days.rename("Date"), columns=columns)
    assert read_series(quotes, target="Close").values[:, 0].tolist() == [1, 3, 5]
    two = pandas.MultiIndex.from_product([["Close"], ["AAPL", "MSFT"]])
    assert read_series(quotes.set_axis(two, axis=1), target="MSFT").values[:, 0].tolist() == [2, 4, 6]
    money = pandas.DataFrame({"t": days, "x": [Decimal("1.5"), Decimal(2), Decimal(3)]})
    assert read_series(money).values[:, 0].tolist() == [1.5, 2, 3]
    berlin = pandas.DataFrame({"t": days.tz_localize("Europe/Berlin"), "x": [1.0, 2, 3]})
    series = read_series(berlin)
    assert series.written(series.later(1)) == ["2024-01-04T00:00:00+01:00"]


def test_arrays():
    masked = np.ma.masked_array([1.0, 2, 3], mask=[False, True, False])
    with pytest.raises(DataError, match=r"row 1 \(counted from 0\): column 'value' is empty"):
        read_series(masked)
    assert read_series(masked, fill="interpolate").values[:, 0].tolist() == [1, 2, 3]
    with pytest.raises(DataError, match="dates or times"):
        read_series(np.array(["2024-01-01"], "M8[D]"))
    with pytest.raises(DataError, match="`time`: says how to read a file"):
        read_series(np.ones(3), time="t")
    assert elman.read_series([1, 2, 3]).values.shape == (3, 1)


# The public series as they are published


def test_a_table_of_gasoline_newest_first(write):
    weeks = [(np.datetime64("2023-12-25") - 7 * i).item().strftime("%m/%d/%Y") for i in range(60)]
    series = read_series(write(table(weeks, "Week of,price")))
    assert (str(series.step), series.values[0, 0]) == ("1w", 59)
    assert series.written(series.later(1)) == ["2024-01-01"]


def test_daily_temperatures_without_the_last_day_of_leap_years(write):
    days = [day for day in day_texts("1981-01-01", 3650) if day not in ("1984-12-31", "1988-12-31")]
    path = write(table(days, "Date,Temp"))
    with pytest.raises(DataError, match=r"between 1984-12-30 and 1985-01-01: 1 missing .* \(2 in 2 gaps\)"):
        read_series(path)
    assert len(read_series(path, fill="interpolate")) == 3650


# Writing in every way and reading back

FORMS = {
    "%Y-%m-%d": None,
    "%Y/%m/%d": None,
    "%d.%m.%Y": None,
    "%d/%m/%Y": None,
    "%m/%d/%Y": None,
    "%m/%d/%y": None,
    "%d-%b-%Y": None,
    "%b %d, %Y": None,
    "%Y%m%d": None,
    "%Y-%m-%d %H:%M": None,
    "%m/%d/%Y %I:%M %p": "%m/%d/%Y",
    "%d.%m.%Y %H:%M:%S": "%d.%m.%Y",
    "%b %Y": None,
    "%Y-%m": None,
}
STEPS = {"%b %Y": ["1mo"], "%Y-%m": ["1mo"]}


def number_text(value: Decimal, comma: bool, grouped: bool) -> str:
    text = f"{value:,}" if grouped else f"{value}"
    return text.translate(str.maketrans(",.", ".,")) if comma else text


@pytest.mark.full
@settings(deadline=None, max_examples=300)
@given(data=st.data())
def test_a_series_written_in_any_way_is_read_back_or_refused(tmp_path_factory, data):
    check_written_and_read_back(tmp_path_factory.mktemp("a"), data)


@pytest.mark.slow
@settings(deadline=None, max_examples=2000)
@given(data=st.data())
def test_two_thousand_series_written_in_any_way_are_read_back_or_refused(tmp_path_factory, data):
    check_written_and_read_back(tmp_path_factory.mktemp("a"), data)


def check_written_and_read_back(folder: Path, data) -> None:
    draw = data.draw
    form = draw(st.sampled_from(list(FORMS)), "form")
    daily = ["1d", "1w", "1mo", "1b"]
    step = Step(1, "b") if (s := draw(st.sampled_from(STEPS.get(form, daily)))) == "1b" else Step.parse(s)
    count = draw(st.integers(2, 40), "count")
    first = draw(st.dates(datetime.date(1990, 1, 1), datetime.date(2030, 12, 1)))
    start = np.busday_offset(first, 0, "forward")
    if step.unit == "mo":
        start = start.astype("M8[M]").astype("M8[D]")
    times = advance(start.astype("M8[us]"), step, np.arange(count), 1)
    decimals = draw(st.integers(0, 3), "decimals")
    values = draw(st.lists(st.decimals(-99999, 9999999, places=decimals), min_size=count, max_size=count))
    comma, grouped, header = draw(st.booleans()), draw(st.booleans()), draw(st.booleans())
    separator = draw(st.sampled_from([",", ";", "\t", "|"]), "separator")
    grouped &= not comma or decimals > 0 or separator == ";"  # elsewhere 1.000 is one, and no thousand
    encoding = draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]), "encoding")
    order = list(range(count))
    match draw(st.sampled_from(["rising", "falling", "any"]), "order"):
        case "falling":
            order.reverse()
        case "any":
            order = draw(st.permutations(order))
    rows = [["date", "value"]] if header else []
    rows += [[times[i].item().strftime(form), number_text(values[i], comma, grouped)] for i in order]
    text = io.StringIO()
    csv_module.writer(text, delimiter=separator).writerows(rows)
    path = folder / "a.csv"
    path.write_bytes(text.getvalue().encode(encoding))
    truth = np.array([float(value) for value in values])
    try:
        check_same(read_series(path), truth, times)
    except DataError as error:
        if "\n" in str(error):
            raise
        named = ("date", "value") if header else ("column1", "column2")
        told = {"time": named[0], "target": named[1], "date_format": FORMS[form] or form}
        told |= {"decimal": "comma" if comma else "point", "separator": separator}
        check_same(read_series(path, **told), truth, times)


def check_same(series: Series, values: np.ndarray, times: np.ndarray) -> None:
    assert series.values[:, 0].tolist() == values.tolist()
    assert series.times is not None
    assert (series.times == times).all()


# Files that were damaged


def mutated(raw: bytes, generator: random.Random, pieces: list[bytes] | None = None) -> bytes:
    """``raw`` with bytes changed, cut, repeated or put in: of ``pieces``, or of PIECES."""
    pieces = pieces or PIECES
    damaged = bytearray(raw)
    for _ in range(generator.randint(1, 6)):
        at = generator.randrange(len(damaged) + 1)
        match generator.randrange(5):
            case 0 if at < len(damaged):
                damaged[at] = generator.randrange(256)
            case 1:
                damaged[at : at + generator.randint(1, 40)] = b""
            case 2:
                damaged[at:at] = damaged[at : at + generator.randint(1, 40)]
            case 3:
                damaged[at:at] = generator.choice(pieces)
            case _:
                damaged[at : at + 1] = generator.choice(pieces)
        damaged = damaged or bytearray(b"\n")
    return bytes(damaged)


PIECES = [
    *(b"\0", b"\n", b"\r", b'"', b",", b";", b"\t", b"'", b"%", b"-", b"9" * 400, b"nan", b"1e999"),
    *(b"0000-00-00", b"9999-12-31", b"0001-01-01", b"2024-01-01T00:00+25:00", b"[Europe/Nowhere]"),
    *("年".encode(), codecs.BOM_UTF16, codecs.BOM_UTF8, b"\xff\xfe"),
]
SEEDS = [
    table(day_texts("2024-01-01", 12)),
    table([f"{d:02}/04/2021 10:00 PM" for d in range(1, 15)], '"when",v'),
    "sep=;\n" + table(business_days("2024-01-01", 9)).replace(",", ";"),
    table(AUTUMN),
    PANEL,
    table(range(1704067200, 1704067200 + 36000, 3600)),
    '"a","b"\n\n' + table(["2015Q1", "2015Q2", "2015Q3"]),
]


def damaged_files(folder: Path, count: int, seed: int) -> None:
    generator = random.Random(seed)
    read = 0
    for case in range(count):
        text = generator.choice(SEEDS)
        path = folder / "a.csv"
        path.write_bytes(mutated(text.encode(generator.choice(["utf-8", "utf-16"])), generator))
        options = generator.choice([{}, {}, {"fill": "interpolate"}, {"resample": "1d"}, {"zone": "Europe/Berlin"}])
        try:
            series = read_series(path, **options)
            assert np.isfinite(series.values).all()
            read += 1
        except ElmanError as error:
            if "\n" in str(error):
                raise AssertionError(f"case {case}: {error}") from error
    assert read > count / 50  # the damage leaves enough that is read


@pytest.mark.full
def test_damaged_files_are_read_or_refused(tmp_path):
    damaged_files(tmp_path, 800, seed=1)


@pytest.mark.slow
def test_ten_thousand_damaged_files_are_read_or_refused(tmp_path):
    damaged_files(tmp_path, 10_000, seed=2)


def test_a_message_is_worded_for_the_command_line():
    from elman.cli.console import as_options

    with pytest.raises(DataError) as caught:
        read_series([np.nan])
    assert re.search(r"give --fill \(interpolate", as_options(str(caught.value)))
