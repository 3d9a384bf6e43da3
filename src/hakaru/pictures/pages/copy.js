// Each button copies the text beside it. Where a browser gives no clipboard, the text is copied by
// the older command; where even that fails, it is marked, so that a key copies it.
"use strict";

function marked(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  const selection = window.getSelection();
  selection.removeAllRanges();
  selection.addRange(range);
  return selection;
}

async function copied(element) {
  try {
    await navigator.clipboard.writeText(element.textContent);
    return true;
  } catch {
    const selection = marked(element);
    const done = document.execCommand("copy");
    if (done) selection.removeAllRanges();
    return done;
  }
}

function letCopy(part) {
  for (const button of part.querySelectorAll("button[data-copies]")) {
    const label = button.textContent;
    let timer;
    button.hidden = false;
    button.addEventListener("click", async () => {
      const done = await copied(document.getElementById(button.dataset.copies));
      button.textContent = done ? button.dataset.done : button.dataset.marked;
      document.getElementById("said").textContent = button.textContent;
      clearTimeout(timer);
      timer = setTimeout(() => {
        button.textContent = label;
        document.getElementById("said").textContent = "";
      }, 3000);
    });
  }
}

letCopy(document);
