// Forms that are answered by a piece of the page's own server: whenever something in them is changed,
// and those with `data-at-once` also when they come into view. Of several questions the last one is
// answered.
import { call } from "/call.js";

for (const form of document.querySelectorAll("form[data-asks]")) {
  const answer = document.getElementById(form.dataset.answer);
  const told = document.getElementById(form.dataset.status);
  let asked = null;

  async function show() {
    asked?.abort();
    asked = new AbortController();
    const { signal } = asked;
    told.className = "note";
    told.textContent = form.dataset.waiting;
    answer.setAttribute("aria-busy", "true");
    try {
      const query = new URLSearchParams(new FormData(form));
      const response = await call(`${form.dataset.asks}?${query}`, { signal });
      if (!response.ok && response.status !== 400) throw new Error(`status ${response.status}`);
      answer.innerHTML = await response.text();
      letCopy(answer);
      told.className = "unseen"; // it stands on the page
      told.textContent = answer.firstElementChild.dataset.said;
    } catch {
      if (signal.aborted) return;
      told.textContent = form.dataset.failed;
    }
    answer.removeAttribute("aria-busy");
  }

  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show();
  });
  if ("atOnce" in form.dataset && answer.childElementCount === 0) {
    new IntersectionObserver((entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      show();
    }).observe(form);
  }
}
