"""Waves, FRED with its cache, and the choice between sources."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pytest
import torch

from elman.data import read_series, sine_batch, wave
from elman.data.series import sources
from elman.errors import DataError

MONTHS = "observation_date,GS10\n1953-04-01,2.83\n1953-05-01,3.05\n1953-06-01,3.11\n"


# Waves


def test_waves_are_the_tutorials():
    x = np.linspace(0, 100, 1000)
    assert (wave("sine").values[:, 0] == np.sin(x)).all()
    halves = np.where((x // np.pi).astype(int) % 2 == 0, 1.0, -1.0)
    assert (wave("combined").values[:, 0] == np.sin(x) + np.cos(x) + halves).all()
    assert wave("combined").values[0, 0] == 2.0
    assert wave("sine", n=50).values[-1, 0] == np.sin(5.0)
    assert wave("sine").times is None


def test_waves_that_are_none():
    with pytest.raises(DataError, match="did you mean 'sine'"):
        wave("sin")
    with pytest.raises(DataError, match="n=1"):
        wave("sine", n=1)


def test_sines_start_at_random_phases():
    batch = sine_batch(64, 20, torch.Generator().manual_seed(0))
    assert batch.shape == (20, 64, 1)
    assert batch.dtype == torch.get_default_dtype()
    again = sine_batch(64, 20, torch.Generator().manual_seed(0))
    assert torch.equal(batch, again)
    # sin(a + 0.2) + sin(a) = 2 cos(0.1) sin(a + 0.1) holds of sines of this step alone
    between = batch[2:] + batch[:-2]
    torch.testing.assert_close(between, 2 * np.cos(0.1) * batch[1:-1], atol=1e-6, rtol=0)
    assert batch[0].min() < -0.9
    assert batch[0].max() > 0.9


# The choice of a source


def test_a_source_is_a_wave_or_a_file(tmp_path):
    assert read_series("wave:combined").source == "wave:combined"
    assert read_series("wave:sine", target="sine").names == ("sine",)
    (tmp_path / "a.csv").write_text("x\n1\n2\n")
    assert len(read_series(str(tmp_path / "a.csv"))) == 2


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("wave:sinus", {}, "did you mean 'sine'"),
        ("waves:sine", {}, "did you mean 'wave:'"),
        ("https://example.org/a.csv", {}, "no source 'https:'"),
        ("nowhere.csv", {}, "no such file"),
        ("C:nowhere.csv", {}, "no such file"),
        ("wave:sine", {"time": "t"}, "no dates"),
        ("wave:sine", {"resample": "1y"}, "no dates"),
        ("wave:sine", {"target": "cosine"}, "no column 'cosine'"),
        ("fred:../GS10", {}, "letters, digits"),
    ],
)
def test_sources_that_are_none(name, options, words):
    with pytest.raises(DataError, match=words):
        read_series(name, **options)


# FRED, against a server of our own


class Fred:
    """A server that answers with ``body`` and ``status``, and counts what it was asked."""

    def __init__(self):
        self.body, self.status, self.asked, fred = MONTHS, 200, [], self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                fred.asked.append((self.path, self.headers["User-Agent"]))
                self.send_response(fred.status)
                self.end_headers()
                self.wfile.write(fred.body.encode())

            def log_message(self, *_):
                pass

        self.server = HTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "elman" / "fred"


@pytest.fixture
def server(cache, monkeypatch):
    fred = Fred()
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(sources, "FRED_URL", f"http://127.0.0.1:{fred.server.server_port}/csv?id={{id}}")
    yield fred
    fred.stop()


@pytest.fixture
def no_network(cache, monkeypatch):
    def refuse(url, series_id):
        raise OSError("no route to host")

    monkeypatch.setattr(sources, "_download", refuse)


def test_a_download_is_kept(server, cache):
    series = read_series("fred:gs10")
    assert series.values[:, 0].tolist() == [2.83, 3.05, 3.11]
    assert (series.names, str(series.step), series.source) == (("GS10",), "1mo", "fred:GS10")
    assert server.asked == [("/csv?id=GS10", "elman")]
    assert [path.name for path in cache.iterdir()] == ["GS10.csv"]
    assert len(read_series("fred:GS10")) == 3
    assert len(server.asked) == 1


def test_refresh_downloads_again(server):
    sources.fred("GS10")
    server.body = MONTHS + "1953-07-01,2.93\n"
    assert len(sources.fred("GS10")) == 3
    assert len(sources.fred("GS10", refresh=True)) == 4
    assert len(sources.fred("GS10")) == 4


def test_an_unknown_series_and_an_answer_that_is_none(server, cache):
    server.status = 404
    with pytest.raises(DataError, match="FRED has no such series"):
        sources.fred("GS1O")
    server.status, server.body = 200, "<html>maintenance</html>"
    with pytest.raises(DataError, match="something other than the series"):
        sources.fred("GS10")
    server.status, server.body = 500, ""
    with pytest.raises(DataError, match="cannot be reached"):
        sources.fred("GS10")
    server.status, server.body = 200, MONTHS
    with pytest.raises(DataError, match="observation_date, GS10; want dates and GS1"):
        sources.fred("GS1")
    assert not (cache / "GS10.csv").exists()


def test_without_network_and_cache_the_way_out_is_named(no_network):
    with pytest.raises(DataError, match=r"no route to host.*download https://\S*id=GS10 in a browser .* the file"):
        read_series("fred:GS10")


def test_a_stale_copy_is_better_than_none(no_network, cache):
    cache.mkdir(parents=True)
    (cache / "GS10.csv").write_text(MONTHS)
    assert sources.fred("GS10").notes == ()
    series = sources.fred("GS10", refresh=True)
    assert len(series) == 3
    assert "no route to host" in series.notes[0]


def test_a_cache_that_cannot_be_written_costs_a_note(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    series = sources.fred("GS10")
    assert len(series) == 3
    assert "could not keep" in series.notes[0]


@pytest.mark.parametrize("hole", ["", "."])
def test_missing_values(server, hole):
    server.body = f"DATE,GS10\n1953-03-01,{hole}\n" + MONTHS.split("\n", 1)[1] + f"1953-07-01,{hole}\n"
    series = sources.fred("GS10")
    assert series.values[:, 0].tolist() == [2.83, 3.05, 3.11]
    assert series.times[0] == np.datetime64("1953-04-01")
    assert series.notes == ("left out 2 missing value(s) at the ends",)
    server.body = server.body.replace("3.05", hole)
    with pytest.raises(DataError, match=r"row 4 .*'GS10' is empty; give `fill`"):
        sources.fred("GS10", refresh=True)
    assert sources.fred("GS10", fill="interpolate").values[1, 0] == pytest.approx((2.83 + 3.11) / 2)
    resampled = sources.fred("GS10", resample="1q")
    assert resampled.values[:, 0] == pytest.approx([(2.83 + 3.11) / 2])
    server.body = server.body.replace(f"05-01,{hole}", "05-01,x")
    with pytest.raises(DataError, match=r"row 4 .*'x', which is not a number"):
        sources.fred("GS10", refresh=True)
    server.body = f"DATE,GS10\n1953-03-01,{hole}\n"
    with pytest.raises(DataError, match="no value at all"):
        sources.fred("GS10", refresh=True)
