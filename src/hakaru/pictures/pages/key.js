// The page of a server that demands a key: asks for it, and puts the whole page in its place.
import { call, hasKey, useKey } from "/call.js";

const form = document.getElementById("key-form");
const field = document.getElementById("key");
const told = document.getElementById("key-told");
const ADDRESS = location.pathname + location.search;

function show(html) {
  const page = new DOMParser().parseFromString(html, "text/html");
  document.title = page.title;
  document.body.replaceWith(page.body);
  for (const script of page.querySelectorAll("script")) {
    const again = document.createElement("script"); // one that was parsed so does not run
    again.src = script.getAttribute("src");
    again.type = script.type;
    again.async = false; // in their order
    document.head.append(again);
  }
}

/** Why the server does not take a key; an empty text where it did, and the page is shown. */
async function refusal(key) {
  if (!/^[ -~]+$/.test(key)) return form.dataset.wrong; // no header could hold it
  try {
    const response = await fetch(ADDRESS, { headers: { Authorization: `Bearer ${key}` } });
    if (response.status === 401) return form.dataset.wrong;
    useKey(key);
    show(await response.text());
    return "";
  } catch {
    return form.dataset.failed;
  }
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  const why = await refusal(field.value.trim());
  told.textContent = why;
  if (why) field.select();
  else document.querySelector("h1").focus();
});

if (hasKey()) {
  const response = await call(ADDRESS);
  if (response.ok) show(await response.text());
}
