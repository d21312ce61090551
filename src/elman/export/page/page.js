const MODEL = JSON.parse(document.getElementById("model").textContent);

/* The networks, made of the numbers that stand in the page, float32 one after another. */
function networks() {
  const bytes = Uint8Array.from(atob(document.getElementById("weights").textContent), (c) => c.charCodeAt(0));
  const view = new DataView(bytes.buffer), numbers = new Float32Array(bytes.length / 4);
  for (let i = 0; i < numbers.length; i++) numbers[i] = view.getFloat32(4 * i, true);
  let at = 0;
  return MAKERS.map((make, k) => {
    const own = numbers.subarray(at, at + MODEL.sizes[k]);
    at += MODEL.sizes[k];
    return make(own);
  });
}

const NETWORKS = networks();
const STREAM = new Stream(MODEL, NETWORKS);
window.elman = { model: MODEL, stream: STREAM };

const main = document.getElementById("main");

function element(tag, parent, properties) {
  const made = document.createElement(tag);
  Object.assign(made, properties || {});
  parent.append(made);
  return made;
}

function slider(parent, text, low, high, step, value, changed) {
  const label = element("label", parent), said = element("span", label);
  const input = element("input", label, { type: "range", min: low, max: high, step, value });
  const tell = () => { said.textContent = `${text}: ${Number(input.value).toPrecision(4)}`; };
  input.addEventListener("input", () => { tell(); changed(Number(input.value)); });
  tell();
  return { input, set(v) { input.value = v; tell(); } };
}

/* A canvas as sharp as the screen. */
function drawing(canvas, height) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth || 300;
  canvas.width = width * ratio;
  canvas.height = height * ratio;
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  return { pen, width, height };
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

const strips = new Map();

function showInside() {
  const inside = document.getElementById("inside");
  NETWORKS.forEach((network, k) => {
    for (const [name, values] of Object.entries({ ...network.named, ...network.state })) {
      const key = `${k} ${name}`;
      if (!strips.has(key)) {
        const row = element("div", inside, { className: "gate" });
        element("code", row, { textContent: MAKERS.length > 1 ? `${name} (${k + 1})` : name });
        strips.set(key, { canvas: element("canvas", row, { title: name }) });
      }
      const { pen, width, height } = drawing(strips.get(key).canvas, 22), wide = width / values.length;
      values.forEach((v, j) => {
        const strength = Math.min(1, Math.abs(v));
        pen.fillStyle = v < 0 ? `rgba(25, 113, 194, ${strength})` : `rgba(232, 89, 12, ${strength})`;
        pen.fillRect(j * wide, 0, Math.max(1, wide - (wide > 4 ? 1 : 0)), height);
      });
    }
  });
}

function bars(parent, pairs) {
  parent.replaceChildren();
  for (const [name, share] of pairs) {
    const row = element("div", parent, { className: "bar" });
    element("span", row, { textContent: name });
    element("i", element("span", row)).style.width = `${100 * share}%`;
    element("span", row, { textContent: `${(100 * share).toFixed(1)} %` });
  }
}

function softmax(scores, temperature) {
  const most = Math.max(...scores), grown = scores.map((v) => Math.exp((v - most) / temperature));
  const sum = grown.reduce((a, b) => a + b, 0);
  return grown.map((v) => v / sum);
}

function shown(token) {
  return token.replaceAll("\n", "↵").replaceAll("\t", "⇥").replaceAll(" ", "␣") || "∅";
}

/* How a text is cut into tokens, as elman.data.text does it. */
const CUTS = {
  generate: / ?[\p{L}\p{N}_]{1,64}| ?[^\p{L}\p{N}_\s]|\s/gu,
  classify: /[\p{L}\p{N}_]+(?:['’-][\p{L}\p{N}_]+)*|[^\p{L}\p{N}_\s]/gu,
};
const NUMBERS = new Map(MODEL.tokens.map((t, i) => [t, i]));

/* A text as symbols; of what is not known, the symbol for that, or none; it is said either way. */
function symbols(text) {
  const unknown = new Set();
  if (MODEL.level === "byte") return { found: [...new TextEncoder().encode(text)], unknown };
  text = text.normalize("NFC");
  if (MODEL.level === "word" && MODEL.task === "classify") text = text.toLowerCase();
  const pieces = MODEL.level === "word" ? text.match(CUTS[MODEL.task]) || [] : [...text], found = [];
  for (const piece of pieces) {
    const number = NUMBERS.get(piece);
    if (number === undefined) unknown.add(piece);
    const symbol = number === undefined ? MODEL.unknown : number;
    if (symbol !== null) found.push(symbol);
  }
  return { found, unknown };
}

function generatePage() {
  const area = element("textarea", main, { value: MODEL.prompt, spellcheck: false });
  area.setAttribute("aria-label", "Text");
  const warning = element("p", main, { className: "warning" });
  const controls = element("div", main, { className: "controls" });
  const button = element("button", controls, { textContent: "Write", id: "write" });
  let temperature = 0.8, scores = null, timer = 0, read = [];
  slider(controls, "Temperature", 0.1, 2, 0.05, temperature, (v) => { temperature = v; showNext(); });
  element("h2", main, { textContent: "What comes next" });
  const next = element("div", main);

  function showNext() {
    if (!scores) return next.replaceChildren();
    const shares = softmax(scores, temperature).map((p, i) => [p, i]).sort((a, b) => b[0] - a[0]).slice(0, 8);
    bars(next, shares.map(([p, i]) => [shown(MODEL.tokens[i]), p]));
  }

  function push(symbol) {
    scores = STREAM.push(symbol);
    for (const i of MODEL.unwritten) scores[i] = -Infinity;
    read.push(symbol);
  }

  function follow() {
    const { found, unknown } = symbols(area.value);
    warning.textContent = unknown.size ? `The network does not know ${[...unknown].join(" ")}` : "";
    const same = found.length >= read.length && read.every((s, i) => s === found[i]);
    if (!same) { STREAM.reset(); read = []; scores = null; }
    found.slice(read.length).forEach(push);
    showNext();
    showInside();
  }

  function write(symbolsAtOnce) {
    if (!scores) push(0);
    let made = "";
    for (let n = 0; n < symbolsAtOnce; n++) {
      const shares = softmax(scores, temperature);
      let left = Math.random(), symbol = shares.length - 1;
      for (let i = 0; i < shares.length; i++) { left -= shares[i]; if (left < 0) { symbol = i; break; } }
      if (MODEL.level === "byte") pending.push(symbol);
      else made += MODEL.tokens[symbol];
      push(symbol);
    }
    if (MODEL.level === "byte") { made = decoder.decode(new Uint8Array(pending), { stream: true }); pending = []; }
    area.value += made;
    area.scrollTop = area.scrollHeight;
  }
  const decoder = new TextDecoder();
  let pending = [];

  function stop() { clearInterval(timer); timer = 0; button.textContent = "Write"; }
  button.addEventListener("click", () => {
    if (timer) return stop();
    button.textContent = "Stop";
    timer = setInterval(() => { write(2); showNext(); showInside(); }, 16);
  });
  area.addEventListener("input", () => { stop(); follow(); });
  window.elman.write = write;
  follow();
}

function classifyPage() {
  const verdict = document.createElement("div");
  const say = (shares) => bars(verdict, MODEL.classes.map((name, k) => [name, shares ? shares[k] : 0]));
  if (MODEL.tokens.length) {
    const area = element("textarea", main, { value: MODEL.prompt, spellcheck: false });
    area.setAttribute("aria-label", "Text");
    const warning = element("p", main, { className: "warning" });
    const follow = () => {
      STREAM.reset();
      let said = null;
      const { found, unknown } = symbols(area.value);
      warning.textContent = unknown.size ? `The network does not know ${[...unknown].join(" ")}` : "";
      for (const symbol of found) said = STREAM.push(symbol);
      say(said);
      showInside();
    };
    area.addEventListener("input", follow);
    main.append(verdict);
    follow();
    return;
  }
  const rows = MODEL.example.map((row) => row.slice());
  main.append(verdict);
  chart(rows, () => {
    STREAM.reset();
    let said = null;
    for (const row of rows) said = STREAM.push(row);
    say(said);
    showInside();
    return [];
  });
}

function forecastPage() {
  const rows = MODEL.example.slice(-Math.max(MODEL.context + 1, 48)).map((row) => row.slice());
  chart(rows, () => {
    let made = null;
    if (MODEL.context) made = STREAM.after(rows, rows.length);
    else {
      STREAM.reset();
      for (const row of rows) made = STREAM.push(row);
    }
    showInside();
    return made || [];
  });
}

/* A curve whose points can be moved, and what the network says of it. */
function chart(rows, said) {
  const columns = MODEL.columns.length;
  let column = 0, point = rows.length - 1;
  const canvas = element("canvas", main), controls = element("div", main, { className: "controls" });
  canvas.setAttribute("role", "img");
  if (columns > 1) {
    const choice = element("select", controls);
    choice.setAttribute("aria-label", "Column");
    MODEL.columns.forEach((name, c) => element("option", choice, { value: c, textContent: name }));
    choice.addEventListener("change", () => { column = Number(choice.value); range(); draw(); });
  }
  const where = slider(controls, "Step", 0, rows.length - 1, 1, point, (v) => { point = v; value.set(rows[point][column]); draw(); });
  const value = slider(controls, "Value", 0, 1, "any", 0, (v) => { rows[point][column] = v; draw(); });
  element("p", main, { className: "faint", textContent: "Move a point by its sliders, or draw on the curve." });
  const numbers = element("p", main, { id: "numbers" });
  let low = 0, high = 1;

  function range() {
    const all = rows.map((row) => row[column]);
    const near = Math.min(...all), far = Math.max(...all), room = (far - near || 1) * 0.4;
    [low, high] = [near - room, far + room];
    value.input.min = low;
    value.input.max = high;
    value.set(rows[point][column]);
  }

  function draw() {
    const made = said();
    const { pen, width, height } = drawing(canvas, 260), count = rows.length + made.length;
    const x = (t) => 12 + (t * (width - 24)) / Math.max(1, count - 1);
    const y = (v) => height - 12 - ((v - low) * (height - 24)) / (high - low);
    pen.lineWidth = 2;
    const line = (values, first, stroke) => {
      pen.strokeStyle = stroke;
      pen.beginPath();
      values.forEach((v, k) => (k ? pen.lineTo(x(first + k), y(v)) : pen.moveTo(x(first), y(v))));
      pen.stroke();
    };
    line(rows.map((row) => row[column]), 0, colour("--accent"));
    if (made.length) line([rows[rows.length - 1], ...made].map((row) => row[column]), rows.length - 1, colour("--second"));
    made.forEach((row, k) => { pen.fillStyle = colour("--second"); pen.beginPath(); pen.arc(x(rows.length + k), y(row[column]), 3, 0, 7); pen.fill(); });
    pen.fillStyle = colour("--ink");
    pen.beginPath();
    pen.arc(x(point), y(rows[point][column]), 5, 0, 7);
    pen.fill();
    const text = made.slice(0, 12).map((row) => row[column].toPrecision(5)).join(", ");
    numbers.textContent = made.length ? `Forecast: ${text}${made.length > 12 ? ", …" : ""}` : "";
    canvas.setAttribute("aria-label", numbers.textContent || "The sequence");
    return { x, y, width, height, count };
  }

  let held = false;
  const move = (event) => {
    if (!held) return;
    const box = canvas.getBoundingClientRect(), made = MODEL.task === "forecast" ? MODEL.horizon : 0;
    const t = Math.round(((event.clientX - box.left - 12) * (rows.length + made - 1)) / (box.width - 24));
    if (t < 0 || t >= rows.length) return;
    point = t;
    rows[point][column] = low + ((box.bottom - 12 - event.clientY) * (high - low)) / (box.height - 24);
    where.set(point);
    value.set(rows[point][column]);
    draw();
  };
  canvas.addEventListener("pointerdown", (event) => { held = true; canvas.setPointerCapture(event.pointerId); move(event); });
  canvas.addEventListener("pointermove", move);
  canvas.addEventListener("pointerup", () => { held = false; });
  window.addEventListener("resize", draw);
  window.elman.rows = rows;
  window.elman.draw = draw;
  range();
  draw();
}

({ forecast: forecastPage, generate: generatePage, classify: classifyPage })[MODEL.task]();
