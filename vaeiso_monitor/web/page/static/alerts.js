// The alerts, page by page, and the verdicts on them.

import { $, empty, make, say, tell } from "./dom.js";
import { ask } from "./api.js";
import { count, fixed, instant, named, nats, pair, signed } from "./format.js";
import { why } from "./why.js";

const LIMIT = matchMedia("(max-width: 640px)").matches ? 10 : 50;
const REASONS = 3;
const list = $("alert-list");
let trail = [];  // the cursors of the pages gone through, the shown one last
let shown = [];
let waiting = null;  // a newer first page, held back while someone reads this one
let asked = 0;

const filters = () => {
  const form = new FormData($("filters"));
  return [...form].filter(([, text]) => text.trim()).map(([name, text]) => [name, text.trim()]);
};

async function fetched(before) {
  const query = new URLSearchParams([["limit", LIMIT], ...filters()]);
  if (before) query.set("before", before);
  return ask(`alerts?${query}`);
}

function reason(feature) {
  const [found] = pair(feature.value, feature.expected, feature.unit);
  const [, wanted] = pair(feature.value, feature.expected);
  const expected = feature.expected === null ? "" : `, expected ${wanted}`;
  return make("li", {}, make("span", {}, make("b", {}, feature.name), ` ${feature.imputed ? "missing" : found}${expected}`),
    make("span", { class: "nats" }, `${signed(feature.nats ?? 0)} nats`));
}

function row(alert) {
  const said = alert.feedback?.verdict;
  const who = named(alert.entity) || (alert.record_key === null ? "" : String(alert.record_key));
  const about = `${who} ${instant(alert.event_time ?? alert.detected_at)}`;
  const button = (verdict, words) => make("button", {
    type: "button", "aria-pressed": said === verdict, "aria-label": `${words}: ${about}`, "data-does": verdict,
    onclick: () => judge(alert, verdict),
  }, words);
  return make("li", { class: "alert", "data-id": alert.alert_id, "data-verdict": said ?? null },
    make("div", { class: "what" }, make("span", { class: "badge", "data-severity": alert.severity }, alert.severity),
      make("span", { class: "score", title: "anomaly score; 1 is the alert line" }, ` score ${fixed(alert.anomaly_score ?? Infinity, 2)}`),
      make("time", { datetime: alert.event_time ?? alert.detected_at, title: `found ${instant(alert.detected_at)}` }, instant(alert.event_time ?? alert.detected_at)),
      make("span", { class: "who" }, who), make("span", { class: "score" }, ` ${nats(alert.nats)} nats`)),
    make("ul", { class: "reasons" }, alert.features.slice(0, REASONS).map(reason)),
    make("div", { class: "verdicts" }, button("normal", "This is normal"), button("anomaly", "Anomaly"),
      make("button", { type: "button", "data-does": "why", "aria-label": `Why: ${about}`, onclick: () => explain(alert) }, "Why")));
}

/** Show why; afterwards the focus is where it was, though the row may be a new one. */
function explain(alert) {
  $("why").addEventListener("close", () => {
    list.querySelector(`[data-id="${CSS.escape(alert.alert_id)}"] [data-does=why]`)?.focus();
  }, { once: true });
  why(alert, judge);
}

/** Send a verdict and show that it arrived; returns whether it did. */
async function judge(alert, verdict, note) {
  try {
    const found = await ask("feedback", { alert_id: alert.alert_id, verdict, note: note ?? alert.feedback?.note ?? "" });
    tell(found.words ?? `The alert is called ${verdict}.`);
  } catch (error) {
    tell(`The verdict was not taken: ${error.message}`);
    return false;
  }
  replace({ ...alert, feedback: { verdict, note: note ?? alert.feedback?.note ?? "", judged_at: new Date().toISOString() } });
  return true;
}

function replace(alert) {
  shown = shown.map((other) => (other.alert_id === alert.alert_id ? alert : other));
  const old = list.querySelector(`[data-id="${CSS.escape(alert.alert_id)}"]`);
  if (!old) return;
  const focused = old.contains(document.activeElement) ? document.activeElement.dataset.does : null;
  const fresh = row(alert);
  old.replaceWith(fresh);
  if (focused) fresh.querySelector(`[data-does="${focused}"]`)?.focus();
}

function put(page) {
  waiting = null;
  $("fresh").hidden = true;
  const same = page.alerts.length === shown.length && page.alerts.every((alert, i) => alert.alert_id === shown[i].alert_id && alert.feedback?.judged_at === shown[i].feedback?.judged_at);
  shown = page.alerts;
  if (!same || !list.childElementCount) list.replaceChildren(...(shown.length ? shown.map(row) : [make("li", {}, empty(nothing()))]));
  $("newer").disabled = trail.length === 0;
  $("older").disabled = page.next === null;
  $("older").dataset.cursor = page.next ?? "";
  const first = trail.length * LIMIT + 1;
  say($("page-words"), shown.length ? `${count(first)} to ${count(first + shown.length - 1)}${page.next === null ? "" : " and more"}, newest first` : "");
}

const nothing = () => (filters().length ? "No alert fits these filters." : trail.length ? "There are no older alerts." : "No alert has been raised yet. One appears here within a second of its record.");

const reading = () => list.matches(":hover") || (list.contains(document.activeElement) && document.activeElement !== list);

/** Look for new alerts; while someone reads, only say that there are some. */
export async function refresh() {
  if (trail.length) return;
  const then = asked;  // what someone asks for meanwhile comes first
  const page = await fetched(null);
  if (then !== asked || trail.length) return;
  const known = new Set(shown.map((alert) => alert.alert_id));
  const fresh = page.alerts.filter((alert) => !known.has(alert.alert_id)).length;
  if (!fresh || !shown.length || !(reading() || list.scrollTop > 0)) return put(page);
  waiting = page;
  say($("fresh"), `Show ${fresh === LIMIT ? `${LIMIT} or more` : count(fresh)} new`);
  $("fresh").hidden = false;
}

async function turn(before, step) {
  const mine = ++asked;
  try {
    const page = await fetched(before);
    if (mine !== asked) return;
    trail = step;
    put(page);
    list.scrollTop = 0;
  } catch (error) {
    tell(`The alerts cannot be shown: ${error.message}`);
  }
}

/** How many alerts were raised in all, in words. */
export function counted(status) {
  say($("alerts-count"), `${count(status.records.anomalies)} since the start`);
}

export function listen() {
  $("older").addEventListener("click", () => turn(Number($("older").dataset.cursor), [...trail, Number($("older").dataset.cursor)]));
  $("newer").addEventListener("click", () => turn(trail.at(-2), trail.slice(0, -1)));
  $("fresh").addEventListener("click", () => { if (waiting) put(waiting); list.scrollTop = 0; list.focus(); });
  let typing = 0;
  for (const happening of ["input", "change"]) {
    $("filters").addEventListener(happening, () => { clearTimeout(typing); typing = setTimeout(() => turn(null, []), 250); });
  }
  $("filters").addEventListener("submit", (event) => event.preventDefault());
}
