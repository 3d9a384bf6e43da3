// Parts that are asked for again every other second, as long as somebody can see them.
import { call } from "/call.js";

for (const part of document.querySelectorAll("[data-live]")) {
  let isAsking = false;

  async function look() {
    if (isAsking || document.hidden || part.offsetParent === null) return;
    isAsking = true;
    try {
      const response = await call(part.dataset.live);
      if (response.ok) part.innerHTML = await response.text();
    } catch {
      // the server has ended, or is busy: the last figures stay
    }
    isAsking = false;
  }

  setInterval(look, 2000);
}
