// The stored models: which serves, what the gate said of each, and the way back to an earlier one.

import { $, confirmed, empty, make, show, tell } from "./dom.js";
import { ask } from "./api.js";
import { count, day, figure, nats } from "./format.js";

const SHOWN = 6;
let known = [];
let whole = false;
const checks = new Map();

/** Fetch the models and show them. */
export async function refresh() {
  known = (await ask("models")).models;
  render();
}

/** Fill in the checks of those that the gate judged, when someone looks. */
async function opened(event, version) {
  if (!event.target.open || checks.has(version)) return;
  const found = await ask(`models/${encodeURIComponent(version)}`).catch((error) => ({ error }));
  const list = found.verdict?.checks ?? [];
  const lines = list.map((check) => make("li", {},
    make("span", { class: "mark", "data-kind": check.passed ? "good" : check.waived ? "quiet" : "bad" },
      check.passed ? "passed" : check.waived ? "waived" : "failed"), ` ${check.words}`));
  checks.set(version, true);
  event.target.querySelector("ul").replaceChildren(...(lines.length ? lines : [make("li", {}, "no checks are kept")]));
}

function gate(model) {
  if (model.error) return make("p", { class: "mark", "data-kind": "bad" }, model.error);
  if (model.accepted === null || model.accepted === undefined) return make("p", { class: "faint" }, "not judged by the gate: the first, or trained by hand");
  const word = model.accepted ? "accepted" : "rejected";
  const sentence = (model.verdict_sentence ?? word).replace(/^(accepted|rejected): /, "");
  return make("details", { ontoggle: (event) => opened(event, model.version) },
    make("summary", {}, make("span", { class: "mark", "data-kind": model.accepted ? "good" : "bad" }, `${word}:`), ` ${sentence}`),
    make("ul", {}, make("li", {}, "\u2026")));
}

function shown(model) {
  const age = model.created ? day(model.created) : model.version;
  const figures = model.error ? "" : `${count(model.records)} records, ${nats(model.held_out_nats)} nats held out, beta ${figure(model.beta)}`;
  const action = model.serving
    ? make("span", { class: "mark", "data-kind": "good" }, "serves")
    : make("button", { type: "button", disabled: Boolean(model.error), onclick: () => promote(model), "aria-label": `Let the model of ${age} serve` }, "Let it serve");
  return make("div", { class: "model", title: model.version }, make("p", {}, make("b", {}, age), action), make("span", { class: "faint" }, figures), gate(model));
}

function render() {
  const place = $("models");
  if (!known.length) return show(place, empty("No model is stored yet: the first one is trained when enough records are collected."));
  if (place.querySelector("details[open]")) return;  // someone reads: the next time, then
  const listed = whole ? known : known.slice(0, SHOWN);
  const more = known.length - listed.length;
  show(place, listed.map(shown),
    more > 0 ? make("button", { type: "button", onclick: () => { whole = true; render(); } }, `Show ${count(more)} older`) : null);
}

async function promote(model) {
  const serving = known.find((other) => other.serving);
  const doubt = model.accepted === false ? " The gate rejected it: " + (model.verdict_sentence ?? "") + "." : "";
  $("promote-words").textContent = `The model of ${day(model.created)} (beta ${figure(model.beta)}, ${nats(model.held_out_nats)} held-out nats) takes over from that of ${serving ? day(serving.created) : "now"} within seconds, without a pause.${doubt}`;
  if (!await confirmed($("promote"))) return;
  try {
    tell((await ask(`models/${encodeURIComponent(model.version)}/promote`, {})).words);
    setTimeout(() => refresh().catch(() => {}), 2500);
  } catch (error) {
    tell(`It was not done: ${error.message}`);
  }
}
