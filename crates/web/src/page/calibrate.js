// The calibration tab: shows what the daemon collects, and sends it orders.
"use strict";

const BOARD_NOW_COLOR = "#e69f00";
const BOARD_BEFORE_COLOR = "#56b4e9";
// Computing is answered at once, and a stop within some seconds.
const ORDER_MS_MAX = 30000;

// What the daemon told last, and whether an order is on its way.
let calibration = null;
let isOrdering = false;

function fillSelect(id, values) {
  const select = by(id);
  const key = JSON.stringify(values);
  if (select.dataset.key === key) return;
  // What was chosen before a reload waits for the list that it is in.
  const chosen = select.dataset.key ? select.value : sessionStorage.getItem(id);
  select.dataset.key = key;
  select.replaceChildren(...values.map(([value, text]) => {
    const option = document.createElement("option");
    option.value = value;
    option.textContent = text;
    return option;
  }));
  if (values.some(([value]) => value === chosen)) select.value = chosen;
}

function setHidden(id, isHidden) {
  by(id).hidden = isHidden;
}

function setSeen(id, mark, text) {
  by(id).dataset.mark = mark;
  setText(id, text);
}

// Replaces the items of a list where they changed: a person may be about to press one.
function fillList(id, items, make) {
  const key = JSON.stringify(items);
  if (by(id).dataset.key === key) return;
  by(id).dataset.key = key;
  by(id).replaceChildren(...items.flatMap(make));
}

function textItem(kind, text) {
  const item = document.createElement(kind);
  item.textContent = text;
  return item;
}

function showBeginning() {
  const isChessboard = by("board-kind").value === "chessboard";
  setText("columns-name", isChessboard ? "Inner corners in a row (--corners)" : "Squares in a row (--squares)");
  setText("rows-name", isChessboard ? "Inner corners in a column" : "Squares in a column");
  document.querySelectorAll(".charuco").forEach((row) => { row.hidden = isChessboard; });
  setHidden("lens-row", by("what").value === "lens");
}

function showCollecting(told) {
  const open = told.collection;
  const isLens = open?.kind === "lens";
  setHidden("begin-card", open !== null);
  for (const id of ["collect-card", "wanted-card", "taken-card"]) setHidden(id, open === null);
  setHidden("seen", open === null);
  setHidden("board-legend", open === null);
  setHidden("result-card", !open?.result);
  if (!open) return;
  setSeen("seen", open.seen.mark, open.seen.line);
  setText("collect-board", isLens
    ? `The lens, by a ${open.board}.`
    : `The place of the camera (${open.setup}), by a ${open.board}. Lens: ${open.lens}.`);
  if (!isLens) showReading(open);
  setHidden("collect-lens-how", !isLens);
  setHidden("stop-form", isLens);
  setHidden("take-stop", isLens || Boolean(open.result));
  setHidden("resume", !open.result);
  const advice = [open.advice ?? []].flat();
  setText("advice", advice.length > 0 ? advice.map(sentence).join(" ") : "Nothing: compute.");
  fillList("wanted", open.wanted, ([name, now, wanted, isEnough]) => {
    const item = document.createElement("li");
    item.append(textItem("span", `${isEnough ? "✓" : "○"} ${name}`), textItem("span", `${now}, ${wanted} wanted`));
    return item;
  });
  const word = isLens ? "Views" : "Stops";
  setText("taken-title", `${word} taken: ${open.taken.length}`);
  fillList("taken", open.taken.map(({ number, what, says }) => [number, what, says]), ([number, what, says]) => {
    const item = textItem("li", says ? `${what}: ${says}` : what);
    item.value = number;
    const forget = textItem("button", "forget");
    forget.type = "button";
    forget.className = "plain";
    forget.addEventListener("click", () => order({ order: "remove", number }));
    item.append(forget);
    return item;
  });
  showFound(told, open);
}

// How the daemon reads the stops; what somebody chose since is left alone.
function showReading(open) {
  const key = JSON.stringify([open.number, open.reading]);
  if (by("stop-form").dataset.reading === key) return;
  by("stop-form").dataset.reading = key;
  const { units, setup } = open.reading;
  by("length-unit").value = units.length;
  by("angle-unit").value = units.angle;
  by("euler").value = units.euler;
  by("setup").value = setup;
}

function unitsAsChosen() {
  return { length: by("length-unit").value, angle: by("angle-unit").value, euler: by("euler").value };
}

function compute() {
  const isLens = calibration.collection?.kind === "lens";
  const reading = isLens ? null : { units: unitsAsChosen(), setup: by("setup").value };
  order({ order: "compute", reading });
}

function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}.`;
}

function showFound(told, open) {
  const found = open.result;
  if (!found) return;
  setSeen("verdict", { good: "good", usable: "wait", refused: "bad" }[found.verdict], found.words);
  fillList("doubts", found.doubts, (doubt) => [textItem("li", doubt)]);
  fillList("result-facts", found.facts, ([name, value]) => [textItem("dt", name), textItem("dd", value)]);
  setHidden("save-form", found.verdict === "refused" || Boolean(open.saved));
  setHidden("save-where", found.verdict === "refused" || Boolean(open.saved));
  setText("save-where", `Into ${told.folder}; a file that is there is never replaced.`);
  // A name that somebody types is left alone.
  if (by("file-name").dataset.suggested !== told.suggested_name) {
    by("file-name").dataset.suggested = told.suggested_name;
    by("file-name").value = told.suggested_name;
  }
  setHidden("saved", !open.saved);
  if (!open.saved) return;
  setText("saved-path", open.saved.path);
  setText("saved-lines", open.saved.lines.join("\n"));
  setText("saved-restart", open.saved.restart);
}

function showButtons() {
  const isComputing = Boolean(calibration?.is_computing);
  for (const id of ["begin", "take-stop", "compute", "resume", "discard", "save"]) {
    by(id).disabled = isOrdering || isComputing || !calibration;
  }
  setText("compute", isComputing ? "Computing…" : calibration?.collection?.result ? "Compute again" : "Compute");
}

// Whether this page may act at all is known from the status.
function showMay(mayAct) {
  setHidden("calibrate-token-form", !mayAct);
  setHidden("calibrate-may", mayAct);
  setText("calibrate-may", "This page can only look: the daemon has no token. See [web] token.");
}

async function showCalibration(told, picture) {
  const isNews = calibration && calibration.said !== told.said;
  calibration = told;
  fillSelect("dictionary", told.dictionaries.map((name) => [name, name]));
  fillSelect("length-unit", told.length_units.map((name) => [name, name]));
  fillSelect("angle-unit", told.angle_units.map((name) => [name, name]));
  const running = told.has_lens ? [["", "the one that runs"]] : [];
  const lenses = [...running, ...told.lenses.map((name) => [name, name])];
  fillSelect("lens", lenses.length > 0 ? lenses : [["", "none yet: calibrate it first"]]);
  showBeginning();
  showCollecting(told);
  showButtons();
  // Another browser may have done something, and computing ends by itself.
  if (isNews && !isOrdering) setText("answer", told.said);
  drawBoard(by("board-picture"), told, picture);
  showBoardAge();
}

// The picture is compared with the newest status by the daemon's own clock.
function showBoardAge() {
  if (status !== null || calibration !== null) showMay(mayAct);
  let note = "";
  if (!calibration?.stamp_ns) {
    note = "Waiting for a picture.";
  } else if (calibration.problem) {
    note = `The picture could not be made: ${calibration.problem}`;
  } else if (!calibration.is_computing) {
    const age_ms = status ? (Number(status.sent_ns) - Number(calibration.stamp_ns)) / 1e6 : 0;
    const isOld = age_ms > PICTURE_AGE_MS;
    by("board-picture").parentElement.classList.toggle("old", isOld);
    const reasons = [...by("reasons").querySelectorAll("b")].map((reason) => reason.textContent);
    if (isOld) note = `This picture is ${duration(age_ms / 1000)} old${reasons.length > 0 ? `: ${reasons.join("; ")}` : ""}. What was collected stays.`;
  } else {
    note = "Computing; the picture waits.";
  }
  setText("board-note", note);
  setHidden("board-note", note === "");
}

// Draws the picture, where no view has a corner yet, the corners of the views, and those of now.
function drawBoard(canvas, told, picture) {
  const [width, height] = told.size_px ?? [1280, 720];
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const pen = canvas.getContext("2d");
  const unit = Math.max(1, width / Math.max(canvas.clientWidth, 1));
  pen.clearRect(0, 0, width, height);
  if (picture) pen.drawImage(picture, 0, 0, width, height);
  const open = told.collection;
  const seen = open?.seen.corners ?? [];
  canvas.setAttribute("aria-label", open ? `${seen.length} corners of the board are seen` : "live picture");
  if (!open) return;
  open.ninths?.forEach((row, y) => row.forEach((count, x) => {
    if (count === 0) hatch(pen, (x * width) / 3, (y * height) / 3, width / 3, height / 3, unit);
  }));
  for (const { corners } of open.taken) {
    for (const [x, y] of corners) drawDot(pen, x, y, 2.2 * unit, BOARD_BEFORE_COLOR, unit);
  }
  pen.beginPath();
  // Corners go row by row; a leap begins the next row.
  const leaps = seen.map(([x, y], index) => (index > 0 ? Math.hypot(x - seen[index - 1][0], y - seen[index - 1][1]) : 0));
  const step = [...leaps].sort((a, b) => a - b)[Math.floor(leaps.length / 2)];
  seen.forEach(([x, y], index) => (index > 0 && leaps[index] < 2 * step ? pen.lineTo(x, y) : pen.moveTo(x, y)));
  pen.lineWidth = 1.5 * unit;
  pen.strokeStyle = BOARD_NOW_COLOR;
  pen.stroke();
  seen.forEach(([x, y]) => drawDot(pen, x, y, 5 * unit, BOARD_NOW_COLOR, 1.5 * unit));
  // The first corner tells how the board lies.
  if (seen.length > 0) {
    const [x, y] = seen[0];
    pen.lineWidth = 3 * unit;
    pen.strokeStyle = "#fff";
    pen.strokeRect(x - 9 * unit, y - 9 * unit, 18 * unit, 18 * unit);
    pen.lineWidth = 1.5 * unit;
    pen.strokeStyle = "#000";
    pen.strokeRect(x - 9 * unit, y - 9 * unit, 18 * unit, 18 * unit);
  }
}

function drawDot(pen, x, y, radius, color, rim) {
  pen.beginPath();
  pen.arc(x, y, radius, 0, 2 * Math.PI);
  pen.fillStyle = color;
  pen.fill();
  pen.lineWidth = rim;
  pen.strokeStyle = "#000";
  pen.stroke();
}

function hatch(pen, left, top, width, height, unit) {
  pen.save();
  pen.beginPath();
  pen.rect(left, top, width, height);
  pen.clip();
  for (const [color, shift] of [["rgb(0 0 0 / 0.55)", 0], ["rgb(255 255 255 / 0.55)", 2 * unit]]) {
    pen.beginPath();
    for (let x = left - height + shift; x < left + width; x += 16 * unit) {
      pen.moveTo(x, top + height);
      pen.lineTo(x + height, top);
    }
    pen.lineWidth = 2 * unit;
    pen.strokeStyle = color;
    pen.stroke();
  }
  pen.restore();
}

// Sends an order; all but the first are for the collection that is shown.
async function order(what) {
  const open = calibration?.collection;
  const body = what.order === "start" ? what : { ...what, collection: open?.number ?? 0 };
  isOrdering = true;
  showButtons();
  setText("answer", "…");
  try {
    const answer = await fetch("/api/calibration", {
      method: "POST",
      headers: { Authorization: `Bearer ${by("calibrate-token").value}`, "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: AbortSignal.timeout(ORDER_MS_MAX),
    });
    const said = (await answer.text()).trim();
    setText("answer", `${answer.ok ? "✓" : "✕"} ${said}`);
    return answer.ok;
  } catch {
    setText("answer", "✕ the daemon did not answer");
    return false;
  } finally {
    isOrdering = false;
    showButtons();
  }
}

function boardAsDescribed() {
  const size = [Number(by("columns").value), Number(by("rows").value)];
  const square_length_m = Number(by("square").value) / 1000;
  if (by("board-kind").value === "chessboard") return { kind: "chessboard", size, square_length_m };
  const marker_length_m = Number(by("marker").value) / 1000;
  return { kind: "charuco", size, square_length_m, marker_length_m, dictionary: by("dictionary").value };
}

function begin() {
  const what = by("what").value;
  order({
    order: "start",
    what: what === "lens" ? { kind: "lens" } : { kind: "hand_eye", setup: what, lens: by("lens").value },
    board: boardAsDescribed(),
  });
}

async function takeStop() {
  const taken = await order({
    order: "take_stop",
    pose: by("pose").value,
    units: unitsAsChosen(),
  });
  // The next stop has another pose.
  if (taken) by("pose").value = "";
}

function discard() {
  const count = calibration.collection?.taken.length ?? 0;
  const isSure = count === 0 || window.confirm(`Forget all that was taken (${count})?`);
  if (isSure) order({ order: "discard" });
}

// What was chosen for the board survives a reload.
for (const id of ["what", "board-kind", "columns", "rows", "square", "marker", "dictionary", "lens"]) {
  by(id).value = sessionStorage.getItem(id) ?? by(id).value;
  by(id).addEventListener("change", () => {
    sessionStorage.setItem(id, by(id).value);
    showBeginning();
  });
}
by("begin").addEventListener("click", begin);
by("take-stop").addEventListener("click", takeStop);
by("compute").addEventListener("click", compute);
by("resume").addEventListener("click", () => order({ order: "resume" }));
by("discard").addEventListener("click", discard);
by("save").addEventListener("click", () => order({ order: "save", name: by("file-name").value }));
showBeginning();
