// One alert explained: what each feature cost, beside what the model expected.

import { $, make, show, tell } from "./dom.js";
import { ask } from "./api.js";
import { fixed, instant, named, nats, pair, percent, rarity, signed, value } from "./format.js";

const pairs = (entries) => make("dl", { class: "pairs" }, entries.flatMap(([name, text]) =>
  (text === null || text === undefined || text === "" ? [] : [make("dt", {}, name), make("dd", {}, text)])));

function bar(amount, most) {
  const share = make("span", { class: amount < 0 ? "share minus" : "share" });
  share.style.width = `${Math.min(100 * Math.abs(amount) / (most || 1), 100)}%`;
  return share;
}

function features(alert) {
  const most = Math.max(...alert.features.map((feature) => Math.abs(feature.nats ?? 0)), 1);
  const rows = alert.features.map((feature) => {
    const [found, expected] = pair(feature.value, feature.expected, feature.unit);
    return make("tr", {}, make("td", {}, feature.name),
      make("td", { class: "number" }, feature.imputed ? "missing" : found),
      make("td", { class: "number" }, feature.expected === null ? "\u2013" : expected),
      make("td", { class: "number", title: feature.extreme_nats > 0 ? `${signed(feature.extreme_nats)} of them because the value is extreme` : null }, signed(feature.nats ?? 0), bar(feature.nats ?? 0, most)));
  });
  return make("table", {}, make("caption", { hidden: true }, "What each feature cost"),
    make("thead", {}, make("tr", {}, ["feature", "value", "expected", "nats"].map((name, i) => make("th", { scope: "col", class: i ? "number" : null }, name)))),
    make("tbody", {}, rows));
}

function rest(alert) {
  const listed = alert.features.reduce((sum, feature) => sum + (feature.nats ?? 0), 0);
  const latents = alert.latents.map((latent) => `${latent.index} (${signed(latent.nats ?? 0)}${latent.moves?.length ? `, of ${latent.moves.join(", ")}` : ""}${latent.importance_ratio ? `, ${percent(latent.importance_ratio)} of the importance` : ""})`);
  const mode = alert.mode && `${alert.mode.index}, ${percent(alert.mode.share)} of normal operation (${signed(alert.mode.nats)} nats)`;
  const place = Object.values(alert.source).join(" / ");
  return pairs([
    ["Score", `${fixed(alert.anomaly_score ?? Infinity, 2)} where 1 is the alert line`],
    ["In nats", `${nats(alert.nats)}, of these ${nats(listed)} by the features above; the alert line is ${nats(alert.threshold_nats)}`],
    ["Latents, nats", latents.join("; ")],
    ["Operating mode", mode],
    ["Episode", alert.episode && `alert ${alert.episode.count} of it, since ${instant(alert.episode.first_event_time)}`],
    ["Event time", instant(alert.event_time)],
    ["Found", instant(alert.detected_at)],
    ["Read from", place],
    ["Key", alert.record_key === null ? "" : String(alert.record_key)],
    ["Model", alert.model.version],
    ["Id", make("code", {}, alert.alert_id)],
  ]);
}

/** Show why an alert was raised; `judge` takes a verdict and a note. */
export async function why(known, judge) {
  const dialog = $("why");
  fill(dialog, known, judge);
  if (!dialog.open) dialog.showModal();
  try {
    fill(dialog, await ask(`alerts/${encodeURIComponent(known.alert_id)}`), judge);
  } catch (error) {
    tell(`It cannot be explained further: ${error.message}`);
  }
}

function fill(dialog, alert, judge) {
  const said = alert.feedback;
  const typed = dialog.querySelector("textarea")?.value;
  const note = make("textarea", { id: "note", rows: 2, maxlength: 2000, placeholder: "optional: why, for those who read it later" });
  note.value = typed || said?.note || "";
  const button = (verdict, words) => make("button", {
    type: "button", "aria-pressed": said?.verdict === verdict,
    onclick: async () => { if (await judge(alert, verdict, note.value.trim())) dialog.close(); },
  }, words);
  const record = Object.entries(alert.record ?? {}).map(([name, found]) => [name, value(found)]);
  show(dialog,
    make("h2", { id: "why-head" }, make("span", { class: "badge", "data-severity": alert.severity }, alert.severity), ` ${named(alert.entity) || "An alert"}, ${instant(alert.event_time ?? alert.detected_at)}`),
    make("p", {}, `${nats(alert.nats)} nats where the alert line is ${nats(alert.threshold_nats)}: ${rarity(alert.tail_probability)}.`),
    make("h3", {}, "Why: what was seen, what the model expected, and what the difference cost"), features(alert),
    make("h3", {}, "The score"), rest(alert),
    record.length ? make("details", {}, make("summary", {}, "The whole record"), pairs(record)) : null,
    make("label", { for: "note" }, "Note"), note,
    make("p", { class: "words" }, said ? `Called ${said.verdict === "normal" ? "normal" : "an anomaly"} ${instant(said.judged_at)}.` : "Not judged yet. What is called normal, the next training learns from."),
    make("p", { class: "actions" }, button("normal", "This is normal"), button("anomaly", "Anomaly"),
      make("button", { type: "button", class: "primary", onclick: () => dialog.close() }, "Close")));
  dialog.querySelector("textarea").value = note.value;
}
