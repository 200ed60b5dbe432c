// Undo and redo, of everything that was decided.

import { $, say } from "./dom.js";
import { unmark } from "./fixes.js";
import { choose } from "./stage.js";
import { changed, history, photoOf, photos, screen } from "./state.js";

/** Show what a step was about, and say it. */
function tell(step, word) {
  if (!step) return;
  if (photoOf(step.at)) choose(step.at);
  say(`${word}: ${step.label}.`);
  changed();
}
const undo = () => unmark() || tell(history.undo(), "Undone");
const redo = () => tell(history.redo(), "Done again");

$("undo").onclick = $("toast-undo").onclick = undo;
$("redo").onclick = redo;

addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.matches('input[type="number"], input[type="password"]')) return; // They have their own.
  const key = event.key.toLowerCase();
  if (key !== "z" && key !== "y") return;
  event.preventDefault();
  if (key === "y" || event.shiftKey) redo();
  else undo();
});

export function drawUndo() {
  const labels = history.labels();
  if (screen.spot?.marks && screen.spot.index === null) labels.undo = "the last click";
  $("history").hidden = !photos().length && !labels.undo && !labels.redo;
  for (const [name, word] of [["undo", "Undo"], ["redo", "Redo"]]) {
    const text = labels[name] ? `${word}: ${labels[name]}` : word;
    $(name).disabled = !labels[name];
    $(name).title = text;
    $(name).setAttribute("aria-label", text);
  }
}
