// Models that are fetched onto the server's disk: a button of a row begins, the panel tells how far it
// is, and everything happens on the server, also while nobody looks.
import { call } from "/call.js";

const panel = document.getElementById("fetching");
const part = (name) => panel.querySelector(`.${name}`);
const ADDRESS = "/fetching";
const QUERY = `?lang=${document.documentElement.lang}`;
let said = ""; // what a screen reader has heard
let timer;

async function post(address, body) {
  const response = await call(address + QUERY, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(body),
  });
  const told = await response.json();
  if (!response.ok) throw new Error(told.error.message);
  return told;
}

function button(label, act) {
  const made = document.createElement("button");
  made.type = "button";
  made.textContent = label;
  made.addEventListener("click", act);
  return made;
}

/** The buttons that fit the state; what is there already keeps the keyboard. */
function offer(told) {
  const buttons = part("chat-buttons");
  const key = [told.state, ...(told.places ?? [])].join(" ");
  if (buttons.dataset.of === key) return;
  buttons.dataset.of = key;
  const again = () => begin(told.model);
  buttons.replaceChildren(
    ...{
      fetching: [button(panel.dataset.stop, stop)],
      asks: (told.places ?? []).map((place) => button(place, () => begin(place))),
      failed: [button(panel.dataset.again, again)],
      stopped: [button(panel.dataset.goOn, again)],
      done: told.serves ? [button(panel.dataset.serve, serve)] : [],
    }[told.state] ?? [],
  );
}

function show(told) {
  panel.hidden = told.state === "none";
  const bar = part("progress");
  bar.hidden = told.share === undefined;
  if (told.share === null) bar.removeAttribute("value");
  else if (told.share !== undefined) bar.value = told.share;
  part("told").replaceChildren(
    ...told.sentences.map((sentence) => {
      const line = document.createElement("p");
      line.textContent = sentence;
      return line;
    }),
  );
  part("copyable").hidden = part("label").hidden = !told.command;
  panel.querySelector("code").textContent = told.command ?? "";
  offer(told);
  speak(told);
  clearTimeout(timer);
  if (told.state === "fetching" || told.state === "stopping") timer = setTimeout(look, 1000);
}

/** Every change of state, and every tenth of the way, is said. */
function speak(told) {
  const tenth = told.share ? `${Math.floor(told.share * 10) * 10}%` : "";
  const now = [told.sentences[0] ?? "", tenth].join(" ").trim();
  if (now === said) return;
  said = now;
  part("spoken").textContent = now;
}

async function look() {
  try {
    const response = await call(ADDRESS + QUERY);
    if (response.ok) show(await response.json());
  } catch {
    timer = setTimeout(look, 5000); // the server is busy, or has ended
  }
}

function failed(error) {
  panel.hidden = false;
  const { message } = error instanceof TypeError ? { message: panel.dataset.failed } : error;
  part("told").textContent = part("spoken").textContent = message;
}

const begin = (model) => post(ADDRESS, { model }).then(show, failed);
const stop = () => post(`${ADDRESS}/stop`, {}).then(show, failed);

async function serve() {
  try {
    const { name } = await post(`${ADDRESS}/serve`, {});
    for (const select of document.querySelectorAll("#chat-model, select[name=model]")) {
      select.append(new Option(name, name));
    }
    part("told").textContent = part("spoken").textContent = panel.dataset.served.replace("{model}", name);
    part("chat-buttons").replaceChildren();
  } catch (error) {
    failed(error);
  }
}

document.getElementById("models").addEventListener("click", (event) => {
  const { fetches } = event.target.dataset;
  if (!fetches) return;
  begin(fetches);
  panel.scrollIntoView({ block: "nearest" });
});
look();
