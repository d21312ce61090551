"""Pictures of insight: what stands in them is what was measured, whatever the numbers are."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from matplotlib.image import imread

import elman
from elman import pictures
from elman.errors import ElmanError, ShapeError
from elman.insight import Activity, Memory, activity, compare_memory, gradient_flow, gradient_shares


@pytest.fixture
def drawn(monkeypatch):
    """The figures as they are saved."""
    kept = []
    for module in ("insights", "texts"):
        real = getattr(pictures, module).save
        monkeypatch.setattr(
            f"elman.pictures.{module}.save",
            lambda figure, path, real=real: (kept.append(figure), real(figure, path))[1],
        )
    return kept


def layer(cell="lstm", **options):
    torch.manual_seed(0)
    return elman.Recurrent(cell, 2, 6, **options)


def texts(figure):
    return [text.get_text() for axis in figure.axes for text in axis.texts]


@pytest.mark.full
@pytest.mark.parametrize("ending", ["png", "svg"])
def test_every_picture_is_written(tmp_path, ending):
    net, x = layer(), torch.randn(20, 2, 2)
    paths = [
        pictures.draw_gradient_flow(tmp_path / f"a.{ending}", gradient_flow(net, x).heat, "flow"),
        pictures.draw_memories(tmp_path / f"b.{ending}", compare_memory({"lstm": net}, x), "memory"),
        pictures.draw_activity(tmp_path / f"c.{ending}", activity(net, x)[0][0], "gates", row=1),
        pictures.draw_shares(tmp_path / f"d.{ending}", {"lstm": gradient_shares(net, x)}, "shares"),
        pictures.draw_text(tmp_path / f"e.{ending}", list("a b$c$\n"), torch.randn(7), "text", "unit 1"),
    ]
    for path in paths:
        assert path.stat().st_size > 2000
        if ending == "png":
            image = imread(path)[..., :3]
            assert (image.std((0, 1)) > 0.05).all()  # it is not blank
    with pytest.raises(ElmanError, match="pictures are"):
        pictures.draw_gradient_flow(tmp_path / "a.gif", torch.eye(2), "flow")


def test_the_heat_map_shows_the_norms(tmp_path, drawn):
    heat = gradient_flow(layer(), torch.randn(20, 2, 2)).heat
    pictures.draw_gradient_flow(tmp_path / "a.png", heat, "flow", "h_slow")
    (image,) = drawn[0].axes[0].images
    shown = image.get_array()
    np.testing.assert_allclose(shown.filled(0.0), heat.numpy())
    assert shown.mask.sum() == 20 * 19 / 2
    assert "h_slow" in drawn[0].axes[1].get_ylabel()


@pytest.mark.parametrize("heat", [torch.zeros(5, 5), torch.eye(1), torch.tensor([[1.0, 0.0], [1e-300, 1.0]])])
def test_heat_maps_of_nothing_of_one_step_and_of_all_sizes(tmp_path, heat):
    assert pictures.draw_gradient_flow(tmp_path / "a.png", heat, "flow").exists()


def test_memories_name_each_network_and_its_length(tmp_path, drawn):
    reach = {
        f"net {i} $x$": Memory(0.5 ** torch.arange(40).double().unsqueeze(0) ** (1 / (i + 1)), 0.01) for i in range(12)
    }
    reach["none"] = Memory(torch.zeros(3, 40), 0.01)
    pictures.draw_memories(tmp_path / "a.png", reach, "memory")
    labels = [text.get_text() for legend in drawn[0].legends for text in legend.get_texts()]
    assert labels[0] == "net 0 $x$: 6 steps"
    assert labels[11].endswith("39 steps or more")
    assert labels[12] == "none: 0 steps"
    styles = {(line.get_color(), line.get_linestyle()) for line in drawn[0].axes[0].lines[: 2 * 12 : 2]}
    assert len(styles) == 12


def test_activity_leaves_out_what_is_over_and_scales_by_the_bounds(tmp_path, drawn):
    found = activity(layer(), torch.randn(20, 2, 2), lengths=torch.tensor([20, 5]))[0][0]
    pictures.draw_activity(tmp_path / "a.png", found, "gates", row=1)
    panels = dict(zip(found, drawn[0].axes[: len(found)], strict=True))
    for name, axis in panels.items():
        (image,) = axis.images
        assert axis.get_ylabel().startswith(name)
        assert image.get_array().mask[:, 5:].all()
        np.testing.assert_allclose(image.get_array()[:, :5], found[name].values[:5, 1].T.numpy())
        low, high = image.get_clim()
        assert (low, high) == ((0, 1) if name in "ifo" else (-1, 1) if name == "g" else (-high, high))


def test_activity_of_relus_and_of_nothing_that_moves(tmp_path, drawn):
    values = torch.zeros(4, 1, 1)
    running = torch.ones(4, 1, dtype=torch.bool)
    found = {
        "relu": Activity("relu", values + 2, running, (0.0, math.inf)),
        "still": Activity("still", values, running, (-math.inf, math.inf)),
    }
    pictures.draw_activity(tmp_path / "a.png", found, "still")
    assert [axis.images[0].get_clim() for axis in drawn[0].axes[:2]] == [(0, 2), (-1, 1)]


def test_text_is_laid_out_in_lines(tmp_path, drawn):
    text = "two words\n" + "x" * 100
    values = torch.linspace(-2, 2, len(text))
    pictures.draw_text(tmp_path / "a.png", list(text), values, "text", "unit 1")
    shown = texts(drawn[0])
    assert "".join(shown) == "two·words↵" + "x" * 100
    heights = [t.get_position()[1] for t in drawn[0].axes[0].texts]
    assert len(set(heights)) == 3
    assert heights[9] < heights[10] == heights[81] < heights[82]
    assert drawn[0].axes[1].get_ylim() == (-2, 2)


def test_words_do_not_touch(tmp_path, drawn):
    pictures.draw_text(tmp_path / "a.png", ["one", "two"], [0.0, 1.0], "text", "f, unit 0", (0.0, 1.0))
    first, second = drawn[0].axes[0].patches
    assert first.get_x() + first.get_width() < second.get_x()
    with pytest.raises(ShapeError, match=r"want one a token: \(2,\)"):
        pictures.draw_text(tmp_path / "a.png", ["one", "two"], [0.0], "text", "unit")


def test_steps_are_called_by_their_numbers(tmp_path, drawn):
    heat = gradient_flow(layer(), torch.randn(20, 2, 2)).heat
    pictures.draw_gradient_flow(tmp_path / "a.png", heat, "flow", first=281)
    assert drawn[0].axes[0].images[0].get_extent() == [280.5, 300.5, 300.5, 280.5]
    pictures.draw_activity(tmp_path / "b.png", activity(layer(), torch.randn(20, 2, 2))[0][0], "gates")
    assert drawn[1].axes[0].images[0].get_extent() == [0.5, 20.5, 5.5, -0.5]


def test_the_loss_of_one_step_alone_is_a_line(tmp_path, drawn):
    weight = torch.zeros(20, 2, 6)
    weight[12] = 1.0
    heat = gradient_flow(layer(), torch.randn(20, 2, 2), weight).heat
    pictures.draw_gradient_flow(tmp_path / "a.png", heat, "flow", first=101)
    (axis,) = drawn[0].axes
    (line,) = axis.lines
    np.testing.assert_array_equal(line.get_xdata(), np.arange(101, 121))
    np.testing.assert_allclose(line.get_ydata().filled(0.0), heat[12].numpy())
    assert axis.get_ylabel().endswith("t = 113")


def test_attribution_names_the_largest_by_step_and_label(tmp_path, drawn):
    mass = [0.01] * 40
    mass[4], mass[5], mass[30] = 0.3, 0.2, 0.12
    pictures.draw_attribution(tmp_path / "a.png", mass, "which", [f"word {t}" for t in range(40)])
    assert texts(drawn[0]) == ["5 'word 4': 30 %", "31 'word 30': 12 %"]  # the sixth is too near to the fifth
    (lines,) = drawn[0].axes[0].collections
    ends = np.array([segment[1] for segment in lines.get_segments()])
    np.testing.assert_allclose(ends, np.stack([np.arange(1, 41), 100 * np.array(mass)], 1))


def test_an_attribution_of_nothing(tmp_path, drawn):
    pictures.draw_attribution(tmp_path / "a.png", [None, None], "none")
    assert not texts(drawn[0])
    assert drawn[0].axes[0].get_ylim() == (0, 100)
