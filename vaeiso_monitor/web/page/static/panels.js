// What is wrong, how far it is, the key figures and the drift: all from one answer.

import { $, empty, make, say, show } from "./dom.js";
import { count, day, figure, fixed, instant, lasting, percent, rate, short, since } from "./format.js";

const STATES = {
  starting: ["starting", "busy"], warming_up: ["warming up", "busy"], training: ["training the first model", "busy"],
  running: ["running", "good"], draining: ["stopping", "busy"], failed: ["failed", "bad"],
};
const WORDS = { critical: "Critical", warning: "Warning", info: "Not ready", none: "All well" };

export function header(status) {
  const [words, kind] = STATES[status.state] ?? [status.state, "quiet"];
  say($("state"), words);
  $("state").dataset.kind = kind === "good" && status.problems.some((each) => each.severity === "critical") ? "bad" : kind;
  say($("serving"), status.model ? `model ${status.model.version}` : "no model yet");
  say($("seen"), `as of ${instant(status.now)}`);
  say($("build"), `version ${status.version}, up since ${instant(status.started_at)}`);
}

/** Return what is to be said first: what is wrong, worst first, else what goes on, else that all is well. */
function news(status) {
  const found = status.problems.toSorted((a, b) => (a.severity > b.severity) - (a.severity < b.severity));
  if (found.length) return found;
  if (status.ready) return [{ severity: "none", text: "Records are scored, alerts are delivered, nothing is wrong." }];
  return status.reasons.map((text) => ({ severity: "info", text: `${text}; nothing is scored yet` }));
}

function problem({ severity, text, since: began }) {
  return make("p", { class: "problem", "data-severity": severity }, make("b", {}, WORDS[severity] ?? severity),
    make("span", {}, text.charAt(0).toUpperCase() + text.slice(1)),
    began ? make("span", { class: "faint" }, `since ${instant(began)}`) : null);
}

export function problems(status) {
  const wrong = status.problems.length;
  document.title = wrong ? `(${wrong}) vaeiso_monitor` : "vaeiso_monitor";
  show($("problems"), news(status).map(problem));
}

/** Say that nobody answers, in the place of the problems. */
export function unreachable(began, words) {
  document.title = "(!) vaeiso_monitor";
  document.body.dataset.stale = "";
  say($("state"), "not reachable");
  $("state").dataset.kind = "bad";
  show($("problems"), problem({ severity: "critical", text: words ?? "The monitor is not reachable. What is shown below is of then; it goes on by itself when the monitor answers again.", since: began }));
}

function bar(words, share, note) {
  return [make("p", {}, words), make("progress", { max: 1, value: share ?? null, "aria-label": words }),
    note ? make("p", { class: "words" }, note) : null];
}

/** Return the records received a second, over the last minute of the series. */
export function coming(series) {
  const rows = series.received.slice(-12).filter((n) => n !== null);
  return rows.length ? rows.reduce((sum, n) => sum + n, 0) / rows.length / series.step_seconds : 0;
}

export function progress({ status, series }) {
  const { rows, rows_required: wanted } = status.warm_up;
  const { phase, progress: done, reason } = status.retrain;
  let shown = null;
  if (status.state === "warming_up") {
    const left = coming(series) > 0 ? (wanted - rows) / coming(series) : null;
    const ready = left === null ? "Waiting for records." : `About ${lasting(left)} at the rate of now; then the first model is trained.`;
    shown = bar(`Warming up: ${count(rows)} of ${count(wanted)} records collected`, wanted ? rows / wanted : 0, ready);
  } else if (status.state === "training") {
    shown = bar(`Training the first model: ${percentOf(status.training_progress)}`, status.training_progress, "Records that come meanwhile wait and are scored afterwards.");
  } else if (phase === "training") {
    shown = bar(`Training a new model beside the scoring (${reasoned(reason)}): ${percentOf(done)}`, done);
  } else if (phase === "judging") {
    shown = bar("The new model is being compared with the one that serves", null);
  }
  $("progress").hidden = !shown;
  if (shown) show($("progress"), shown);
}

const percentOf = (share) => `${Math.round(100 * (share ?? 0))}\u2009% done`;
const reasoned = (reason) => ({ request: "asked for", schedule: "on schedule", retry: "a further try", drift: "because of a drift", regime_shift: "to adopt a new regime" })[reason] ?? reason ?? "";

const tile = (name, amount, unit, note, kind) => make("dl", { class: "tile", "data-kind": kind ?? null },
  make("dt", {}, name), make("dd", {}, amount, unit ? make("small", {}, unit) : null), make("dd", { class: "note" }, note || "\u00a0"));

export function tiles({ status, series }) {
  const { records, model, alert_rate: alerts } = status;
  const high = model && alerts !== null && alerts > 10 * model.alert_budget;
  const lag = status.lag_records;
  show($("tiles"),
    model ? tile("Rate", rate(status.records_per_second), "records/s", `${short(records.scored)} scored so far`)
      : tile("Rate", rate(coming(series)), "records/s", `${short(records.received)} received so far`),
    tile("Lag", lag === null ? "\u2013" : short(lag), lag === null ? "" : "records", lag === null ? "the source does not tell" : `${short(records.waiting)} in work`),
    tile("Alert rate", alerts === null ? "\u2013" : percent(alerts), "", model ? `budget ${percent(model.alert_budget)}, last hour` : "no model yet", high ? "bad" : null),
    tile("Anomalies", short(records.anomalies), "records", status.last_alert_at ? `last ${since(status.last_alert_at)} ago` : "none since the start"),
    tile("Rejected", short(records.rejected), "records", records.received ? `${percent(records.rejected / records.received)} of all received` : "none received", null),
    tile("Alert line", model ? figure(model.threshold_nats) : "\u2013", model ? "nats" : "", model ? `model ${lasting(model.age_seconds).split(" ")[0]} old` : "no model yet"));
}

/** Return a mark and words for a check: the full report of this run, else what is remembered of an earlier one. */
function found(report, kept, good, bad) {
  if (report && !report.judged) return ["quiet", "not judged"];
  if (!report && !kept) return ["quiet", "not checked yet"];
  if ((report ?? kept).drifted) return ["bad", bad];
  return report?.departed ? ["warn", "off in the latest check"] : ["good", good];
}

function reading(name, [kind, words], when, ...more) {
  return make("div", { class: "figure" }, make("b", {}, name),
    make("div", {}, make("span", { class: "mark", "data-kind": kind }, words), " ",
      when ? make("span", { class: "faint" }, when) : null, ...more));
}

function check(name, report, kept, good, bad, ...more) {
  const when = report ? `${instant(new Date(report.checked_at * 1000).toISOString())} on ${count(report.records)} records`
    : kept ? instant(kept.checked_at) : "";
  const words = report?.sentence ?? kept?.words;
  return reading(name, found(report, kept, good, bad), when, words ? make("p", { class: "words" }, words) : null, ...more);
}

function stream(shift) {
  if (!shift) return reading("Stream", ["good", "no regime shift"]);
  const words = `${percent(shift.alert_rate)} of ${count(shift.records)} records were anomalies while it was noticed; ` +
    (shift.action === "adopt" ? "it will be adopted as the new normal." : "if that is the new normal, retrain and adopt it; if not, look for a fault.");
  return reading("Stream", ["bad", "normal seems to have changed"], `since ${instant(shift.started_at)}`, make("p", { class: "words" }, words));
}

export function drift({ status, isometry, inputs, model }) {
  say($("isometry-words"), model.isometry?.verdict ?? "");
  if (!status.model) return show($("drift"), empty("Drift is measured once a model serves."));
  const mine = (report) => (report?.version === status.model.version ? report : null);
  show($("drift"), stream(status.regime_shift),
    check("Model", mine(isometry), status.drift.isometry, "as at training", "has drifted"),
    check("Inputs", mine(inputs), status.drift.inputs, "as at training", "have drifted", moved(mine(inputs))));
}

/** List what moved most; where something departed, the sentence above names it already. */
function moved(report) {
  if (!report?.judged || report.departed || !report.features.length) return null;
  const rows = report.features.slice(0, 3).map((feature) => make("tr", {},
    make("td", {}, feature.feature), make("td", { class: "number" }, fixed(feature.psi.value ?? 0, 3))));
  return make("table", {}, make("thead", {}, make("tr", {}, make("th", {}, "moved most"),
    make("th", { class: "number", title: "population stability index" }, "PSI"))), make("tbody", {}, rows));
}

/** Say when the next training is due and what came of the last. */
export function planned(retrain) {
  const next = retrain.next_at ? `next training ${day(retrain.next_at)}` : "no training is planned";
  say($("next-training"), next);
}
