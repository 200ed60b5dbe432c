// Earlier looks of the photograph on the screen: what it was like before, a click away.

import { $, list, make, say, write } from "./dom.js";
import { PREVIEW } from "./looks.js";
import { current, changed, decide, history } from "./state.js";
import { newestWins } from "./turns.js";
import { answers, drawOver, isKept, isReady, wishOf } from "./work.js";

const MOST = 8;
const SIZE = { width: 64, height: 48 };
const SIDE = 128; // Of what is asked for, px: it fills the size, whatever its shape.

const pictures = new WeakMap(); // Look -> a small picture of it; null where it cannot be had.

/** Remember what a look is like. */
export function rememberLook(look, image) {
  if (!pictures.get(look)) pictures.set(look, drawOver(Object.assign(document.createElement("canvas"), SIZE), image));
}

/**
 * Return the looks that photographs had, as a map of their keys to { before, words }: [look, words], the newest first,
 * and what made the look of now. What was there when the page was opened they bring along, in the same form.
 */
export function collectEarlier(some) {
  const found = new Map(some.map(({ key, earlier }) => [key, {
    looks: new Map([...(earlier?.before ?? [])].reverse()), words: earlier?.words ?? "as it came",
  }]));
  for (const { state, label } of [...history.past(), { state: some }]) {
    for (const { key, look } of state) {
      const of = found.get(key);
      if (!of) continue;
      if (!of.looks.has(look)) of.looks.set(look, of.words);
      of.words = label;
    }
  }
  return new Map(some.map(({ key, look }) => {
    const { looks } = found.get(key);
    const words = looks.get(look);
    looks.delete(look);
    return [key, { before: [...looks].reverse().slice(0, MOST), words }];
  }));
}

/** Get pictures of looks that were there before the page was: those that the network need not see again. */
const fill = newestWins(async (signal) => {
  const photo = current();
  const { seen, reference } = wishOf(photo);
  for (const [look] of shown) {
    if (pictures.has(look)) continue;
    const wish = wishOf({ ...photo, look });
    const isSame = wish.seen === seen && (!wish.reference || wish.reference === reference);
    const how = { signal, keptOnly: true, holds: () => current() === photo };
    const blob = isSame && await answers.answer(wish, { ...PREVIEW, max_side: SIDE }, how);
    const bitmap = blob && await createImageBitmap(blob);
    if (bitmap) rememberLook(look, bitmap);
    else pictures.set(look, null);
    bitmap?.close?.();
  }
  changed();
});

$("earlier-box").ontoggle = changed;

let shown = [];

function create(index) {
  const button = make("button", { type: "button" }, make("span"), make("span"));
  button.onclick = () => {
    const [look, words] = shown[index];
    const { key } = current();
    decide(`back to: ${words}`, (all) => all.map((photo) => (photo.key === key ? Object.freeze({ ...photo, look }) : photo)));
    say(`Back to: ${words}.`, { undo: true });
  };
  return make("li", {}, button);
}

export function drawEarlier() {
  const photo = current();
  if (!photo) return;
  shown = collectEarlier([photo]).get(photo.key).before;
  $("earlier-box").hidden = !shown.length;
  $("earlier-count").textContent = `(${shown.length})`;
  list($("earlier"), shown, create, (item, [look, words]) => {
    const [picture, text] = item.firstElementChild.children;
    const small = pictures.get(look);
    if (small && picture.firstElementChild !== small) picture.replaceChildren(small);
    else if (!small) picture.replaceChildren();
    write(text, words.replace(/^\w/, (letter) => letter.toUpperCase()));
  });
  const isMissing = shown.some(([look]) => !pictures.has(look));
  if (isMissing && $("earlier-box").open && isReady(photo) && isKept(photo) && $("stage").getAttribute("aria-busy") === "false") fill();
}
