// Asks the daemon again and again, and shows what it says, or that it says nothing.
"use strict";

const STATUS_PERIOD_MS = 500;
// A daemon that does not answer for so long is lost.
const SILENCE_MS = 2000;
const RECORDINGS_PERIOD_MS = 5000;
// Charts show as much of ten minutes as there is, and a minute at least.
const SPAN_S = 600;
const SPAN_S_MIN = 60;
// A picture this much older than the status shows what was, not what is.
const PICTURE_AGE_MS = 2500;

const by = (id) => document.getElementById(id);
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
const number = (value, digits = 0) => (value === null || value === undefined ? "–" : value.toFixed(digits));

let samples = [];
let instance = "";
let heard_ms = 0;
// What the daemon answers in place of its status.
let refusal = "";
let lastState = "";
let status = null;
let result = null;
// Whether the daemon has a token by which the page may act.
let mayAct = false;

function setText(id, text) {
  if (by(id).textContent !== text) by(id).textContent = text;
}

// Text in which what stands between backticks is code.
function withCode(text) {
  return text.split("`").map((part, at) => {
    const node = document.createElement(at % 2 ? "code" : "span");
    node.textContent = part;
    return node;
  });
}

function setState(state, note, word = state.toUpperCase()) {
  by("state").dataset.state = state;
  setText("state-word", word);
  setText("state-note", note);
  const cell = by("cell").textContent;
  document.title = `${word} ${cell} – Magpie`;
}

function showStatus(told) {
  status = told.status;
  mayAct = told.may_keep;
  setText("cell", told.cell);
  setText("program", `Magpie ${told.version}`);
  const state = status ? status.state.replace("STATE_", "").toLowerCase() : "starting";
  setState(state, status ? "" : told.doing);
  lastState = state.toUpperCase();
  showReasons(told.reasons);
  showKeep(told);
  if (!status) return;
  if (status.instance_id !== instance) {
    instance = status.instance_id;
    samples = [];
    return;
  }
  samples.push(...told.samples);
  samples = samples.slice(-SPAN_S);
  const last = samples.at(-1);
  setText("fps", number(last?.frames_per_s, 1));
  setText("dropped", number(last?.dropped_per_s, 1));
  setText("p50", number(last?.p50_ms));
  setText("p99", number(last?.p99_ms));
  setText("camera", status.camera || "–");
  setText("model", status.model ? `${status.model.name}, sha256 ${status.model.sha256.slice(0, 12)}…` : "–");
  const asked = status.providers_asked.join(", ");
  setText("provider", `${status.provider_got}${asked === status.provider_got ? "" : `, asked for ${asked}`}`);
  setText("calibration", status.calibration_id || "none: no grasps");
  const drift = status.drift;
  setText("drift", drift
    ? `${number(drift.displacement_mm, 1)} mm of ${number(drift.limit_mm, 1)} mm allowed, ${number(drift.rotation_deg, 2)}°`
    : "not watched");
  const counters = status.counters;
  setText("totals", `${duration(Number(status.uptime_ns) / 1e9)}: ${counters.frames} frames, dropped ${counters.frames_stale} stale, ${counters.frames_superseded} superseded, ${counters.frames_corrupt} corrupt; ${counters.results_expired} results expired, ${counters.deadline_misses} late`);
  setText("picks", picksLine(status.picks));
  showCharts(Number(status.uptime_ns) / 1e9);
}

// What arms reported; counts are strings, as all 64-bit numbers in JSON.
function picksLine(picks) {
  if (!picks) return "–";
  const counts = [
    ["held", picks.held], ["dropped", picks.dropped], ["double", picks.doubles], ["missed", picks.missed],
    ["not tried", picks.not_tried], ["amended", picks.amended],
  ].filter(([, count]) => Number(count) > 0).map(([name, count]) => `${count} ${name}`);
  const refused = picks.refused.map(({ reason, count }) => `${count} ${reason}`);
  const line = counts.join(", ") || "none reported";
  return refused.length > 0 ? `${line}; reports refused: ${refused.join(", ")}` : line;
}

function duration(s) {
  if (s < 120) return `${Math.round(s)} s`;
  if (s < 7200) return `${Math.round(s / 60)} min`;
  return `${(s / 3600).toFixed(1)} h`;
}

function showReasons(reasons) {
  by("reasons-card").hidden = reasons.length === 0;
  const key = JSON.stringify(reasons);
  if (by("reasons").dataset.key === key) return;
  by("reasons").dataset.key = key;
  by("reasons").replaceChildren(...reasons.map(({ code, text, remedy }) => {
    const item = document.createElement("li");
    const what = document.createElement("b");
    what.textContent = text;
    item.append(what, ...withCode(remedy ?? ""));
    const small = document.createElement("small");
    small.textContent = ` ${code}`;
    item.append(small);
    return item;
  }));
}

function showCharts(now_s) {
  const line = (key, color, isDashed) => ({
    values: samples.map((sample) => [sample.uptime_s, sample[key]]), color, isDashed,
  });
  const known_s = samples.length > 0 ? now_s - samples[0].uptime_s : 0;
  const span_s = Math.min(Math.max(known_s, SPAN_S_MIN), SPAN_S);
  drawChart(by("latency"), [line("p50_ms", "--p50", false), line("p99_ms", "--p99", true)], now_s, span_s, "ms");
  drawChart(by("frames"), [line("frames_per_s", "--fps", false), line("dropped_per_s", "--dropped", true)], now_s, span_s, "per s");
}

function showLost() {
  const isSilent = heard_ms > 0 && Date.now() - heard_ms > SILENCE_MS;
  const isLost = isSilent || refusal !== "";
  document.body.classList.toggle("lost-daemon", isLost);
  by("lost").hidden = !isLost;
  if (!isLost) return;
  if (refusal !== "") {
    setText("lost", `The daemon answers with an error; what is shown is old, if anything is: ${refusal}`);
    setState("lost", refusal, "REFUSED");
    return;
  }
  const silent_s = Math.round((Date.now() - heard_ms) / 1000);
  setText("lost", `The daemon has not answered for ${silent_s} s; what is shown is old. It last said ${lastState || "nothing"}. Look at: journalctl -u 'magpie@*'`);
  setState("lost", `for ${silent_s} s`, "NO ANSWER");
}

// The picture is compared with the newest status by the daemon's own clock.
function showPictureAge() {
  const frame = by("picture").parentElement;
  let note = "";
  if (!result) {
    note = status?.state === "STATE_STARTING" || !status ? "Waiting for a picture." : "No picture comes.";
  } else {
    const age_ms = status ? (Number(status.sent_ns) - Number(result.stamp_ns)) / 1e6 : 0;
    frame.classList.toggle("old", age_ms > PICTURE_AGE_MS);
    if (age_ms > PICTURE_AGE_MS) note = `This picture is ${duration(age_ms / 1000)} old.`;
    else if (result.problem) note = `The picture could not be made: ${result.problem}`;
  }
  setText("picture-note", note);
  by("picture-note").hidden = note === "";
}

function showResult(told) {
  result = { ...told.result, problem: told.problem };
  const packages = result.packages;
  const held = packages.filter((pack) => pack.grasps.length > 0).length;
  setText("packages", String(packages.length));
  setText("held", String(held));
  by("picture").setAttribute("aria-label", `${packages.length} packages, ${held} can be held`);
  by("order").replaceChildren(...packages.slice(0, 20).map((pack) => {
    const row = document.createElement("tr");
    const best = pack.grasps[0];
    const grasp = best ? `quality ${number(best.quality, 2)}` : refusal(pack) || "–";
    for (const text of [pack.pick_rank + 1, pack.type, `${Math.round(100 * pack.score)} %`, grasp]) {
      row.insertCell().textContent = String(text);
    }
    return row;
  }));
  const types = [...new Set(packages.map((pack) => pack.type))].sort();
  const keys = types.map((type) => [type, cssColor(typeColor(type))]);
  if (packages.some((pack) => refusal(pack))) keys.push(["cannot be held (hatched)", cssColor(REFUSED_COLOR)]);
  const legend = JSON.stringify(keys);
  if (by("legend").dataset.key === legend) return;
  by("legend").dataset.key = legend;
  by("legend").replaceChildren(...keys.map(([name, color]) => {
    const swatch = document.createElement("span");
    swatch.className = "swatch";
    swatch.style.background = color;
    const pair = document.createElement("span");
    pair.append(swatch, ` ${name}`);
    return pair;
  }), keys.length > 0 ? "numbers are the pick order" : "");
}

function showKeep(told) {
  by("keep-form").hidden = !(told.is_recording && told.may_keep);
  setText("keep-note", !told.is_recording
    ? "Nothing is recorded: set recording.folder."
    : told.may_keep
      ? "Keeping moves what the ring holds to where nothing is removed."
      : "This page can only look: the daemon has no token. See [web] token.");
}

async function keep() {
  by("keep").disabled = true;
  setText("keep-answer", "…");
  try {
    const answer = await fetch("/api/keep", {
      method: "POST",
      headers: { Authorization: `Bearer ${by("token").value}` },
      signal: AbortSignal.timeout(30000),
    });
    const said = (await answer.text()).trim();
    setText("keep-answer", answer.ok ? `✓ ${said}` : `✕ ${said}`);
    if (answer.ok) await showRecordings();
  } catch {
    setText("keep-answer", "✕ the daemon did not answer");
  } finally {
    by("keep").disabled = false;
  }
}

async function showRecordings() {
  const answer = await fetch("/api/recordings", { signal: AbortSignal.timeout(10000) });
  if (!answer.ok) return;
  const listed = await answer.json();
  by("recordings").replaceChildren(...listed.map(({ place, name, bytes, written_s }) => {
    const item = document.createElement("li");
    const link = document.createElement("a");
    link.href = `/recordings/${place}/${encodeURIComponent(name)}`;
    link.textContent = name;
    const written = new Date(written_s * 1000).toLocaleString();
    item.append(link, ` ${(bytes / 1e6).toFixed(1)} MB, ${written}${place === "kept" ? ", kept" : ""}`);
    return item;
  }));
}

async function watchStatus() {
  for (;;) {
    try {
      const answer = await fetch(`/api/status?after=${samples.at(-1)?.number ?? 0}`, {
        signal: AbortSignal.timeout(SILENCE_MS),
      });
      if (answer.ok) {
        const told = await answer.json();
        heard_ms = Date.now();
        refusal = "";
        showStatus(told);
      } else {
        refusal = `${answer.status} ${(await answer.text()).trim().slice(0, 300)}`;
      }
    } catch {
      refusal = "";
      // Silence is told below.
      if (heard_ms === 0) heard_ms = Date.now();
    }
    showLost();
    showPictureAge();
    showBoardAge();
    await pause(STATUS_PERIOD_MS);
  }
}

// The tab that is shown; nobody looks at the other one, so no picture is made for it.
function tabShown() {
  return location.hash === "#calibrate" ? "calibrate" : "cell";
}

function showTab() {
  for (const tab of ["cell", "calibrate"]) {
    by(`${tab}-main`).hidden = tab !== tabShown();
    if (tab === tabShown()) by(`tab-${tab}`).setAttribute("aria-current", "page");
    else by(`tab-${tab}`).removeAttribute("aria-current");
  }
}

// Asks for the pictures of a tab, one after the other, and shows each of them.
async function watchPictures(tab, address, show) {
  for (let after = 0; ; ) {
    // Nor does anybody look at a page in the background.
    if (document.hidden || tab !== tabShown()) {
      await new Promise((done) => {
        document.addEventListener("visibilitychange", done, { once: true });
        window.addEventListener("hashchange", done, { once: true });
      });
      continue;
    }
    try {
      const answer = await fetch(`${address}?after=${after}`, { signal: AbortSignal.timeout(10000) });
      if (answer.status !== 200) {
        if (!answer.ok) await pause(1000);
        continue;
      }
      const bytes = await answer.arrayBuffer();
      const length = new DataView(bytes).getUint32(0, true);
      const told = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes, 4, length)));
      const jpeg = bytes.slice(4 + length);
      const picture = jpeg.byteLength > 0 ? await createImageBitmap(new Blob([jpeg])) : null;
      after = told.number;
      await show(told, picture);
      picture?.close();
    } catch {
      await pause(1000);
    }
  }
}

async function showLook(told, picture) {
  showResult(told);
  await drawResult(by("picture"), told.result, picture);
  showPictureAge();
}

async function watchRecordings() {
  for (;;) {
    try {
      if (!document.hidden) await showRecordings();
    } catch {
      // Silence is told elsewhere.
    }
    await pause(RECORDINGS_PERIOD_MS);
  }
}

// Both tabs ask for the same token.
for (const id of ["token", "calibrate-token"]) {
  by(id).value = sessionStorage.getItem("token") ?? "";
  by(id).addEventListener("input", () => {
    sessionStorage.setItem("token", by(id).value);
    for (const other of ["token", "calibrate-token"]) by(other).value = by(id).value;
  });
}
by("token").addEventListener("keydown", (event) => {
  if (event.key === "Enter") keep();
});
by("keep").addEventListener("click", keep);
window.addEventListener("hashchange", showTab);
showTab();
// All scripts are there by then.
document.addEventListener("DOMContentLoaded", () => {
  watchStatus();
  watchPictures("cell", "/api/look", showLook);
  watchPictures("calibrate", "/api/calibration", showCalibration);
  watchRecordings();
});
