// How photographs come in: chosen, dropped or pasted.

import { $, say } from "./dom.js";
import { defaults } from "./looks.js";
import { current, decide, newKey } from "./state.js";

const PICTURE_NAME = /\.(jpg|jpeg|jpe|jfif|png|webp|tif|tiff|dng|bmp|dib|gif|jp2|j2k|jpf|jpx|j2c|jpc|jph|jxl|avif|heic|heif|hif|ppm|pgm|pbm|pnm|pam)$/i;

/** Take in files. They are colored like the photograph on the screen, but for its version, points, regions and reference. */
export function add(files, skipped = 0) {
  if (files.length) {
    const like = current()?.look ?? defaults;
    const look = Object.freeze({ ...like, variant: 1, hints: defaults.hints, regions: defaults.regions });
    const added = files.map((file) => {
      const key = newKey();
      const folder = folders.get(file) ?? "";
      return Object.freeze({ key, file, name: file.name || `photograph-${key}.png`, folder, look });
    });
    decide(`${added.length === 1 ? added[0].name : `${added.length} photographs`} added`, (all) => [...all, ...added]);
  }
  if (!files.length && !skipped) return;
  say(`${files.length} ${files.length === 1 ? "photograph" : "photographs"} added.`
    + (skipped ? ` ${skipped} ${skipped === 1 ? "file is" : "files are"} no pictures and left out.` : ""));
}

$("pick").onclick = $("add").onclick = () => $("files").click();
$("files").onchange = () => {
  add([...$("files").files]);
  $("files").value = "";
};

const folders = new WeakMap(); // File -> the folders in which it was dropped, as a path.

/** Collect the files of what was dropped; of folders only what is named like a picture. */
async function filesOf(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [[...transfer.files], 0];
  const files = [];
  let skipped = 0;
  const walk = async (entry, inside) => {
    if (entry.isFile) {
      if (inside && !PICTURE_NAME.test(entry.name)) { skipped++; return; }
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      folders.set(file, entry.fullPath.split("/").slice(1, -1).join("/"));
      files.push(file);
      return;
    }
    const reader = entry.createReader();
    for (;;) { // It gives some hundred at a time.
      const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
      if (!some.length) break;
      for (const child of some.sort((a, b) => a.name.localeCompare(b.name))) await walk(child, true);
    }
  };
  for (const entry of entries) await walk(entry, false);
  return [files, skipped];
}

let over = 0;
const carriesFiles = (event) => event.dataTransfer?.types.includes("Files");
const showDrop = (depth) => { over = depth; $("drop").hidden = depth <= 0; };
addEventListener("dragenter", (event) => { if (carriesFiles(event)) showDrop(over + 1); });
addEventListener("dragleave", (event) => { if (carriesFiles(event)) showDrop(Math.max(over - 1, 0)); });
addEventListener("dragover", (event) => { if (carriesFiles(event)) event.preventDefault(); });
addEventListener("drop", async (event) => {
  showDrop(0);
  if (!carriesFiles(event)) return;
  event.preventDefault();
  add(...(await filesOf(event.dataTransfer)));
});
addEventListener("paste", (event) => {
  const files = [...(event.clipboardData?.files ?? [])];
  if (!files.length) return;
  event.preventDefault();
  add(files);
});
