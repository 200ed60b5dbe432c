// Earlier looks of the photograph on the screen: what it was like before, a click away.

import { $, list, make, say, write } from "./dom.js";
import { current, decide, history } from "./state.js";

const MOST = 8;
const [WIDTH, HEIGHT] = [64, 48];

const pictures = new WeakMap(); // Look -> a small picture of it.

/** Remember what a look is like. */
export function rememberLook(look, canvas) {
  if (pictures.has(look)) return;
  const small = Object.assign(document.createElement("canvas"), { width: WIDTH, height: HEIGHT });
  small.getContext("2d").drawImage(canvas, 0, 0, WIDTH, HEIGHT);
  pictures.set(look, small);
}

/** Return the looks that a photograph had, [look, words], the newest first. */
function earlierOf({ key, look: now }) {
  const found = new Map();
  let words = "as it came";
  for (const { state, label } of history.past()) {
    const look = state.find((photo) => photo.key === key)?.look;
    if (!look) continue;
    if (!found.has(look)) found.set(look, words);
    words = label;
  }
  found.delete(now);
  return [...found].reverse().slice(0, MOST);
}

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
  shown = earlierOf(photo);
  $("earlier-box").hidden = !shown.length;
  $("earlier-count").textContent = `(${shown.length})`;
  list($("earlier"), shown, create, (item, [look, words]) => {
    const [picture, text] = item.firstElementChild.children;
    const small = pictures.get(look);
    if (small && picture.firstElementChild !== small) picture.replaceChildren(small);
    else if (!small) picture.replaceChildren();
    write(text, words.replace(/^\w/, (letter) => letter.toUpperCase()));
  });
}
