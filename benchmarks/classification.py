"""Classification on public data, by a few plain options: medians over seeds, beside baselines, with wall times.

Names of 18 languages (a split a seed), SST-2 sentences (train and dev files), three of the UCR/UEA archive (train and
test files). The bag of words is scikit-learn's logistic regression, where that is installed.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any

from elman.data import read_labelled
from elman.jobs import Classifier

DATA = Path(os.environ.get("ELMAN_DATA", "../shared/data"))
UCR = ("GunPoint", "ItalyPowerDemand", "BasicMotions")


def cases() -> Iterator[tuple[str, Path, Path | None, dict[str, Any]]]:
    """Name, data, test file, and the options a person gives."""
    dropped = {"head_dropout": 0.5, "token_dropout": 0.1}
    yield "names", DATA / "names", None, dropped | {"smoothing": 0.1, "batch": 64, "epochs": 12}
    yield "sst2", DATA / "sst2" / "train.txt", DATA / "sst2" / "dev.txt", {"level": "word"}
    for name in UCR:
        folder = DATA / "ucr"
        yield name, folder / f"{name}_TRAIN.ts", folder / f"{name}_TEST.ts", {"split": (100, 0, 0)}


def bag_of_words(train: Path, test: Path) -> float | None:
    """The accuracy of logistic regression on words and pairs of words; None where scikit-learn is not installed."""
    try:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
    except ImportError:
        return None
    learnt, asked = read_labelled(train), read_labelled(test)
    vectors = TfidfVectorizer(ngram_range=(1, 2), token_pattern=r"\S+", sublinear_tf=True)
    model = LogisticRegression(C=10, max_iter=1000).fit(vectors.fit_transform(learnt.sequences), learnt.labels)
    return float(model.score(vectors.transform(asked.sequences), asked.labels))


def measure(data: Path, test: Path | None, options: dict[str, Any], seed: int) -> dict[str, Any]:
    """Train once and test; the seconds are all of `fit`, reading included."""
    classifier = Classifier(seed=seed, **options)
    begun = time.perf_counter()
    history = classifier.fit(data, test=test)
    return classifier.test() | {"seconds": time.perf_counter() - begun, "epochs": history.epochs}


def main() -> None:
    """Print a table: a line a data set."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("only", nargs="*", help="data sets; all where none is named")
    parser.add_argument("--seeds", type=int, default=3)
    chosen = parser.parse_args()
    for name, data, test, options in cases():
        if chosen.only and name not in chosen.only:
            continue
        runs = []
        for seed in range(chosen.seeds):
            runs.append(measure(data, test, options, seed))
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
        bag = bag_of_words(data, test) if name == "sst2" and test is not None else None
        print(line + (f" | bag of words {bag:.4f}" if bag else ""), flush=True)


if __name__ == "__main__":
    main()
