"""Generating text from beginning to end: fit, test, generate; in Python, and under the command line."""

from __future__ import annotations

import operator
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, SupportsIndex

import torch

from elman.choices.generate import NETWORK, NOISE, RECIPE, GenerateConfig, Sampling
from elman.data import Alphabet, Ids, read_alphabet, write_ids
from elman.data.text.alphabet import LEVELS, RARE, Words
from elman.data.text.ids import Source, name_of
from elman.equations import Cell
from elman.errors import DataError, ElmanError
from elman.insight import Sample
from elman.jobs.config import NetworkConfig, picked
from elman.jobs.job import Job, JobRun
from elman.jobs.shown import generate as shown
from elman.metrics import NGrams, bits_per_char
from elman.tasks.generate import GenerateNetwork, GenerateTask, Written
from elman.training import History, Progress, Recipe, Run, checked

ORDER = 5  # of the n-grams a network stands beside
COUNTED = 5_000_000  # symbols they are counted in, the last of the training part
AT_ONCE = 1_000_000  # symbols of the test part they are compared with


class GenerateRun(JobRun):
    """config.json of a generating run; ``data`` is the text's name, alphabet and length."""

    task: str = "generate"
    generate: GenerateConfig


class Generator(Job[GenerateTask]):
    """A recurrent network that writes on.

    ``choices`` are the fields of :class:`GenerateConfig` (level, embedding, bptt, ...), of :class:`Recipe` (epochs,
    max_time, lr, ...), ``recurrent_dropout``, ``weight_drop`` and ``init`` of the network, and the options of the cell;
    ``options`` those of the cell again, where a name is one of the others'. ``dropout`` acts between layers. Raises
    :class:`ElmanError` for what is none of these.

    >>> generator = Generator("gru", hidden=16, layers=1, dropout=0, split=(100, 0, 0), epochs=100)
    >>> history = generator.fit(b"hello world")  # or the path of a file; bytes are a text themselves
    >>> text, state = generator.generate("he", length=4, temperature=0)
    >>> text, generator.generate("", length=5, temperature=0, state=state)[0]
    ('llo ', 'world')
    """

    kept_as = GenerateRun
    config: GenerateConfig

    def __init__(
        self,
        cell: str | Cell = NETWORK["cell"],
        hidden: int | Sequence[int] = NETWORK["hidden"],
        layers: int = NETWORK["layers"],
        *,
        dropout: float | None = None,
        options: Mapping[str, Any] | None = None,
        **choices: Any,
    ) -> None:
        generate, recipe = picked(choices, GenerateConfig), picked(choices, Recipe)
        noise = {k: v for k, v in choices.items() if k in NOISE}
        rest = {k: v for k, v in choices.items() if k not in (generate | recipe | noise)}
        usual = {k: v for k, v in RECIPE.items() if k != "epochs"} if recipe.get("max_time") else RECIPE
        self.config = checked(GenerateConfig, generate)
        self.recipe = checked(Recipe, usual | recipe)
        own = {**rest, **(options or {})}
        self.network = NetworkConfig.of(cell, hidden, layers, own, dropout=_between(dropout, hidden, layers), **noise)

    def fit(self, data: Source, run: str | os.PathLike[str] | None = None, report: Progress | None = None) -> History:
        """Train on a text.

        ``data`` is the path of a text in UTF-8 (or of any file, read as bytes), or the text as ``bytes``.

        With ``run`` everything is kept in that folder. Raises :class:`DataError` for a text that cannot be read,
        :class:`RunError` where ``run`` exists.
        """
        self.recipe.torch_device()  # refuses a device that is not there before anything is written
        alphabet, count = read_alphabet(data, self.config.level, self.config.words)
        facts = _facts(name_of(data), alphabet, count)
        self._model(alphabet)  # refuses sizes that do not fit likewise
        GenerateTask.parts(count, self.config, facts["source"])
        if run is None:
            self.run, self._folder = None, tempfile.TemporaryDirectory(prefix="elman-")
            path = Path(self._folder.name, "ids")
            write_ids(data, alphabet, path)
        else:
            self.run = Run.create(run, self._kept(data=facts), write=lambda path: write_ids(data, alphabet, path))
            path = self.run.path / "data.bin"
        self._task = self._build(path, alphabet, facts)
        return self._trained(report)

    def _restored(self, run: Run[GenerateRun]) -> GenerateTask:
        ids = run.large()
        return self._build(ids, _alphabet(self.config.level, run.config.data), run.config.data)

    def _model(self, alphabet: Alphabet) -> GenerateNetwork:
        with self._seeded():
            recurrent = self.network.recurrent(self.config.embedding or len(alphabet))
            return GenerateNetwork(len(alphabet), recurrent, self.config)

    def _build(self, path: Path, alphabet: Alphabet, facts: Mapping[str, Any]) -> GenerateTask:
        ids = Ids(path, facts["count"], len(alphabet))
        return GenerateTask(self._model(alphabet), ids, alphabet, self.config, self.recipe.batch, facts["source"])

    @property
    def model(self) -> GenerateNetwork:
        """The network. Raises :class:`ElmanError` before :meth:`fit`."""
        return self.task.model

    @property
    def notes(self) -> tuple[str, ...]:
        """What reading the text did that its user should know."""
        alphabet = self.task.alphabet
        if not isinstance(alphabet, Words) or alphabet.rare_length == 0:
            return ()
        return (f"words beyond the {len(alphabet) - 1} most frequent are read as {RARE}, and never written",)

    def test(self) -> dict[str, Any]:
        """Score the test part in nats per symbol and bits per character.

        Or the validation part, if there is no test part; beside n-grams counted in the training part. Raises
        :class:`DataError` if there is neither.

        >>> generator = Generator("rnn", hidden=4, layers=1, dropout=0, epochs=1)
        >>> history = generator.fit(b"to be or not to be, " * 50)
        >>> sorted(generator.test()["baselines"])
        ['ngram', 'unigram']
        """
        task, alphabet = self.task, self.task.alphabet
        name, part = ("test", task.test) if task.test else ("validation", task.validation)
        if not part:
            raise DataError("the split 100,0,0 leaves nothing to test on; train with another, such as 90,10,0")
        characters = _characters(task.ids, part, alphabet)

        def score(nats: float) -> dict[str, float]:
            return {"nats": nats / len(part), "bits_per_char": bits_per_char(nats, characters)}

        training = task.ids.block(max(0, task.train.stop - COUNTED), task.train.stop)
        baselines = {}
        for kind, order in (("unigram", 1), ("ngram", ORDER)):
            grams = NGrams(training, len(alphabet), order)
            baselines[kind] = score(_cost(grams, task.ids, part)) | {"order": grams.order}
        test_scores = score(task.nats(part))
        return {
            "task": "generate",
            "part": name,
            "symbols": len(part),
            "characters": characters,
            "test": test_scores,
            "baselines": baselines,
            "warnings": [
                f"{kind} does as well or better: {row['nats']:.4g} nats against {test_scores['nats']:.4g}"
                for kind, row in baselines.items()
                if test_scores["nats"] >= row["nats"]
            ],
        }

    @staticmethod
    def words(result: Mapping[str, Any]) -> list[str]:
        """What :meth:`test` gave, as a table."""
        return shown.words(result)

    def _loss_unit(self) -> tuple[str, ...]:
        return ("nats a symbol",)

    def _sample(self, steps: int | None) -> Sample:
        return shown.sample(self, steps)

    def write(
        self, prompt: str = "", length: int = 200, *, seed: int | None = None, state: Written | None = None, **how: Any
    ) -> Iterator[tuple[str, Written]]:
        """Generate one symbol at a time, as an iterator.

        Yields its text, which may be empty, and the state after it; otherwise as :meth:`generate`.
        """
        task, alphabet = self.task, self.task.alphabet
        sampling = checked(Sampling, how)
        if not isinstance(length, SupportsIndex) or operator.index(length) < 1:
            raise ElmanError(f"`length`: got {length!r}, want a whole number, 1 at least")
        try:
            ids = alphabet.ids(prompt).tolist()
        except DataError as error:
            raise DataError(f"`prompt`: {error}") from None
        if not ids and state is None:
            ids = self._beginning()
        written = task.write(ids, state, operator.index(length), sampling, _numbers(seed, state))
        return _as_text(alphabet, written)

    def generate(
        self, prompt: str = "", length: int = 200, *, seed: int | None = None, state: Written | None = None, **how: Any
    ) -> tuple[str, Written]:
        """Continue ``prompt`` by ``length`` symbols; return the text and the state.

        Each symbol is drawn from the probabilities and fed back; a further call continues from the state.
        ``how``: temperature, top_k, top_p, see :class:`Sampling`.

        ``seed`` is of what is drawn; without it the numbers go on with the state's, or begin at seed 0. Without a
        prompt a text begins after a line's end, or as the training text began. Raises :class:`DataError` naming a
        character of the prompt that is not known.
        """
        texts, end = [], state
        for text, end in self.write(prompt, length, seed=seed, state=state, **how):  # noqa: B007
            texts.append(text)
        assert end is not None
        return "".join(texts), end

    def _beginning(self) -> list[int]:
        try:
            return self.task.alphabet.ids("\n").tolist()
        except DataError:
            return self.task.ids.block(0, 1).tolist()


def _between(dropout: float | None, hidden: Any, layers: Any) -> float:
    """The usual dropout acts between layers, and is none where there is one layer."""
    if dropout is not None:
        return dropout
    several = layers != 1 or (isinstance(hidden, Sequence) and len(hidden) > 1)
    return NETWORK["dropout"] if several else 0.0


def _facts(source: str, alphabet: Alphabet, count: int) -> dict[str, Any]:
    rare = {"rare_length": alphabet.rare_length} if isinstance(alphabet, Words) else {}
    return {"source": source, "count": count, "tokens": list(alphabet.tokens), **rare}


def _alphabet(level: str, facts: Mapping[str, Any]) -> Alphabet:
    if level == Words.level:
        return Words(facts["tokens"], facts["rare_length"])
    return LEVELS[level](facts["tokens"])


def _blocks(part: range) -> Iterator[range]:
    return (part[k : k + AT_ONCE] for k in range(0, len(part), AT_ONCE))


def _characters(ids: Ids, part: range, alphabet: Alphabet) -> float:
    lengths = alphabet.lengths
    return float(sum(lengths[ids.block(block.start, block.stop)].sum() for block in _blocks(part)))


def _cost(grams: NGrams, ids: Ids, part: range) -> float:
    before = grams.order - 1
    starts = ((max(0, block.start - before), block) for block in _blocks(part))
    return sum(grams.nats(ids.block(start, block.stop), block.start - start) for start, block in starts)


def _numbers(seed: int | None, state: Written | None) -> torch.Generator:
    numbers = torch.Generator()
    if seed is None and state is not None:
        return numbers.set_state(state.random)
    return numbers.manual_seed(seed or 0)


def _as_text(alphabet: Alphabet, written: Iterator[tuple[int, Written]]) -> Iterator[tuple[str, Written]]:
    """What was written, as text: bytes of one character come as that character."""
    states: list[Written] = []

    def ids() -> Iterator[int]:
        for symbol, state in written:
            states[:] = [state]
            yield symbol

    for piece in alphabet.text(ids()):
        yield piece, states[0]
