"use strict";
(() => {
  const walk = JSON.parse(document.getElementById("walk").textContent);
  const AROUND = 40; // tokens shown before and after the present one
  const at = (id) => document.getElementById(id);
  let step = 0;
  let place = walk.places[0];
  let unit = 0;
  let rows = [];
  let lines = [];

  // The numbers: float32 in base64, decoded when first asked for.
  function floats(text) {
    const letters = atob(text);
    const bytes = new Uint8Array(letters.length);
    for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
    const view = new DataView(bytes.buffer);
    return Float32Array.from({ length: bytes.length / 4 }, (_, i) => view.getFloat32(4 * i, true));
  }

  function value(node) {
    const found = place.values[node];
    if (typeof found.data === "string") {
      found.data = floats(found.data);
      found.summary = found.summary && floats(found.summary);
      found.largest = found.data.reduce((most, v) => Math.max(most, Math.abs(v)), 0) || 1;
    }
    return found;
  }

  function row(found, width) {
    return (found.length === width ? 0 : step) * width;
  }

  function number(node, column) {
    const { data, units } = value(node);
    return data[row(data, units.length) + (units.length === 1 ? 0 : column)];
  }

  const shown = (v) => (Number.isFinite(v) ? String(Number(v.toPrecision(4))) : String(v));
  const inside = (v) => (v < 0 ? `(${shown(v)})` : shown(v));

  function colour(v, largest) {
    const share = Math.min(1, Math.abs(v) / largest) * 0.6;
    return v < 0 ? `rgba(213, 94, 0, ${share.toFixed(3)})` : `rgba(0, 114, 178, ${share.toFixed(3)})`;
  }

  function add(parent, tag, text, name) {
    const made = document.createElement(tag);
    made.textContent = text;
    if (name) made.className = name;
    parent.append(made);
    return made;
  }

  // A layer is built once; a step only changes the numbers in it.
  function build() {
    const named = place.equations.filter((one) => one.name);
    unit = value(place.equations[place.equations.length - 1].node).units[0];
    at("rows").replaceChildren();
    rows = [
      ...place.inputs.map((one) => ({ node: one.node, label: `${one.name}[${one.at}]`, choose: one.at !== "t", old: true })),
      ...named.map((one) => ({ node: one.node, label: `${one.name}[t]`, choose: true })),
    ].map(buildRow);
    at("equations").replaceChildren();
    lines = place.equations.map((one) => {
      const box = add(at("equations"), "div", "", "equation");
      add(box, "code", one.text);
      return { ...one, filled: add(box, "code", "", "filled") };
    });
  }

  function buildRow(described) {
    const box = add(at("rows"), "div", "", "row");
    add(box, "b", described.label);
    const summary = add(box, "span", "", "faint");
    const cells = add(box, "div", "", "cells");
    const { units } = value(described.node);
    return { ...described, summary, cells: units.map((u) => buildCell(cells, described, u)) };
  }

  function buildCell(parent, described, u) {
    const cell = add(parent, described.choose ? "button" : "div", "", "cell");
    add(cell, "small", `${u}`);
    const text = add(cell, "span", "");
    if (described.choose) {
      cell.type = "button";
      cell.addEventListener("click", () => { unit = u; show(); });
    }
    return { cell, text, unit: u };
  }

  function show() {
    for (const described of rows) showRow(described);
    for (const line of lines) showEquation(line);
    at("unit").textContent = `unit ${unit}, ${place.name}`;
    at("of").textContent = `of ${walk.steps}` + (walk.labels.length && !walk.text ? `: ${walk.labels[step]}` : "");
    at("step").value = at("slider").value = step + 1;
    at("first").disabled = at("back").disabled = step === 0;
    at("last").disabled = at("on").disabled = step === walk.steps - 1;
    showUnrolled();
    if (walk.text) showTokens();
  }

  function showRow({ node, label, summary, cells }) {
    const found = value(node);
    cells.forEach(({ cell, text, unit: u }, column) => {
      const v = number(node, column);
      text.textContent = shown(v);
      cell.style.backgroundColor = colour(v, found.largest);
      if (cell.type === "button") {
        cell.setAttribute("aria-pressed", String(u === unit));
        cell.setAttribute("aria-label", `${label}, unit ${u}: ${shown(v)}`);
      }
    });
    if (found.summary) {
      const [mean, least, most] = found.summary.subarray(row(found.summary, 3), row(found.summary, 3) + 3);
      summary.textContent = `  all units: mean ${shown(mean)}, from ${shown(least)} to ${shown(most)}`;
    }
  }

  function showEquation({ node, values, filled }) {
    const column = Math.max(0, value(node).units.indexOf(unit));
    const put = (_, operand) => inside(number(operand, column));
    const right = values.replace(/\{(\d+)\}/g, put).replace(/\((\([^()]*\))\)/g, "$1"); // tanh((-1)) is tanh(-1)
    filled.textContent = `= ${right} = ${shown(number(node, column))}`;
  }

  // The last state of the equations: its name, and the chosen unit's value at each step.
  function chosen() {
    const state = [...rows].reverse().find((one) => one.choose && !one.old);
    const { data, units, largest } = value(state.node);
    const column = Math.max(0, units.indexOf(unit));
    return { name: state.label.replace("[t]", ""), of: (t) => data[t * units.length + column], largest };
  }

  function showTokens() {
    const state = chosen();
    at("tokens").replaceChildren();
    for (let t = Math.max(0, step - AROUND); t < Math.min(walk.steps, step + AROUND + 1); t++) {
      const text = walk.labels[t].replace(/\n/g, "↵\n") + (walk.apart ? " " : "");
      const token = add(at("tokens"), "span", text, t === step ? "now" : "");
      token.style.backgroundColor = colour(state.of(t), state.largest);
    }
  }

  // The unrolled network: the steps around the present one, the old state coming in from the left.
  const SVG = at("unrolled").namespaceURI;
  const SHOWN = 5;
  const drawn = [];

  function shape(parent, tag, attributes, text) {
    const made = document.createElementNS(SVG, tag);
    for (const [name, content] of Object.entries(attributes)) made.setAttribute(name, content);
    if (text) made.textContent = text;
    parent.append(made);
    return made;
  }

  function buildUnrolled() {
    const svg = at("unrolled");
    const tip = shape(shape(svg, "defs", {}), "marker", {
      id: "tip", viewBox: "0 0 10 10", refX: 9, refY: 5, markerWidth: 6, markerHeight: 6, orient: "auto",
    });
    shape(tip, "path", { d: "M0 0 10 5 0 10z", fill: "var(--faint)" });
    for (let i = 0; i < SHOWN; i++) {
      const x = 74 + 123 * i;
      const group = shape(svg, "g", {});
      const arrow = (d) => shape(group, "path", { d, class: "arrow", "marker-end": "url(#tip)" });
      arrow(`M${x - 79} 96H${x - 42}`);
      arrow(`M${x} 152V122`);
      arrow(`M${x} 72V42`);
      const box = shape(group, "rect", { x: x - 40, y: 72, width: 80, height: 48, rx: 7, class: "box" });
      const fill = shape(group, "rect", { x: x - 40, y: 72, width: 80, height: 48, rx: 7 });
      const name = shape(group, "text", { x, y: 91 });
      const number = shape(group, "text", { x, y: 109 });
      const input = shape(group, "text", { x, y: 170 });
      const when = shape(group, "text", { x, y: 190, class: "faint" });
      shape(group, "text", { x, y: 34 }, "output");
      const one = { group, box, fill, name, number, input, when, step: 0 };
      group.addEventListener("click", () => go(one.step));
      drawn.push(one);
    }
  }

  function showUnrolled() {
    const state = chosen();
    const backwards = place.name.includes("backwards");
    const first = Math.max(0, Math.min(step - 2, walk.steps - SHOWN)); // the window stays within the sequence
    drawn.forEach((one, i) => {
      one.step = first + (backwards ? SHOWN - 1 - i : i);
      one.group.style.display = one.step < walk.steps ? "" : "none";
      if (one.step >= walk.steps) return;
      const v = state.of(one.step);
      one.group.setAttribute("class", one.step === step ? "here" : "");
      one.fill.setAttribute("fill", colour(v, state.largest));
      one.name.textContent = state.name;
      one.number.textContent = shown(v);
      const label = walk.labels.length ? walk.labels[one.step].replace("\n", "↵").replace(" ", "␣") : "input";
      one.input.textContent = label.length > 14 ? `${label.slice(0, 13)}…` : label;
      one.when.textContent = `step ${one.step + 1}`;
    });
  }

  function go(to) {
    step = Math.min(walk.steps - 1, Math.max(0, Number.isFinite(to) ? Math.trunc(to) : step));
    show();
  }

  at("first").addEventListener("click", () => go(0));
  at("back").addEventListener("click", () => go(step - 1));
  at("on").addEventListener("click", () => go(step + 1));
  at("last").addEventListener("click", () => go(walk.steps - 1));
  at("step").addEventListener("change", () => go(at("step").valueAsNumber - 1));
  at("slider").addEventListener("input", () => go(at("slider").valueAsNumber - 1));
  at("place").addEventListener("change", () => { place = walk.places[at("place").selectedIndex]; build(); show(); });

  // Left and right mean nothing else on this page; Home and End do, outside the stepper.
  document.addEventListener("keydown", (event) => {
    const own = { ArrowLeft: step - 1, ArrowRight: step + 1 };
    if (at("stepper").contains(event.target)) Object.assign(own, { Home: 0, End: walk.steps - 1 });
    const taken = ["INPUT", "SELECT"].includes(event.target.tagName) || event.ctrlKey || event.altKey || event.metaKey;
    if (taken || !(event.key in own)) return;
    event.preventDefault();
    go(own[event.key]);
  });

  at("step").max = at("slider").max = walk.steps;
  for (const one of walk.places) add(at("place"), "option", one.name);
  at("places").hidden = walk.places.length === 1;
  buildUnrolled();
  build();
  show();
})();
