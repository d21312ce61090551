"""Columns beside a series: what is known ahead, what up to now, holes, categories, and what the calendar says."""

from __future__ import annotations

import json
from datetime import date, timedelta

import numpy as np
import pytest

from elman.cli import run as command
from elman.data import Panel, Series, Step, panel_in, read_panel, read_series
from elman.data.series.covariates import Covariates
from elman.data.series.days import calendar_columns, easter_sundays
from elman.errors import DataError

ROWS = [
    "month,sales,promo,event,temp",
    "2024-01,10,0,,3",
    "2024-02,12,1,,4",
    "2024-03,11,0,fair,5",
    "2024-04,12,0,,6",
    "2024-05,,1,,",
    "2024-06,,0,fair,",
]
ASKED = {"target": "sales", "known": ["promo", "event"], "past": "temp"}


def written(path, rows=ROWS, changes=None):
    rows = list(rows)
    for index, row in (changes or {}).items():
        rows[index] = row
    path.write_text("\n".join(row for row in rows if row) + "\n")
    return path


def test_rows_after_the_last_value_are_what_is_to_come(tmp_path):
    series = read_series(written(tmp_path / "shop.csv"), **ASKED)
    assert series.values.ravel().tolist() == [10, 12, 11, 12]
    assert series.known.by_column()["promo"].ravel().tolist() == [0, 1, 0, 0, 1, 0]
    assert series.known.by_column()["event"].ravel().tolist() == [0, 0, 1, 0, 0, 1]
    assert series.past.by_column()["temp"].ravel().tolist() == [3, 4, 5, 6]
    assert "2 row(s) after the last value say what is known ahead" in series.notes
    again = Series.from_arrays(*series.to_arrays())
    assert np.array_equal(again.known.values, series.known.values)
    assert again.known.texts == (None, "fair")
    assert np.array_equal(again.past.values, series.past.values)
    first = series.before(2)
    assert (len(first), len(first.known), len(first.past)) == (2, 6, 2)


def test_the_order_of_rows_does_not_matter(tmp_path):
    straight = read_series(written(tmp_path / "a.csv"), **ASKED)
    turned = read_series(written(tmp_path / "b.csv", [ROWS[0], *ROWS[:0:-1]]), **ASKED)
    mixed = read_series(written(tmp_path / "c.csv", [ROWS[0], *ROWS[3:], *ROWS[1:3]]), **ASKED)
    for other in (turned, mixed):
        assert np.array_equal(other.values, straight.values)
        assert np.array_equal(other.known.values, straight.known.values)
        assert np.array_equal(other.past.values, straight.past.values)


@pytest.mark.parametrize(
    ("changes", "asked", "message"),
    [
        ({6: "2024-06,,,fair,"}, {}, r"row 7 .*column 'promo' is empty on 2024-06, after the last value of 'sales'"),
        ({2: "2024-02,12,,,4"}, {}, r"row 3 .*column 'promo' is empty; give `fill`"),
        ({2: "2024-02,12,1,,"}, {}, r"row 3 .*column 'temp' is empty"),
        ({5: ""}, {}, r"column 'month' has a gap between 2024-04-01 and 2024-06-01"),
        ({3: "2024-03,,0,fair,5"}, {}, r"row 4 .*column 'sales' is empty"),
        ({}, {"known": ["promo", "temp"], "past": "temp"}, "column 'temp' is asked for twice"),
        ({}, {"known": "price"}, "`known`: no column 'price'"),
        ({6: "2024-06,,,fair,"}, {"resample": "1q"}, "column 'promo' is empty on 2024-06"),
        ({}, {"known": None}, r"column 'sales' is empty \(4 cells are, the last in row 7\)"),
    ],
)
def test_a_hole_is_named(tmp_path, changes, asked, message):
    with pytest.raises(DataError, match=message):
        read_series(written(tmp_path / "shop.csv", changes=changes), **{**ASKED, **asked})


def test_means_are_taken_of_what_stands_beside_too(tmp_path):
    days = [date(2024, 1, 1) + timedelta(d) for d in range(42)]
    rows = ["day,sales,promo,kind,temp"]
    for d, day in enumerate(days):
        week, sold = d // 7, "" if d >= 28 else d
        rows.append(f"{day},{sold},{int(d % 7 < week)},{'fair' if d % 7 == 0 else ''},{'' if d >= 28 else 2 * d}")
    asked = {"target": "sales", "known": ["promo", "kind"], "past": "temp", "resample": "1w"}
    series = read_series(written(tmp_path / "a.csv", rows), **asked)
    assert series.values.ravel().tolist() == [3, 10, 17, 24]
    assert series.past.values.ravel().tolist() == [6, 20, 34, 48]
    assert series.known.by_column()["promo"].ravel() == pytest.approx([k / 7 for k in range(6)])
    assert series.known.by_column()["kind"].ravel() == pytest.approx([1 / 7] * 6)  # the share of its days
    # A week of which the values are not all there is left out, and what is known of it counts as ahead.
    part = read_series(written(tmp_path / "b.csv", [*rows[:27], *rows[29:]]), **asked)
    later = read_series(written(tmp_path / "c.csv", [row.replace(",24,", ",,") for row in rows]), **asked)
    for one in (part, later):
        assert len(one.known) >= len(one)
    panel = [f"{row},{shop}" for shop in "ab" for row in rows[1:]]
    many = read_panel(written(tmp_path / "d.csv", [rows[0] + ",shop", *panel]), id="shop", **asked)
    assert np.array_equal(many.series[1].known.values, series.known.values)


def test_holes_within_are_filled_as_asked(tmp_path):
    path = written(tmp_path / "shop.csv", changes={2: "2024-02,,,,", 3: ""})
    series = read_series(path, **ASKED, fill="previous")
    assert series.values.ravel().tolist() == [10, 10, 10, 12]
    assert series.known.by_column()["promo"].ravel().tolist() == [0, 0, 0, 0, 1, 0]


def test_an_empty_text_is_none_where_it_often_is_and_else_a_hole(tmp_path):
    rows = ["month,sales,shop", "2024-01,1,open", "2024-02,2,shut", "2024-03,,"]
    with pytest.raises(DataError, match="column 'shop' is empty on 2024-03"):
        read_series(written(tmp_path / "a.csv", rows), target="sales", known="shop")
    rows[2] = "2024-02,2,"
    series = read_series(written(tmp_path / "b.csv", rows), target="sales", known="shop")
    assert series.known.values.ravel().tolist() == [1, 0, 0]


def test_too_many_texts_are_no_category(tmp_path):
    rows = ["n,y,name", *(f"{i},{i},name{chr(65 + i % 60)}" for i in range(60))]
    with pytest.raises(DataError, match="column 'name' holds 60 different texts, and 50 at most"):
        read_series(written(tmp_path / "a.csv", rows), target="y", known="name")


def test_each_of_many_series_has_its_own(tmp_path):
    rows = ["n,y,x,event,shop"]
    for k, shop in enumerate("ab"):
        rows += [f"{i},{'' if i >= 4 + k else i},{10 * k + i},{'fair' if i == 2 * k else ''},{shop}" for i in range(6)]
    path, asked = written(tmp_path / "a.csv", rows), {"target": "y", "known": ["x", "event"], "time": "n"}
    assert len(read_series(path, id="shop=a", **asked).known) == 6
    panel = read_panel(path, id="shop", **asked)
    assert panel_in(path, id="shop", **asked) is not None
    for one in (panel, Panel.from_arrays(*panel.to_arrays())):
        assert one.lengths.tolist() == [4, 5]
        for k, series in enumerate(one.series):
            assert series.known.by_column()["x"].ravel().tolist() == [10 * k + i for i in range(6)]
            assert np.flatnonzero(series.known.by_column()["event"]).tolist() == [2 * k]
    with pytest.raises(DataError, match="`known` and `past` are of one series"):
        read_series(path, id="shop", **asked)
    wide = written(tmp_path / "w.csv", ["shop,d1,d2,d3", "a,1,2,3", "b,1,2,3"])
    with pytest.raises(DataError, match="here each row is a series; give a long table"):
        read_panel(wide, id="shop", known="d3")


def test_other_data_has_its_columns_by_name():
    one = Covariates([[1.0, 1.0, 0.0]], ("price", "day", "day"), (None, "mon", "tue"))
    other = Covariates([[0.0, 1.0, 7.0]], ("day", "day", "price"), ("sun", "tue", None))
    assert other.like(one, "x.csv").values.tolist() == [[7.0, 0.0, 1.0]]
    with pytest.raises(DataError, match=r"x.csv: has no covariate 'price' of numbers"):
        Covariates([[1.0]], ("price",), ("low",)).like(one, "x.csv")
    with pytest.raises(DataError, match="no finite number"):
        Covariates([[np.nan]], ("price",), (None,))


def test_inspect_says_what_is_to_come_and_where_a_hole_is(tmp_path, capsys):
    path = written(tmp_path / "shop.csv")
    told = ["inspect", str(path), "--target", "sales", "--known", "promo", "--known", "event", "--context", "2"]
    assert command([*told, "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert (result["values"], result["empty"]) == (4, [])
    assert [one["name"] for one in result["columns"]] == ["sales"]
    assert any("2 row(s) after the last value" in note for note in result["notes"])
    written(path, changes={3: "2024-03,,0,fair,5"})
    assert command([*told, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["empty"] == [{"row": 4, "column": "sales"}]


# The calendar


def test_easter_is_on_the_days_it_was():
    # The first and last days it can be on, and others: from the tables of the US Naval Observatory.
    days = ["1818-03-22", "1943-04-25", "2000-04-23", "2008-03-23", "2016-03-27", "2019-04-21", "2025-04-20"]
    years = np.array([day[:4] for day in days], "M8[Y]")
    assert easter_sundays(years).astype(str).tolist() == days


@pytest.mark.parametrize(("count", "at_the_end"), [(1, False), (1, True), (3, False), (3, True)])
def test_the_days_of_months_and_quarters_are_counted(count, at_the_end):
    starts = np.datetime64("1999-01", "M") + count * np.arange(48 // count)
    times = (starts + count).astype("M8[D]") - 1 if at_the_end else starts.astype("M8[D]")
    columns = calendar_columns(times.astype("M8[us]"), Step(count, "mo"))
    for i, start in enumerate(starts):
        day, after = start.astype("M8[D]").item(), (start + count).astype("M8[D]").item()
        days = [day + timedelta(k) for k in range((after - day).days)]
        work = sum(one.weekday() < 5 for one in days)
        assert columns["weekdays"][i, 0] == work - 2.5 * (len(days) - work)
        february = any(one.month == 2 for one in days)
        leap = date(day.year, 2, 29) in days if day.year % 4 == 0 else False
        assert columns["leap days"][i, 0] == (leap - 0.25 if february else 0)
        easter = easter_sundays(np.array([str(day.year)], "M8[Y]"))[0].item()
        before = [easter - timedelta(k) for k in range(1, 9)]
        assert columns["Easter"][i, 0] == sum(one in days for one in before) / 8


def test_the_time_of_the_year_comes_again_every_year():
    times = np.arange("2020-01-01", "2024-01-01", dtype="M8[D]").astype("M8[us]")
    year = calendar_columns(times, Step(1, "d"))["time of the year"]
    assert year[366] == pytest.approx(year[0], abs=0.06)
    assert calendar_columns(times, Step(3600, "s")) == {}
    assert calendar_columns(times, Step(12, "mo")) == {}
