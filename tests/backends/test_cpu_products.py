"""The product behind the weights' gradients, by itself: as its benchmark calls it, against float64."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "products.py"


@pytest.fixture(scope="module")
def benchmark():
    spec = importlib.util.spec_from_file_location("products_benchmark", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("sizes", [(3, 5, 7, 9), (2, 300, 12, 33), (40, 7, 64, 20)], ids=str)
def test_it_is_the_product(benchmark, sizes):
    B, T, n, m = sizes
    torch.manual_seed(0)
    columns, operand = torch.randn(T, B, m), torch.randn(T, B, n)
    expected = torch.mm(columns.flatten(0, 1).double().t(), operand.flatten(0, 1).double())
    result = benchmark.ours(columns, operand)()
    assert result.shape == (m, n)
    assert (result - expected).abs().max() < 1e-5 * expected.abs().max()
