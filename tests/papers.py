"""The catalogue's cells as their papers write them, in numpy and float64: the truth that ours are held to.

Each function is one step for one batch, ``step(w, x, *states, **more) -> (output, new states)``. ``w`` is the
reader of a layer's parameters by projection and operand (see :class:`Weights`), and the comment above each is the
paper's formula. Nothing of elman is used: the transcription must be able to disagree.
"""

from __future__ import annotations

import numpy as np


class Weights:
    """A layer's parameters, read by name: ``w.W("f", "x")`` are the rows f of the weight for x."""

    def __init__(self, tables):
        self.tables = tables  # parameter -> {projection: rows}

    def W(self, projection, operand):
        """The matrix of ``projection`` for ``operand``: x, a state, or "" for a computed value ("2": a second)."""
        names = {"x": "weight_ih", "": f"weight_{projection}", "2": f"weight_{projection}_2"}
        return self.tables[names.get(operand, f"weight_{operand}h")][projection]

    def b(self, projection):
        """The bias of ``projection``: with one for each operand, their sum."""
        found = [
            rows[projection] for name, rows in self.tables.items() if name.startswith("bias") and projection in rows
        ]
        return sum(found)

    def v(self, name):
        """A learned vector."""
        return self.tables[f"vector_{name}"][name]


def sigmoid(a):
    return 0.5 * (1 + np.tanh(0.5 * a))


def softplus(a):
    return np.maximum(a, 0) + np.log1p(np.exp(-np.abs(a)))


def relu(a):
    return np.where(a > 0, a, 0.0)


tanh, exp = np.tanh, np.exp
ACTIVATION = {
    "tanh": tanh, "relu": relu, "sigmoid": sigmoid, "identity": lambda a: a, "silu": lambda a: a * sigmoid(a),
    "lecun": lambda a: 1.7159 * tanh(0.6666666666666666 * a),
}  # fmt: skip


def affine(w, name, x, h, state="h"):
    """W x + U h + b."""
    return x @ w.W(name, "x").T + h @ w.W(name, state).T + w.b(name)


# Elman 1990: h = f(W x + U h' + b)
def rnn(w, x, h, nonlinearity="tanh"):
    h = ACTIVATION[nonlinearity](affine(w, "h", x, h))
    return h, (h,)


# Jordan 1986: h = f(W x + U y' + b), y = g(V h + c)
def jordan(w, x, y, nonlinearity="tanh", output="identity"):
    h = ACTIVATION[nonlinearity](affine(w, "h", x, y, "y"))
    y = ACTIVATION[output](h @ w.W("y", "").T + w.b("y"))
    return y, (y,)


# Li et al. 2018, eq. 2: h = relu(W x + u * h' + b)
def indrnn(w, x, h, nonlinearity="relu"):
    h = ACTIVATION[nonlinearity](x @ w.W("h", "x").T + w.v("u") * h + w.b("h"))
    return h, (h,)


# Mikolov et al. 2015, eq. 5 to 7: s = (1 - a) B x + a s', h = sigmoid(P s + A x + R h'), y = U h + V s
def scrn(w, x, h, s, alpha=0.95):
    s = (1 - alpha) * (x @ w.W("s", "x").T) + alpha * s
    h = sigmoid(s @ w.W("h", "").T + x @ w.W("h", "x").T + h @ w.W("h", "h").T + w.b("h"))
    return h @ w.W("y", "").T + s @ w.W("y", "2").T + w.b("y"), (h, s)


# Gers et al. 2000: i, f, o = sigmoid(...), g = tanh(...), c = f c' + i g, h = o tanh(c)
def lstm(w, x, h, c):
    i, f, o = (sigmoid(affine(w, k, x, h)) for k in "ifo")
    c = f * c + i * tanh(affine(w, "g", x, h))
    h = o * tanh(c)
    return h, (h, c)


# Sak et al. 2014: m = o tanh(c), r = W_rm m; r is fed back and put out
def lstm_projected(w, x, r, c):
    m, (_, c) = lstm(w, x, r, c)
    r = m @ w.W("hr", "r" if "weight_rh" in w.tables else "").T
    return r, (r, c)


# Gers et al. 2002: i, f see c', o sees c; i = sigmoid(W x + U h' + w_ci c' + b)
def peephole(w, x, h, c):
    i = sigmoid(affine(w, "i", x, h) + w.v("ci") * c)
    f = sigmoid(affine(w, "f", x, h) + w.v("cf") * c)
    c = f * c + i * tanh(affine(w, "g", x, h))
    o = sigmoid(affine(w, "o", x, h) + w.v("co") * c)
    h = o * tanh(c)
    return h, (h, c)


# Greff et al. 2017, CIFG: an LSTM with i = 1 - f
def coupled_lstm(w, x, h, c):
    f, o = sigmoid(affine(w, "f", x, h)), sigmoid(affine(w, "o", x, h))
    i = 1 - f
    c = f * c + i * tanh(affine(w, "g", x, h))
    h = o * tanh(c)
    return h, (h, c)


# Ba et al. 2016, eq. 20 to 22: (f, i, o, g) = LN(W_h h'; a1) + LN(W_x x; a2) + b, with LN over the 4 H numbers;
# c = sigmoid(f) c' + sigmoid(i) tanh(g), h = sigmoid(o) tanh(LN(c; a3, b3))
def layer_norm_lstm(w, x, h, c, epsilon=1e-5):
    def ln(a):
        return (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + epsilon)

    from_x = ln(np.concatenate([x @ w.W("x" + k, "x").T for k in "fiog"], -1))
    from_h = ln(np.concatenate([h @ w.W("h" + k, "h").T for k in "fiog"], -1))
    a1 = 1 + np.concatenate([w.v("beta_" + k) for k in "fiog"])
    a2 = 1 + np.concatenate([w.v("alpha_" + k) for k in "fiog"])
    b = np.concatenate([w.v("b_" + k) for k in "fiog"])
    f, i, o, g = np.split(a1 * from_h + a2 * from_x + b, 4, -1)
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh((1 + w.v("alpha_c")) * ln(c) + w.v("b_c"))
    return h, (h, c)


# Krause et al. 2016, eq. 15 to 19: m = (W_mx x) * (W_mh h'), and an LSTM that sees m where it saw h'
def multiplicative_lstm(w, x, h, c):
    m = (x @ w.W("mx", "x").T) * (h @ w.W("mh", "h").T)
    i, f, o, g = (x @ w.W(k, "x").T + m @ w.W(k, "").T + w.b(k) for k in "ifog")
    c = sigmoid(f) * c + sigmoid(i) * tanh(g)
    h = sigmoid(o) * tanh(c)
    return h, (h, c)


# van der Westhuizen & Lasenby 2018, eq. 13 to 17: s = U_f h' + W_f x + b_f, n = tanh(U_c h' + W_c x + b_c),
# c = sigmoid(s) c' + (1 - sigmoid(s - beta)) n, h = c
def janet(w, x, h, beta=1.0):
    s, n = affine(w, "f", x, h), tanh(affine(w, "c", x, h))
    h = sigmoid(s) * h + (1 - sigmoid(s - beta)) * n
    return h, (h,)


# cuDNN's: r, z = sigmoid(...), n = tanh(W x + b + r (U h' + b_u)), h = (1 - z) n + z h'
def gru(w, x, h):
    r, z = sigmoid(affine(w, "r", x, h)), sigmoid(affine(w, "z", x, h))
    n = tanh(x @ w.W("n", "x").T + w.b("n") + r * (h @ w.W("u", "h").T + w.b("u")))
    h = (1 - z) * n + z * h
    return h, (h,)


# Cho et al. 2014, eq. 5 to 8: n = tanh(W x + U (r h')), h = z h' + (1 - z) n
def gru_cho(w, x, h):
    r, z = sigmoid(affine(w, "r", x, h)), sigmoid(affine(w, "z", x, h))
    n = tanh(x @ w.W("n", "x").T + (r * h) @ w.W("n", "").T + w.b("n"))
    h = z * h + (1 - z) * n
    return h, (h,)


# Zhou et al. 2016, eq. 5: f = sigmoid(W_f [h', x] + b_f), n = tanh(W_h [f h', x] + b_h), h = (1 - f) h' + f n
def mgu(w, x, h):
    f = sigmoid(affine(w, "f", x, h))
    n = tanh((f * h) @ w.W("n", "").T + x @ w.W("n", "x").T + w.b("n"))
    h = (1 - f) * h + f * n
    return h, (h,)


# Collins et al. 2017, eq. 9 to 11: c = s(W_c x + U_c h' + b_c), g = sigmoid(...), h = g h' + (1 - g) c
def ugrnn(w, x, h, nonlinearity="tanh"):
    c, g = ACTIVATION[nonlinearity](affine(w, "c", x, h)), sigmoid(affine(w, "g", x, h))
    h = g * h + (1 - g) * c
    return h, (h,)


# Chen 2017, eq. 5 to 7: z = tanh(W_x x + b_z), u = sigmoid(U_h h' + U_z z + b_u), h = u h' + (1 - u) z
def minimalrnn(w, x, h):
    z = tanh(x @ w.W("z", "x").T + w.b("z"))
    u = sigmoid(h @ w.W("u", "h").T + z @ w.W("u", "").T + w.b("u"))
    h = u * h + (1 - u) * z
    return h, (h,)


# Ravanelli et al. 2018, eq. 5: z = sigmoid(W_z x + U_z h'), n = relu(W_h x + U_h h'), h = z h' + (1 - z) n; no norm
def ligru(w, x, h):
    z, n = sigmoid(affine(w, "z", x, h)), relu(affine(w, "n", x, h))
    h = z * h + (1 - z) * n
    return h, (h,)


# Vecoven et al. 2021, eq. 3 and 4: c = sigmoid(U_c x + w_c * h'), a = 1 + tanh(U_a x + w_a * h'),
# h = c h' + (1 - c) tanh(U x + a h')
def brc(w, x, h):
    c = sigmoid(x @ w.W("c", "x").T + w.v("wc") * h + w.b("c"))
    a = 1 + tanh(x @ w.W("a", "x").T + w.v("wa") * h + w.b("a"))
    h = c * h + (1 - c) * tanh(x @ w.W("h", "x").T + a * h)
    return h, (h,)


# Vecoven et al. 2021, eq. 5: as above with W_c h' and W_a h'
def nbrc(w, x, h):
    c, a = sigmoid(affine(w, "c", x, h)), 1 + tanh(affine(w, "a", x, h))
    h = c * h + (1 - c) * tanh(x @ w.W("h", "x").T + a * h)
    return h, (h,)


# Lee et al. 2017, eq. 1: n = W_c x, i, f = sigmoid(W h' + W x + b), c = i n + f c', h = g(c)
def ran(w, x, h, c, nonlinearity="tanh"):
    i, f = sigmoid(affine(w, "i", x, h)), sigmoid(affine(w, "f", x, h))
    c = i * (x @ w.W("c", "x").T) + f * c
    h = ACTIVATION[nonlinearity](c)
    return h, (h, c)


# Zhang et al. 2018, eq. 4 to 8: p = W x, q = U h', i = sigmoid(p + q), f = sigmoid(p - q), h = i p + f h'
def atr(w, x, h):
    p, q = x @ w.W("a", "x").T + w.b("a"), h @ w.W("b", "h").T + w.b("b")
    h = sigmoid(p + q) * p + sigmoid(p - q) * h
    return h, (h,)


# Laurent & von Brecht 2017, eq. 3: h = theta tanh(h') + eta tanh(W x), theta, eta = sigmoid(U h' + V x + b)
def cfn(w, x, h):
    theta, eta = sigmoid(affine(w, "f", x, h)), sigmoid(affine(w, "i", x, h))
    h = theta * tanh(h) + eta * tanh(x @ w.W("c", "x").T)
    return h, (h,)


# Turkoglu et al. 2019, eq. 6 to 8: z = tanh(W_z x + b_z), k = sigmoid(W_x x + W_h h' + b_k), h = tanh((1 - k) h' + k z)
def star(w, x, h):
    z, k = tanh(x @ w.W("z", "x").T + w.b("z")), sigmoid(affine(w, "k", x, h))
    h = tanh((1 - k) * h + k * z)
    return h, (h,)


# Kusupati et al. 2018, eq. 2: n = s(W x + U h' + b), h = alpha n + beta h', 0 <= alpha, beta <= 1 by a sigmoid
def fastrnn(w, x, h, nonlinearity="tanh"):
    n = ACTIVATION[nonlinearity](affine(w, "n", x, h))
    h = sigmoid(w.v("alpha")) * n + sigmoid(w.v("beta")) * h
    return h, (h,)


# Kusupati et al. 2018, eq. 4: z = sigmoid(W x + U h' + b_z), n = tanh(W x + U h' + b_h),
# h = (zeta (1 - z) + nu) n + z h', zeta and nu by a sigmoid
def fastgrnn(w, x, h):
    a = x @ w.W("a", "x").T + h @ w.W("a", "h").T
    z, n = sigmoid(a + w.v("bz")), tanh(a + w.v("bn"))
    h = (sigmoid(w.v("zeta")) * (1 - z) + sigmoid(w.v("nu"))) * n + z * h
    return h, (h,)


# Lei et al. 2018, eq. 1 to 4: f = sigmoid(W_f x + v_f c' + b_f), c = f c' + (1 - f) (W x),
# r = sigmoid(W_r x + v_r c' + b_r), h = r c + (1 - r) x, here with W_x x for x
def sru(w, x, c, v=True, alpha=1.0):
    vf, vr = (w.v("vf"), w.v("vr")) if v else (0, 0)
    f = sigmoid(x @ w.W("f", "x").T + vf * c + w.b("f"))
    r = sigmoid(x @ w.W("r", "x").T + vr * c + w.b("r"))
    c = f * c + (1 - f) * (x @ w.W("c", "x").T)
    return r * c + (1 - r) * (x @ w.W("x", "x").T) * alpha, (c,)


# Bradbury et al. 2017, eq. 3 to 5: f: h = f h' + (1 - f) z; fo: c = f c' + (1 - f) z, h = o c; ifo: c = f c' + i z
def qrnn(w, x, c, pooling="fo"):
    z, f = tanh(x @ w.W("z", "x").T + w.b("z")), sigmoid(x @ w.W("f", "x").T + w.b("f"))
    if pooling == "ifo":
        c = f * c + sigmoid(x @ w.W("i", "x").T + w.b("i")) * z
    else:
        c = f * c + (1 - f) * z
    return (c if pooling == "f" else sigmoid(x @ w.W("o", "x").T + w.b("o")) * c), (c,)


def g(a):
    """Feng et al. 2024, appendix B.2: a + 0.5 from 0 up, sigmoid(a) below."""
    return np.where(a >= 0, a + 0.5, sigmoid(a))


# Feng et al. 2024, section 3.1: z = sigmoid(Linear(x)), n = Linear(x), h = (1 - z) h' + z n
def mingru(w, x, h, positive=False):
    z, n = sigmoid(x @ w.W("z", "x").T + w.b("z")), x @ w.W("n", "x").T + w.b("n")
    h = (1 - z) * h + z * (g(n) if positive else n)
    return h, (h,)


# Feng et al. 2024, section 3.2: f, i = sigmoid(Linear(x)), f^ = f / (f + i), i^ = i / (f + i), h = f^ h' + i^ n
def minlstm(w, x, h, positive=False):
    f, i, n = (x @ w.W(k, "x").T + w.b(k) for k in "fin")
    f, i = sigmoid(f), sigmoid(i)
    h = f / (f + i) * h + i / (f + i) * (g(n) if positive else n)
    return h, (h,)


# Chang et al. 2019, eq. 9: h = h' + e tanh((W - W^T - gamma I) h' + V x + b); gated, eq. 10 and 11: times
# z = sigmoid((W - W^T - gamma I) h' + V_z x + b_z)
def antisymmetricrnn(w, x, h, epsilon=0.1, gamma=0.1, gated=False):
    W = w.W("w", "h")
    a = h @ (W - W.T - gamma * np.eye(len(W))).T
    n = tanh(a + x @ w.W("h", "x").T + w.b("h"))
    z = sigmoid(a + x @ w.W("z", "x").T + w.b("z")) if gated else 1.0
    h = h + epsilon * z * n
    return h, (h,)


# Rusch & Mishra 2021, eq. 3: z = z' + dt tanh(W y' + W~ z' + V x + b) - dt gamma y' - dt epsilon z', y = y' + dt z
def cornn(w, x, y, z, dt=0.1, gamma=1.0, epsilon=1.0):
    a = y @ w.W("z", "y").T + z @ w.W("z", "z").T + x @ w.W("z", "x").T + w.b("z")
    z = z + dt * tanh(a) - dt * gamma * y - dt * epsilon * z
    y = y + dt * z
    return y, (y, z)


# Rusch & Mishra 2021 (UnICORNN), eq. 4: y = y' + dt s(c) z, z = z' - dt s(c) [tanh(w * y' + V x + b) + alpha y'],
# s(c) = 0.5 + 0.5 tanh(c / 2)
def unicornn(w, x, y, z, dt=0.1, alpha=1.0):
    s = 0.5 + 0.5 * tanh(w.v("c") / 2)
    z = z - dt * s * (tanh(w.v("w") * y + x @ w.W("z", "x").T + w.b("z")) + alpha * y)
    y = y + dt * s * z
    return y, (y, z)


# Rusch et al. 2022, eq. 2: d = dt sigmoid(W_1 y' + V_1 x + b_1), e = dt sigmoid(W_2 y' + V_2 x + b_2),
# z = (1 - d) z' + d tanh(W_z y' + V_z x + b_z), y = (1 - e) y' + e tanh(W_y z + V_y x + b_y): the new z
def lem(w, x, y, z, dt=1.0):
    d, e = dt * sigmoid(affine(w, "a", x, y, "y")), dt * sigmoid(affine(w, "b", x, y, "y"))
    z = (1 - d) * z + d * tanh(affine(w, "z", x, y, "y"))
    y = (1 - e) * y + e * tanh(z @ w.W("y", "").T + x @ w.W("y", "x").T + w.b("y"))
    return y, (y, z)


# Hasani et al. 2022, eq. 10: h = f (1 - t) + t g, t = sigmoid(t_a gap + t_b), all on a shared hidden layer
def cfc(w, x, h, gap=None, nonlinearity="tanh", gated=True):
    b = ACTIVATION[nonlinearity](affine(w, "b", x, h))
    f, g, ta, tb = (b @ w.W(k, "").T + w.b(k) for k in ("f", "g", "ta", "tb"))
    t = sigmoid(ta * gap + tb)
    h = tanh(f) * (1 - t) + t * tanh(g) if gated else tanh(f) + t * tanh(g)
    return h, (h,)


# Beck et al. 2024, eq. 8 to 17, without the stabiliser, which changes nothing but the range:
# c = f c' + i z, n = f n' + i, h = o c / n, i = exp(.), f = sigmoid(.), heads: each block of units sees its own
def slstm(w, x, h, c, n, m, heads=1):
    def pre(k):
        blocks = np.split(w.W(k, "h"), heads)
        own = [part @ block.T for part, block in zip(np.split(h, heads, -1), blocks, strict=True)]
        return x @ w.W(k, "x").T + np.concatenate(own, -1) + w.b(k)

    # The true states are exp(m) times the stabilised ones.
    scale = exp(m)
    i, f, z, o = exp(pre("i")), sigmoid(pre("f")), tanh(pre("z")), sigmoid(pre("o"))
    c, n = f * (scale * c) + i * z, f * (scale * n) + i
    m = np.where(scale * (n - i) == 0, pre("i"), np.maximum(np.log(f) + m, pre("i")))
    h = o * c / n
    return h, (h, c / exp(m), n / exp(m), m)


# Zoph & Le 2017, appendix, as TensorFlow has it: eight sums or products of x's and h's parts, combined in a tree
def nas(w, x, h, c):
    def added(k):
        return x @ w.W(k, "x").T + h @ w.W(k, "h").T + w.b(k)

    product = (x @ w.W("ex", "x").T) * (h @ w.W("eh", "h").T + w.b("eh"))
    first = [
        sigmoid(added("a")), relu(added("b")), sigmoid(added("d")), relu(product),
        tanh(added("f")), sigmoid(added("g")), tanh(added("k")), sigmoid(added("l")),
    ]  # fmt: skip
    second = [
        tanh(first[0] * first[1]),
        tanh(first[2] + first[3]),
        tanh(first[4] * first[5]),
        sigmoid(first[6] + first[7]),
    ]
    c = tanh(second[0] + c) * second[1]
    h = tanh(c * tanh(second[2] + second[3]))
    return h, (h, c)
