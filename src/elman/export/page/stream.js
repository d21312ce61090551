"use strict";
/* A trained network fed value by value, as elman.stepping.stream does it. */
class Stream {
  constructor(model, networks) {
    this.model = model;
    this.networks = networks;
    this.reset();
  }

  reset() {
    for (const network of this.networks) network.reset();
    this.window = [];
    this.count = 0;
  }

  /* What the network says once a value has come: numbers, or null where it says nothing yet. */
  push(value) {
    if (this.model.tokens.length) return this.said(this.networks[0].step({ symbol: value }));
    if (this.model.task === "classify") return this.carried(this.scaled(value));
    const before = this.window.length ? this.window[this.window.length - 1] : null;
    this.window.push(value);
    this.count += 1;
    const m = this.model;
    if (!m.context) {
      const z = m.differences ? value.map((v, c) => (before ? v - before[c] : 0) / m.scale[c]) : this.scaled(value);
      return this.unscaled(this.carried(z), value);
    }
    while (this.window.length > m.context + 1) this.window.shift();
    return this.count < m.context ? null : this.after(this.window, this.count);
  }

  /* The forecast after a window, rows of one number a column; count values have come so far. */
  after(window, count) {
    const m = this.model, made = [];
    let rows = window.slice();
    while (made.length < m.horizon) {
      const part = this.atOnce(rows.slice(-m.context - 1), count);
      made.push(...part);
      rows = rows.concat(part);
      count += part.length;
    }
    return made.slice(0, m.horizon);
  }

  scaled(value) {
    return value.map((v, c) => (v - this.model.shift[c]) / this.model.scale[c]);
  }

  unscaled(numbers, last) {
    const m = this.model, columns = m.columns.length, made = [];
    for (let k = 0; k * columns < numbers.length; k++) {
      const before = k ? made[k - 1] : last;
      made.push(before.map((b, c) => {
        const z = numbers[k * columns + c] * m.scale[c];
        return m.differences ? b + z : z + m.shift[c];
      }));
    }
    return made;
  }

  carried(z) {
    return this.said(this.networks[0].step({ x: z }));
  }

  said(out) {
    const found = Array.from(Object.values(out)[0]), m = this.model;
    if (!m.classes.length) return found;
    const scores = found.map((v, k) => (v - m.prior[k]) / m.temperature);
    const most = Math.max(...scores), grown = scores.map((v) => Math.exp(v - most));
    const sum = grown.reduce((a, b) => a + b, 0);
    return grown.map((v) => v / sum);
  }

  atOnce(window, count) {
    const m = this.model;
    if (m.standing) return this.onLine(window.slice(-m.context));
    const network = this.networks[0], read = window.slice(-m.context);
    const before = window.length > m.context ? window[window.length - m.context - 1] : null;
    network.reset();
    let out = null;
    read.forEach((value, t) => {
      const last = t ? read[t - 1] : before;
      const z = m.differences
        ? value.map((v, c) => (last && (t || count > m.context) ? v - last[c] : 0) / m.scale[c])
        : this.scaled(value);
      out = network.step({ x: z });
    });
    return this.unscaled(Array.from(out.forecast), read[read.length - 1]);
  }

  /* A network on a line: see elman.tasks.forecast_networks.NetworkOnLine. */
  onLine(window) {
    const m = this.model, s = m.standing, made = [];
    for (let k = 0; k < m.at_once; k++) made.push(new Array(m.columns.length).fill(0));
    m.columns.forEach((_, c) => {
      const reach = s.weights[0][c][0].length;
      const last = window.slice(-reach).map((row) => row[c]);
      for (let k = 0; k < m.at_once; k++) {
        let sum = s.biases[0][c][k], logs = s.biases[1][c][k];
        for (let r = 0; r < reach; r++) sum += s.weights[0][c][k][r] * last[r];
        made[k][c] = s.share[0][c] * sum;
        if (s.share[1][c]) {
          for (let r = 0; r < reach; r++) logs += s.weights[1][c][k][r] * Math.log(Math.max(last[r], s.floor[c]));
          made[k][c] += s.share[1][c] * Math.exp(Math.min(logs, s.largest));
        }
      }
      if (!this.networks.length) return;
      const used = window.slice(-m.steps * s.segment).map((row) => (row[c] - m.shift[c]) / m.scale[c]);
      const level = used[used.length - 1];
      const square = used.reduce((sum, z) => sum + (z - level) * (z - level), 0) / used.length;
      const spread = Math.sqrt(square + (s.spread_floor * s.spread[c]) ** 2), size = spread / s.spread[c];
      const both = new Float64Array(2 * m.at_once);
      for (const network of this.networks) {
        network.reset();
        let out = null;
        for (let t = 0; t < used.length; t += s.segment) {
          const part = used.slice(t, t + s.segment);
          const near = part.map((z) => Math.min(Math.max(z, -s.furthest), s.furthest));
          out = network.step({ x: [...part.map((z) => (z - level) / spread), ...near, Math.log(size)] });
        }
        for (let k = 0; k < both.length; k++) both[k] += out.both[k] / this.networks.length;
      }
      for (let k = 0; k < m.at_once; k++) {
        const added = both[k] * s.units[0][c] * size;
        const beside = level + both[m.at_once + k] * s.units[1][c] * size;
        const line = (made[k][c] - m.shift[c]) / m.scale[c];
        made[k][c] = (line + s.gain[0] * added + s.gain[1] * (beside - line)) * m.scale[c] + m.shift[c];
      }
    });
    return made;
  }
}
