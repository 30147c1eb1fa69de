// The charts, drawn by plotly.js as it lies in the installed Python package.

import { $, empty, say } from "./dom.js";
import { count, figure, fixed, percent, rate } from "./format.js";

let loading = null;
const drawn = new Map();

/** Load the library once, after the page has been shown. */
function library() {
  loading ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = `${document.body.dataset.assets}/plotly.min.js`;
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => { loading = null; reject(new Error("the charts could not be loaded")); };
    document.head.append(script);
  });
  return loading;
}

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function axis(more = {}) {
  return {
    color: colour("faint"), gridcolor: colour("edge"), zeroline: false, linecolor: colour("line"),
    fixedrange: true, automargin: true, ...more,
  };
}

function layout(more) {
  return {
    margin: { l: 46, r: 8, t: 14, b: 24 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, 'DejaVu Sans', sans-serif", size: 11, color: colour("faint") },
    hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("line"), font: { color: colour("ink") } },
    showlegend: false, separators: ".,", bargap: 0.08, ...more,
  };
}

async function draw(id, traces, more, words) {
  const element = $(id);
  if (!drawn.get(id)) element.replaceChildren(empty("The chart is being loaded."));
  const plotly = await library();
  element.querySelector(".empty")?.remove();
  element.setAttribute("aria-label", words);
  drawn.set(id, true);
  await plotly.react(element, traces, layout(more), { displayModeBar: false, responsive: true });
}

/** Show words in the place of a chart. */
export function blank(id, words) {
  const element = $(id);
  if (drawn.get(id)) window.Plotly.purge(element);
  drawn.delete(id);
  if (element.textContent !== words) element.replaceChildren(empty(words));
  element.setAttribute("aria-label", words);
}

const local = (seconds) => {
  const when = new Date(seconds * 1000);
  return new Date(when - when.getTimezoneOffset() * 60_000).toISOString().slice(0, 19);
};

const label = (text, y) => ({
  text, x: 0, y, xref: "paper", yref: "paper", xanchor: "left", yanchor: "bottom", showarrow: false,
  font: { size: 11, color: colour("ink") },
});

const latest = (row) => row.findLast((n) => n !== null) ?? null;

/** Draw rate, lag and anomalies over the last quarter of an hour. */
export function flow(series, budget) {
  const step = series.step_seconds;
  if (!series.received.some((n) => n)) {
    return blank("flow", "No record has come in the last 15 minutes.");
  }
  const x = series.received.map((_, i) => local(series.from + (i + 1) * step));
  const rates = (row) => row.map((n) => (n === null ? null : n / step));
  const found = series.scored.map((n, i) => (n ? 100 * (series.warnings[i] + series.criticals[i]) / n : null));
  const line = (y, name, more, axes) => ({ x, y, name, type: "scatter", mode: "lines", ...more, ...axes });
  const lagged = series.lag.some((n) => n !== null);
  const traces = [
    line(rates(series.received), "received", { line: { width: 1, color: colour("line") }, fill: "tozeroy", fillcolor: colour("edge"), hovertemplate: "%{y:,.0f} received/s<extra></extra>" }),
    line(rates(series.scored), "scored", { line: { width: 1.6, color: colour("accent") }, hovertemplate: "%{y:,.0f} scored/s<extra></extra>" }),
    line(found, "anomalies", { line: { width: 1.4, color: colour("critical") }, hovertemplate: "%{y:.3g}\u2009% anomalies<extra></extra>" }, { yaxis: "y3" }),
  ];
  if (lagged) traces.push(line(series.lag, "lag", { line: { width: 1.4, color: colour("warning") }, hovertemplate: "%{y:,} records behind<extra></extra>" }, { yaxis: "y2" }));
  const high = (y) => Math.max(...y.filter((n) => n !== null), 0);
  const rows = lagged ? [[0.7, 0.94], [0.36, 0.58], [0, 0.24]] : [[0.56, 0.92], [0, 0], [0, 0.38]];
  const words = `Records per second: ${rate((latest(series.scored) ?? 0) / step)} scored now. ` +
    `${lagged ? `Lag: ${count(latest(series.lag))} records. ` : ""}`;
  return draw("flow", traces, {
    margin: { l: 46, r: 8, t: 2, b: 24 },
    hovermode: "x unified",
    xaxis: axis({ type: "date", range: [x[0], x.at(-1)], showgrid: false, hoverformat: "%H:%M:%S", tickformat: "%H:%M", anchor: "y3" }),
    yaxis: axis({ domain: rows[0], rangemode: "tozero", nticks: 3, tickformat: ",~r" }),
    yaxis2: axis({ domain: rows[1], range: [0, Math.max(1.1 * high(series.lag), 10)], nticks: 3, tickformat: ",~r", visible: lagged }),
    yaxis3: axis({ domain: rows[2], range: [0, Math.max(1.1 * high(found), 300 * (budget ?? 0), 0.1)], nticks: 3, ticksuffix: "\u2009%" }),
    shapes: budget ? [{ type: "line", xref: "paper", x0: 0, x1: 1, yref: "y3", y0: 100 * budget, y1: 100 * budget, line: { color: colour("faint"), width: 1, dash: "dot" } }] : [],
    annotations: [
      label("Records per second, <b>scored</b> and received", rows[0][1]),
      ...(lagged ? [label("Lag, records still to be read", rows[1][1])] : []),
      label(budget ? `Anomalies among the records; dotted: the budget, ${percent(budget)}` : "Anomalies among the records", rows[2][1]),
    ],
  }, words);
}

/** Draw the histogram of anomaly scores beside what normal records would show. */
export function scores(found, budget) {
  const total = found.counts.reduce((sum, n) => sum + n, 0);
  if (!total) return blank("scores", budget ? "No record was scored in the last 15 minutes." : "Nothing is scored before the first model is trained.");
  const logs = found.edges.map(Math.log10);
  const x = found.counts.map((_, i) => (logs[i] + logs[i + 1]) / 2);
  const over = found.edges.slice(0, -1).map((edge) => edge >= 0.999);
  const bounds = found.edges.map((edge, i) => (i === 0 ? 0 : i === found.edges.length - 1 ? Infinity : edge));
  const expected = budget ? found.counts.map((_, i) => total * (budget ** bounds[i] - (bounds[i + 1] === Infinity ? 0 : budget ** bounds[i + 1]))) : [];
  const texts = found.counts.map((n, i) => {
    const range = i === 0 ? `below ${figure(found.edges[1])}` : i === x.length - 1 ? `over ${figure(found.edges[i])}` : `${figure(found.edges[i])} to ${figure(found.edges[i + 1])}`;
    return `score ${range}: ${count(n)} records`;
  });
  const above = found.counts.reduce((sum, n, i) => sum + (over[i] ? n : 0), 0);
  const traces = [
    { x, y: found.counts, type: "bar", width: logs[1] - logs[0], marker: { color: over.map((is, i) => colour(is ? "critical" : i ? "bar" : "line")), line: { width: 0.5, color: colour("panel") } }, text: texts, textposition: "none", hovertemplate: "%{text}<extra></extra>" },
    { x, y: expected.map((n, i) => (i && n >= 0.1 ? n : null)), type: "scatter", mode: "lines", line: { color: colour("ink"), width: 1.3, dash: "dot", shape: "spline" }, hoverinfo: "skip" },
  ];
  say($("scores-words"), `15 min; ${count(above)} of ${count(total)} over the line`);
  const decades = Math.max(Math.ceil(Math.log10(Math.max(...found.counts))), 1);
  return draw("scores", traces, {
    xaxis: axis({ tickvals: [-2, -1, 0, 1, 2], ticktext: ["0.01", "0.1", "1", "10", "100"], range: [-2, 2], showgrid: false }),
    yaxis: axis({ type: "log", range: [-0.15, decades + 0.15], tickvals: Array.from({ length: decades + 1 }, (_, i) => 10 ** i), tickformat: ",~r" }),
    shapes: [{ type: "line", x0: 0, x1: 0, yref: "paper", y0: 0, y1: 1, line: { color: colour("critical"), width: 1.5 } }],
    annotations: [
      { ...label("records; dotted: what normal records alone would show", 1), yanchor: "bottom" },
    ],
  }, `${count(above)} of ${count(total)} records scored over the alert line.`);
}

/** Draw the importance of each latent, falling, and below it how long it is in the data's own units. */
export function latents(known, recent) {
  if (!known.length) return blank("latents", "There is no model yet, so there are no latents to show.");
  const x = known.map((latent) => String(latent.latent));
  const found = new Map((recent ?? []).map((latent) => [latent.latent, latent]));
  const now = known.map((latent) => (latent.meaningful ? found.get(latent.latent)?.norm ?? null : null));
  const shade = known.map((latent) => colour(latent.meaningful ? "bar" : "edge"));
  const dots = (y, name, marker, words) => ({ x, y, name, yaxis: "y2", type: "scatter", mode: "markers", marker, hovertemplate: `latent %{x}: norm %{y:.3f} ${words}<extra></extra>` });
  const traces = [
    { x, y: known.map((latent) => 100 * latent.importance), type: "bar", marker: { color: shade }, customdata: known.map((latent) => fixed(latent.kl_nats, 3)), hovertemplate: "latent %{x}: %{y:.2f}\u2009% of the importance, %{customdata} nats a record<extra></extra>" },
    dots(known.map((latent) => (latent.meaningful ? latent.norm_expected : null)), "expected", { symbol: "line-ew", size: 13, line: { width: 2, color: colour("critical") } }, "expected"),
    dots(known.map((latent) => (latent.meaningful ? latent.norm_mean : null)), "training", { symbol: "circle-open", size: 7, color: colour("faint") }, "at training"),
    dots(now.map((norm) => norm?.value ?? null), "recent", { symbol: "diamond", size: 6, color: now.map((norm) => colour(norm?.departed ? "critical" : "accent")) }, "recently"),
  ];
  const meaningful = known.filter((latent) => latent.meaningful).length;
  const key = now.some((norm) => norm) ? "\u25c7 on recent records, " : "";
  return draw("latents", traces, {
    margin: { l: 46, r: 8, t: 2, b: 20 },
    xaxis: axis({ type: "category", anchor: "y2", showgrid: false, tickangle: 0 }),
    yaxis: axis({ domain: [0.56, 0.93], rangemode: "tozero", nticks: 3, ticksuffix: "\u2009%" }),
    yaxis2: axis({ domain: [0, 0.4], range: [0, 1.25], tickvals: [0, 0.5, 1] }),
    annotations: [
      label("Importance, share of all; pale: carries nothing", 0.93),
      label(`Norm: ${key}\u25cb at training, <span style="color:${colour("critical")}">\u2212</span> expected`, 0.4),
    ],
  }, `${meaningful} of ${known.length} latents carry something.`);
}

/** Call `again` whenever the colours change. */
export function onColours(again) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", again);
}
