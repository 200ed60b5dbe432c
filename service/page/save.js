// What is taken away: one photograph as a file, or all as an archive.

import { $, say } from "./dom.js";
import { about, changed, current, photos, screen } from "./state.js";
import { cover } from "./stage.js";
import { withRetry } from "./turns.js";
import { answers, fail, stateOf, wishOf } from "./work.js";
import { zip } from "./zip.js";

const SUFFIXES = { "image/png": ".png", "image/tiff": ".tif", "image/jpeg": ".jpg" };

const colorName = (name, blob, copy = 1) =>
  `${name.replace(/\.[^.]*$/, "")}${copy > 1 ? `-${copy}` : ""}-color${SUFFIXES[blob.type] ?? ".png"}`;

/** Get a photograph as a file of the format that is chosen. */
function toSave(photo, onWait) {
  const format = $("save-as").value;
  const { signal } = about(photo).left;
  return withRetry(() => answers.answer(wishOf(photo), { format }, { signal, format }), onWait, signal);
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
      const blob = await toSave(photo, (note) => note && cover(note));
      let name = colorName(photo.name, blob);
      for (let copy = 2; taken.has(name.toLowerCase()); copy++) name = colorName(photo.name, blob, copy);
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
