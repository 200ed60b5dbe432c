// From one photograph to the next, all of them at once, and those that could not be colored.

import { $, list, make, say, write } from "./dom.js";
import { current, decide, photos, screen, changed } from "./state.js";
import { choose } from "./stage.js";
import { isLarge } from "./view.js";
import { errorOf, stateOf } from "./work.js";
import { inWords } from "./words.js";

const COUNTED = { ready: "in color", failed: "failed", waiting: "waiting", sending: "on the way", working: "on the way", paused: "on the way" };

function step(by) {
  const index = photos().findIndex((photo) => photo.key === screen.current);
  const next = photos()[index + by];
  if (next) choose(next.key);
}
$("previous").onclick = () => step(-1);
$("next").onclick = () => step(1);

addEventListener("keydown", (event) => {
  const by = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!by || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.shiftKey || !current()) return;
  const isFree = event.target === document.body || event.target.matches(".shot") || (event.target === $("stage") && !isLarge());
  if (!isFree || document.querySelector("dialog[open]")) return;
  event.preventDefault();
  step(by);
  if (event.target.matches(".shot")) queueMicrotask(() => $("strip").querySelector('[aria-current="true"]')?.focus());
});

$("grid").onclick = () => { screen.grid = !screen.grid; changed(); };

/** Return those that could not be colored, by what went wrong. */
function failures() {
  const groups = new Map();
  for (const photo of photos().filter(errorOf)) {
    const words = inWords(errorOf(photo));
    groups.set(words, [...(groups.get(words) ?? []), photo]);
  }
  return [...groups];
}

$("failures-away").onclick = () => {
  const gone = new Set(failures().flatMap(([, some]) => some.map(({ key }) => key)));
  decide(`${gone.size} removed`, (all) => all.filter(({ key }) => !gone.has(key)));
  say(`${gone.size} ${gone.size === 1 ? "photograph" : "photographs"} removed.`, { undo: true });
};

export function drawBrowse() {
  const index = photos().findIndex((photo) => photo.key === screen.current);
  write($("place"), `${index + 1} of ${photos().length}`);
  $("previous").disabled = index <= 0;
  $("next").disabled = index >= photos().length - 1;
  $("film").firstElementChild.hidden = photos().length < 2;
  const isGrid = Boolean(screen.grid) && photos().length > 1;
  $("grid").setAttribute("aria-pressed", isGrid);
  $("work").classList.toggle("grid", isGrid);
  const counts = new Map();
  for (const photo of photos()) {
    const word = COUNTED[stateOf(photo)];
    counts.set(word, (counts.get(word) ?? 0) + 1);
  }
  write($("counts"), photos().length > 1 ? [...counts].map(([word, count]) => `${count} ${word}`).join(", ") : "");
  const groups = failures();
  $("failures").hidden = !groups.length;
  const total = groups.reduce((sum, [, some]) => sum + some.length, 0);
  write($("failures").querySelector("summary"), `${total} could not be colored`);
  list($("failures").querySelector("ul"), groups, () => make("li"), (item, [words, some]) => {
    write(item, `${some.map(({ name }) => name).join(", ")}: ${words}`);
  });
}
