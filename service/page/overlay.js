// Where the network is not sure, as a veil over the photograph.

import { $, say } from "./dom.js";
import { changed, current, screen } from "./state.js";
import { newestWins } from "./turns.js";
import { cover } from "./stage.js";
import { layOut } from "./view.js";
import { answers, factsOf, isKept, isReady, wishOf } from "./work.js";
import { inWords } from "./words.js";

const VEIL = [122, 43, 255];
const [STRIPE_PX, GAP_PX] = [3, 6]; // Of the map, at most 512 px long.
const UNSURE = 1 / 3; // The least chance of being wrong that is worth hatching.
let asked = "";
let drawn = "";

$("overlay").onclick = () => { screen.overlay = !screen.overlay; changed(); };

/** Name the veil that the stage should have; empty for none. */
function wanted() {
  const photo = current();
  if (!screen.overlay || !photo || !factsOf(photo) || !isKept(photo) || !isReady(photo)) return "";
  return `${photo.key} ${wishOf(photo).seen}`;
}

const drawVeil = newestWins(async (signal) => {
  const name = (asked = wanted());
  if (!name) return;
  const photo = current();
  try {
    const blob = await answers.sureness(wishOf(photo), { signal, holds: () => wanted() === name });
    if (!blob || wanted() !== name) return;
    const bitmap = await createImageBitmap(blob);
    const veil = $("veil");
    [veil.width, veil.height] = [bitmap.width, bitmap.height];
    const pen = veil.getContext("2d", { willReadFrequently: true });
    pen.drawImage(bitmap, 0, 0);
    bitmap.close();
    const pixels = pen.getImageData(0, 0, veil.width, veil.height);
    let isAnywhere = false;
    for (let i = 0; i < pixels.data.length; i += 4) {
      const unsure = 1 - pixels.data[i] / 255;
      const [x, y] = [(i / 4) % veil.width, Math.floor(i / 4 / veil.width)];
      isAnywhere ||= unsure > UNSURE;
      const isStripe = (x + y) % (STRIPE_PX + GAP_PX) < STRIPE_PX;
      pixels.data.set([...VEIL, isStripe && unsure > UNSURE ? 255 * Math.min(1, 0.3 + unsure) : 0], i);
    }
    pen.putImageData(pixels, 0, 0);
    if (!isAnywhere) say("The network is nowhere unsure of this photograph.");
    drawn = name;
    layOut();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    if (wanted() !== name) return;
    drawn = name; // Asked for again when the photograph is.
    $("veil").width = 0;
    say(inWords(error));
    cover(inWords(error));
  } finally {
    asked = "";
    changed();
  }
});

export function drawOverlay() {
  const photo = current();
  if (!photo) return;
  const name = wanted();
  $("overlay").setAttribute("aria-pressed", screen.overlay);
  $("overlay").hidden = !isKept(photo);
  $("legend").hidden = $("veil").hidden = !name || name !== drawn;
  if (name && name !== drawn && name !== asked) drawVeil(true);
}
