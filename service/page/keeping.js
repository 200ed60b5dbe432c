// The page is kept over a reload as it is decided, and asks before something is lost that is not.

import { $, say, write as draw } from "./dom.js";
import { collectEarlier } from "./earlier.js";
import { defaults } from "./looks.js";
import { decide, history, newKey, photos, screen, changed } from "./state.js";
import { keep, restore } from "./store.js";

let isBack = false; // What was there before comes first, so that it is not written over.
let isKeeping = false;
let keptOf = null; // What is kept: the list of photographs, and which of them is on the screen.
let keptCurrent = -1;
let lost = ""; // Why not everything is kept.

const currentIndex = () => photos().findIndex((photo) => photo.key === screen.current);
const isKept = () => keptOf === photos() && !lost;

async function bringBack() {
  try {
    const before = await restore();
    if (!before?.photos.length) return;
    const whole = (look) => Object.freeze({ ...defaults, ...look }); // Of an older page, it may lack something.
    const back = before.photos.map(({ look, earlier: { words, before: looks }, ...photo }) => Object.freeze({
      ...photo, key: newKey(), look: whole(look), earlier: { words, before: looks.map(([each, label]) => [whole(each), label]) },
    }));
    history.begin(Object.freeze([...back, ...photos()]));
    screen.current = back[before.current]?.key ?? back[0].key;
    say(`${back.length} ${back.length === 1 ? "photograph is" : "photographs are"} back, with what you decided.`);
  } catch { // Without a database, or where it is refused, the page works all the same.
  } finally {
    isBack = true;
    changed();
  }
}

async function write() {
  isKeeping = true;
  while (keptOf !== photos() || keptCurrent !== currentIndex()) {
    const [now, current] = [photos(), currentIndex()];
    try {
      const earlier = collectEarlier(now);
      const count = await keep(now.map((photo) => ({ ...photo, earlier: earlier.get(photo.key) })), current);
      lost = count < now.length ? `This browser keeps ${count} of ${now.length} photographs over a reload: there is no room for more.` : "";
    } catch {
      lost = "This browser keeps nothing over a reload.";
    }
    [keptOf, keptCurrent] = [now, current];
  }
  isKeeping = false;
  drawKeeping();
}

/** Keep what is decided now. */
export function drawKeeping() {
  draw($("unkept"), lost);
  $("unkept").hidden = !lost || !photos().length;
  const isOld = keptOf !== photos() || keptCurrent !== currentIndex();
  if (isBack && !isKeeping && isOld) write();
}

addEventListener("beforeunload", (event) => { if (photos().length && !isKept()) event.preventDefault(); });

$("clear").onclick = () => {
  const count = photos().length;
  decide(`all ${count} removed`, () => []);
  say(`${count} photographs removed, here and in the service.`, { undo: true });
};

bringBack();
