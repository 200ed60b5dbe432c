// The outline of the region that is open, and the clicks and strokes that it grew from.

import { keyOf } from "./answers.js";
import { $, say } from "./dom.js";
import { regionNow } from "./fixes.js";
import { PREVIEW, wishOf } from "./looks.js";
import { changed, current } from "./state.js";
import { strokeNow } from "./tools.js";
import { newestWins } from "./turns.js";
import { answers, factsOf, isKept } from "./work.js";

// The service grows regions and shows them by their color alone. Of one in yellow and in blue, which differ at every
// lightness, the outline is where the two pictures stop to differ.
const COLORS = ["#0:80", "#0:-80"]; // In Lab, as the service reads them.
const SIDE = 320;
const OUTSIDE = -50;
const [BLACK, WHITE, NEAR] = [0, 255, 14]; // There no color is seen.

let asked = "";
let traced = { name: "", path: "" };

const wishIn = ({ file, look }, region, color) =>
  wishOf({ file, look: { ...look, hints: [], regions: [{ ...region, color, strength: 1 }] } });

/** Name the outline that the stage should have; empty for none. */
function wanted() {
  const [photo, region] = [current(), regionNow()];
  return photo && region && factsOf(photo) && isKept(photo) ? keyOf(wishIn(photo, region, COLORS[0])) : "";
}

const trace = newestWins(async (signal) => {
  const name = (asked = wanted());
  if (!name) return;
  const [photo, region] = [current(), regionNow()];
  const how = { signal, keptOnly: true, holds: () => wanted() === name };
  try {
    const [yellow, blue] = await Promise.all(COLORS.map(async (color) =>
      pixelsOf(await answers.answer(wishIn(photo, region, color), { ...PREVIEW, max_side: SIDE }, how))));
    const { width, height } = yellow;
    const inside = Float32Array.from({ length: width * height }, (_, i) => {
      const [, gray, of] = yellow.data.subarray(4 * i);
      return Math.abs(of - blue.data[4 * i + 2]) - halfAt(gray);
    });
    close(inside, (at) => [WHITE, BLACK].some((end) => Math.abs(yellow.data[4 * at + 1] - end) < NEAR), width, height);
    traced = { name, path: contourOf(inside, width, height) };
    const share = inside.filter((value) => value > 0).length / inside.length;
    say(`The region is ${Math.round(100 * share)} % of the photograph.`, { quiet: true });
  } catch (error) {
    if (error.name !== "AbortError") traced = { name, path: "" };
    throw error;
  } finally {
    asked = "";
    changed();
  }
});

/** How far blue differs where half of a region's color counts: sRGB has less of it where it is dark or bright. */
const halfAt = (gray) => Math.max(25, Math.min(1.3 * gray, 130, 3 * (255 - gray)));

async function pixelsOf(blob) {
  const bitmap = await createImageBitmap(blob);
  const { width, height } = bitmap;
  const pen = new OffscreenCanvas(width, height).getContext("2d");
  pen.filter = "blur(1px)"; // What is thinner is noise of the two pictures.
  pen.drawImage(bitmap, 0, 0);
  bitmap.close();
  return pen.getImageData(0, 0, width, height);
}

/** Close the holes of a region that are mostly black or white: there its color is not seen. */
function close(inside, isBlind, width, height) {
  const seen = new Uint8Array(inside.length);
  for (let start = 0; start < inside.length; start++) {
    if (seen[start] || inside[start] > 0) continue;
    const hole = [start];
    seen[start] = 1;
    let isOpen = false;
    for (const at of hole) { // It grows meanwhile.
      const x = at % width;
      if (x === 0 || x === width - 1 || at < width || at >= width * (height - 1)) isOpen = true;
      for (const next of [x > 0 && at - 1, x < width - 1 && at + 1, at - width, at + width]) {
        if (next === false || inside[next] === undefined || seen[next] || inside[next] > 0) continue;
        seen[next] = 1;
        hole.push(next);
      }
    }
    if (!isOpen && hole.filter(isBlind).length * 2 > hole.length) for (const at of hole) inside[at] = -OUTSIDE;
  }
}

/** Return the path around what is above 0, in long sides (marching squares; outside the picture nothing is). */
function contourOf(values, width, height) {
  const long = Math.max(width, height);
  const at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? OUTSIDE : values[y * width + x]);
  const crossing = (x0, y0, x1, y1) => {
    const [from, to] = [at(x0, y0), at(x1, y1)];
    if ((from > 0) === (to > 0)) return null;
    const share = from / (from - to);
    return [x0 + (x1 - x0) * share, y0 + (y1 - y0) * share].map((value) => ((value + 0.5) / long).toFixed(4)).join(" ");
  };
  let path = "";
  for (let y = -1; y < height; y++) {
    for (let x = -1; x < width; x++) {
      const ends = [crossing(x, y, x + 1, y), crossing(x + 1, y, x + 1, y + 1), crossing(x, y + 1, x + 1, y + 1), crossing(x, y, x, y + 1)]
        .filter(Boolean);
      for (let i = 0; i < ends.length; i += 2) path += `M${ends[i]}L${ends[i + 1]}`;
    }
  }
  return path;
}

export function drawShape() {
  const [photo, region, stroke] = [current(), regionNow(), strokeNow()];
  const isShown = photo && factsOf(photo) && (region || stroke);
  $("shape").toggleAttribute("hidden", !isShown);
  $("shape").classList.toggle("busy", Boolean(asked));
  if (!isShown) { traced = { name: "", path: "" }; return; }
  const { width, height } = factsOf(photo);
  const [w, h] = [width, height].map((side) => side / Math.max(width, height));
  $("shape").setAttribute("viewBox", `0 0 ${w} ${h}`);
  const lineOf = (points) => `M${points.map(([x, y]) => `${x * w} ${y * h}`).join("L")}h0`;
  const dotsOf = (some) => some.map(({ points }) => lineOf(points.slice(0, 1))).join("");
  const marks = region?.marks ?? [];
  const name = wanted();
  for (const id of ["edge-under", "edge"]) $(id).setAttribute("d", traced.path);
  for (const id of ["dots-under", "dots"]) $(id).setAttribute("d", dotsOf(marks));
  $("dots-away").setAttribute("d", dotsOf(marks.filter(({ away }) => away)));
  const last = stroke ?? (name === traced.name ? null : marks.at(-1));
  $("stroke").setAttribute("d", last ? lineOf(last.points) : "");
  $("stroke").setAttribute("stroke-width", 2 * (last?.radius ?? 0));
  $("stroke").classList.toggle("taking", Boolean(last?.away));
  if (name && name !== traced.name && name !== asked) trace(true);
}
