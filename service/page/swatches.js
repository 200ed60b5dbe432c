// The colors that a place of the photograph can be given: those that the network finds plausible there, common ones, any.

import { $, make, write } from "./dom.js";
import { addFix, alterFix, fixed, fixOf, regionNow, removeFix } from "./fixes.js";
import { about, changed, current, history, screen } from "./state.js";
import { anchorOf, placeOf, view } from "./view.js";
import { answers, wishOf } from "./work.js";

const PRESETS = [
  ["Skin", "#d8a488"], ["Hair, wood", "#7a5236"], ["Sky", "#8fb4d6"], ["Sea", "#3f7d92"], ["Leaves", "#5f7f38"],
  ["Brick", "#a4553c"], ["Gold, straw", "#c9a44c"],
];
const GRAY = "#808080"; // Of a point hue and chroma count, and this has none.
const PATCH = 5; // Side of what a color is averaged over, px.

const card = $("swatches");
const pixels = new OffscreenCanvas(PATCH, PATCH).getContext("2d", { willReadFrequently: true });

/** Return the color of an image at a place, averaged over a patch, as [r, g, b]. */
function colorAt(image, x, y) {
  const left = Math.min(Math.max(x * image.naturalWidth - PATCH / 2, 0), Math.max(image.naturalWidth - PATCH, 0));
  const top = Math.min(Math.max(y * image.naturalHeight - PATCH / 2, 0), Math.max(image.naturalHeight - PATCH, 0));
  pixels.drawImage(image, Math.floor(left), Math.floor(top), PATCH, PATCH, 0, 0, PATCH, PATCH);
  const { data } = pixels.getImageData(0, 0, PATCH, PATCH);
  return [0, 1, 2].map((channel) => {
    let sum = 0;
    for (let i = channel; i < data.length; i += 4) sum += data[i];
    return Math.round(sum / (PATCH * PATCH));
  });
}

const toHex = (color) => `#${color.map((value) => value.toString(16).padStart(2, "0")).join("")}`;

const offers = new Map(); // Name of a place -> its plausible colors; null while they are on their way.

/** Return what the network finds plausible at a place, the likeliest first; null while that is on its way. */
function plausibleAt(photo, { x, y }) {
  const place = `x=${x.toFixed(4)}&y=${y.toFixed(4)}`;
  const name = `${photo.key} ${wishOf(photo).seen} ${place}`;
  if (!offers.has(name)) {
    offers.set(name, null);
    answers.colors(wishOf(photo), place, { signal: about(photo).left.signal }).catch(() => {}).then((colors) => {
      offers.set(name, colors ?? []); // Without them there are the common ones.
      changed();
    });
  }
  return offers.get(name);
}

/** Give the open place a color. */
function paint(color, how) {
  const { spot } = screen;
  if (!spot) return;
  const { kind, index, x, y, strength, marks } = spot;
  if (index !== null) alterFix(kind, index, { color }, how);
  else if (addFix(kind, kind === "hints" ? { x, y, color } : { color, strength, marks })) spot.index = fixed(kind).length - 1;
}

function close() {
  const { kind, index } = screen.spot;
  Object.assign(screen, { spot: null, dropping: false, away: false });
  changed();
  const marks = $(kind === "hints" ? "marks" : "handles");
  (index === null ? $("fix") : (marks.children[index] ?? $("fix"))).focus({ preventScroll: true });
}

/** Take the color of an image at a place, where that is what is wanted; say whether it was. */
export function dropAt(image, x, y) {
  if (!screen.dropping) return false;
  screen.dropping = false;
  paint(toHex(colorAt(image, x, y)));
  changed();
  return true;
}

$("keep-gray").onclick = () => paint(GRAY);
$("hint-color").oninput = () => paint($("hint-color").value, { stroke: "any color" });
$("hint-color").onchange = () => history.endStroke();
$("dropper").onclick = () => { screen.dropping = !screen.dropping; changed(); };
$("region-strength").oninput = () => {
  const strength = Number($("region-strength").value);
  if (fixOf(screen.spot)) alterFix("regions", screen.spot.index, { strength }, { stroke: "strength" });
  else Object.assign(screen.spot, { strength });
};
$("region-strength").onchange = () => history.endStroke();
$("point-away").onclick = () => { const { kind, index } = screen.spot; close(); removeFix(kind, index); };
$("swatches-done").onclick = close;
$("reference-shown").onclick = (event) => {
  const image = event.currentTarget;
  dropAt(image, event.offsetX / image.clientWidth, event.offsetY / image.clientHeight);
};

for (const type of ["pointerdown", "dblclick", "wheel"]) card.addEventListener(type, (event) => event.stopPropagation());
card.addEventListener("keydown", (event) => { if (event.key !== "Escape") event.stopPropagation(); });
addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
  if (screen.spot) close();
  else if (screen.placing) $("fix").click();
});

const swatch = (name, color) => {
  const button = make("button", { type: "button", title: name, is: { "aria-label": name } });
  button.style.background = color;
  button.onclick = () => paint(color);
  return button;
};
$("presets").append(...PRESETS.map(([name, color]) => swatch(name, color)));

let drawn = null; // The place whose colors the card shows.

export function drawSwatches() {
  let { spot } = screen;
  const isLost = spot && (spot.key !== current()?.key || (spot.index !== null && !fixOf(spot)));
  if (isLost) spot = screen.spot = null;
  if (!spot) screen.dropping = false;
  card.hidden = !spot;
  $("stage").classList.toggle("dropping", Boolean(screen.dropping));
  $("dropper").setAttribute("aria-pressed", Boolean(screen.dropping));
  $("spot").hidden = !spot || spot.index !== null || spot.kind !== "hints";
  if (!spot) { drawn = null; return; }
  const fix = fixOf(spot) ?? spot;
  drawPlausible(plausibleAt(current(), spot));
  if (drawn !== spot) card.querySelector("#plausible button, #presets button").focus({ preventScroll: true });
  if (fix.color) $("hint-color").value = fix.color;
  for (const button of card.querySelectorAll("#plausible button, #presets button")) {
    button.setAttribute("aria-pressed", toHex(button.style.backgroundColor.match(/\d+/g).map(Number)) === fix.color);
  }
  $("keep-gray").setAttribute("aria-pressed", fix.color === GRAY);
  const region = regionNow();
  $("of-region").hidden = $("region-far").hidden = !region;
  $("ask").hidden = Boolean(region);
  if (region) $("region-strength").value = region.strength;
  write($("swatches-done"), fix.color ? "Done" : "Cancel");
  $("point-away").hidden = !fix.color;
  $("point-away").setAttribute("aria-label", region ? "Remove region" : "Remove point");
  place(fixOf(spot) ? anchorOf(fix) : spot);
  drawn = spot;
}

/** Offer plausible colors; null where they are on their way. */
function drawPlausible(colors) {
  $("plausible-none").hidden = colors !== null;
  $("plausible").hidden = colors?.length === 0;
  const text = JSON.stringify(colors);
  if ($("plausible").dataset.colors === text) return;
  $("plausible").dataset.colors = text;
  for (const button of $("plausible").querySelectorAll("button")) button.remove();
  const words = (share) => (share === undefined ? "" : `, ${Math.round(100 * share)} %`);
  $("plausible").append(...(colors ?? []).map(({ color, share }, i) => swatch(`Plausible color ${i + 1}, ${color}${words(share)}`, color)));
  if (colors?.length && !fixOf(screen.spot)) $("hint-color").value = colors[0].color;
}

/** Lay the card beside its point, inside the stage; of a region it leaves all of the photograph, and what saves it, free. */
function place(anchor) {
  const { x, y } = placeOf(anchor);
  $("spot").style.transform = `translate(${x}px, ${y}px)`;
  card.classList.toggle("aside", Boolean(regionNow()));
  const [width, height] = [card.offsetWidth, card.offsetHeight];
  const below = Math.min($("panel").querySelector(".head").getBoundingClientRect().bottom + 4, innerHeight - height - 8);
  card.style.setProperty("--below", `${Math.max(below, 56)}px`);
  const left = x + 28 + width <= view.width ? x + 28 : x - 28 - width;
  card.style.left = `${Math.min(Math.max(left, 8), Math.max(view.width - width - 8, 8))}px`;
  card.style.top = `${Math.min(Math.max(y - height / 2, 8), Math.max(view.height - height - 8, 8))}px`;
}
