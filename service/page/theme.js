// Light or dark: as the system has it, until somebody says otherwise.

import { $ } from "./dom.js";

const NAME = "photochrom-theme";
const root = document.documentElement;
const systemDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ?? (systemDark.matches ? "dark" : "light")) === "dark";

function draw() {
  $("theme-name").textContent = isDark() ? "Light" : "Dark";
  $("theme").setAttribute("aria-label", `${isDark() ? "Light" : "Dark"} colors`);
}
if (localStorage.getItem(NAME)) root.dataset.theme = localStorage.getItem(NAME);
$("theme").onclick = () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  localStorage.setItem(NAME, root.dataset.theme);
  draw();
};
systemDark.addEventListener("change", draw);
draw();
