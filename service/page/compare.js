// Ways to see a photograph beside what it was.

import { $ } from "./dom.js";
import { changed, current } from "./state.js";
import { layOut, view } from "./view.js";

function hold(held) {
  if (view.held === held || (held && !current())) return;
  view.held = held;
  $("hold").setAttribute("aria-pressed", held);
  layOut();
  changed();
}

$("hold").addEventListener("pointerdown", () => hold(true));
for (const type of ["pointerup", "pointercancel", "pointerleave"]) $("hold").addEventListener(type, () => hold(false));
$("hold").addEventListener("click", (event) => { if (!event.detail) hold(!view.held); }); // By a key it stays held.
addEventListener("blur", () => hold(false));

const isHolding = (event) => event.key.toLowerCase() === "o" && !event.ctrlKey && !event.metaKey && !event.altKey
  && !event.target.matches("input, select, dialog *");
addEventListener("keydown", (event) => { if (isHolding(event)) hold(true); });
addEventListener("keyup", (event) => { if (isHolding(event)) hold(false); });

$("apart").onclick = () => {
  view.apart = !view.apart;
  Object.assign(view, { scale: 0, x: 0.5, y: 0.5 });
  $("apart").setAttribute("aria-pressed", view.apart);
  layOut();
  changed();
};
