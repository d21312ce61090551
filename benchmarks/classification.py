"""Classification on public data, with hardly an option: medians over seeds, beside baselines, with wall times.

Names of 18 languages (a split a seed), SST-2 sentences (train and dev files), three of the UCR/UEA archive (train and
test files). Beside names a stock torch.nn.LSTM on the same splits (--stock), beside SST-2 the bag of words of
scikit-learn's logistic regression: `pip install scikit-learn`.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from elman.data import read_labelled
from elman.jobs import Classifier
from elman.metrics import classification_scores
from elman.tasks import ClassifyTask
from elman.training import fit

DATA = Path(os.environ.get("ELMAN_DATA", "../shared/data"))
UCR = ("GunPoint", "ItalyPowerDemand", "BasicMotions")


def cases() -> Iterator[tuple[str, Path, Path | None, dict[str, Any]]]:
    """Name, data, test file, and the options a person gives."""
    yield "names", DATA / "names", None, {}
    yield "sst2", DATA / "sst2" / "train.txt", DATA / "sst2" / "dev.txt", {"level": "word"}
    for name in UCR:
        folder = DATA / "ucr"
        yield name, folder / f"{name}_TRAIN.ts", folder / f"{name}_TEST.ts", {"split": (100, 0, 0)}


def bag_of_words(train: Path, test: Path) -> str:
    """The accuracy of logistic regression on words and pairs of words, or why there is none."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        return "not measured: scikit-learn is not installed"
    learnt, asked = read_labelled(train), read_labelled(test)
    vectors = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", sublinear_tf=True)
    model = LogisticRegression(C=10, max_iter=1000).fit(vectors.fit_transform(learnt.sequences), learnt.labels)
    return f"{model.score(vectors.transform(asked.sequences), asked.labels):.4f}"


class StockLSTM(nn.Module):
    """What one would write with torch.nn: two layers of 128 in both directions, the largest of each output, a head."""

    def __init__(self, tokens: int, classes: int, size: int = 128):
        super().__init__()
        self.embedding = nn.Embedding(tokens, size)
        self.lstm = nn.LSTM(size, size, 2, bidirectional=True, dropout=0.3)
        self.head = nn.Linear(2 * size, classes)
        self.drop = nn.Dropout(0.3)

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """The logits (B, K) of ids (T, B, N), of which each step's first is its token."""
        packed = pack_padded_sequence(self.drop(self.embedding(ids[:, :, 0])), lengths, enforce_sorted=False)
        output, _ = pad_packed_sequence(self.lstm(packed)[0], padding_value=-torch.inf)
        return self.head(self.drop(output.amax(0)))


def stock(ours: Classifier, seed: int) -> tuple[float, float, float]:
    """Accuracy, macro-F1 and seconds of :class:`StockLSTM` on the parts, batches and loop of ``ours``."""
    task = ours.task
    torch.manual_seed(seed)
    model: Any = StockLSTM(len(task.reader.tokens) + 1, len(task.classes))  # type: ignore[union-attr]
    config = task.config.model_copy(update={"smoothing": 0.0})
    theirs = ClassifyTask(model, task.parts, task.classes, task.reader, config, task.batch)
    begun = time.perf_counter()
    fit(theirs, ours.recipe)
    seconds = time.perf_counter() - begun
    part = task.parts.test
    found = theirs.logits([theirs.inputs[i] for i in part]).argmax(1).numpy()
    return *classification_scores(found, task.truth[part], len(task.classes)).values(), seconds


def measure(data: Path, test: Path | None, options: dict[str, Any], seed: int, peer: bool) -> dict[str, Any]:
    """Train once and test; the seconds are all of `fit`, reading included. With ``peer`` the stock network too."""
    classifier = Classifier(seed=seed, **options)
    begun = time.perf_counter()
    history = classifier.fit(data, test=test)
    found = classifier.test() | {"seconds": time.perf_counter() - begun, "epochs": history.epochs}
    if peer:
        accuracy, macro_f1, seconds = stock(classifier, seed)
        print(f"    stock LSTM: accuracy {accuracy:.4f}, macro-F1 {macro_f1:.4f}, {seconds:.1f} s", flush=True)
        found["baselines"]["stock_lstm"] = {"accuracy": accuracy, "macro_f1": macro_f1}
    return found


def main() -> None:
    """Print a table: a line a data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help="data sets; all where none is named")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--stock", action="store_true", help="train a stock torch.nn.LSTM on names too")
    chosen = parser.parse_args()
    for name, data, test, options in cases():
        if chosen.only and name not in chosen.only:
            continue
        runs = []
        for seed in range(chosen.seeds):
            runs.append(measure(data, test, options, seed, chosen.stock and name == "names"))
            found = runs[-1]["test"]
            print(f"    seed {seed}: accuracy {found['accuracy']:.4f}, macro-F1 {found['macro_f1']:.4f}", flush=True)

        def middle(part: str, score: str, runs: list[dict[str, Any]] = runs) -> float:
            return median(run[part][score] if part == "test" else run["baselines"][part][score] for run in runs)

        line = f"{name:18} accuracy {middle('test', 'accuracy'):.4f}  macro-F1 {middle('test', 'macro_f1'):.4f}"
        line += f"  {median(run['seconds'] for run in runs):6.1f} s, {runs[0]['epochs']} epochs"
        line += f"  ECE {median(run['calibration']['error_before'] for run in runs):.3f}"
        line += f" -> {median(run['calibration']['error_after'] for run in runs):.3f}"
        for baseline in runs[0]["baselines"]:
            line += f" | {baseline} {middle(baseline, 'accuracy'):.4f}, {middle(baseline, 'macro_f1'):.4f}"
        bag = f" | bag of words {bag_of_words(data, test)}" if name == "sst2" and test is not None else ""
        print(line + bag, flush=True)


if __name__ == "__main__":
    main()
