// The page's heartbeat: ask, show, wait, and go on whatever happens to the daemon.

import { $, confirmed, say, tell } from "./dom.js";
import { ask, Refused, token, Unreachable } from "./api.js";
import { instant, zone } from "./format.js";
import * as alerts from "./alerts.js";
import * as charts from "./charts.js";
import * as models from "./models.js";
import * as panels from "./panels.js";

const EVERY = 2000;
const MODELS_EVERY = 30_000;
const mine = document.body.dataset.assets.split("/").pop();

let last = null;
let lost = null;
let seen = { anomalies: null, models: null, modelsAt: 0 };
let timer = 0;

function draw(overview) {
  const { status } = overview;
  const budget = status.model?.alert_budget ?? null;
  return Promise.all([
    charts.flow(overview.series, budget), charts.scores(overview.scores, budget),
    charts.latents(overview.model.latents, overview.isometry?.latents),
  ]).catch((error) => say($("flow"), `${error.message}; the figures around are right all the same.`));
}

function render(overview) {
  const { status } = overview;
  delete document.body.dataset.stale;
  panels.header(status);
  panels.problems(status);
  panels.progress(overview);
  panels.tiles(overview);
  panels.drift(overview);
  panels.planned(status.retrain);
  alerts.counted(status);
  $("retrain-open").disabled = !status.model || status.retrain.phase !== "idle";
  say($("retrain-open"), status.retrain.phase === "idle" ? "Retrain" : "Training\u2026");
  $("token-open").hidden = !token.get();
}

/** Fetch the lists where something happened to them. */
async function follow({ status }) {
  const { records, model, retrain } = status;
  const known = JSON.stringify([model?.version, retrain.last?.at]);
  const due = Date.now() - seen.modelsAt > MODELS_EVERY;
  if (records.anomalies !== seen.anomalies || due) {
    await alerts.refresh().then(() => { seen.anomalies = records.anomalies; });
  }
  if (known !== seen.models || due) {
    await models.refresh().then(() => { seen = { ...seen, models: known, modelsAt: Date.now() }; });
  }
}

async function beat() {
  clearTimeout(timer);
  try {
    const overview = await ask("overview");
    if (overview.page && overview.page !== mine) return location.reload();  // it was updated
    if (lost) seen = { anomalies: null, models: null, modelsAt: 0 };
    lost = null;
    last = overview;
    render(overview);
    await follow(overview).catch((error) => { if (!(error instanceof Refused && error.status === 503)) throw error; });
    draw(overview);
  } catch (error) {
    await failed(error);
  }
  timer = setTimeout(beat, document.hidden ? 10 * EVERY : EVERY);
}

async function failed(error) {
  if (error instanceof Refused && error.status === 401) return askForToken();
  lost ??= new Date().toISOString();
  if (error instanceof Unreachable) return panels.unreachable(lost);
  return panels.unreachable(lost, `The monitor answers, but not as it should: ${error.message}`);
}

async function askForToken() {
  const dialog = $("token");
  if (dialog.open) return;
  say($("token-words"), token.get() ? "That token is not accepted. Try another one." : $("token-words").textContent);
  const form = await confirmed(dialog);
  if (form) token.set(form.elements.token.value.trim());
  form?.reset();
}

async function retrain() {
  const form = await confirmed($("retrain"));
  if (!form) return;
  const adopt = form.elements.adopt.checked;
  form.reset();
  try {
    tell((await ask("retrain", { adopt })).words);
  } catch (error) {
    tell(`No training was started: ${error.message}`);
  }
  beat();
}

$("retrain-open").addEventListener("click", retrain);
$("token-open").addEventListener("click", async () => { await askForToken(); beat(); });
$("token").querySelector("[value=forget]").addEventListener("click", () => { token.set(null); $("token").close(); beat(); });
document.addEventListener("visibilitychange", () => { if (!document.hidden) beat(); });
charts.onColours(() => last && draw(last));
say($("zone"), `Times are in ${zone()}.`);
say($("seen"), `opened ${instant(new Date().toISOString())}`);
alerts.listen();
beat();
