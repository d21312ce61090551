"""The classifying task and job: what a batch is, that padding and other parts reach nothing, what is kept in a run."""

import json

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from elman.data import Labelled, parted
from elman.data.text.vocabulary import runs_of
from elman.errors import DataError, ElmanError, RunError
from elman.jobs import Classifier, load
from elman.jobs.classifier import default_epochs
from elman.metrics import NaiveBayes
from elman.tasks import ClassifyConfig, ClassifyTask

QUICK = {"hidden": 6, "epochs": 2, "batch": 7, "embedding": 5}
POOLINGS = ["last", "mean", "max", "attention"]


def films(n=60):
    """Texts whose class is which of two words they hold, of many lengths."""
    draw = np.random.default_rng(0)
    texts = [" ".join([*draw.choice(["the", "film", "is", "so"], draw.integers(1, 9)), f"{i}"]) for i in range(n)]
    labels = draw.choice(["bad", "good"], n).tolist()
    return Labelled([f"{text} {label}" for text, label in zip(texts, labels, strict=True)], labels)


def traces(n=60, channels=2):
    """Noise of many lengths that drifts up or down."""
    draw = np.random.default_rng(1)
    labels = draw.choice(["down", "up"], n).tolist()
    slopes = [1.0 if label == "up" else -1.0 for label in labels]
    found = [s * np.linspace(0, 3, t)[:, None] + draw.normal(size=(t, channels))
             for s, t in zip(slopes, draw.integers(3, 17, n), strict=True)]  # fmt: skip
    return Labelled(found, labels)


DATA = {"texts": films, "numbers": traces}


def task(data=None, cell="gru", **choices) -> ClassifyTask:
    plain = {"smoothing": 0.0, "head_dropout": 0.0, "token_dropout": 0.0}
    classifier = Classifier(cell, **({**QUICK, **plain, "epochs": 1} | choices))
    classifier.fit(films() if data is None else data)
    return classifier.task


def test_an_epoch_holds_each_training_sequence_once_beside_those_of_like_length():
    job = task(films(300), batch=8)
    epochs = [list(job.batches(torch.Generator().manual_seed(seed))) for seed in (1, 2)]
    want = sorted((job.inputs[i][:, 0].tolist(), int(job.truth[i])) for i in job.parts.train)
    for batches in epochs:
        assert len(batches) == job.batch_count()
        rows = [
            (b.inputs[: b.lengths[k], k, 0].tolist(), int(b.labels[k])) for b in batches for k in range(len(b.labels))
        ]
        assert sorted(rows) == want
        steps = sum(b.inputs.shape[0] * len(b.labels) for b in batches)
        assert steps < 1.1 * sum(int(b.lengths.sum()) for b in batches)  # hardly any padding
    assert not torch.equal(epochs[0][0].labels, epochs[1][0].labels) or len(epochs[0][0].labels) == 1


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("directions", [1, 2])
@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_padding_reaches_nothing(cell, directions, pooling):
    """With NaN in the padding the same bits as with 0; each row as the sequence alone."""
    job = task(traces(), cell, pooling=pooling, directions=directions, layers=2)
    rows = [job.inputs[i] for i in range(17)]
    lengths = torch.tensor([len(row) for row in rows])
    zeros, poisoned = pad_sequence(rows), pad_sequence(rows, padding_value=torch.nan)
    with torch.no_grad():
        found = job.model(zeros, lengths)
        assert torch.equal(job.model(poisoned, lengths), found)
        longer = torch.cat([poisoned, torch.full_like(poisoned[:3], torch.nan)])
        assert torch.allclose(job.model(longer, lengths), found, atol=1e-6)
        for row, logits in zip(rows, found, strict=True):
            alone = job.model(row.unsqueeze(1), torch.tensor([len(row)]))[0]
            assert torch.allclose(alone, logits, atol=1e-6)
    job.model.train()
    job.model(poisoned, lengths).sum().backward()
    assert all(torch.isfinite(p.grad).all() for p in job.model.parameters() if p.grad is not None)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_pooling_is_what_its_name_says_of_the_steps_that_are_there(pooling):
    job = task(traces(), pooling=pooling)
    model, row = job.model, job.inputs[3]
    with torch.no_grad():
        output = model.recurrent(row.unsqueeze(1))[0][:, 0]
        half = output.shape[1] // 2
        pooled = {
            "last": torch.cat([output[-1, :half], output[0, half:]]),
            "mean": output.mean(0),
            "max": output.max(0).values,
            "attention": 0 if model.attention is None else model.attention(output).softmax(0).mul(output).sum(0),
        }[pooling]
        assert torch.allclose(model.head(pooled), job.logits([row])[0], atol=1e-6)


@pytest.mark.parametrize("level", ["char", "word"])
def test_the_bag_adds_to_the_logits_the_weights_of_the_runs_that_training_knows(level):
    job = task(level=level, ngrams=3)
    texts = ["so", "the film is good, a joy", "the the the"]
    ids, model = job.read(texts), job.model
    found = job.logits(ids)
    weights, model.bag = model.bag.weight.detach(), None
    for rest, added, text in zip(job.logits(ids), found, texts, strict=True):
        runs = [run for ending in runs_of(text, level, 3) for run in ending]
        known = [(*job.reader.tokens, *job.reader.runs).index(run) + 1 for run in runs
                 if run in job.reader.tokens or run in job.reader.runs]  # fmt: skip
        assert len(known) < len(runs)
        assert torch.allclose(added - rest, weights[known].sum(0), atol=1e-6)
    assert weights[1:].any(1).all()
    assert not weights[0].any()


def test_the_loss_is_cross_entropy_with_weights_that_even_the_classes_out():
    data = films(61)
    plain, balanced = task(data), task(data, class_weights="balanced")
    members = np.bincount(balanced.truth[balanced.parts.train])
    assert torch.allclose(balanced.weights * torch.from_numpy(members), torch.tensor(members.sum() / 2).float())
    batch = next(balanced.batches(torch.Generator()))
    for job in (plain, balanced):
        job.model.eval()
        chances = job.model(batch.inputs, batch.lengths).softmax(1)
        own = -chances[torch.arange(len(batch.labels)), batch.labels].log()
        weights = torch.ones(len(own)) if job.weights is None else job.weights[batch.labels]
        assert torch.allclose(job.loss(batch)[0], (weights * own).sum() / weights.sum(), atol=1e-6)


@pytest.mark.parametrize("best", ["loss", "accuracy", "macro_f1"])
def test_validation_is_the_score_asked_for(best):
    job = task(best=best)
    logits = job.logits([job.inputs[i] for i in job.parts.validation])
    truth = torch.from_numpy(job.truth[job.parts.validation])
    want = {
        "loss": torch.nn.functional.cross_entropy(logits, truth).item(),
        "accuracy": (logits.argmax(1) != truth).float().mean().item(),
        "macro_f1": 1 - np.mean([_f1(logits.argmax(1), truth, k) for k in (0, 1)]),
    }[best]
    assert job.validate() == pytest.approx(want)
    assert task(split=(80, 0, 20)).validate() is None


def _f1(prediction, truth, k):
    right = ((prediction == k) & (truth == k)).sum().item()
    return 2 * right / max(1, ((prediction == k).sum() + (truth == k).sum()).item())


def test_tokens_are_dropped_in_training_alone():
    job = task(token_dropout=0.5)
    batch = next(job.batches(torch.Generator()))
    job.model.eval()
    first = job.model(batch.inputs, batch.lengths)
    assert torch.equal(first, job.model(batch.inputs, batch.lengths))
    job.model.train()
    assert not torch.equal(first, job.model(batch.inputs, batch.lengths))


@pytest.mark.parametrize("kind", DATA)
def test_nothing_outside_the_training_part_moves_training(kind):
    data = DATA[kind]()
    first = Classifier("rnn", **QUICK, split=(60, 0, 40))
    first.fit(data)
    held = set(first.task.parts.test.tolist())
    strange = "☃ unheard-of" if kind == "texts" else 1e3
    changed = [s + strange if i in held else s for i, s in enumerate(data.sequences)]
    second = Classifier("rnn", **QUICK, split=(60, 0, 40))
    second.fit(Labelled(changed, data.labels))
    assert first.task.parts.test.tolist() == second.task.parts.test.tolist()
    assert first.task.reader.to_dict() == second.task.reader.to_dict()
    for a, b in zip(first.model.state_dict().values(), second.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)


def test_two_trainings_are_equal_to_the_bit():
    runs = [Classifier("gru", **QUICK, embedding_dropout=0.3, token_dropout=0.1, head_dropout=0.2) for _ in range(2)]
    for classifier in runs:
        classifier.fit(films())
    a, b = (classifier.predict(["so good", "bad"]).probabilities for classifier in runs)
    assert np.array_equal(a, b)


@pytest.mark.parametrize("kind", DATA)
def test_it_learns_what_can_be_learnt_and_says_how_sure_it_may_be(kind):
    classifier = Classifier("gru", hidden=16, epochs=12, batch=16, level="word", lr=0.02)
    classifier.fit(DATA[kind](400))
    result = classifier.test()
    assert result["test"]["accuracy"] > 0.9
    assert result["test"]["accuracy"] > result["baselines"]["majority"]["accuracy"]
    assert ("naive_bayes" in result["baselines"]) == (kind == "texts")
    assert np.sum(result["confusion"]) == result["sequences"] == len(classifier.task.parts.test)
    assert result["calibration"]["temperature"] != 1
    found = classifier.predict([classifier.task.parts.data.sequences[i] for i in classifier.task.parts.test])
    assert np.allclose(found.probabilities.sum(1), 1)
    assert np.mean(np.array(found.labels) == [classifier.task.parts.data.labels[i]
                   for i in classifier.task.parts.test]) == result["test"]["accuracy"]  # fmt: skip


@pytest.mark.parametrize("alone", [False, True])
def test_what_is_said_is_network_and_naive_bayes_as_validation_weighs_them_less_the_prior(alone):
    draw = np.random.default_rng(0)
    words = [f"w{i}" for i in range(150)]
    labels = draw.choice(["bad", "fair", "good"], 600, p=[0.1, 0.3, 0.6])
    texts = [" ".join(draw.choice(words, 4)) + f" {label[0] * int(draw.integers(0, 2))}." for label in labels]
    classifier = Classifier("gru", hidden=6, epochs=4, level="word", network_alone=alone, prior_shift=0.3)
    classifier.fit((texts, labels))
    task = classifier.task
    train, held, data = task.parts.train, task.parts.validation, task.parts.data

    def split(text):
        return text.replace(".", " .").split()

    naive = NaiveBayes([split(data.sequences[i]) for i in train], task.truth[train], 2, 1.0)
    logits = task.logits([task.inputs[i] for i in held]).double()
    beside = torch.from_numpy(naive.scores([split(data.sequences[i]) for i in held]))
    truth = torch.from_numpy(task.truth[held])

    def loss(t, w):
        return torch.nn.functional.cross_entropy((logits + w * beside) / t, truth).item()

    t, w = classifier.weighing.temperature, float(task.model.bayes_weight)
    assert (w > 0) != alone
    weights = np.linspace(0, 8, 81) * t if not alone else [0]
    assert loss(t, w) <= min(loss(1 / s, x) for s in np.geomspace(1 / 8, 8, 60) for x in weights) + 1e-4
    some = ["w1 w2 b .", "unheard of"]
    shares = torch.tensor([np.mean(data_labels == k) for data_labels in [task.truth[train]] for k in range(3)])
    mixed = (task.logits(task.read(some)).double() + w * torch.from_numpy(naive.scores([split(x) for x in some]))) / t
    want = (mixed - 0.3 * shares.log()).softmax(1)
    assert np.allclose(classifier.predict(some).probabilities, want)


def test_classes_that_training_balanced_are_not_favoured_again():
    classifier = Classifier("rnn", **QUICK, class_weights="balanced", prior_shift=1.0)
    classifier.fit(films(61))
    assert not classifier.task.log_shares.any()


def test_what_is_usual_follows_the_kind_of_sequence_and_gives_way_to_what_was_asked_for():
    chars, words = ClassifyConfig(), ClassifyConfig(level="word", embedding_dropout=0.1)
    assert (chars.ngrams, chars.head_dropout) == (5, 0.5)
    assert (words.ngrams, words.token_dropout, words.embedding_dropout) == (1, 0.2, 0.1)
    quick = {"hidden": 2, "embedding": 2, "max_time": 0.01}
    found = {}
    for kind, data, level in (("char", films(), "char"), ("word", films(), "word"), ("numbers", traces(), "char")):
        classifier = Classifier("rnn", level=level, **quick)
        classifier.fit(data)
        found[kind] = (classifier.recipe.batch, classifier.config.head_dropout, classifier.config.smoothing)
    assert found == {"char": (64, 0.5, 0.1), "word": (32, 0.5, 0.1), "numbers": (32, 0.0, 0.0)}
    asked = Classifier("rnn", batch=5, smoothing=0.3, **quick)
    asked.fit(traces())
    assert (asked.recipe.batch, asked.config.smoothing, asked.config.head_dropout) == (5, 0.3, 0.0)


@pytest.mark.parametrize("kind", DATA)
def test_a_run_is_loaded_to_the_same_scores(tmp_path, kind):
    classifier = Classifier("peephole", **QUICK, ngrams=2, pooling="attention")
    classifier.fit(DATA[kind](400), run=tmp_path / "r")
    again = load(tmp_path / "r")
    assert again.test() == classifier.test()
    assert again.notes == classifier.notes
    assert float(again.model.temperature) != 1
    some = classifier.task.parts.data.sequences[:5]
    assert np.array_equal(again.predict(some).probabilities, classifier.predict(some).probabilities)


def test_an_interrupted_training_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    whole = Classifier("gru", **QUICK, embedding_dropout=0.2)
    whole.fit(films(400), run=tmp_path / "whole")
    original, seen = ClassifyTask.loss, []

    def stopping(self, batch, state):
        seen.append(batch)
        if len(seen) == self.batch_count() + 3:
            raise KeyboardInterrupt
        return original(self, batch, state)

    monkeypatch.setattr(ClassifyTask, "loss", stopping)
    cut = Classifier("gru", **QUICK, embedding_dropout=0.2)
    assert cut.fit(films(400), run=tmp_path / "cut").interrupted
    monkeypatch.undo()
    resumed, history = Classifier.resume(tmp_path / "cut", choices={"hidden": 6})
    assert history.epochs == 2
    for a, b in zip(whole.model.state_dict().values(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b)
    assert Classifier.load(tmp_path / "cut").test() == whole.test()
    with pytest.raises(RunError, match="`pooling`: a resumed training goes on with 'max'"):
        Classifier.resume(tmp_path / "cut", choices={"pooling": "mean"})


def test_files_of_their_own_are_parts_of_their_own():
    classifier = Classifier("rnn", **QUICK, level="word")
    test = Labelled(["so good", "so bad", "so bad"], ["good", "bad", "bad"])
    classifier.fit((["so good", *films().sequences], ["good", *films().labels]), test=test)
    parts = classifier.task.parts
    assert [parts.data.sequences[i] for i in parts.test] == list(test.sequences)
    assert len(parts.train) + len(parts.validation) == 60
    assert "training: left out 1 sequence(s) that stand in another file too" in classifier.notes


def test_texts_that_read_alike_stand_in_one_part():
    """Of words, case and blanks are not seen: 'A  b' and 'a B' are one text."""
    texts = [f"word{i} more" for i in range(40)] + [f"Word{i}   MORE" for i in range(40)]
    labels = ["x", "y"] * 40
    parts = Classifier("rnn", **QUICK, level="word")
    parts.fit((texts, labels))
    assert len(parts.task.parts.data) == 40
    assert parts.notes == ("left out 40 sequence(s) that stand there twice",)


def test_missing_numbers_are_filled_and_a_channel_without_any_is_the_mean():
    data = traces(40)
    holed = [s.copy() for s in data.sequences]
    holed[3][1] = np.nan
    holed[4][:, 0] = np.nan
    job = task(Labelled(holed, data.labels))
    assert all(torch.isfinite(x).all() for x in job.inputs)
    assert torch.equal(job.inputs[4][:, 0], torch.zeros(len(job.inputs[4])))


def test_what_cannot_be_done_is_said():
    with pytest.raises(ElmanError, match="not trained yet"):
        Classifier("rnn").predict(["a"])
    with pytest.raises(ElmanError, match="`directions`: got 3"):
        Classifier("rnn", directions=3)
    with pytest.raises(ElmanError, match="has no option 'poling'"):
        Classifier("rnn", poling="max")
    job = Classifier("rnn", **QUICK, split=(100, 0, 0))
    job.fit(traces())
    with pytest.raises(DataError, match="there is no test part"):
        job.test()
    with pytest.raises(DataError, match="got texts; this network was trained on sequences of 2"):
        job.predict(["so"])
    with pytest.raises(DataError, match=r"got sequences of 3 channel\(s\)"):
        job.predict([np.zeros((4, 3))])
    with pytest.raises(DataError, match="got one text, want a list"):
        job.predict("so")
    with pytest.raises(DataError, match="is empty"):
        job.predict([])
    of_texts = Classifier("rnn", **QUICK)
    of_texts.fit(films())
    with pytest.raises(DataError, match="sequence 1: the text is empty"):
        of_texts.predict(["so", " "])
    with pytest.raises(DataError, match="says how to read a file"):
        job.fit(films(), label="y")
    with pytest.raises(DataError, match="2 sequences and 1 labels"):
        job.fit((["a", "b"], ["x"]))


def test_config_json_holds_all_that_reading_needs(tmp_path):
    classifier = Classifier("gru", **QUICK)
    classifier.fit(films(), run=tmp_path / "r")
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["task"] == "classify"
    assert config["reader"]["tokens"] == list(classifier.task.reader.tokens)
    assert config["data"]["classes"] == ["bad", "good"]
    assert config["recipe"]["epochs"] == 2


@pytest.mark.full
def test_epochs_follow_from_the_size_of_the_data():
    assert default_epochs(3000, 32) == 16
    classifier = Classifier("rnn", hidden=2, embedding=2, batch=50)
    assert classifier.fit(films()).epochs == 400
    assert Classifier("rnn", epochs=3).recipe.epochs == 3
    assert ClassifyConfig().split == (80, 10, 10)
    assert len(parted(films(), (80, 10, 10)).train) == 48
