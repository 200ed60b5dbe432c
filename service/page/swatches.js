// The colors that a place of the photograph can be given: those that the network finds plausible there, common ones, any.

import { $, make } from "./dom.js";
import { addHint, alterHint, removeHint } from "./hints.js";
import { changed, current, history, screen } from "./state.js";
import { placeOf, view } from "./view.js";

const PRESETS = [
  ["Skin", "#d8a488"], ["Hair, wood", "#7a5236"], ["Sky", "#8fb4d6"], ["Sea", "#3f7d92"], ["Leaves", "#5f7f38"],
  ["Brick", "#a4553c"], ["Gold, straw", "#c9a44c"],
];
const GRAY = "#808080"; // Of a point hue and chroma count, and this has none.
const ALIKE = 0.12; // Two colors nearer to each other than this, as a share of the brighter one, are one swatch.
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

const known = new Map(); // Photograph and place -> its plausible colors, from before it was given one.

/** Return what the versions have at a place: the network's own guesses, the likeliest first. */
function plausibleAt({ key, x, y }) {
  const name = `${key} ${x} ${y}`;
  if (known.has(name)) return known.get(name);
  const found = [];
  for (const image of $("variants").querySelectorAll("img")) {
    if (!image.naturalWidth) continue;
    const color = colorAt(image, x, y);
    const isOwn = (other) => Math.hypot(...color.map((value, i) => value - other[i])) >= ALIKE * Math.max(...color, ...other, 1);
    if (found.every(isOwn)) found.push(color);
  }
  const colors = found.map(toHex);
  if (colors.length) known.set(name, colors);
  return colors;
}

const hintOf = (spot) => (spot.index === null ? null : current()?.look.hints[spot.index]);

/** Give the open place a color. */
function paint(color, how) {
  const { spot } = screen;
  if (!spot) return;
  if (spot.index !== null) alterHint(spot.index, { color }, how);
  else if (addHint({ x: spot.x, y: spot.y, color })) spot.index = current().look.hints.length - 1;
}

function close() {
  const index = screen.spot?.index ?? null;
  Object.assign(screen, { spot: null, dropping: false });
  changed();
  (index === null ? $("fix") : ($("marks").children[index] ?? $("fix"))).focus({ preventScroll: true });
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
$("point-away").onclick = () => { const { index } = screen.spot; close(); removeHint(index); };
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
  const isLost = spot && (spot.key !== current()?.key || (spot.index !== null && !hintOf(spot)));
  if (isLost) spot = screen.spot = null;
  if (!spot) screen.dropping = false;
  card.hidden = !spot;
  $("stage").classList.toggle("dropping", Boolean(screen.dropping));
  $("dropper").setAttribute("aria-pressed", Boolean(screen.dropping));
  $("spot").hidden = !spot || spot.index !== null;
  if (!spot) { drawn = null; return; }
  const hint = hintOf(spot) ?? spot;
  if (drawn !== spot || !$("plausible").children.length) {
    const colors = plausibleAt(spot);
    $("plausible").replaceChildren(...colors.map((color, index) => swatch(`Plausible color ${index + 1}, ${color}`, color)));
    $("plausible-none").hidden = colors.length > 0;
    if (drawn !== spot) {
      $("hint-color").value = hint.color ?? colors[0] ?? "#a8552f";
      card.querySelector("button").focus({ preventScroll: true });
    }
    drawn = spot;
  }
  if (hint.color) $("hint-color").value = hint.color;
  for (const button of card.querySelectorAll("#plausible button, #presets button")) {
    button.setAttribute("aria-pressed", toHex(button.style.backgroundColor.match(/\d+/g).map(Number)) === hint.color);
  }
  $("keep-gray").setAttribute("aria-pressed", hint.color === GRAY);
  $("point-away").hidden = spot.index === null;
  place(hint);
}

/** Lay the card beside its place, inside the stage. */
function place(hint) {
  const { x, y } = placeOf(hint);
  $("spot").style.transform = `translate(${x}px, ${y}px)`;
  const [width, height] = [card.offsetWidth, card.offsetHeight];
  const left = x + 28 + width <= view.width ? x + 28 : x - 28 - width;
  card.style.left = `${Math.min(Math.max(left, 8), Math.max(view.width - width - 8, 8))}px`;
  card.style.top = `${Math.min(Math.max(y - height / 2, 8), Math.max(view.height - height - 8, 8))}px`;
}
