// A color photograph whose palette another one follows. Here it is just a file of a look.

import { $, say } from "./dom.js";
import { askForKey } from "./lock.js";
import { change, current, photoOf } from "./state.js";
import { cover } from "./stage.js";
import { withRetry } from "./turns.js";
import { answers } from "./work.js";
import { inWords } from "./words.js";

let picked = null; // What is on its way: { file, left }; the reference before stays until it has come.

function drop() {
  if (!picked) return;
  picked.left.abort();
  answers.leave(picked.file);
  picked = null;
}

$("reference-pick").onclick = () => $("reference-file").click();
$("reference-file").onchange = async () => {
  const [file] = $("reference-file").files;
  const key = current()?.key;
  $("reference-file").value = "";
  if (!file || key === undefined) return;
  drop();
  const mine = (picked = { file, left: new AbortController() });
  try {
    if (answers.keepsAnything()) await withRetry(() => answers.keep(file), cover, mine.left.signal);
  } catch (error) {
    if (picked !== mine) return;
    drop();
    say(inWords(error));
    cover(`${file.name}: ${inWords(error)}`);
    if (error.status === 401) askForKey();
    return;
  }
  if (picked !== mine) return;
  picked = null;
  if (photoOf(key)) change("a reference", { reference: file }, { keys: [key], at: key });
  else answers.leave(file);
};
$("reference-drop").onclick = () => {
  drop();
  change("the reference removed", { reference: null });
  $("reference-pick").focus();
};

let shown = null;
export function drawReference() {
  const reference = current()?.look.reference ?? null;
  const image = $("reference-shown");
  image.hidden = $("reference-drop").hidden = $("strength-knob").hidden = !reference;
  $("reference-count").textContent = reference ? "(1)" : "";
  if (reference === shown) return;
  if (shown) URL.revokeObjectURL(image.src);
  shown = reference;
  if (reference) image.src = URL.createObjectURL(reference);
  else image.removeAttribute("src");
}
