"""Runs over HTTP: what is answered, what is refused, and sessions that never mix."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import urllib.request

import numpy as np
import pytest

from elman.data import Series
from elman.jobs import Classifier, Forecaster, Generator

testclient = pytest.importorskip("fastapi.testclient", reason="fastapi is not installed: pip install 'elman[serve]'")
from starlette.websockets import WebSocketDisconnect  # noqa: E402

from elman.choices.serve import Limits  # noqa: E402
from elman.serve import Served, application  # noqa: E402

VALUES = np.sin(np.arange(120) / 5).tolist()


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    Forecaster("gru", hidden=5, epochs=1, network_alone=True, stateful=True).fit(np.array(VALUES), run=folder / "wave")
    Forecaster("gru", hidden=5, epochs=1, context=12, horizon=2).fit(np.array(VALUES), run=folder / "line")
    Generator("lstm", hidden=8, epochs=1, split=(100, 0, 0)).fit(b"to be or not to be " * 20, run=folder / "book")
    texts = [("abc" if k % 2 else "xyz") * 3 + f" {k}" for k in range(60)]
    Classifier("gru", hidden=4, epochs=1).fit((texts, ["p" if k % 2 else "q" for k in range(60)]), run=folder / "names")
    return folder


@pytest.fixture(scope="module")
def runs(folders):
    return {name: Served(folders / name) for name in ("wave", "line", "book", "names")}


@pytest.fixture
def served(runs):
    def client(token="", **limits):
        return testclient.TestClient(application(runs, Limits.model_validate(limits), token))

    return client


def opened(client, run="wave"):
    answer = client.post(f"/runs/{run}/sessions")
    assert answer.status_code == 201, answer.text
    return answer.json()["session"]


def test_a_forecast_is_the_job_s(served, runs):
    client, job = served(), runs["line"].job
    answer = client.post("/runs/line/forecast", json={"steps": 4, "levels": [80]}).json()
    want = job.predict(4, levels=[80])
    np.testing.assert_allclose(answer["forecast"], want.values)
    np.testing.assert_allclose(answer["intervals"]["80"]["low"], want.intervals[80][0])
    answer = client.post("/runs/line/forecast", json={"values": VALUES[:50]}).json()
    np.testing.assert_allclose(answer["forecast"], job.predict(2, np.array(VALUES[:50])).values)


def test_a_forecast_that_counts_dates_is_told_them(tmp_path):
    times = np.datetime64("2010-01", "M") + np.arange(96)
    days = np.busday_count(times.astype("M8[D]"), (times + 1).astype("M8[D]"))
    values = 100 + 4.0 * days + np.random.default_rng(0).normal(size=96)
    series = Series(values[:, None], ("sales",), times.astype("M8[us]"))
    Forecaster("gru", hidden=4, epochs=1, horizon=3).fit(series, run=tmp_path / "months")
    served = Served(tmp_path / "months")
    assert "weekdays" in served.job.effects.used(0)
    client = testclient.TestClient(application({"months": served}, Limits(), ""))
    recent = values[-40:].tolist()
    answer = client.post("/runs/months/forecast", json={"values": recent, "begin": "2014-09-01"})
    want = served.job.predict(3, Series(values[-40:, None], ("sales",), times[-40:].astype("M8[us]")))
    assert times[-40] == np.datetime64("2014-09")
    np.testing.assert_allclose(answer.json()["forecast"], want.values)
    assert answer.json()["dates"] == ["2018-01-01", "2018-02-01", "2018-03-01"]
    for asked, words in (
        ({"values": recent}, "weekdays are told by dates, and here are none"),
        ({"values": recent, "begin": "soon"}, "'soon' is no date"),
    ):
        refused = client.post("/runs/months/forecast", json=asked)
        assert refused.status_code == 422
        assert words in refused.json()["error"]


def test_classes_and_texts_are_the_job_s(served, runs):
    client = served()
    answer = client.post("/runs/names/classify", json={"sequences": ["abc", "xyz"]}).json()
    want = runs["names"].job.predict(["abc", "xyz"])
    assert answer["labels"] == list(want.labels)
    np.testing.assert_allclose(answer["probabilities"], want.probabilities, rtol=1e-6)
    asked = {"prompt": "to ", "length": 40, "seed": 3, "temperature": 0.7}
    lines = client.post("/runs/book/generate", json=asked).text.splitlines()
    pieces = [json.loads(line[6:]) for line in lines if line.startswith("data: ")]
    assert "event: end" in lines
    assert pieces[-1] == {"complete": True}
    text = "".join(piece["text"] for piece in pieces[:-1])
    assert text == runs["book"].job.generate("to ", 40, seed=3, temperature=0.7)[0]


def test_a_session_keeps_its_state(served, runs):
    client, stream = served(), runs["wave"].job.stream()
    name, other = opened(client), opened(client)
    for k in range(0, 30, 3):
        values = VALUES[k : k + 3]
        said = client.post(f"/sessions/{name}/push", json={"values": values}).json()["said"]
        client.post(f"/sessions/{other}/push", json={"values": [9.0]})
        np.testing.assert_allclose(said, [stream.push(v) for v in values])
    assert client.delete(f"/sessions/{name}").json() == {"closed": name}
    gone = client.post(f"/sessions/{name}/push", json={"values": [1.0]})
    assert gone.status_code == 404
    assert f"there is no session '{name}'" in gone.json()["error"]


def test_a_session_of_a_window_and_of_a_text(served, runs):
    client = served()
    name = opened(client, "line")
    said = client.post(f"/sessions/{name}/push", json={"values": VALUES[:13]}).json()["said"]
    assert said[:11] == [None] * 11
    np.testing.assert_allclose(said[-1], runs["line"].job.predict(2, np.array(VALUES[:13])).values, rtol=1e-6)
    name, stream = opened(client, "book"), runs["book"].job.stream()
    said = client.post(f"/sessions/{name}/push", json={"values": "to be"}).json()["said"]
    tokens = runs["book"].model.tokens
    for letter in "to be":
        want = stream.push(tokens.index(letter))
    np.testing.assert_allclose(said[-1], want)


def test_a_session_over_a_web_socket(served, runs):
    client, stream = served(), runs["wave"].job.stream()
    name = opened(client)
    with client.websocket_connect(f"/sessions/{name}") as socket:
        for value in VALUES[:5]:
            socket.send_json({"values": [value]})
            np.testing.assert_allclose(socket.receive_json()["said"], [stream.push(value)])
        socket.send_text('{"values": [NaN]}')
        assert "finite number" in socket.receive_json()["error"]
        socket.send_text("nonsense")
        assert "Invalid JSON" in socket.receive_json()["error"]
        socket.send_json({"values": [VALUES[5]]})
        np.testing.assert_allclose(socket.receive_json()["said"], [stream.push(VALUES[5])])
    with pytest.raises(WebSocketDisconnect) as refused, client.websocket_connect("/sessions/nobody"):
        pass
    assert refused.value.code == 4404
    guarded = served(token="secret")
    name = guarded.post("/runs/wave/sessions", headers={"authorization": "Bearer secret"}).json()["session"]
    with pytest.raises(WebSocketDisconnect) as refused, guarded.websocket_connect(f"/sessions/{name}"):
        pass
    assert refused.value.code == 4401


@pytest.mark.parametrize(
    ("path", "body", "code", "words"),
    [
        ("/runs/nix/forecast", "{}", 404, "there is no run 'nix'"),
        ("/runs/book/forecast", "{}", 404, "is of task 'generate' and cannot forecast"),
        ("/runs/line/forecast", '{"values": [NaN]}', 422, "finite number"),
        ("/runs/line/forecast", '{"values": [1, 2]}', 422, "fewer than the context"),
        ("/runs/line/forecast", '{"values": [[1, 2], [3]]}', 422, "rows are of unlike lengths"),
        ("/runs/line/forecast", '{"values": []}', 422, "N above 0"),
        ("/runs/line/forecast", '{"steps": 0}', 422, "greater than or equal to 1"),
        ("/runs/line/forecast", '{"steps": 99999}', 422, "more than 10000"),
        ("/runs/line/forecast", '{"levels": [200]}', 422, "level"),
        ("/runs/line/forecast", '{"horizon": 3}', 422, "horizon"),
        ("/runs/line/forecast", "{", 422, "JSON"),
        ("/runs/names/classify", '{"sequences": []}', 422, "at least 1"),
        ("/runs/names/classify", '{"sequences": [[1.0, 2.0]]}', 422, "trained on texts"),
        ("/runs/book/generate", '{"prompt": "\\u2603"}', 422, "prompt"),
        ("/runs/book/generate", '{"temperature": -1}', 422, "temperature"),
        ("/runs/names/sessions", "", 422, "has no sessions"),
        ("/sessions/nobody/push", '{"values": [1.0]}', 404, "the server began anew; open one"),
        ("/nowhere", "{}", 404, "Not Found"),
    ],
)
def test_what_is_wrong_is_said_in_one_line(served, path, body, code, words):
    answer = served().post(path, content=body, headers={"content-type": "application/json"})
    assert answer.status_code == code, answer.text
    assert words in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize("values", ["[1.5]", '"☃"', "[[1]]", "[-1]", "[99999]"])
def test_symbols_that_are_none_are_refused_and_the_session_lives(served, values):
    client = served()
    name = opened(client, "book")
    headers = {"content-type": "application/json"}
    answer = client.post(f"/sessions/{name}/push", content=f'{{"values": {values}}}'.encode(), headers=headers)
    assert answer.status_code == 422, answer.text
    assert client.post(f"/sessions/{name}/push", json={"values": "to"}).status_code == 200


def test_limits_hold(served):
    client = served(body=2000, sessions=2, length=5)
    assert client.post("/runs/line/forecast", json={"values": VALUES * 20}).status_code == 413
    chunks = (b"[" + b"1," * 500 for _ in range(10))
    assert client.post("/runs/line/forecast", content=chunks).status_code == 413
    names = [opened(client) for _ in range(2)]
    answer = client.post("/runs/wave/sessions")
    assert answer.status_code == 429
    assert "2 sessions are open" in answer.json()["error"]
    client.delete(f"/sessions/{names[0]}")
    opened(client)
    assert client.post(f"/sessions/{names[1]}/push", json={"values": [1.0] * 6}).status_code == 422


def test_what_is_idle_is_closed(served):
    client = served(idle=0.05, sessions=1)
    name = opened(client)
    time.sleep(0.1)
    assert client.post(f"/sessions/{name}/push", json={"values": [1.0]}).status_code == 404
    first = opened(client)
    time.sleep(0.1)
    assert opened(client) != first


def test_a_request_that_takes_too_long_ends(served, runs, monkeypatch):
    monkeypatch.setattr(runs["line"].job, "predict", lambda *_, **__: time.sleep(0.5))
    answer = served(time=0.05).post("/runs/line/forecast", json={})
    assert answer.status_code == 503
    assert "more than 0.05 seconds" in answer.json()["error"]
    time.sleep(0.6)


def test_without_the_token_nothing_is_said(served):
    client = served(token="secret")
    assert client.get("/health").status_code == 200
    for path in ("/runs", "/metrics"):
        assert client.get(path).status_code == 401
        assert client.get(path, headers={"authorization": "Bearer wrong"}).status_code == 401
        assert client.get(path, headers={"authorization": "Bearer secret"}).status_code == 200
    assert client.post("/runs/wave/sessions").status_code == 401


def test_metrics_count(served):
    client = served()
    client.post("/runs/nix/forecast", json={})
    client.post("/runs/line/forecast", json={})
    text = client.get("/metrics").text
    assert 'elman_requests_total{path="/runs/{run}/forecast",code="404"} 1' in text
    assert 'elman_requests_total{path="/runs/{run}/forecast",code="200"} 1' in text
    assert "elman_sessions 0" in text


def test_many_at_once_are_each_answered_for_itself(served, runs):
    with served() as client:
        found = {}

        def one(k):
            found[k] = client.post("/runs/line/forecast", json={"values": VALUES[k : k + 40]}).json()["forecast"]

        threads = [threading.Thread(target=one, args=(k,)) for k in range(12)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for k, forecast in found.items():
        np.testing.assert_allclose(forecast, runs["line"].job.predict(2, np.array(VALUES[k : k + 40])).values)


def test_the_schema_names_what_the_task_declares(served):
    schema = served().get("/openapi.json").json()
    asked = schema["components"]["schemas"]["GenerateAsked"]["properties"]
    assert {"temperature", "top_k", "top_p", "prompt", "length", "seed"} <= asked.keys()


@pytest.mark.full
def test_the_command_drains_and_a_new_server_knows_no_old_session(folders):
    pytest.importorskip("uvicorn")

    def server(port):
        command = [sys.executable, "-m", "elman", "serve", str(folders / "wave"), "--port", str(port)]
        process = subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5)
                return process
            except OSError:
                assert time.monotonic() < deadline
                assert process.poll() is None, process.stderr.read()
                time.sleep(0.05)

    def post(port, path, body=b""):
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", body, {"content-type": "application/json"})
        return json.load(urllib.request.urlopen(request, timeout=10))

    port = 20_000 + os.getpid() % 20_000
    first = server(port)
    name = post(port, "/runs/wave/sessions")["session"]
    assert len(post(port, f"/sessions/{name}/push", b'{"values": [0.5]}')["said"]) == 1
    first.send_signal(signal.SIGTERM)
    assert first.wait(30) == 0
    assert "Traceback" not in first.stderr.read()
    second = server(port)
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            post(port, f"/sessions/{name}/push", b'{"values": [0.5]}')
        assert refused.value.code == 404
        assert "the server began anew" in json.load(refused.value)["error"]
    finally:
        second.terminate()
        second.wait(30)


def test_the_command_names_what_is_no_run(elman):
    code, _, err = elman("serve", "nothing")
    assert code == 2
    assert "nothing: is not a run" in err


@pytest.mark.slow
def test_no_request_of_its_schema_is_our_fault(runs):
    schemathesis = pytest.importorskip("schemathesis")
    from hypothesis import HealthCheck, given, settings

    schema = schemathesis.openapi.from_asgi("/openapi.json", application(runs))

    for operation in schema.get_all_operations():

        @settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.ok().as_strategy())
        def never_ours(case):
            assert case.call().status_code < 500, case

        never_ours()
