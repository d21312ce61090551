"""Classifying sequences from beginning to end: fit, test, predict; in Python, and under the command line."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator

from elman.choices.classify import CELL, HIDDEN, MOST_EPOCHS, RECIPE, SIZES, STEPS, ClassifyConfig
from elman.data import Labelled, Parted, Scaler, Vocabulary, parted, read_labelled
from elman.data.labelled.parts import content, digest
from elman.data.labelled.shards import facts_of, kept, opened
from elman.data.labelled.stored import StoredSequences, chosen_of
from elman.data.text.vocabulary import LEVELS
from elman.equations import Cell
from elman.errors import DataError
from elman.insight import Sample
from elman.jobs.config import NetworkConfig, picked
from elman.jobs.job import Job, JobRun
from elman.jobs.shown import classify as shown
from elman.jobs.weighing import Weighing
from elman.metrics import (
    by_class,
    calibration_error,
    classification_scores,
    confusion,
    majority,
    softmax,
)
from elman.tasks.classify import ClassifyNetwork, ClassifyTask
from elman.training import History, Progress, Recipe, Run, checked
from elman.training.run import LARGE

Array = NDArray[np.float64]
PARTS = ("train", "validation", "test")
SEPARATOR = "\x1f"  # a blank, which no word holds; of characters each is a token


class ClassifyRun(JobRun):
    """config.json of a classifying run."""

    task: str = "classify"
    classify: ClassifyConfig
    reader: dict[str, Any]

    @model_validator(mode="before")
    @classmethod
    def _of_an_older_elman(cls, values: Any) -> Any:
        """A run from before there were naive Bayes and a shift towards rare classes has neither."""
        own = values.get("classify") if isinstance(values, dict) else None
        if isinstance(own, dict) and "prior_shift" not in own:
            return values | {"classify": {"prior_shift": 0.0, "network_alone": True} | own}
        return values


@dataclass(frozen=True)
class Prediction:
    """``labels`` (n) and the ``probabilities`` (n, K) of the ``classes`` (K)."""

    labels: tuple[str, ...]
    probabilities: Array
    classes: tuple[str, ...]


@dataclass(frozen=True)
class TestPart:
    """The ``logits`` (n, K) of the test part, its ``truth`` (n,), and the temperature found in training."""

    __test__ = False  # pytest: this is no test

    logits: Array
    truth: NDArray[np.int64]
    temperature: float

    @property
    def prediction(self) -> NDArray[np.int64]:
        """The likeliest class of each, (n,)."""
        return self.logits.argmax(1)

    @property
    def counts(self) -> NDArray[np.int64]:
        """The confusion, (K, K)."""
        return confusion(self.prediction, self.truth, self.logits.shape[1])


class Classifier(Job[ClassifyTask]):
    """A recurrent network that classifies sequences: texts or numbers, of any lengths.

    ``choices`` are the fields of :class:`ClassifyConfig` (level, pooling, split, ...), of :class:`Recipe` (epochs,
    batch, lr, ...), and the options of the cell; ``options`` those of the cell again, where a name is one of the
    others'. ``epochs`` not given are as many as make 1500 steps, 8 to 400; of texts of characters 12 at least, in
    batches of 64. Raises :class:`ElmanError` for what is none of these.

    >>> classifier = Classifier("gru", hidden=8, epochs=8, batch=2, split=(100, 0, 0), lr=0.03)
    >>> history = classifier.fit((["abab", "ba", "abba", "xyx", "yy", "xxy"], ["ab", "ab", "ab", "xy", "xy", "xy"]))
    >>> classifier.predict(["bab", "yx"]).labels
    ('ab', 'xy')
    """

    kept_as = ClassifyRun
    config: ClassifyConfig
    given = frozenset(Recipe.model_fields)  # of the recipe; a run's is whole
    _weighing: Weighing | None = None

    def __init__(
        self,
        cell: str | Cell = CELL,
        hidden: int | Sequence[int] = HIDDEN,
        layers: int = 1,
        *,
        dropout: float = 0.0,
        options: Mapping[str, Any] | None = None,
        **choices: Any,
    ) -> None:
        classify, recipe = picked(choices, ClassifyConfig), picked(choices, Recipe)
        rest = {k: v for k, v in choices.items() if k not in classify and k not in recipe}
        self.config = checked(ClassifyConfig, classify)
        self.recipe = checked(Recipe, RECIPE.model_dump() | recipe)
        self.given = frozenset(recipe)
        both = self.config.directions == 2
        own = {**rest, **(options or {})}
        self.network = NetworkConfig.of(cell, hidden, layers, own, dropout=dropout, bidirectional=both)

    def fit(
        self,
        data: Any,
        run: str | os.PathLike[str] | None = None,
        report: Progress | None = None,
        *,
        validation: Any = None,
        test: Any = None,
        **reading: Any,
    ) -> History:
        """Train on labelled sequences.

        ``data`` is a file or folder, a dataframe, sequences and their labels as a pair, or a
        :class:`elman.data.Labelled`. ``validation`` and ``test`` may be data of their own.

        ``reading`` (sequence, label, id) says how to read them. With ``run`` everything is kept in that folder.
        Raises :class:`DataError` for data that cannot be read, :class:`RunError` where ``run`` exists.
        """
        self.recipe.torch_device()  # refuses a device that is not there before anything is written
        if run is not None:
            reading["beside"] = Path(run).absolute().parent
        whole = as_labelled(data, **reading)
        others = {name: None if other is None else as_labelled(other, **reading) for name, other in
                  (("validation", validation), ("test", test))}  # fmt: skip
        key = self._content if whole.is_text else content
        parts = parted(whole, self.config.split, self.recipe.seed, key, **others)
        if not whole.is_text:
            self.config = self.config.of_numbers()
        self._settle(self.config.level if whole.is_text else "numbers", len(parts.train))
        reader = ClassifyTask.fit_reader(parts, self.config)
        task = self._build(parts, parts.data.classes, reader)
        self.run = None if run is None else self._create(run, task)
        self._task = task
        return self._trained(report)

    def _create(self, run: str | os.PathLike[str], task: ClassifyTask) -> Run[Any]:
        parts, reader = task.parts, task.reader.to_dict()
        if isinstance(parts.data.sequences, StoredSequences):
            facts = facts_of(parts.data)
            made = Run.create(run, self._kept(data=facts, reader=reader), write=partial(kept, parts))
            task.moved(opened(made.path / LARGE, facts))
            return made
        arrays, facts = parts.data.to_arrays()
        arrays |= {name: getattr(parts, name) for name in PARTS}
        return Run.create(run, self._kept(data=facts, reader=reader), arrays)

    def _settle(self, kind: str, sequences: int) -> None:
        """Complete the recipe by what is usual of this kind and number of sequences."""
        batch, fewest = SIZES[kind]
        batch = self.recipe.batch if "batch" in self.given else batch
        epochs = self.recipe.epochs if "epochs" in self.given else default_epochs(sequences, batch, fewest)
        self.recipe = self.recipe.model_copy(update={"batch": batch, "epochs": epochs})

    def _content(self, text: str) -> bytes:
        """Texts are the same when the network reads them as the same."""
        return digest(SEPARATOR.join(LEVELS[self.config.level](text)).encode())

    def _conclude(self) -> bool:
        self.weighing.calibrate()
        return True

    def _restored(self, run: Run[ClassifyRun]) -> ClassifyTask:
        facts = run.config.reader
        if "count" in run.config.data:
            parts = opened(run.large(), run.config.data)
        else:
            arrays = run.arrays()
            parts = Parted(Labelled.from_arrays(arrays, run.config.data), *(arrays[name] for name in PARTS))
        reader = Vocabulary.from_dict(facts) if "tokens" in facts else Scaler.from_dict(facts)
        return self._build(parts, run.config.data["classes"], reader)

    def _build(self, parts: Parted, classes: Sequence[str], reader: Vocabulary | Scaler) -> ClassifyTask:
        tokens, runs = (len(reader.tokens) + 1, len(reader.runs)) if isinstance(reader, Vocabulary) else (0, 0)
        with self._seeded():
            recurrent = self.network.recurrent(self.config.embedding if tokens else parts.data.channels)
            model = ClassifyNetwork(recurrent, len(classes), self.config, tokens, runs)
        return ClassifyTask(model, parts, classes, reader, self.config, self.recipe.batch)

    @property
    def weighing(self) -> Weighing:
        """How logits become probabilities, with naive Bayes where it counts.

        Raises :class:`ElmanError` before :meth:`fit`.
        """
        if self._weighing is None or self._weighing.task is not self.task:
            self._weighing = Weighing(self.task)
        return self._weighing

    @property
    def model(self) -> ClassifyNetwork:
        """The network. Raises :class:`ElmanError` before :meth:`fit`."""
        return self.task.model

    @property
    def classes(self) -> tuple[str, ...]:
        """The labels it tells apart, in the order of the probabilities."""
        return self.task.classes

    @property
    def notes(self) -> tuple[str, ...]:
        """What reading and sharing out the data did that its user should know."""
        return tuple(self.task.parts.data.notes)

    def test_part(self) -> TestPart:
        """Compute the logits of the test part, for comparison with the truth.

        Raises :class:`DataError` if there is no test part.
        """
        task = self.task
        part = task.parts.test
        if not len(part):
            raise DataError("there is no test part; train with `test=FILE`, or a split such as 80,10,10")
        logits = self.weighing.logits(chosen_of(task.parts.data.sequences, part))
        return TestPart(logits, task.truth[part], self.weighing.temperature)

    def test(self) -> dict[str, Any]:
        """Score the test part beside plain baselines, over all and by class.

        With the confusion matrix and the calibration error.
        """
        task, part = self.task, self.test_part()
        test_scores = classification_scores(part.prediction, part.truth, len(self.classes))
        table = by_class(part.counts)
        errors = [calibration_error(softmax(part.logits / t), part.truth) for t in (1.0, part.temperature)]
        baselines = {
            name: classification_scores(prediction, part.truth, len(self.classes))
            for name, prediction in self._baselines(task).items()
        }
        return {
            "task": "classify",
            "test": {**test_scores, "calibration_error": errors[1]},
            "sequences": len(part.truth),
            "baselines": baselines,
            "calibration": {"temperature": part.temperature, "error_before": errors[0], "error_after": errors[1]},
            "classes": {name: {k: float(v[i]) for k, v in table.items()} for i, name in enumerate(self.classes)},
            "confusion": part.counts.tolist(),
            "warnings": _warnings(test_scores, baselines),
        }

    @staticmethod
    def words(result: Mapping[str, Any]) -> list[str]:
        """What :meth:`test` gave, as a table."""
        return shown.words(result)

    def _pictures(self, folder: Path, kind: str, steps: int) -> dict[str, Path]:
        return super()._pictures(folder, kind, steps) | shown.pictures(self, folder, kind)

    def _loss_unit(self) -> tuple[str, ...]:
        best = self.config.best
        return ("cross entropy, nats" + ("" if best == "loss" else f"; validation: 1 - {best.replace('_', ' ')}"),)

    def _sample(self, steps: int | None) -> Sample:
        return shown.sample(self, steps)

    def _baselines(self, task: ClassifyTask) -> dict[str, NDArray[np.int64]]:
        """What plain means predict of the test part, learned from the training part."""
        data, parts = task.parts.data, task.parts
        predictions = {"majority": majority(task.truth[parts.train], len(parts.test))}
        scores = self.weighing.bayes_of(chosen_of(data.sequences, parts.test))
        return predictions if scores is None else predictions | {"naive_bayes": scores.argmax(axis=1)}

    def predict(self, sequences: Sequence[Any]) -> Prediction:
        """Classify ``sequences``: labels and calibrated probabilities.

        Each is a text, or numbers (T,) or (T, C).

        Raises :class:`DataError` where they are not of the kind trained on.
        """
        task = self.task
        trained = task.parts.data
        if isinstance(sequences, str):
            raise DataError(f"got one text, want a list of them: [{sequences[:40]!r}]")
        data = Labelled(sequences, [""] * len(sequences))
        if (data.is_text, data.channels) != (trained.is_text, trained.channels):
            raise DataError(f"{data.source}: got {data.kind}; this network was trained on {trained.kind}")
        logits = self.weighing.logits(data.sequences)
        probabilities = softmax(logits / self.weighing.temperature)
        return Prediction(tuple(task.classes[i] for i in logits.argmax(1)), probabilities, task.classes)


def default_epochs(sequences: int, batch: int, fewest: int = 8) -> int:
    """As many epochs as make about :data:`STEPS` steps of ``batch``, from ``fewest`` to :data:`MOST_EPOCHS`.

    >>> default_epochs(50, 32), default_epochs(100_000, 32)
    (400, 8)
    """
    return min(max(round(STEPS * batch / sequences), fewest), MOST_EPOCHS)


def as_labelled(data: Any, **reading: Any) -> Labelled:
    """``data`` as it is, from a pair of sequences and labels, or read by :func:`elman.data.read_labelled`."""
    if not isinstance(data, Labelled | tuple):
        return read_labelled(data, **reading)
    reading.pop("beside", None)
    if reading:
        raise DataError(f"{', '.join(reading)}: says how to read a file or a dataframe, and this is neither")
    if isinstance(data, Labelled):
        return data
    if len(data) != 2:
        raise DataError(f"got a tuple of {len(data)}; want (sequences, labels)")
    sequences, labels = data
    return Labelled(list(sequences), [str(label) for label in labels])


def _warnings(test_scores: Mapping[str, float], baselines: Mapping[str, Mapping[str, float]]) -> list[str]:
    return [
        f"{name.replace('_', ' ')} does as well or better: "
        f"accuracy {score['accuracy']:.4f} against {test_scores['accuracy']:.4f}"
        for name, score in baselines.items()
        if score["accuracy"] >= test_scores["accuracy"]
    ]
