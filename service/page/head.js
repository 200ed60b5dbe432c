// Beside and over the stage: the photograph's name, what is known of it, what went wrong, and what is on its way.

import { $, list, make, write } from "./dom.js";
import { noteOf } from "./film.js";
import { askForKey } from "./lock.js";
import { Problem } from "./service.js";
import { current, photos, screen } from "./state.js";
import { again, errorOf, factsOf, stateOf } from "./work.js";

$("again").onclick = () => {
  if (errorOf(current())?.status === 401) askForKey();
  else again(current());
};

export function drawHead() {
  const photo = current();
  $("welcome").hidden = Boolean(photo);
  $("work").hidden = $("add").hidden = !photo;
  if (!photo) return;
  const state = stateOf(photo);
  const facts = factsOf(photo);
  const error = errorOf(photo);
  write($("name"), photo.name);
  const isTold = state === "failed" || state === "paused";
  $("message").hidden = !isTold;
  $("message").classList.toggle("wrong", state === "failed");
  write($("message-text"), isTold ? noteOf(photo) : "");
  $("again").hidden = !error || (error instanceof Problem && [413, 415, 422].includes(error.status) && !facts);
  const note = ["waiting", "sending", "working"].includes(state) ? noteOf(photo) : screen.cover;
  write($("cover"), note);
  $("cover").hidden = !note;
  $("work").classList.toggle("empty", state === "failed" && !facts);
  drawFacts(facts);
}

function drawFacts(facts) {
  write($("facts"), facts ? `${facts.width} \u00d7 ${facts.height} px` + (facts.megapixels ? `, ${facts.megapixels.toFixed(1)} megapixels` : "") : "");
  const notes = (facts?.notes ?? []).join(" ");
  write($("notes"), notes);
  $("notes").hidden = !notes;
  $("seen").hidden = !facts?.scene?.length;
  list($("scenes"), facts?.scene ?? [], () => make("li"), (item, { name, probability }) => {
    const words = make("span", { textContent: name.replaceAll("_", " ").replace(/^\w/, (letter) => letter.toUpperCase()) });
    item.replaceChildren(words);
    if (probability === undefined) return;
    const bar = make("i");
    bar.style.setProperty("--share", `${100 * probability}%`);
    item.append(`${Math.round(100 * probability)} %`, bar);
  });
  const sure = facts?.confidence?.mean;
  write($("sureness"), sure === undefined ? ""
    : `On the whole ${sure > 0.66 ? "quite" : sure > 0.33 ? "fairly" : "hardly"} sure of the colors (${Math.round(100 * sure)} %).`);
}

/** Draw what can be saved. */
export function drawSaving() {
  const photo = current();
  if (!photo) return;
  const ready = photos().filter((each) => stateOf(each) === "ready").length;
  $("save").disabled = screen.saving || !factsOf(photo) || !["ready", "failed"].includes(stateOf(photo));
  $("save-all").hidden = photos().length < 2;
  $("save-all").disabled = screen.saving || !ready;
  write($("save-all"), `All as ZIP (${ready})`);
}
