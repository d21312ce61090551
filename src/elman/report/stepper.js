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

  function showTokens() {
    const state = [...rows].reverse().find((one) => one.choose && !one.old);
    const { data, units, largest } = value(state.node);
    const column = Math.max(0, units.indexOf(unit));
    at("tokens").replaceChildren();
    for (let t = Math.max(0, step - AROUND); t < Math.min(walk.steps, step + AROUND + 1); t++) {
      const text = walk.labels[t].replace(/\n/g, "↵\n") + (walk.apart ? " " : "");
      const token = add(at("tokens"), "span", text, t === step ? "now" : "");
      token.style.backgroundColor = colour(data[t * units.length + column], largest);
    }
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
  build();
  show();
})();
