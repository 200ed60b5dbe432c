// The photographs come and go; each is brought to its color, a few at a time, and has a small picture in the strip.

import { keyOf, makeAnswers } from "./answers.js";
import { say } from "./dom.js";
import { PREVIEW, wishOf as makeWish } from "./looks.js";
import { service } from "./service.js";
import { about, changed, current, isHere, keepRecords, photoOf, photos, screen } from "./state.js";
import { withRetry } from "./turns.js";
import { inWords } from "./words.js";

const POSTS_AT_ONCE = 2;
export const THUMB = { width: 192, height: 144 };

export const answers = makeAnswers(service, { onPost: (file, share) => {
  const photo = photos().find((other) => other.file === file);
  if (photo) hear(photo, share);
} });

const wishes = new WeakMap(); // A photograph is frozen, so it has one wish.
export function wishOf(photo) {
  if (!wishes.has(photo)) wishes.set(photo, makeWish(photo));
  return wishes.get(photo);
}

export const factsOf = (photo) => answers.facts(photo.file);
export const isKept = (photo) => answers.isKept(wishOf(photo));
const stillWishes = (key, wish) => photoOf(key) && keyOf(wishOf(photoOf(key))) === keyOf(wish);

/** Name what has to be there for a photograph: one inference for all looks, or one answer for each. */
const needOf = (photo) => (isKept(photo) ? `kept ${wishOf(photo).seen}` : keyOf(wishOf(photo)));
const isThere = (photo) => about(photo).done === needOf(photo) || answers.isThere(wishOf(photo));

/** Return what went wrong with a photograph; once it was in color, that holds for the look that it was wished with. */
export function errorOf(photo) {
  const { error } = about(photo);
  return error && (!factsOf(photo) || error.key === keyOf(wishOf(photo))) ? error.error : null;
}

/** Return how far a photograph is: waiting, sending, working, paused, failed or ready. */
export function stateOf(photo) {
  if (errorOf(photo)) return "failed";
  const { working } = about(photo);
  if (working) return working;
  return isThere(photo) || (factsOf(photo) && photo.key === screen.current) ? "ready" : "waiting";
}

export const isReady = (photo) => stateOf(photo) === "ready";

export function fail(photo, error) {
  if (!isHere(photo)) return;
  about(photo).error = { error, key: keyOf(wishOf(photoOf(photo.key))) };
  say(`${photo.name}: ${inWords(error)}`);
  changed();
}

/** Hear how a post of a photograph goes. */
function hear(photo, share) {
  const record = about(photo);
  if (share === null) record.working = jobs.has(photo.key) ? record.working : "";
  else Object.assign(record, { working: share < 1 ? "sending" : "working", progress: share });
  changed();
}

/** Say why a photograph has neither versions nor an overlay; nothing where it has them. */
export function whyPlain(photo) {
  if (isKept(photo)) return "";
  const { file, seen } = wishOf(photo);
  const what = !answers.keepsAnything() ? "anything" : answers.hasRoom(file, seen) ? "the reference" : photo.name;
  return `The service has no room to keep ${what}: there are no versions, and it cannot be shown where the network is unsure.`;
}

// ---------------------------------------------------------------------------------------------- who comes and who goes

let references = new Set();

/** Let go what is not here any more, and take in what is new. */
function sync() {
  keepRecords((photo, record) => {
    record.url = URL.createObjectURL(photo.file);
    drawFirst(photo);
  }, (record) => {
    record.left.abort();
    URL.revokeObjectURL(record.url);
    answers.leave(record.photo.file);
  });
  const followed = new Set(photos().map((photo) => photo.look.reference).filter(Boolean));
  for (const file of references) if (!followed.has(file)) answers.leave(file);
  references = followed;
}

// --------------------------------------------------------------------------------------------------------------- jobs

const jobs = new Set();

/** Start as many posts as may run; the photograph on the screen goes first, and once it is in color it is previewed. */
function pump() {
  const waiting = photos().filter((photo) => !jobs.has(photo.key) && stateOf(photo) === "waiting");
  waiting.sort((a, b) => (b.key === screen.current) - (a.key === screen.current));
  for (const photo of waiting.slice(0, Math.max(0, POSTS_AT_ONCE - jobs.size))) start(photo);
}

async function start(photo) {
  const record = about(photo);
  const { signal } = record.left;
  jobs.add(photo.key);
  Object.assign(record, { working: "sending", progress: 0, error: null });
  const onWait = (note) => { Object.assign(record, { working: note ? "paused" : "sending", note }); changed(); };
  try {
    await withRetry(() => bring(photo.key, signal, (share) => hear(photo, share)), onWait, signal);
    record.done = needOf(photoOf(photo.key));
    if (photo.key !== screen.current) await colorThumb(photoOf(photo.key)); // While it is kept.
    const plain = photo.key === screen.current ? whyPlain(photoOf(photo.key)) : "";
    say(`${photo.name} is in color. ${plain}`.trim(), { quiet: !plain }); // Else the picture says it.
  } catch (error) {
    if (!signal.aborted) fail(photo, error);
  }
  jobs.delete(photo.key);
  Object.assign(record, { working: "", note: "" });
  changed();
}

/** Have all there that a photograph takes. Its look may change while a post is on its way. */
async function bring(key, signal, onProgress) {
  for (;;) {
    signal.throwIfAborted();
    const wish = wishOf(photoOf(key));
    try {
      await answers.prepare(wish, { signal, onProgress, holds: () => stillWishes(key, wish) });
      if (stillWishes(key, wish)) return;
    } catch (error) {
      if (error.name !== "AbortError" || stillWishes(key, wish)) throw error;
    }
  }
}

/** Try again what went wrong. */
export function again(photo) {
  about(photo).error = null;
  changed();
}

// --------------------------------------------------------------------------------------------------------- small ones

let firsts = Promise.resolve();

/** Draw a photograph as it came, one after another: decoded, they are large. */
function drawFirst(photo) {
  firsts = firsts.then(() => isHere(photo) && !about(photo).thumb && drawThumb(photo, photo.file)).catch(() => {});
}

let isDrawing = false;

/** Draw the small pictures that are not of their look any more, one after another. */
async function drawThumbs() {
  if (isDrawing) return;
  isDrawing = true;
  const isOld = (photo) => photo.key !== screen.current && isReady(photo) && about(photo).thumbKey !== keyOf(wishOf(photo));
  for (let photo; (photo = photos().find(isOld)); ) await colorThumb(photo);
  isDrawing = false;
}

/** Draw the small picture of a photograph as it is wished now. */
async function colorThumb(photo) {
  const record = about(photo);
  const wish = wishOf(photo);
  const { signal } = record.left;
  const wasKept = answers.isKept(wish);
  const how = { signal, keptOnly: true, holds: () => stillWishes(photo.key, wish) };
  record.thumbKey = keyOf(wish);
  try {
    const blob = wasKept
      ? await withRetry(() => answers.answer(wish, { ...PREVIEW, max_side: THUMB.width }, how), () => {}, signal)
      : answers.whole(wish);
    if (blob && how.holds()) await drawThumb(photo, blob);
  } catch { // The strip then shows the old one, choosing the photograph tells why; what lost its room is posted whole first.
    if (wasKept && !answers.isKept(wish)) record.thumbKey = "";
  }
}

/** Let an image fill a canvas, cut off where it is longer. */
export function drawOver(canvas, image) {
  const factor = Math.max(canvas.width / image.width, canvas.height / image.height);
  const [width, height] = [image.width * factor, image.height * factor];
  const pen = canvas.getContext("2d");
  pen.imageSmoothingQuality = "high";
  pen.drawImage(image, (canvas.width - width) / 2, (canvas.height - height) / 2, width, height);
  return canvas;
}

export async function drawThumb(photo, blob) {
  const record = about(photo);
  const turn = (record.turn = (record.turn || 0) + 1);
  const bitmap = await createImageBitmap(blob);
  if (turn !== record.turn) return bitmap.close();
  const canvas = drawOver(record.thumb ?? Object.assign(document.createElement("canvas"), THUMB), bitmap);
  bitmap.close();
  record.thumb = canvas;
  changed();
}

/** Bring about what has been decided. */
export function work() {
  sync();
  if (!current()) screen.current = photos()[0]?.key ?? null;
  pump();
  drawThumbs();
}

addEventListener("pagehide", () => answers.forgetAll()); // What the service holds in memory is of no use to anybody now.
