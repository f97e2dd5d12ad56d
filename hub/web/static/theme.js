// Dark, light or as the system says, before anything is painted. The choice stays in this browser.
"use strict";

(() => {
  const CHOICES = ["auto", "light", "dark"];
  const WORDS = { auto: "Theme: system", light: "Theme: light", dark: "Theme: dark" };
  const root = document.documentElement;
  const read = () => {
    try { return CHOICES.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto"; } catch { return "auto"; }
  };
  const apply = (choice) => { root.dataset.theme = choice; };
  apply(read());
  document.addEventListener("DOMContentLoaded", () => {
    const button = document.getElementById("theme");
    const words = document.getElementById("theme-words");
    const tell = () => { words.textContent = WORDS[root.dataset.theme]; };
    tell();
    button.addEventListener("click", () => {
      apply(CHOICES[(CHOICES.indexOf(root.dataset.theme) + 1) % CHOICES.length]);
      try { localStorage.setItem("theme", root.dataset.theme); } catch { /* kept for this page alone */ }
      tell();
    });
    const name = document.querySelector(".who b");
    document.querySelector(".avatar").textContent = (name.textContent.trim()[0] || "?").toUpperCase();
    const account = document.querySelector(".account");
    document.addEventListener("click", (event) => { if (!account.contains(event.target)) account.open = false; });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && account.open) { account.open = false; account.querySelector("summary").focus(); }
    });
  });
})();
