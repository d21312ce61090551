"""Long short-term memory and its relatives."""

from elman.equations import cell, norm, sigmoid, tanh


@cell(bias="each")
def lstm(x, h, c, p):
    """Long short-term memory with a forget gate (Hochreiter & Schmidhuber 1997; Gers et al. 2000).

    When: the first choice where the past matters; forget_bias=1 helps it to remember from the start.
    """
    i, f, g, o = sigmoid(p.i(x, h)), sigmoid(p.f(x, h)), tanh(p.g(x, h)), sigmoid(p.o(x, h))
    c = f * c + i * g
    return o * tanh(c), c


@cell(sizes={"h": "proj_size"}, bias="each")
def lstm_projected(x, h, c, p):
    """LSTM whose output is projected to a smaller size (Sak et al. 2014), as torch.nn.LSTM's proj_size.

    When: much memory with few weights: proj_size units are fed back and passed on, hidden_size remember.
    """
    i, f, g, o = sigmoid(p.i(x, h)), sigmoid(p.f(x, h)), tanh(p.g(x, h)), sigmoid(p.o(x, h))
    c = f * c + i * g
    return p.hr(o * tanh(c), bias=False), c


@cell
def peephole(x, h, c, p):
    """LSTM whose gates see the memory cell (Gers & Schmidhuber 2000; Gers et al. 2002).

    When: exact timing and counting, where a gate must open at a certain value of the memory.
    """
    i, f = sigmoid(p.i(x, h) + p.ci() * c), sigmoid(p.f(x, h) + p.cf() * c)
    c = f * c + i * tanh(p.g(x, h))
    o = sigmoid(p.o(x, h) + p.co() * c)
    return o * tanh(c), c


@cell
def coupled_lstm(x, h, c, p):
    """LSTM whose input gate is what the forget gate leaves, CIFG (Greff et al. 2017, arXiv:1503.04069).

    When: an LSTM at three quarters of the weights; Greff et al. found no loss.
    """
    f, g, o = sigmoid(p.f(x, h)), tanh(p.g(x, h)), sigmoid(p.o(x, h))
    c = f * c + (1 - f) * g
    return o * tanh(c), c


@cell(bias="none")
def layer_norm_lstm(x, h, c, p, *, epsilon=1e-5):
    """LSTM with layer normalisation (Ba et al. 2016, arXiv:1607.06450, eq. 20 to 22).

    When: deep or unstable LSTMs, and batches too small for other norms.

    The four gates are normed together, what comes of x and of h each by itself. A gain is 1 + a learned vector, so that
    it begins near 1 by every initialiser; the paper's three biases of a gate are one sum, and so one vector here.
    """
    x_i, x_f, x_g, x_o = norm(p.xi(x), p.xf(x), p.xg(x), p.xo(x), epsilon=epsilon)
    h_i, h_f, h_g, h_o = norm(p.hi(h), p.hf(h), p.hg(h), p.ho(h), epsilon=epsilon)
    i = sigmoid((1 + p.alpha_i()) * x_i + (1 + p.beta_i()) * h_i + p.b_i())
    f = sigmoid((1 + p.alpha_f()) * x_f + (1 + p.beta_f()) * h_f + p.b_f())
    g = tanh((1 + p.alpha_g()) * x_g + (1 + p.beta_g()) * h_g + p.b_g())
    o = sigmoid((1 + p.alpha_o()) * x_o + (1 + p.beta_o()) * h_o + p.b_o())
    c = f * c + i * g
    return o * tanh((1 + p.alpha_c()) * norm(c, epsilon=epsilon) + p.b_c()), c


@cell
def multiplicative_lstm(x, h, c, p):
    """Multiplicative LSTM: each input has its own transition (Krause et al. 2016, arXiv:1609.07959).

    When: text by characters, where one surprising letter should change everything after it.
    """
    m = p.mx(x, bias=False) * p.mh(h, bias=False)
    i, f, g, o = sigmoid(p.i(x, m)), sigmoid(p.f(x, m)), tanh(p.g(x, m)), sigmoid(p.o(x, m))
    c = f * c + i * g
    return o * tanh(c), c


@cell
def janet(x, h, p, *, beta=1.0):
    """LSTM with a forget gate alone, Just Another Network (van der Westhuizen & Lasenby 2018, arXiv:1804.04849).

    When: an LSTM at half the weights and one state; beta lets in a little more than is forgotten.
    """
    s = p.f(x, h)
    return sigmoid(s) * h + (1 - sigmoid(s - beta)) * tanh(p.c(x, h))
