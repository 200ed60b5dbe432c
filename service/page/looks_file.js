// What was decided, as a file that `photochrom colorize --looks` obeys: each photograph by the SHA-256 of its file.

import { digestOf } from "./digest.js";
import { hintText, queryOf, regionText, seenAs } from "./looks.js";

const NUMBERS = new Set(["vividness", "temperature", "saturation", "variant", "reference_strength", "size"]);

/** Return the options of a look: those of POST /colorize, and which version. */
function optionsOf(look) {
  const query = new URLSearchParams(`${queryOf(look)}&${seenAs(look)}`);
  for (const name of ["hints", "regions"]) query.delete(name);
  return Object.fromEntries([...query].map(([name, value]) => [name, NUMBERS.has(name) ? Number(value) : value]));
}

async function base64(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 0x8000) text += String.fromCharCode(...bytes.subarray(at, at + 0x8000));
  return btoa(text);
}

/** Write down how photographs, { file, name, look }, are to be colored, and by which model, as GET /model tells. */
export async function writeLooks(photos, model) {
  const pictures = {};
  const references = {};
  for (const { file, name, look } of photos) {
    const reference = look.reference && (await digestOf(look.reference));
    if (reference) references[reference] ??= await base64(look.reference);
    const regions = look.regions.length ? look.regions.map(regionText) : undefined;
    pictures[await digestOf(file)] = { name, options: optionsOf(look), hints: look.hints.map(hintText), regions, reference };
  }
  return { photochrom_looks: 1, model: { digest: model.sha256, precision: model.precision }, pictures, references };
}
