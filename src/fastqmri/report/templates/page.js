"use strict";
for (const group of document.querySelectorAll("fieldset.switch")) {
  const views = group.parentElement.querySelectorAll(".view");
  const choose = () => {
    const chosen = group.querySelector("input:checked").value;
    views.forEach((view, i) => { view.hidden = String(i) !== chosen; });
  };
  group.hidden = false;
  group.addEventListener("change", choose);
  choose();
}
for (const button of document.querySelectorAll("button.copy")) {
  button.hidden = false;
  button.addEventListener("click", () => {
    const text = button.parentElement.querySelector("pre");
    getSelection().selectAllChildren(text);
    // Pages opened from a disk may not write to the clipboard; the old way still may.
    button.textContent = document.execCommand("copy") ? "Copied" : "Press Ctrl+C";
  });
}
const dialog = document.querySelector("dialog");
dialog.addEventListener("click", () => dialog.close());
for (const plate of document.querySelectorAll("button.plate")) {
  plate.addEventListener("click", () => {
    const large = plate.querySelector("img").cloneNode();
    const [width, height] = large.style.aspectRatio.split("/").map(Number);
    const factor = Math.min((innerWidth * 0.98 - 20) / width, (innerHeight * 0.98 - 20) / height);
    large.style.width = `${Math.floor(width * factor)}px`;
    dialog.replaceChildren(large);
    dialog.showModal();
  });
}
