// Parts that are asked for again every other second, as long as somebody can see them.
import { call } from "/call.js";

const asking = new WeakSet();

async function look(part) {
  if (asking.has(part) || document.hidden || part.offsetParent === null) return;
  asking.add(part);
  try {
    const response = await call(part.dataset.live);
    if (response.ok) part.innerHTML = await response.text();
  } catch {
    // the server has ended, or is busy: the last figures stay
  }
  asking.delete(part);
}

setInterval(() => document.querySelectorAll("[data-live]").forEach(look), 2000);
