// The part "Models": asks the page's own server when it comes into view, and whenever the task or the
// language is changed. Of several questions the last one is answered.
"use strict";

{
  const section = document.getElementById("models");
  const form = section.querySelector("form");
  const answer = document.getElementById("models-answer");
  const told = document.getElementById("models-status");
  let asked = null;

  async function show() {
    asked?.abort();
    asked = new AbortController();
    const { signal } = asked;
    told.className = "note";
    told.textContent = section.dataset.waiting;
    answer.setAttribute("aria-busy", "true");
    try {
      const query = new URLSearchParams(new FormData(form));
      const response = await fetch(`/models/rows?${query}`, { signal });
      if (!response.ok) throw new Error(`status ${response.status}`);
      answer.innerHTML = await response.text();
      letCopy(answer);
      told.className = "unseen"; // it stands on the page
      told.textContent = answer.firstElementChild.dataset.said;
    } catch {
      if (signal.aborted) return;
      told.textContent = section.dataset.failed;
    }
    answer.removeAttribute("aria-busy");
  }

  form.addEventListener("change", show);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    show();
  });
  if (answer.childElementCount === 0) {
    new IntersectionObserver((entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      show();
    }).observe(section);
  }
}
