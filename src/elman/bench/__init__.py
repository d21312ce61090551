"""Measuring speed: ratios to named peers, taken in one run."""

from elman.bench.cases import GRID, MODES, QUICK, Shape, flops
from elman.bench.measure import Plan, interleave, measure, median_of, ratio
from elman.bench.peak import peak_gflops
from elman.bench.peers import PEERS
from elman.bench.tables import catalogue_table, table

__all__ = [
    "GRID",
    "MODES",
    "PEERS",
    "QUICK",
    "Plan",
    "Shape",
    "catalogue_table",
    "flops",
    "interleave",
    "measure",
    "median_of",
    "peak_gflops",
    "ratio",
    "table",
]
