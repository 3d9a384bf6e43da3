// The chat: what is said, and what is on the screen of it.
import { call } from "/call.js";
import { all, asMarkdown, forget, fresh, keep, titleOf } from "/chat_store.js";
import { answerTo } from "/chat_stream.js";
import { elementsOf } from "/chat_text.js";

const $ = (id) => document.getElementById(id);
const part = $("chat");
const words = part.dataset;
const names = { user: words.you, system: words.systemName };
const model = $("chat-model"); // one, or several to choose from
const areSeveral = "several" in model.dataset;
let now = fresh(); // the conversation on the screen
let pictures = []; // of the next message, as data: addresses
let asking = null; // the AbortController of an answer on its way

const filled = (text, fields) => text.replace(/\{(\w+)\}/g, (_, name) => fields[name]);
const tell = (text) => ($("chat-told").textContent = text);

async function copy(button, text) {
  const label = button.textContent;
  const held = document.createElement("span");
  held.textContent = text;
  button.after(held); // the older way to copy marks an element
  const done = await copied(held);
  held.remove();
  if (!done) return;
  button.textContent = button.dataset.done;
  $("chat-said").textContent = button.dataset.done;
  setTimeout(() => (button.textContent = label), 2000);
}

function codeBlock(text) {
  const block = $("code-shape").content.cloneNode(true).firstElementChild;
  block.querySelector("code").textContent = text;
  block.querySelector("button").addEventListener("click", (event) => copy(event.target, text));
  return block;
}

function elementOf(message, i) {
  const element = $("message-shape").content.cloneNode(true).firstElementChild;
  element.className = message.role;
  element.querySelector("h3").textContent = message.model ?? names[message.role] ?? model.value;
  const isLast = i === now.messages.length - 1;
  const button = (name, shown, act) => {
    const found = element.querySelector(`button.${name}`);
    found.hidden = !shown;
    found.addEventListener("click", act);
  };
  button("copy", true, (event) => copy(event.target, message.content));
  button("edit", message.role === "user", () => edit(i));
  button("again", message.role === "assistant" && isLast, () => ask(i));
  write(element, message);
  return element;
}

function write(element, message) {
  const shown = (message.pictures ?? []).map((url) => {
    const image = document.createElement("img");
    image.src = url;
    image.alt = words.pictureName;
    return image;
  });
  element.querySelector(".text").replaceChildren(...shown, ...elementsOf(message.content, codeBlock));
  element.querySelector("details").hidden = !message.thoughts;
  element.querySelector(".thoughts").textContent = message.thoughts ?? "";
}

function show() {
  $("messages").replaceChildren(...now.messages.map(elementOf));
  $("system").value = now.system;
  const kept = all();
  const choices = kept.some((one) => one.id === now.id) ? kept : [now, ...kept];
  $("conversation").replaceChildren(
    ...choices.map((one) => new Option(titleOf(one, words.untitled), one.id, false, one.id === now.id)),
  );
  figures(now.figures);
  toEnd();
}

function toEnd() {
  $("messages").scrollTop = $("messages").scrollHeight;
}

function figures(of) {
  const told = [];
  const { limit } = model.selectedOptions[0].dataset;
  if (of?.rate) told.push(filled(words.rate, { n: of.rate.toFixed(1) }));
  const used = limit ? words.used : words.usedAlone; // some servers do not tell their limit
  if (of?.used) told.push(filled(used, { n: of.used, limit: Number(limit).toLocaleString() }));
  $("figures").textContent = told.join(" · ");
}

function save() {
  if (now.messages.length && !keep(now)) tell(words.full);
}

/** Take a message back into the field, and what came behind it away. */
function edit(i) {
  asking?.abort();
  $("message").value = now.messages[i].content;
  pictures = now.messages[i].pictures ?? [];
  now.messages.length = i;
  showPictures();
  show();
  $("message").focus();
}

/** Ask for message number `i`, which takes the place of what stands there and behind it. */
async function ask(i) {
  asking?.abort();
  const mine = (asking = new AbortController());
  now.messages.length = i;
  const conversation = now;
  const message = { role: "assistant", content: "", thoughts: "", model: model.value };
  tell("");
  busy(true);
  show();
  const element = elementOf(message, i);
  $("messages").append(element);
  $("figures").textContent = filled(words.waiting, { model: message.model });
  toEnd();
  try {
    await read(conversation, message, element, mine.signal);
  } catch (error) {
    if (!mine.signal.aborted) tell(why(error));
  }
  if (message.content || message.thoughts) conversation.messages.push(message);
  if (conversation === now) save();
  else if (conversation.messages.length) keep(conversation);
  if (asking !== mine) return;
  asking = null;
  busy(false);
  show();
  say(message.content, true);
}

async function read(conversation, message, element, signal) {
  let said = 0; // how much of the text a screen reader has heard
  let began = 0; // when the first token came, in milliseconds
  for await (const event of answerTo(conversation, areSeveral ? message.model : null, signal)) {
    const delta = event.choices[0]?.delta ?? {};
    message.thoughts += delta.reasoning_content ?? "";
    message.content += delta.content ?? "";
    if (delta.content || delta.reasoning_content) began ||= performance.now();
    if (event.usage) {
      const { prompt_tokens, completion_tokens } = event.usage;
      // as the engine measured it, or else as it came here
      const here = (1000 * (completion_tokens - 1)) / (performance.now() - began);
      const rate = event.timings?.predicted_per_second ?? (began && completion_tokens > 1 ? here : 0);
      conversation.figures = { used: prompt_tokens + completion_tokens, rate };
    }
    const log = $("messages");
    const isAtEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    write(element, message);
    if (isAtEnd) toEnd();
    said += say(message.content.slice(said), false);
  }
}

/** Say the whole sentences of a text to a screen reader. Returns how many letters were said. */
function say(text, isDone) {
  if (isDone) return 0;
  const end = Math.max(...[...text.matchAll(/[.!?](?=\s)|[。！？\n]/g)].map((m) => m.index + 1), 0);
  if (end) $("chat-said").textContent = text.slice(0, end);
  return end;
}

function why(error) {
  if (error.code === "context_length_exceeded") return words.tooLong;
  if (error instanceof TypeError) return words.failed;
  return filled(words.broken, { reason: error.message });
}

function busy(is) {
  $("stop").hidden = !is;
  $("send").hidden = is;
  $("messages").setAttribute("aria-busy", is);
}

function send() {
  const content = $("message").value.trim();
  if (!content || asking) return;
  now.messages.push({ role: "user", content, ...(pictures.length && { pictures }) });
  $("message").value = "";
  pictures = [];
  showPictures();
  save();
  ask(now.messages.length);
}

function showPictures() {
  $("pictures").replaceChildren(
    ...pictures.map((url, i) => {
      const item = document.createElement("li");
      const image = document.createElement("img");
      const button = document.createElement("button");
      image.src = url;
      image.alt = `${words.pictureName} ${i + 1}`;
      button.type = "button";
      button.className = "small";
      button.textContent = words.remove;
      button.addEventListener("click", () => {
        pictures = pictures.filter((other) => other !== url);
        showPictures();
      });
      item.append(image, button);
      return item;
    }),
  );
}

function dataOf(file) {
  return new Promise((done, failed) => {
    const reader = new FileReader();
    reader.onload = () => done(reader.result);
    reader.onerror = failed;
    reader.readAsDataURL(file);
  });
}

function open(conversation) {
  asking?.abort();
  asking = null;
  busy(false);
  tell("");
  now = conversation;
  const last = now.messages.findLast((message) => message.model)?.model;
  if ([...model.options].some((option) => option.value === last)) model.value = last;
  show();
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
// Enter that ends the work of an input method does not send: browsers say so by isComposing, Safari,
// whose compositionend comes first, by the key code 229.
$("message").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
  event.preventDefault();
  send();
});
$("stop").addEventListener("click", () => asking?.abort());
$("system").addEventListener("change", () => {
  now.system = $("system").value;
  save();
});
model.addEventListener("change", () => figures(now.figures));
$("conversation").addEventListener("change", (event) => {
  open(all().find((one) => one.id === event.target.value) ?? now);
});
$("new-chat").addEventListener("click", () => {
  open(fresh());
  $("message").focus();
});
$("delete-chat").addEventListener("click", () => {
  if (!confirm(words.sure)) return;
  forget(now);
  open(all()[0] ?? fresh());
});
$("export-chat").addEventListener("click", () => {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([asMarkdown(now, { ...names, assistant: model.value })], { type: "text/markdown" }));
  link.download = "conversation.md";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
$("picture").addEventListener("change", async (event) => {
  pictures = [...pictures, ...(await Promise.all([...event.target.files].map(dataOf)))];
  event.target.value = "";
  showPictures();
});

open(all()[0] ?? fresh());
if (!areSeveral) {
  call("/props")
    .then((response) => response.json())
    .then((props) => ($("picture-label").hidden = !props.modalities?.vision))
    .catch(() => {});
}
