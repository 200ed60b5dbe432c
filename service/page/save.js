// What is taken away: one photograph as a file, or all as an archive.

import { $, say } from "./dom.js";
import { writeLooks } from "./looks_file.js";
import { model } from "./service.js";
import { about, changed, current, photos, screen } from "./state.js";
import { cover } from "./stage.js";
import { withRetry } from "./turns.js";
import { answers, errorOf, fail, stateOf, wishOf } from "./work.js";
import { inWords } from "./words.js";
import { zip } from "./zip.js";

const SUFFIXES = { "image/png": ".png", "image/tiff": ".tif", "image/jpeg": ".jpg", "image/webp": ".webp" };
const QUERIES = { tiff16: { format: "tiff", depth: 16 } }; // What is chosen is a format, but for these.
const MOST_CANVAS_PX = 16384;
const MANY = 16; // Of so many most are not kept any more when they are saved: each is then posted for its answer at once.

const colorName = (name, blob, copy = 1) =>
  `${name.replace(/\.[^.]*$/, "")}${copy > 1 ? `-${copy}` : ""}-color${SUFFIXES[blob.type] ?? ".png"}`;

/** Get a photograph as a file of the kind that is chosen. */
function toSave(photo, onWait, anew = false) {
  const chosen = $("save-as").value;
  const { signal } = about(photo).left;
  const get = (more, wish = wishOf(photo)) => withRetry(() => answers.answer(wish, more, { signal, whole: more, anew }), onWait, signal);
  return chosen === "pair" ? pair(photo, get) : get(QUERIES[chosen] ?? { format: chosen });
}

/** Put a photograph as it came beside the one in color. */
async function pair(photo, get) {
  const gray = wishOf({ ...photo, look: { ...photo.look, saturation: 0 } });
  const sides = [];
  for (const wish of [gray, wishOf(photo)]) sides.push(await createImageBitmap(await get({ format: "png" }, wish)));
  const { width, height } = sides[0];
  if (2 * width > MOST_CANVAS_PX || height > MOST_CANVAS_PX) throw new Error("the photograph is too large to stand beside itself.");
  const canvas = new OffscreenCanvas(2 * width, height);
  const pen = canvas.getContext("2d");
  for (const [number, side] of sides.entries()) {
    pen.drawImage(side, number * width, 0);
    side.close();
  }
  return canvas.convertToBlob({ type: "image/jpeg", quality: 0.92 });
}

function hand(blob, name) {
  const link = Object.assign(document.createElement("a"), { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Do something while nothing else is saved. */
async function alone(work) {
  screen.saving = true;
  changed();
  try {
    await work();
  } finally {
    screen.saving = false;
    changed();
  }
}

$("save").onclick = () => alone(async () => {
  const photo = current();
  try {
    const blob = await toSave(photo, cover);
    hand(blob, colorName(photo.name, blob));
    say(`${colorName(photo.name, blob)} is saved.`);
    cover("");
  } catch (error) {
    fail(photo, error);
  }
});

$("save-all").onclick = () => alone(async () => {
  const ready = photos().filter((photo) => stateOf(photo) === "ready");
  const failed = [];
  const files = [];
  const taken = new Set();
  for (const [number, photo] of ready.entries()) {
    const { signal } = about(photo)?.left ?? {};
    if (!signal) continue; // Removed meanwhile.
    cover(`Collecting ${number + 1} of ${ready.length}: ${photo.name}`);
    try {
      const blob = await toSave(photo, (note) => note && cover(note), ready.length > MANY);
      const inside = photo.folder && `${photo.folder}/`;
      let name = inside + colorName(photo.name, blob);
      for (let copy = 2; taken.has(name.toLowerCase()); copy++) name = inside + colorName(photo.name, blob, copy);
      taken.add(name.toLowerCase());
      files.push({ name, blob });
    } catch {
      if (!signal.aborted) failed.push(photo.name);
    }
  }
  let text = `${files.length} photographs are saved.` + (failed.length ? ` Not saved: ${failed.join(", ")}. Try again.` : "");
  let isWhole = !failed.length;
  try {
    if (files.length) hand(await zip(files), "photochrom.zip");
  } catch (error) {
    text = error.message;
    isWhole = false;
  }
  cover(isWhole ? "" : text);
  say(text);
});

$("save-looks").onclick = () => alone(async () => {
  try {
    const looks = await writeLooks(photos().filter((photo) => !errorOf(photo)), await model());
    hand(new Blob([JSON.stringify(looks, null, 1)], { type: "application/json" }), "looks.json");
    say("What you decided is saved. photochrom colorize --looks looks.json FOLDER does it again.");
  } catch (error) {
    say(inWords(error));
  }
});
