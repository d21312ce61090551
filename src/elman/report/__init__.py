"""A run explained: its numbers, their pictures, and one page of both that needs no network."""

from elman.insight import Sample
from elman.report.beside import compare
from elman.report.drawing import draw
from elman.report.facts import Explanation, explain
from elman.report.page import write_page
from elman.report.sections import lines
from elman.report.walk import walk

__all__ = ["Explanation", "Sample", "compare", "draw", "explain", "lines", "walk", "write_page"]
