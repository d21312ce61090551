"""Series, their calendar, and reading them from files and dataframes."""

from __future__ import annotations

import datetime
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.data import Series, Step, read_series
from elman.data.series.calendar import advance, commonest_step, period_number, period_start
from elman.errors import DataError


def dates(*texts: str) -> np.ndarray:
    return np.array(texts, dtype="M8[us]")


def days(times: np.ndarray) -> list[str]:
    return times.astype("M8[D]").astype(str).tolist()


# Steps and the calendar


@pytest.mark.parametrize("text", ["1us", "5ms", "90s", "15m", "1h", "5h", "1d", "3d", "1w", "1mo", "3mo", "1y", "5y"])
def test_a_step_is_written_as_it_is_read(text):
    assert str(Step.parse(text)) == text


def test_steps_of_one_length_are_one_step():
    assert Step.parse("1q") == Step.parse("3mo")
    assert Step.parse("24h") == Step.parse("d")
    assert Step.parse("7d") == Step(7, "d")
    assert Step.parse("1min") == Step.parse("60s") != Step.parse("1mo")


@pytest.mark.parametrize("text", ["", "0d", "1M", "-1d", "1.5h", "1 fortnight", "d1"])
def test_a_step_that_cannot_be_read(text):
    with pytest.raises(DataError, match="1mo or 15m"):
        Step.parse(text)


@pytest.mark.parametrize(
    ("known", "step", "later"),
    [
        (("2023-12-31", "2024-01-31"), "1mo", ["2024-02-29", "2024-03-31", "2024-04-30"]),
        (("2024-11-30", "2024-12-31"), "1mo", ["2025-01-31", "2025-02-28", "2025-03-31"]),
        (("2024-04-30", "2024-06-30"), "2mo", ["2024-08-31", "2024-10-31", "2024-12-31"]),
        (("2023-12-30", "2024-01-30"), "1mo", ["2024-02-29", "2024-03-30", "2024-04-30"]),
        (("2024-01-30", "2024-02-29", "2024-03-30"), "1mo", ["2024-04-30", "2024-05-30", "2024-06-30"]),
        (("2020-02-29", "2021-02-28"), "1y", ["2022-02-28", "2023-02-28", "2024-02-29"]),
        (("2014-01-01", "2015-01-01"), "1y", ["2016-01-01", "2017-01-01", "2018-01-01"]),
        (("2024-02-27", "2024-02-28"), "1d", ["2024-02-29", "2024-03-01", "2024-03-02"]),
        (("2023-02-21", "2023-02-28"), "1w", ["2023-03-07", "2023-03-14", "2023-03-21"]),
    ],
)
def test_later_dates_keep_to_the_calendar(known, step, later):
    series = Series(np.zeros((len(known), 1)), ("x",), dates(*known))
    assert str(series.step) == step
    assert days(series.later(3)) == later


def test_later_keeps_the_time_of_day():
    series = Series(np.zeros((2, 1)), ("x",), dates("2024-01-31T06:30", "2024-02-29T06:30"))
    assert series.later(1)[0] == np.datetime64("2024-03-31T06:30")


@settings(deadline=None)
@given(
    start=st.dates(datetime.date(1800, 1, 1), datetime.date(2200, 1, 1)),
    step=st.sampled_from(["1mo", "2mo", "1q", "1y", "1d", "1w", "45d"]),
    known=st.integers(12, 30),
    month_end=st.booleans(),
)
def test_later_goes_on_as_the_series_did(start, step, known, month_end):
    anchor = 31 if month_end else start.day
    start = advance(np.datetime64(start, "us"), Step(1, "mo"), np.array([0]), anchor)[0]
    times = advance(start, Step.parse(step), np.arange(known + 9), anchor)
    series = Series(np.zeros((known, 1)), ("x",), times[:known])
    assert series.step == Step.parse(step)
    assert (series.later(9) == times[known:]).all()


@settings(deadline=None)
@given(
    times=st.lists(st.integers(-(10**16), 10**16), min_size=1, max_size=20),
    period=st.sampled_from(["1y", "5y", "1q", "1mo", "1w", "2w", "1d", "6h", "15m", "1s"]),
)
def test_a_period_holds_its_times(times, period):
    times, period = np.array(times, dtype="M8[us]"), Step.parse(period)
    numbers = period_number(times, period)
    assert (period_start(numbers, period) <= times).all()
    assert (times < period_start(numbers + 1, period)).all()
    assert (period_number(period_start(numbers, period), period) == numbers).all()


def test_weeks_start_on_mondays():
    start = period_start(period_number(dates("2024-05-05"), Step.parse("1w")), Step.parse("1w"))
    assert days(start) == ["2024-04-29"]


def test_the_step_of_too_few_dates():
    assert commonest_step(dates("2024-01-01")) is None
    assert Series([[1.0]], ("x",), dates("2024-01-01")).later(2) is None
    assert Series([[1.0], [2.0]], ("x",)).later(2) is None


# Series


def test_a_series_goes_through_arrays_and_json():
    series = Series([[1.5, 2], [3, 4]], ("a", "b"), dates("1949-01", "1949-02"), source="s", notes=("n",))
    arrays, facts = series.to_arrays()
    assert arrays["times"].dtype == np.int64
    again = Series.from_arrays(arrays, json.loads(json.dumps(facts)))
    assert (again.names, again.step, again.source, again.notes) == (("a", "b"), Step(1, "mo"), "s", ("n",))
    assert (again.values == series.values).all()
    assert (again.times == series.times).all()


def test_a_series_keeps_values_of_its_own():
    values, times = np.ones((3, 1)), dates("2024-01-01", "2024-01-02", "2024-01-03")
    series = Series(values, ("x",), times)
    values[1], times[1] = 7, times[0]
    assert series.values.tolist() == [[1], [1], [1]]
    assert days(series.times) == ["2024-01-01", "2024-01-02", "2024-01-03"]


@pytest.mark.parametrize(
    ("values", "names", "times", "words"),
    [
        ([1.0, 2.0], ("x",), None, "want \\(N, C\\)"),
        ([[1.0], [2.0]], ("x", "y"), None, "2 columns"),
        (np.zeros((0, 1)), ("x",), None, "want \\(N, C\\)"),
        ([[1.0], [np.nan]], ("x",), None, "row 1 .*'x' is nan"),
        ([[1.0], [2.0]], ("x",), dates("2024-01-01"), "dates for 2 rows"),
        ([[1.0]] * 3, ("x",), dates("2024-01-01", "2024-01-02", "2024-01-04"), "equal steps of 1d"),
        ([[1.0]] * 2, ("x",), dates("2024-01-02", "2024-01-01"), "equal steps"),
    ],
)
def test_parts_that_make_no_series(values, names, times, words):
    with pytest.raises(DataError, match=words):
        Series(values, names, times)


# Reading CSV


def test_what_spreadsheets_write(write):
    path = write('\ufeff"date","a, b", c \r\n"2024-01-01", 1.5 ,x\r\n2024-01-02,"-2e1",y\r\n\r\n')
    series = read_series(path, target="a, b", time="date")
    assert series.values.tolist() == [[1.5], [-20.0]]
    assert str(series.step) == "1d"
    assert series.names == ("a, b",)
    assert series.source == str(path)
    assert series.notes == ()


def test_semicolons_and_tabs(write):
    assert read_series(write("a;b\n1;x\n2;y\n")).values.tolist() == [[1.0], [2.0]]
    assert read_series(write("a\tb\n1\tx\n", "a.tsv")).values.tolist() == [[1.0]]


def test_several_columns_in_the_order_asked_for(write):
    series = read_series(write("a,b,c\n1,2,3\n4,5,6\n"), target=["c", "a"])
    assert series.names == ("c", "a")
    assert series.values.tolist() == [[3, 1], [6, 4]]


@pytest.mark.parametrize(
    ("cells", "step", "first"),
    [
        (("1953-04-01", "1953-05-01"), "1mo", "1953-04-01"),
        (("1949-01", "1949-02"), "1mo", "1949-01-01"),
        (("1953", "1954"), "1y", "1953-01-01"),
        (("2016-07-01 00:00:00", "2016-07-01 01:00:00"), "1h", "2016-07-01"),
        (("2016-07-01T00:00", "2016-07-01T00:15"), "15m", "2016-07-01"),
        (("2016-07-01T00:00:00.5", "2016-07-01T00:00:00.75"), "250ms", "2016-07-01T00:00:00.5"),
        (("20240131", "20240229"), "1mo", "2024-01-31"),
        (("2016-07-01T02:00+02:00", "2016-07-01T01:00Z"), "1h", "2016-07-01"),
    ],
)
def test_dates_of_every_usual_precision(write, cells, step, first):
    series = read_series(write("t,x\n" + "".join(f"{cell},1\n" for cell in cells)), time="t", target="x")
    assert str(series.step) == step
    assert series.times[0] == np.datetime64(first)


def test_dates_with_a_zone_keep_it(write):
    series = read_series(write("t,x\n2024-01-01T01:00+01:00,1\n2024-01-01T02:00+01:00,2\n"), time="t")
    assert series.times[0] == np.datetime64("2024-01-01")
    assert series.zone == "+01:00"
    assert series.written(series.later(1)) == ["2024-01-01T03:00:00+01:00"]
    mixed = read_series(write("t,x\n2024-01-01T01:00+01:00,1\n2024-01-01T01:00Z,2\n"), time="t")
    assert "UTC" in mixed.notes[0]


def test_whole_numbers_are_an_index_unless_they_are_years(write):
    series = read_series(write("t,x\n0,1\n5,2\n10,3\n"), time="t", target="x")
    assert series.times is None
    assert "index" in series.notes[0]


HEADER = "date,x\n"
ROWS = [f"2024-01-0{day},{day}\n" for day in range(1, 8)]


def with_row(row: int, text: str) -> str:
    """The good file with row ``row`` (the header is row 1) replaced."""
    lines = [HEADER, *ROWS]
    lines[row - 1] = text
    return "".join(lines)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (with_row(4, "2024-01-03,abc\n"), ["row 4 ", "'x'", "'abc'", "not a number"]),
        (with_row(4, "2024-01-03,1_000\n"), ["row 4 ", "'1_000'"]),
        (with_row(5, "2024-01-04,\n"), ["row 5 ", "'x' is empty"]),
        (with_row(5, "2024-01-04\n"), ["row 5 ", "'x' is empty"]),
        (with_row(5, "\n"), ["row 6 ", "gap between 2024-01-03 and 2024-01-05"]),
        (with_row(6, "2024-01-05,nan\n"), ["row 6 ", "'x' is empty", "`fill`"]),
        (with_row(6, "2024-01-05,-inf\n"), ["row 6 ", "'x' holds infinity"]),
        (with_row(3, "2024-13-02,1\n"), ["row 3 ", "'2024-13-02'", "not a date"]),
        (with_row(3, ",1\n"), ["row 3 ", "'date' is empty"]),
        (with_row(3, "2024-01-02Z,1\n"), ["row 3 ", "'2024-01-02Z'"]),
        (with_row(3, "2024-01-02T00:00Z,1\n"), ["row 3 ", "zone"]),
        (with_row(4, "2024-01-02,1\n"), ["row 4 ", "2024-01-02 twice, in rows 3 and 4, and differ: x is 2 and 1"]),
        (with_row(4, "2023-12-01,1\n"), ["row 2 ", "gap between 2023-12-01 and 2024-01-01"]),
        (with_row(4, ""), ["row 4 ", "between 2024-01-02 and 2024-01-04", "1 missing", "1d", "`resample`"]),
        (with_row(4, "2024-01-03T06:00,1\n"), ["row 4 ", "uneven", "2024-01-03 06:00:00", "`resample`"]),
        (with_row(4, "2024-01-03,1,2\n"), ["row 4 ", "3 cells", "header has 2"]),
        ("", ["is empty"]),
        ("\n\n", ["is empty"]),
        (HEADER, ["no rows"]),
        (HEADER + "\n,\n", ["no rows"]),
        ("1,2\n3,4\n", ["no column 'x'", "Known: column1, column2"]),
        ("x,date,x\n1,2,3\n", ["two columns", "'x'"]),
        (HEADER.encode() + b"2024-01-01,\xff\xfe\n", ["row 2 ", "UTF-8"]),
        (b"\x89PNG\r\n\x1a\n\x00\x00", ["UTF-8"]),
        (b"date,x\n\x00\x00,\x01\n", ["NUL"]),
        ('date,x\n"2024-01-01,1\n2024-01-02,2\n', ["a.csv"]),
        ("\n\n" + with_row(4, "2024-01-03,abc\n"), ["row 6 (the header is row 3)", "'abc'"]),
    ],
)
def test_an_error_names_the_file_the_row_and_the_value(write, text, words):
    path = write(text)
    with pytest.raises(DataError) as caught:
        read_series(path, target="x", time="date")
    for word in [str(path), *words]:
        assert word in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("end", ["\r", "\r\n", "\r\r\n"])
def test_every_line_end_is_one(write, end):
    text = (HEADER + "".join(ROWS)).replace("\n", end)
    assert read_series(write(text), time="date").values[:, 0].tolist() == [1, 2, 3, 4, 5, 6, 7]
    with pytest.raises(DataError, match=r"row 4 .*'abc'"):
        read_series(write(with_row(4, "2024-01-03,abc\n").replace("\n", end)), target="x")
    with pytest.raises(DataError, match=r"row 3 is not UTF-8"):
        read_series(write(f"x{end}1{end}".encode() + b"\xff"), target="x")
    with pytest.raises(DataError, match=r"row 6 \(the header is row 3\).*'abc'"):
        read_series(write(("\n\n" + with_row(4, "2024-01-03,abc\n")).replace("\n", end)), target="x")


LONG, SHORTER = "9" * 200_000, "9" * 100_000  # Python's csv takes 131072 characters


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (LONG + "a,x\n1,2\n", "row 1: the header cannot be read: field larger than field limit"),
        ('"date,x\n' + "1,2\n" * 50_000, "row 1: the header cannot be read: field larger than field limit"),
        (with_row(3, f"{LONG},1,2\n"), r"row 3 .*cannot be read: field larger than field limit"),
        (with_row(3, f"2024-01-02,a{LONG}\n"), "row 3 .*cannot be read: field larger than field limit"),
        (with_row(3, f"2024-01-02,a{SHORTER}\n"), "row 3 .*'x' holds 'a999.*not a number"),
        (with_row(3, f"{SHORTER}-01-02,2\n"), "row 3 .*'date' holds '999.*not a date"),
        (with_row(3, f"2024-01-02,{SHORTER}\n"), "row 3 .*'x' holds infinity"),
        (f"date,x\n{SHORTER},1\n{SHORTER},2\n", "row 2 .*'date' holds '999.*not a date"),
    ],
)
def test_cells_longer_than_any_number(write, text, words):
    with pytest.raises(DataError, match=words) as caught:
        read_series(write(text), target="x", time="date")
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("cell", "value"), [("1,5", 1.5), ("-1.234,5", -1234.5), (" 1,5e3", 1500.0), ("0,25", 0.25)])
def test_a_decimal_comma_is_read_and_said(write, cell, value):
    series = read_series(write(f"date;x\n2024-01-01;2\n2024-01-02;{cell}\n"), time="date")
    assert series.values[:, 0].tolist() == [2.0, value]
    assert "column 'x': read with a decimal comma" in series.notes
    with pytest.raises(
        DataError, match=r"row 3 .*'x' holds .*, and '2.5' in row 2: one is written with a decimal point"
    ):
        read_series(write(f"date;x\n2024-01-01;2.5\n2024-01-02;{cell}\n"), time="date")


@pytest.mark.parametrize("cell", ["a,b", "1,", ",", "1,2,3", "1;5", "12:30", "9" * 999 + ",5"])
def test_what_is_no_decimal_comma_is_not_taken_for_one(write, cell):
    for target in (None, "x"):
        with pytest.raises(DataError) as caught:
            read_series(write(f'y,x\na,"{cell}"\n'), target=target)
        assert "decimal comma" not in str(caught.value)


def test_local_days_across_a_change_of_the_clock_need_the_place(write):
    days_of = ["03-29T00:00+01", "03-30T00:00+01", "03-31T00:00+01", "04-01T00:00+02", "04-02T00:00+02"]
    path = write("date,x\n" + "".join(f"2024-{day}:00,1\n" for day in days_of))
    with pytest.raises(DataError, match=r"row 5 .*uneven dates.*UTC.*summer time.*`zone=Europe/Berlin`") as caught:
        read_series(path, time="date")
    assert "\n" not in str(caught.value)
    series = read_series(path, time="date", zone="Europe/Berlin")
    assert str(series.step) == "1d"
    assert series.written(series.later(1)) == ["2024-04-03T00:00:00+02:00"]
    assert len(read_series(path, time="date", zone="Europe/Berlin", resample="1d")) == 5
    with pytest.raises(DataError, match="uneven dates") as caught:
        read_series(write(with_row(4, "2024-01-03T06:00,1\n")), time="date")
    assert "UTC" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "y"}, "no column 'y'"),
        ({"target": "dat"}, "did you mean 'date'"),
        ({"time": "day"}, "no column 'day'"),
        ({"target": "x", "time": "x"}, "twice"),
        ({"target": ["x", "x"]}, "twice"),
        ({"time": "none", "target": "x", "resample": "1mo"}, "`resample` needs dates"),
        ({"tim": "date"}, "did you mean 'time'"),
        ({"fill": "linear"}, "`fill`: got 'linear', want 'interpolate', 'previous', 'zero' or 'mean'"),
        ({"zone": "Berlin"}, "`zone`: there is no zone 'Berlin'"),
        ({"date_format": "d/m"}, "`date_format`: got 'd/m'"),
        ({"id": "y=1"}, "`id`: no column 'y'"),
        ({"time": "date", "resample": "1h"}, "finer than the data's step of 1d"),
        ({"time": "date", "resample": "1mo"}, "no whole period"),
        ({"time": "date", "resample": "2x"}, "cannot read '2x'"),
    ],
)
def test_options_that_do_not_fit(write, options, words):
    with pytest.raises(DataError, match=words):
        read_series(write(HEADER + "".join(ROWS)), **options)


def test_which_column_when_none_is_named(write):
    with pytest.raises(DataError, match=r"2 columns of numbers; .*: a, b"):
        read_series(write("a,b\n1,2\n"))
    with pytest.raises(DataError, match="no column of numbers"):
        read_series(write("a,b\nx,y\n"))


def test_months_missing_are_counted_in_months(write):
    rows = [f"{year}-{month:02}-01,1\n" for year in (2020, 2021) for month in range(1, 13)]
    del rows[6:8]
    with pytest.raises(DataError, match=r"row 8 .*between 2020-06-01 and 2020-09-01: 2 missing at a step of 1mo"):
        read_series(write(HEADER + "".join(rows)), time="date")


def test_an_index_with_a_gap(write):
    with pytest.raises(DataError, match=r"row 5 .*goes from 3 to 5 where the step is 1"):
        read_series(write("t,x\n1,1\n2,1\n3,1\n5,1\n6,1\n"), time="t", target="x")


def test_files_that_are_none(tmp_path, write):
    with pytest.raises(DataError, match=r"is a folder"):
        read_series(tmp_path)
    with pytest.raises(DataError, match=r"no such file"):
        read_series(tmp_path / "b.csv")
    with pytest.raises(DataError, match=r"'.doc'; known kinds: .csv, .tsv, .txt, .parquet, .xlsx"):
        read_series(write("x", "a.doc"))
    with pytest.raises(DataError, match=r"no file is named so"):
        read_series(tmp_path / "*.parquet")
    with pytest.raises(DataError, match="no Parquet file"):
        read_series(write("x\n1\n", "a.parquet"))


# Dataframes and Parquet


def frames():
    pandas, polars, pyarrow = (pytest.importorskip(name) for name in ("pandas", "polars", "pyarrow"))
    times = [datetime.datetime(2024, 1, 1, hour) for hour in range(3)]
    columns = {"t": times, "x": [1, 2, 3], "s": ["a", "b", "c"]}
    return {
        "pandas": pandas.DataFrame(columns),
        "polars": polars.DataFrame(columns),
        "pyarrow": pyarrow.table(columns),
    }


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_any_dataframe_gives_the_same_series(kind):
    series = read_series(frames()[kind], time="t")
    assert series.values.tolist() == [[1], [2], [3]]
    assert series.values.dtype == np.float64
    assert str(series.step) == "1h"
    assert series.times[2] == np.datetime64("2024-01-01T02")


@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_dates_zones_and_holes_of_dataframes(kind):
    module = pytest.importorskip(kind)
    days_of = [datetime.date(2024, month, 1) for month in (1, 2, 3)]
    assert str(read_series(module.DataFrame({"t": days_of, "x": [1.0, 2, 3]}), time="t").step) == "1mo"
    zone = datetime.timezone(datetime.timedelta(hours=1))
    hours = [datetime.datetime(2024, 1, 1, hour, tzinfo=zone) for hour in (1, 2)]
    zoned = read_series(module.DataFrame({"t": hours, "x": [1.0, 2]}), time="t")
    assert zoned.times[0] == np.datetime64("2024-01-01")
    assert zoned.written(zoned.times)[1] == (
        "2024-01-01T02:00:00+01:00" if kind == "pandas" else "2024-01-01T01:00:00+00:00"
    )
    with pytest.raises(DataError, match=r"dataframe: row 1 \(counted from 0\): column 'x' is empty"):
        read_series(module.DataFrame({"x": [1.0, None, 3.0]}))
    with pytest.raises(DataError, match=r"row 2 .*infinity"):
        read_series(module.DataFrame({"x": [1.0, 2.0, float("inf")]}))
    with pytest.raises(DataError, match=r"row 1 .*'t' is empty"):
        read_series(module.DataFrame({"t": [hours[0], None], "x": [1.0, 2]}), time="t")
    years = read_series(module.DataFrame({"t": [1953, 1954], "x": [1.0, 2]}), time="t", target="x")
    assert str(years.step) == "1y"


def test_names_of_pandas_columns():
    pandas = pytest.importorskip("pandas")
    assert read_series(pandas.DataFrame({0: [1, 2]})).names == ("0",)
    with pytest.raises(DataError, match="two columns have one name"):
        read_series(pandas.DataFrame([[1, 2], [3, 4]], columns=["x", "x"]))


def test_what_is_no_dataframe():
    polars = pytest.importorskip("polars")
    with pytest.raises(DataError, match="LazyFrame, want a dataframe"):
        read_series(polars.LazyFrame({"x": [1]}))
    with pytest.raises(DataError, match="no rows"):
        read_series(polars.DataFrame({"x": []}, schema={"x": polars.Float64}))


def test_parquet(tmp_path):
    frames()["polars"].write_parquet(tmp_path / "a.parquet")
    series = read_series(tmp_path / "a.parquet", time="t", target="x")
    assert series.values[:, 0].tolist() == [1, 2, 3]
    assert str(series.step) == "1h"


# Resampling


def monthly(write, first: str, count: int, **options) -> Series:
    months = (np.datetime64(first, "M") + np.arange(count)).astype(str)
    return read_series(write(HEADER + "".join(f"{m},{i}\n" for i, m in enumerate(months))), time="date", **options)


def test_yearly_means_drop_partial_years_and_say_so(write):
    series = monthly(write, "1953-04", 9 + 24 + 2, resample="1y")
    assert series.values[:, 0].tolist() == [np.arange(9, 21).mean(), np.arange(21, 33).mean()]
    assert days(series.times) == ["1954-01-01", "1955-01-01"]
    assert str(series.step) == "1y"
    assert series.notes == (
        "dropped 1953: partial, 9 of 12 values, starts at 1953-04-01",
        "dropped 1956: partial, 2 of 12 values, ends at 1956-02-01",
    )


def test_a_mean_is_over_the_values_of_its_own_period(write):
    dates_of = (np.datetime64("2023-01-01") + np.arange(90)).astype(str)
    path = write(HEADER + "".join(f"{date},{date[5:7]}\n" for date in dates_of))
    series = read_series(path, time="date", resample="1mo")
    assert series.values[:, 0].tolist() == [1, 2, 3]


def test_whole_periods_are_kept(write):
    series = monthly(write, "2020-01", 24, resample="1q")
    assert len(series) == 8
    assert series.notes == ()
    assert series.values[0, 0] == 1.0
    assert days(series.later(1)) == ["2022-01-01"]


def test_a_series_within_one_period_says_so_once(write):
    with pytest.raises(DataError, match="no whole period"):
        monthly(write, "2020-03", 5, resample="1y")


def test_month_ends_make_whole_months(write):
    path = write("date,x\n2024-01-31,1\n2024-02-29,2\n2024-03-31,3\n")
    series = read_series(path, time="date", resample="1q")
    assert series.values.tolist() == [[2.0]]
    assert series.notes == ()


def test_uneven_dates_may_be_resampled(write):
    path = write("date,x\n" + "".join(f"2024-0{m}-{d:02},{m}\n" for m in (1, 2, 3) for d in (1, 2, 3, 14, 15, 16, 29)))
    with pytest.raises(DataError, match="`resample`"):
        read_series(path, time="date")
    series = read_series(path, time="date", resample="1mo")
    assert series.values[:, 0].tolist() == [1, 2, 3]  # March holds what the others hold
    assert "uneven" in series.notes[-1]


def test_a_period_without_values_is_a_gap(write):
    path = write("date,x\n" + "".join(f"2024-01-{day:02},1\n" for day in (*range(1, 15), *range(22, 32))))
    with pytest.raises(DataError, match="gap between 2024-01-08 and 2024-01-22: 1 periods of 1w"):
        read_series(path, time="date", resample="1w")


# Public data


def test_gs10_by_month_and_by_year(data_folder):
    path = data_folder / "GS10.csv"
    months = read_series(path, time="observation_date", target="GS10")
    assert months.values.shape == (753, 1)
    assert str(months.step) == "1mo"
    years = read_series(path, time="observation_date", target="GS10", resample="1y")
    assert years.values.shape == (62, 1)
    assert days(years.times[[0, -1]]) == ["1954-01-01", "2015-01-01"]
    assert years.values[0, 0] == pytest.approx(months.values[9:21, 0].mean(), abs=1e-12)
    assert len(years.notes) == 1
    assert days(years.later(2)) == ["2016-01-01", "2017-01-01"]


@pytest.mark.parametrize(
    ("name", "time", "target", "count", "step", "following"),
    [
        ("airline-passengers.csv", "Month", None, 144, "1mo", "1961-01-01"),
        ("monthly-sunspots.csv", "Month", None, 2820, "1mo", "1984-01-01"),
        ("ETTh1.csv", "date", "OT", 17420, "1h", "2018-06-26T20:00"),
    ],
)
def test_public_files(data_folder, name, time, target, count, step, following):
    series = read_series(data_folder / name, time=time, target=target)
    assert len(series) == count
    assert str(series.step) == step
    assert series.later(1)[0] == np.datetime64(following)
