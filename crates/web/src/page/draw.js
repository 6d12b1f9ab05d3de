// Draws a result over its picture, and charts over time. Everything it needs is in its arguments.
"use strict";

// Okabe and Ito's colours; the type is also written beside each package.
const TYPE_COLORS = {
  box: [230, 159, 0],
  padded_mailer: [86, 180, 233],
  poly_bag: [204, 121, 167],
  item: [240, 228, 66],
};
const OTHER_COLORS = [[0, 158, 115], [0, 114, 178], [213, 94, 0], [230, 159, 0]];
const REFUSED_COLOR = [200, 200, 200];

const REFUSALS = {
  GRASP_REFUSAL_NOT_CALIBRATED: "the camera is not calibrated",
  GRASP_REFUSAL_NO_SURFACE: "no depth, no support plane",
  GRASP_REFUSAL_TOOL_TOO_LARGE: "the tool is too large",
  GRASP_REFUSAL_TOO_STEEP: "too steep",
  GRASP_REFUSAL_BLOCKED: "the way is blocked",
  GRASP_REFUSAL_NO_SEAL: "no place is flat enough",
  GRASP_REFUSAL_OFF_BALANCE: "off balance",
};

function typeColor(type) {
  if (Object.hasOwn(TYPE_COLORS, type)) return TYPE_COLORS[type];
  let sum = 0;
  for (const letter of type) sum += letter.codePointAt(0);
  return OTHER_COLORS[sum % OTHER_COLORS.length];
}

function cssColor([red, green, blue], alpha = 1) {
  return `rgb(${red} ${green} ${blue} / ${alpha})`;
}

// Why there is no grasp; empty if there is one, or if it was never planned.
function refusal(pack) {
  return pack.grasps.length > 0 ? "" : REFUSALS[pack.refusal] ?? "";
}

// The runs of a COCO mask, background first, from its compressed string in base64.
function runLengths(base64) {
  const text = atob(base64);
  const runs = [];
  for (let at = 0; at < text.length; ) {
    let value = 0;
    for (let shift = 0; ; shift += 5) {
      const part = text.charCodeAt(at++) - 48;
      value |= (part & 31) << shift;
      if ((part & 32) === 0) {
        if (part & 16) value |= -1 << (shift + 5);
        break;
      }
    }
    if (runs.length > 2) value += runs[runs.length - 2];
    runs.push(value);
  }
  return runs;
}

// Index of the package at each pixel, plus one; 0 is background. The first in pick order is on top.
function labelImage(result, width, height) {
  const labels = new Uint16Array(width * height);
  for (let index = result.packages.length - 1; index >= 0; index--) {
    const mask = result.packages[index].mask;
    if (!mask || mask.width_px !== width || mask.height_px !== height) continue;
    let at = 0;
    let isInside = false;
    for (const length of runLengths(mask.counts)) {
      if (isInside) {
        for (let pixel = at; pixel < at + length; pixel++) {
          // Runs go down columns.
          labels[(pixel % height) * width + Math.floor(pixel / height)] = index + 1;
        }
      }
      at += length;
      isInside = !isInside;
    }
  }
  return labels;
}

// Masks as an image to be laid over the picture: tinted inside, opaque along the rim; hatched where
// a package is refused.
function maskImage(result, width, height, thickness) {
  const labels = labelImage(result, width, height);
  const image = new ImageData(width, height);
  const colors = result.packages.map((pack) => (refusal(pack) ? REFUSED_COLOR : typeColor(pack.type)));
  const isRefused = result.packages.map((pack) => refusal(pack) !== "");
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) {
      const at = y * width + x;
      const label = labels[at];
      if (label === 0) continue;
      const isRim =
        x < thickness || y < thickness || x >= width - thickness || y >= height - thickness ||
        labels[at - thickness] !== label || labels[at + thickness] !== label ||
        labels[at - thickness * width] !== label || labels[at + thickness * width] !== label;
      const isStripe = isRefused[label - 1] && Math.floor((x + y) / (5 * thickness)) % 2 === 0;
      const color = isStripe && !isRim ? [0, 0, 0] : colors[label - 1];
      image.data[4 * at] = color[0];
      image.data[4 * at + 1] = color[1];
      image.data[4 * at + 2] = color[2];
      image.data[4 * at + 3] = isRim ? 255 : isStripe ? 130 : 80;
    }
  }
  return image;
}

// Draws picture, masks, grasps and pick order. `picture` may be null: what was found is drawn alone.
async function drawResult(canvas, result, picture) {
  const width = result.image_width_px;
  const height = result.image_height_px;
  if (canvas.width !== width || canvas.height !== height) {
    canvas.width = width;
    canvas.height = height;
  }
  const pen = canvas.getContext("2d");
  // One pixel on the screen, in pixels of the picture.
  const unit = Math.max(1, width / Math.max(canvas.clientWidth, 1));
  const masks = await createImageBitmap(maskImage(result, width, height, Math.ceil(unit)));
  pen.clearRect(0, 0, width, height);
  if (picture) pen.drawImage(picture, 0, 0, width, height);
  pen.drawImage(masks, 0, 0);
  masks.close();
  const taken = [];
  result.packages.forEach((pack) => drawGrasps(pen, pack, unit, taken));
  result.packages.forEach((pack) => drawLabel(pen, pack, unit, taken, width, height));
}

function drawGrasps(pen, pack, unit, taken) {
  if (pack.grasps.length === 0) return;
  for (const grasp of pack.grasps.slice(1)) {
    if (!grasp.contact_px) continue;
    pen.beginPath();
    pen.arc(grasp.contact_px.x_px, grasp.contact_px.y_px, 3 * unit, 0, 2 * Math.PI);
    pen.fillStyle = "#fff";
    pen.fill();
    pen.lineWidth = unit;
    pen.strokeStyle = "#000";
    pen.stroke();
  }
  const contact = pack.grasps[0].contact_px;
  if (!contact) return;
  const isFirst = pack.pick_rank === 0;
  const radius = (isFirst ? 15 : 11) * unit;
  pen.beginPath();
  pen.arc(contact.x_px, contact.y_px, radius, 0, 2 * Math.PI);
  pen.fillStyle = isFirst ? "#fff" : "rgb(255 255 255 / 0.8)";
  pen.fill();
  pen.lineWidth = (isFirst ? 4 : 2) * unit;
  pen.strokeStyle = "#000";
  pen.stroke();
  pen.fillStyle = "#000";
  pen.font = `bold ${(isFirst ? 17 : 13) * unit}px sans-serif`;
  pen.textAlign = "center";
  pen.textBaseline = "middle";
  pen.fillText(String(pack.pick_rank + 1), contact.x_px, contact.y_px + unit);
  taken.push([contact.x_px - radius, contact.y_px - radius, 2 * radius, 2 * radius]);
}

// Writes type and score, or why there is no grasp, inside the picture; left out where it would lie
// upon another one.
function drawLabel(pen, pack, unit, taken, width, height) {
  const why = refusal(pack);
  const text = why ? `${pack.type}: ${why}` : `${pack.type} ${Math.round(100 * pack.score)} %`;
  const at = pack.grasps[0]?.contact_px ?? pack.deepest_px;
  if (!at) return;
  pen.font = `${12 * unit}px sans-serif`;
  const size = [pen.measureText(text).width + 8 * unit, 18 * unit];
  const left = Math.min(Math.max(at.x_px - size[0] / 2, 0), width - size[0]);
  const overlaps = ([x, y, w, h]) => (box) =>
    x < box[0] + box[2] && box[0] < x + w && y < box[1] + box[3] && box[1] < y + h;
  const places = (pack.grasps.length > 0 ? [17, -35] : [-9]).map((offset) => [
    left, Math.min(Math.max(at.y_px + offset * unit, 0), height - size[1]), ...size,
  ]);
  const place = places.find((place) => !taken.some(overlaps(place)));
  if (!place) return;
  taken.push(place);
  pen.fillStyle = "rgb(0 0 0 / 0.75)";
  pen.fillRect(...place);
  pen.fillStyle = "#fff";
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  pen.fillText(text, place[0] + 4 * unit, place[1] + size[1] / 2);
}

// The next number of 1, 2, 5, 10 and so on that is at least this.
function niceLimit(value) {
  const decade = 10 ** Math.floor(Math.log10(Math.max(value, 1e-3)));
  return [1, 2, 5, 10].map((step) => step * decade).find((limit) => limit >= value) ?? 10 * decade;
}

// Draws lines over the last `span_s` seconds. `lines` is a list of {values, color, isDashed}; a value
// is [seconds, number or null], and null is a gap.
function drawChart(canvas, lines, now_s, span_s, unitName) {
  const scale = window.devicePixelRatio || 1;
  const width = canvas.clientWidth;
  const height = canvas.clientHeight;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const style = getComputedStyle(document.documentElement);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.clearRect(0, 0, width, height);
  const known = lines.flatMap((line) => line.values.map((value) => value[1]));
  const top = niceLimit(Math.max(0.001, ...known.filter((value) => value !== null)));
  const [left, bottom, right, upper] = [44, height - 18, width - 4, 8];
  const x = (s) => right - ((now_s - s) / span_s) * (right - left);
  const y = (value) => bottom - (value / top) * (bottom - upper);
  pen.font = "12px sans-serif";
  pen.strokeStyle = style.getPropertyValue("--line");
  pen.fillStyle = style.getPropertyValue("--quiet");
  pen.lineWidth = 1;
  for (const part of [0, 0.5, 1]) {
    pen.beginPath();
    pen.moveTo(left, Math.round(y(part * top)) + 0.5);
    pen.lineTo(right, Math.round(y(part * top)) + 0.5);
    pen.stroke();
    pen.textAlign = "right";
    pen.textBaseline = "middle";
    pen.fillText(String(Number((part * top).toPrecision(3))), left - 6, y(part * top));
  }
  pen.textBaseline = "bottom";
  pen.textAlign = "left";
  pen.fillText(`${unitName}; ${span_s < 120 ? `${Math.round(span_s)} s` : `${Math.round(span_s / 60)} min`} ago`, left, height);
  pen.textAlign = "right";
  pen.fillText("now", right, height);
  for (const line of lines) {
    pen.strokeStyle = style.getPropertyValue(line.color);
    pen.lineWidth = 2;
    pen.setLineDash(line.isDashed ? [6, 3] : []);
    pen.beginPath();
    let isDown = false;
    for (const [s, value] of line.values) {
      if (value === null || s < now_s - span_s) {
        isDown = false;
      } else if (isDown) {
        pen.lineTo(x(s), y(value));
      } else {
        pen.moveTo(x(s), y(value));
        isDown = true;
      }
    }
    pen.stroke();
  }
  pen.setLineDash([]);
}
