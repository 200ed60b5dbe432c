// The API key, where the service wants one.

import { $ } from "./dom.js";
import { photos } from "./state.js";
import { again, errorOf } from "./work.js";

const NAME = "photochrom-key";

export function askForKey() {
  if ($("lock").open) return;
  $("lock-why").textContent = sessionStorage.getItem(NAME) ? "The service does not know the key that you gave. Check it for typing errors."
    : "Its operator has one for you. It stays in this tab until you close it.";
  $("key").value = "";
  $("lock").returnValue = "";
  $("lock").showModal();
}

$("lock").addEventListener("close", () => {
  const key = $("key").value.trim();
  $("key").value = "";
  if ($("lock").returnValue !== "ok" || !key) return;
  sessionStorage.setItem(NAME, key);
  for (const photo of photos().filter((each) => errorOf(each)?.status === 401)) again(photo);
});

const asked = new WeakSet();

/** Ask for the key once for each time that it was missed. */
export function drawLock() {
  for (const photo of photos()) {
    const error = errorOf(photo);
    if (error?.status !== 401 || asked.has(error)) continue;
    asked.add(error);
    askForKey();
  }
}
