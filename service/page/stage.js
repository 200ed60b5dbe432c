// The photograph on the stage, before and in color, as large as the screen shows it.

import { keyOf } from "./answers.js";
import { $ } from "./dom.js";
import { rememberLook } from "./earlier.js";
import { PREVIEW } from "./looks.js";
import { about, changed, current, isHere, screen } from "./state.js";
import { newestWins, pause, withRetry } from "./turns.js";
import { strip } from "./versions.js";
import { layOut, layOutWaiting, sideNeeded, view } from "./view.js";
import { answers, drawThumb, errorOf, factsOf, fail, isKept, wishOf } from "./work.js";

const ZOOMED_MS = 150; // Whoever zooms is not done yet.

let onStage = null; // Key of the photograph that the stage shows.
let asked = ""; // What is on its way, and what it is of.
let askedOf = null;
let shown = "";
let address = "";
let timer = 0;
let awaited = ""; // What the timer will ask for.

export const cover = (text) => { screen.cover = text; changed(); };

/** Bring a photograph onto the screen. */
export function choose(key) {
  screen.current = key;
  screen.cover = "";
  changed();
}

/** Name what the screen should show of a photograph. */
const nameOf = (photo) => `${photo.key} ${keyOf(wishOf(photo))} ${isKept(photo) ? sideNeeded() : "whole"}`;

const preview = newestWins(async (signal) => {
  const photo = current();
  if (!photo || !factsOf(photo)) return;
  const wish = wishOf(photo);
  const name = nameOf(photo);
  const holds = () => current()?.key === photo.key && wishOf(current()).seen === wish.seen;
  const more = { ...PREVIEW, max_side: sideNeeded() };
  [asked, askedOf] = [name, { key: photo.key, seen: wish.seen }];
  $("stage").setAttribute("aria-busy", "true");
  strip.stop(); // The small ones give way, and come after it.
  try {
    const blob = await withRetry(() => answers.answer(wish, more, { signal, holds }), cover, signal);
    if (photo.key === screen.current) await show(photo, blob, name);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    fail(photo, error);
  } finally {
    asked = "";
    $("stage").setAttribute("aria-busy", "false");
    changed();
  }
});

async function show(photo, blob, name) {
  const url = URL.createObjectURL(blob);
  const image = $("after");
  image.src = url;
  await image.decode().catch(() => {});
  if (address) URL.revokeObjectURL(address);
  address = url;
  if (photo.key !== screen.current) return;
  image.dataset.shown = shown = name;
  image.alt = `${photo.name} in color`;
  screen.cover = "";
  layOut();
  const record = about(photo);
  record.error = null;
  record.thumbKey = keyOf(wishOf(photo));
  drawThumb(photo, blob).then(() => {
    if (record.thumbKey === keyOf(wishOf(photo))) rememberLook(photo.look, record.thumb);
  }).catch(() => {});
  strip();
}

/** Ask for what the screen should show now. */
export function refresh() {
  const photo = current();
  if (!photo || !factsOf(photo) || errorOf(photo)) return;
  const name = nameOf(photo);
  if (name === asked || (!asked && name === shown)) return;
  if (name === awaited) return;
  clearTimeout(timer);
  awaited = "";
  const isNew = askedOf?.key !== photo.key || askedOf.seen !== wishOf(photo).seen;
  const [ofName, ofShown] = [name, shown].map((text) => text.replace(/ \w+$/, ""));
  if (asked || ofName !== ofShown) return preview(isNew);
  awaited = name; // The same, larger or smaller.
  timer = setTimeout(() => { awaited = ""; preview(); }, ZOOMED_MS);
}

/** Let the stage show another photograph. */
function enter(photo) {
  onStage = photo.key;
  shown = "";
  Object.assign(view, { scale: 0, x: 0.5, y: 0.5 });
  const [before, after] = [$("before"), $("after")];
  after.removeAttribute("src");
  delete after.dataset.shown;
  before.alt = `${photo.name} before`;
  before.hidden = false;
  before.onload = () => {
    if (onStage !== photo.key) return;
    before.hidden = false;
    about(photo).size = { width: before.naturalWidth, height: before.naturalHeight };
    changed();
  };
  before.onerror = () => { if (onStage === photo.key) before.hidden = true; changed(); };
  before.src = about(photo).url;
}

/** Of a kind that browsers do not show, such as TIFF, the service has a gray one. */
async function showGray(photo) {
  const record = about(photo);
  if (record.isGray || !factsOf(photo) || !isKept(photo) || !$("after").dataset.shown) return;
  record.isGray = true;
  await pause(0);
  await preview.isOver(); // Of a large scan each takes long, and the one in color is waited for.
  const how = { signal: record.left.signal, keptOnly: true };
  const blob = await answers.answer(wishOf(photo), { saturation: 0, ...PREVIEW, max_side: 2048 }, how).catch(() => null);
  if (!blob || !isHere(photo)) { record.isGray = false; return; }
  URL.revokeObjectURL(record.url); // The file's own, which nothing here can show.
  record.url = URL.createObjectURL(blob);
  if (onStage === photo.key) $("before").src = record.url;
}

export function drawStage() {
  const photo = current();
  if (!photo) { onStage = null; return; }
  if (onStage !== photo.key) enter(photo);
  const before = $("before");
  $("split").hidden = !factsOf(photo) || view.apart || screen.placing;
  $("stage").classList.toggle("held", view.held);
  if (before.complete && !before.naturalWidth) showGray(photo);
  if (factsOf(photo)) layOut();
  else layOutWaiting(about(photo).size);
}
