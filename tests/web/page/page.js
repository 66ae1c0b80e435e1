// The page: two lanes of requests, and what they show.

import init, { Client } from "./module/hedge_web_page.js";
import { Answers, Percentiles } from "./chart.js";

const REQUESTS = 1000;
const AT_ONCE = 4;
// Milliseconds from one drawing to the next. Drawing takes time, which answers wait for.
const REFRESH = 150;
// Where requests go is shown of so many drawings, about two seconds.
const RECENT = 12;

const $ = (id) => document.getElementById(id);
const body = document.body;

let run = emptyRun();
let answers, percentiles, replicas;

function emptyRun() {
  return { client: null, latencies: { plain: [], hedged: [] }, turn: 0, sent: [], hedges: 0, wins: 0, aborted: 0, seen: 0 };
}

const names = () => Object.keys(replicas);
const addresses = (lane) => Object.values(replicas).map((url) => `${url}/${lane}`);

// One lane: as many loops as requests at once.
async function lane(name, request) {
  let left = REQUESTS;
  const loop = async () => {
    while (left-- > 0) run.latencies[name].push(await request());
  };
  await Promise.all(Array.from({ length: AT_ONCE }, loop));
}

/// The plain lane's requests take turns.
async function plain() {
  const urls = addresses("plain");
  const url = urls[run.turn++ % urls.length];
  const start = performance.now();
  await (await fetch(url, { cache: "no-store" })).text();
  return performance.now() - start;
}

async function hedged() {
  const answer = await run.client.get();
  run.hedges += answer.hedged;
  run.wins += answer.hedge_won;
  run.aborted = run.client.aborted;
  return answer.latency;
}

const slider = (id) => Number($(id).value);

/// How many requests of the hedged lane the replicas saw aborted.
async function abortsSeen() {
  const counts = await (await fetch("counts")).json();
  return Object.values(counts).reduce((sum, { hedged }) => sum + hedged.aborted, 0);
}

async function start() {
  body.dataset.state = "running";
  $("start").disabled = true;
  $("start").textContent = "Running";
  $("error").hidden = true;
  run = emptyRun();
  try {
    run.client = new Client(addresses("hedged"), slider("percentile"), slider("budget"));
    const before = await abortsSeen();
    const over = Promise.all([lane("plain", plain), lane("hedged", hedged)]).then(() => true);
    const pause = () => new Promise((resolve) => setTimeout(resolve, REFRESH, false));
    const refresh = async () => {
      run.seen = (await abortsSeen()) - before;
      show();
    };
    while (!(await Promise.race([over, pause()]))) await refresh();
    await pause(); // The last connection may be closing.
    await refresh();
    body.dataset.state = "done";
  } catch (error) {
    fail(error);
  }
  $("start").disabled = false;
  $("start").textContent = "Start again";
}

function fail(error) {
  $("error").textContent = `It failed: ${error}`;
  $("error").hidden = false;
  body.dataset.state = "failed";
}

function percentile(latencies, p) {
  const sorted = [...latencies].sort((a, b) => a - b);
  return sorted[Math.max(Math.ceil((p / 100) * sorted.length) - 1, 0)];
}

const ms = (value) => (value === undefined ? "–" : `${value.toFixed(value < 100 ? 1 : 0)} ms`);

function show() {
  const { latencies } = run;
  answers.draw(latencies);
  percentiles.draw(latencies);
  for (const p of [50, 95, 99, 100]) {
    const [plain, hedged] = [percentile(latencies.plain, p), percentile(latencies.hedged, p)];
    $(`plain-${p}`).textContent = ms(plain);
    $(`hedged-${p}`).textContent = ms(hedged);
    const change = Math.round((hedged / plain - 1) * 100);
    const cell = $(`change-${p}`);
    cell.textContent = Number.isNaN(change) ? "–" : `${change > 0 ? "+" : change < 0 ? "−" : ""}${Math.abs(change)} %`;
    cell.className = change <= -10 ? "better" : "";
  }
  const requests = latencies.hedged.length;
  $("requests").textContent = `${Math.min(latencies.plain.length, requests)} of ${REQUESTS}`;
  $("hedges").textContent = requests ? `${run.hedges} · ${((run.hedges / requests) * 100).toFixed(1)} %` : "0";
  for (const count of ["wins", "aborted", "seen"]) $(count).textContent = run[count];
  const delay = run.client?.delay();
  $("delay").textContent = ms(delay);
  showShares();
}

/// Where the hedged lane's requests went lately.
function showShares() {
  run.sent.push(run.client ? [...run.client.sent] : names().map(() => 0));
  const [before, now] = [run.sent.at(-1 - RECENT) ?? run.sent[0].map(() => 0), run.sent.at(-1)];
  const counts = now.map((count, n) => count - before[n]);
  const all = counts.reduce((sum, count) => sum + count, 0);
  // When the lane has finished, what was shown last stays.
  if (all === 0) return;
  names().forEach((name, n) => {
    const share = counts[n] / all;
    $(`share-${name}`).textContent = `${Math.round(100 * share)} %`;
    $(`bar-${name}`).style.width = `${100 * share}%`;
  });
}

function showSliders() {
  const p = slider("percentile");
  const ending = { 1: "st", 2: "nd", 3: "rd" }[p % 10] ?? "th";
  $("percentile-value").textContent = `${p}${ending}`;
  $("budget-value").textContent = `${slider("budget")} %`;
}

$("percentile").addEventListener("input", () => {
  showSliders();
  run.client?.set_percentile(slider("percentile"));
});
$("budget").addEventListener("input", () => {
  showSliders();
  run.client?.set_budget(slider("budget"));
});
for (const box of document.querySelectorAll(".servers input")) {
  box.addEventListener("change", () => {
    fetch(`slow?server=${box.value}&slow=${box.checked}`).catch(fail);
  });
}
$("controls").addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});

try {
  await init();
  replicas = await (await fetch("replicas")).json();
  answers = new Answers($("answers"), REQUESTS);
  percentiles = new Percentiles($("percentiles"));
  showSliders();
  $("start").disabled = false;
  body.dataset.state = "ready";
} catch (error) {
  fail(error);
}
