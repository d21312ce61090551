"""Generation: streams, truncated backpropagation, whole parts, the closed loop, and the job around them."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

import elman
from elman.data import Ids, read_alphabet, write_ids
from elman.errors import DataError, ElmanError, RunError
from elman.jobs import Generator
from elman.jobs import load as load_job
from elman.stepping.engine import engine
from elman.tasks import GenerateConfig, GenerateNetwork, GenerateTask, Sampling
from elman.tasks import generate as generating
from elman.tasks.sampling import draw, probabilities
from elman.training import Recipe, fit

SMALL = {"hidden": 8, "layers": 1, "embedding": 4, "epochs": 2, "batch": 4, "bptt": 8}
VERSE = b"Tyger Tyger, burning bright, In the forests of the night; What immortal hand or eye, " * 12


def make(folder, text=VERSE, batch=4, cell="lstm", hidden=8, layers=1, **choices):
    torch.manual_seed(0)
    alphabet, count = read_alphabet(text, choices.get("level", "char"))
    write_ids(text, alphabet, folder / "ids")
    config = GenerateConfig(**{"embedding": 4, "bptt": 8, "split": (80, 10, 10), "output_dropout": 0, **choices})
    recurrent = elman.Recurrent(cell, config.embedding or len(alphabet), hidden, layers)
    network = GenerateNetwork(len(alphabet), recurrent, config)
    return GenerateTask(network, Ids(folder / "ids", count, len(alphabet)), alphabet, config, batch)


# --- what a batch is


@pytest.mark.parametrize("read_at_once", [1, 3, 64])
def test_streams_are_contiguous_and_targets_follow_inputs(tmp_path, monkeypatch, read_at_once):
    monkeypatch.setattr(generating, "READ_AT_ONCE", read_at_once)
    task = make(tmp_path)
    text = task.ids.block(0, len(task.ids))
    batches = list(task.batches(torch.Generator().manual_seed(1)))
    assert len(batches) == task.batch_count()
    inputs, targets = torch.cat([b.inputs for b in batches]), torch.cat([b.targets for b in batches])
    assert torch.equal(inputs[1:], targets[:-1])
    apart = (len(task.train) - 1) // 4
    for row in range(4):
        starts = [
            s
            for s in range(row * apart, (row + 1) * apart)
            if (text[s : s + len(inputs)] == inputs[:, row].numpy()).all()
        ]
        assert starts, row
    assert 4 * len(inputs) > 0.8 * len(task.train)


def test_nothing_held_out_is_trained_on(tmp_path):
    text = VERSE[: len(VERSE) * 8 // 10] + b"#" * (len(VERSE) - len(VERSE) * 8 // 10)
    task = make(tmp_path, text)
    for seed in range(5):
        for batch in task.batches(torch.Generator().manual_seed(seed)):
            assert (batch.targets != 0).any()
            assert "#" not in {read_alphabet(text, "char")[0].tokens[i] for i in batch.targets.unique().tolist()}


def test_a_long_text_has_short_epochs_that_begin_anywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(generating, "EPOCH_STEPS", 3)
    task = make(tmp_path)
    assert task.batch_count() == 3
    firsts = {tuple(next(task.batches(torch.Generator().manual_seed(s))).inputs[:, 0].tolist()) for s in range(20)}
    assert len(firsts) > 10


def test_backpropagation_is_truncated_and_the_state_is_not(tmp_path):
    task = make(tmp_path)
    first, second, *_ = task.batches(torch.Generator())
    _, state = task.loss(first)
    loss, _ = task.loss(second, state)
    loss.backward()
    gradient = task.model.recurrent.weight_hh_l0.grad.clone()
    state = task.model(first.inputs)[1]
    task.model.zero_grad()
    scores, _ = task.model(second.inputs, tuple(s.detach() for s in state))
    want = cross_entropy(scores.flatten(0, 1), second.targets.flatten())
    want.backward()
    assert torch.equal(loss, want)
    assert torch.equal(gradient, task.model.recurrent.weight_hh_l0.grad)
    assert not torch.allclose(loss, task.loss(second)[0])


# --- scoring


@pytest.mark.parametrize("cell", ["lstm", "gru", "rnn"])
@pytest.mark.parametrize("streams", [1, 3, 64])
def test_a_part_costs_what_it_costs_read_as_one_text(tmp_path, monkeypatch, cell, streams):
    monkeypatch.setattr(generating, "SCORED_STREAMS", streams)
    monkeypatch.setattr(generating, "SHORTEST_SCORED", 5)
    monkeypatch.setattr(generating, "WARM_UP", 4)
    monkeypatch.setattr(generating, "AGREED", 0.0)
    task = make(tmp_path, cell=cell, layers=2, hidden=[8, 5])
    fit(task, Recipe(epochs=3, lr=0.03))
    part = task.test
    whole = torch.from_numpy(task.ids.block(part.start - 5, part.stop))
    with torch.no_grad():
        scores, _ = task.model(whole[:-1, None])
    want = cross_entropy(scores[4:, 0].double(), whole[5:], reduction="sum").item()
    assert task.nats(part) == pytest.approx(want, rel=1e-5)
    assert len(part) == task.test.stop - task.test.start


def test_handing_on_is_needed_where_memory_is_long(tmp_path, monkeypatch):
    monkeypatch.setattr(generating, "SHORTEST_SCORED", 5)
    monkeypatch.setattr(generating, "WARM_UP", 1)
    task = make(tmp_path)
    assert abs(task.nats(task.test, agree=False) - task.nats(task.test)) > 1e-3


def test_scores_are_held_a_few_at_a_time(tmp_path, monkeypatch):
    task = make(tmp_path)
    want = task.nats(task.test)
    monkeypatch.setattr(generating, "MOST_SCORES", 100)
    assert task.nats(task.test) == pytest.approx(want, rel=1e-6)


# --- the network


@pytest.mark.full
def test_tied_embeddings_are_one_weight(tmp_path):
    task = make(tmp_path, tied=True, embedding=8)
    assert task.model.head.weight is task.model.embedding.weight
    before = task.model.embedding.weight.clone()
    fit(task, Recipe(epochs=1))
    assert not torch.equal(before, task.model.embedding.weight)
    with pytest.raises(ElmanError, match="an embedding of 4 cannot score an output of 8; give `embedding=8`"):
        GenerateNetwork(5, elman.Recurrent("gru", 4, 8), GenerateConfig(embedding=4, tied=True))


def test_one_hot_is_an_identity_embedding(tmp_path):
    task = make(tmp_path, embedding=0)
    ids = torch.tensor([[1, 2], [3, 0]])
    scores, _ = task.model(ids)
    want, _ = task.model.recurrent(torch.eye(task.ids.symbols)[ids])
    assert torch.equal(scores, task.model.head(want))


@pytest.mark.parametrize("variational", [False, True])
def test_dropout_masks(tmp_path, variational):
    task = make(tmp_path, input_dropout=0.5, output_dropout=0.5, variational=variational)
    ones = torch.ones(50, 3, 40)
    mask = task.model._dropped(ones, 0.5)
    assert set(mask.unique().tolist()) == {0.0, 2.0}
    assert (mask == mask[0]).all() == variational
    assert not (mask[0] == mask[0][0]).all()
    task.model.eval()
    assert torch.equal(task.model._dropped(ones, 0.5), ones)


def test_single_steps_are_the_same_network(tmp_path):
    task = make(tmp_path, layers=2)
    step = engine(task.model.flat())
    whole, _ = task.model(torch.tensor([[1], [2], [3]]))
    for symbol in (1, 2, 3):
        step.inputs["symbol"][0] = symbol
        step()
    np.testing.assert_allclose(step.outputs["scores"], whole[-1].detach().numpy(), atol=1e-6)


# --- sampling


def test_sampling_draws_what_it_says():
    scores = torch.log(torch.tensor([0.1, 0.4, 0.2, 0.3]))
    odds = lambda **how: probabilities(Sampling(**how), scores).tolist()  # noqa: E731
    assert odds() == pytest.approx([0.1, 0.4, 0.2, 0.3])
    assert odds(temperature=0.5) == pytest.approx([1 / 30, 16 / 30, 4 / 30, 9 / 30])
    assert odds(top_k=2) == pytest.approx([0, 4 / 7, 0, 3 / 7])
    assert odds(top_k=9) == pytest.approx([0.1, 0.4, 0.2, 0.3])
    assert odds(top_p=0.4) == pytest.approx([0, 1, 0, 0], abs=1e-6)
    assert odds(top_p=0.5) == pytest.approx([0, 4 / 7, 0, 3 / 7])
    assert odds(top_p=0.01) == pytest.approx([0, 1, 0, 0])
    assert odds(top_k=3, top_p=0.7) == pytest.approx([0, 4 / 7, 0, 3 / 7])
    generator = torch.Generator().manual_seed(0)
    drawn = [draw(Sampling(), scores, generator) for _ in range(4000)]
    assert np.bincount(drawn) / 4000 == pytest.approx([0.1, 0.4, 0.2, 0.3], abs=0.03)
    assert draw(Sampling(temperature=0), scores, generator) == 1


# --- the job


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("generate") / "r"
    generator = Generator(**SMALL, split=(80, 10, 10))
    generator.fit(VERSE, run=folder)
    return generator, folder


def test_a_run_is_the_generator_that_made_it(trained):
    generator, folder = trained
    again = load_job(folder)
    assert again.test() == generator.test()
    assert again.generate("Ty", 50, seed=3)[0] == generator.generate("Ty", 50, seed=3)[0]
    assert {p.name for p in folder.iterdir()} >= {"config.json", "data.bin", "model.safetensors"}


@pytest.mark.parametrize("how", [{"temperature": 0}, {"temperature": 0.8, "top_k": 5}, {"top_p": 0.9}])
def test_a_text_in_two_calls_is_the_text_in_one(trained, how):
    generator, _ = trained
    whole, end = generator.generate("In", 40, seed=1, **how)
    first, state = generator.generate("In", 15, seed=1, **how)
    kept = state.states[0].copy()
    second, last = generator.generate("", 25, state=state, **how)
    assert first + second == whole
    assert np.array_equal(last.states[0], end.states[0])
    assert np.array_equal(state.states[0], kept)  # a value: going on does not change it
    assert generator.generate("", 25, state=state, **how)[0] == second


def test_a_prompt_after_a_state_is_read_after_it(trained):
    generator, _ = trained
    first, state = generator.generate("In", 5, temperature=0)
    second, _ = generator.generate("the", 9, temperature=0, state=state)
    assert second == generator.generate("In" + first + "the", 9, temperature=0)[0]


def test_seeds(trained):
    generator, _ = trained
    texts = [generator.generate("In", 30, seed=s)[0] for s in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]
    assert generator.generate("In", 30)[0] == texts[0]


def test_what_cannot_be_written_is_said(trained):
    generator, _ = trained
    with pytest.raises(DataError, match=r"`prompt`: the character '\?' is not known; known are ' ,;IT"):
        generator.generate("Why?")
    with pytest.raises(ElmanError, match="`length`: got 0"):
        generator.generate("In", 0)
    with pytest.raises(ElmanError, match="`temperature`: got -1, want greater than or equal to 0"):
        generator.generate("In", temperature=-1)
    with pytest.raises(ElmanError, match="not trained yet"):
        Generator().generate("In")


def test_scores_stand_beside_ngrams(trained):
    result = trained[0].test()
    assert result["part"] == "test"
    assert result["symbols"] == result["characters"] == len(VERSE) // 10
    assert result["test"]["bits_per_char"] == pytest.approx(result["test"]["nats"] / np.log(2))
    assert result["baselines"]["ngram"]["nats"] < 0.3 < result["baselines"]["unigram"]["nats"]
    assert result["warnings"][-1].startswith("ngram does as well or better")
    generator = Generator(**SMALL)
    generator.fit(VERSE)
    assert generator.test()["part"] == "validation"


@pytest.mark.parametrize("level", ["byte", "word"])
def test_levels(level, tmp_path):
    text = "Größe und Glück, größer und größer; " * 40
    generator = Generator(**SMALL, level=level, words=5, split=(80, 10, 10))
    generator.fit(text.encode(), run=tmp_path / "r")
    result = Generator.load(tmp_path / "r").test()
    held = generator.task.test
    nats = result["test"]["nats"] * len(held)
    assert result["test"]["bits_per_char"] == pytest.approx(nats / np.log(2) / result["characters"])
    assert result["characters"] == pytest.approx(len(text) / 10, rel=0.1)
    written, _ = generator.generate(" und", 40)
    assert "<rare>" not in written
    assert bool(generator.notes) == (level == "word")


def test_interrupted_and_resumed_is_the_same_bits(tmp_path, monkeypatch):
    choices = {**SMALL, "epochs": 3, "dropout": 0.2, "layers": 2}
    whole = Generator(**choices)
    whole.fit(VERSE, run=tmp_path / "whole")
    steps = {"left": 2 * whole.task.batch_count() - 1}
    loss = GenerateTask.loss

    def interrupted(self, batch, state):
        steps["left"] -= 1
        if steps["left"] == 0:
            raise KeyboardInterrupt
        return loss(self, batch, state)

    monkeypatch.setattr(GenerateTask, "loss", interrupted)
    assert Generator(**choices).fit(VERSE, run=tmp_path / "r").interrupted
    monkeypatch.undo()
    Generator.resume(tmp_path / "r", choices={"epochs": 3})
    assert (tmp_path / "r" / "model.safetensors").read_bytes() == (
        tmp_path / "whole" / "model.safetensors"
    ).read_bytes()
    with pytest.raises(RunError, match="`bptt`: a resumed training goes on with 8 and cannot change to 9"):
        Generator.resume(tmp_path / "r", choices={"bptt": 9})


def test_dropout_of_one_layer_is_not_warned_about(recwarn):
    assert Generator("gru", layers=1).network.dropout == 0
    assert Generator("gru", layers=2).network.dropout > 0
    assert Generator(weight_drop=0.3, recurrent_dropout=0.1).network.weight_drop == 0.3
    assert not recwarn.list


def test_a_damaged_run_is_refused_by_name(trained, tmp_path):
    import shutil

    folder = shutil.copytree(trained[1], tmp_path / "copy")
    data = bytearray((folder / "data.bin").read_bytes())
    data[5] ^= 1
    (folder / "data.bin").write_bytes(data)
    with pytest.raises(RunError, match=r"data\.bin: is not the data of this run"):
        Generator.load(folder)


# --- the command line

QUICK = ["--hidden", 8, "--layers", 1, "--epochs", 2, "--bptt", 8, "--batch", 4]


def test_train_test_plot_generate(elman):
    Path("tyger.txt").write_bytes(VERSE)
    code, out, err = elman("train", "generate", "tyger.txt", *QUICK, "--json")
    assert code == 0, err
    result = json.loads(out)
    assert (result["run"], result["task"], result["cell"], result["epochs"]) == (
        "runs/tyger-lstm",
        "generate",
        "lstm",
        2,
    )
    code, out, _ = elman("test", "runs/tyger-lstm", "--json")
    result = json.loads(out)
    assert {"nats", "bits_per_char"} <= result["test"].keys()
    assert elman("test", "runs/tyger-lstm")[1].splitlines()[0] == f"the validation part: {result['symbols']} symbols"
    code, out, _ = elman("plot", "runs/tyger-lstm")
    assert Path(out.strip()).read_bytes().startswith(b"\x89PNG")
    code, out, err = elman("generate", "runs/tyger-lstm", "--prompt", "Ty", "--length", 20, "--temperature", 0.5)
    assert (code, len(out), out[:2]) == (0, 23, "Ty")
    code, out, _ = elman(
        "generate", "runs/tyger-lstm", "--prompt", "Ty", "--length", 20, "--temperature", 0.5, "--json"
    )
    assert len(json.loads(out)["text"]) == 20
    code, _, err = elman("generate", "runs/tyger-lstm", "--prompt", "Why?")
    assert (code, err.count("\n")) == (2, 1)
    assert "the character '?' is not known" in err


def test_time_stops_a_training_cleanly(elman):
    Path("tyger.txt").write_bytes(VERSE)
    code, out, err = elman("train", "generate", "tyger.txt", *QUICK[:4], "--max-time", 0.3, "-o", "r", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["seconds"] < 3
    assert not result["interrupted"]
    assert "of 0.3 s" in err
    assert elman("test", "r")[0] == 0
    assert elman("train", "generate", "--resume", "-o", "r")[0] == 0


@pytest.mark.parametrize(
    ("raw", "options", "words"),
    [
        (b"", [], "a.txt: is empty"),
        (b"abc\xffdef" * 100, [], "byte 3 (counted from 0) is not UTF-8"),
        (b"ab", [], "is too short: 90 % of 2 symbols leaves 1"),
        (b"a", ["--split", "100,0,0"], "is too short"),
        (VERSE, ["--split", "90,20,0"], "sums to 110"),
        (VERSE, ["--level", "letter"], "--level: got 'letter', want 'char', 'byte' or 'word'"),
        (VERSE, ["--tied"], "give --embedding 8"),
        (VERSE, ["--max-time", "-1"], "--max-time: got -1"),
        (None, [], "no such file"),
    ],
)
def test_bad_input_gives_one_line_and_leaves_no_run(elman, raw, options, words):
    if raw is not None:
        Path("a.txt").write_bytes(raw)
    code, out, err = elman("train", "generate", "a.txt", *QUICK, *options, "-o", "r")
    assert (code, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1
    assert [p.name for p in Path().iterdir()] == ([] if raw is None else ["a.txt"])
