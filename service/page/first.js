// What is there before the first photograph: one in color, and some to try.

import { $, say } from "./dom.js";
import { add } from "./files.js";

$("first-split").oninput = () => $("first").style.setProperty("--split", `${$("first-split").value}%`);
$("help-open").onclick = () => $("help").showModal();

for (const button of $("samples").querySelectorAll("button")) {
  button.onclick = async () => {
    const answer = await fetch(`page/${button.value}.jpg`).catch(() => null);
    if (!answer?.ok) say("The sample did not come. Is the network there, and the service running?");
    else add([new File([await answer.blob()], `${button.value}.jpg`, { type: "image/jpeg" })]);
  };
}
