// Conversations, kept by this browser alone, each under a name of its own in its storage.

const PREFIX = "hakaru.chat.";

/** A new conversation; it is kept when something is said. */
export function fresh() {
  return { id: `${Date.now()}-${Math.random().toString(36).slice(2, 8)}`, system: "", messages: [] };
}

/** All conversations, the latest first. */
export function all() {
  const found = [];
  for (let i = 0; i < localStorage.length; i++) {
    const name = localStorage.key(i);
    if (!name.startsWith(PREFIX)) continue;
    try {
      found.push(JSON.parse(localStorage.getItem(name)));
    } catch {
      // another program's, or half written: left alone
    }
  }
  return found.sort((a, b) => (a.id < b.id ? 1 : -1));
}

/** Keep a conversation. False where the browser has no room left. */
export function keep(conversation) {
  try {
    localStorage.setItem(PREFIX + conversation.id, JSON.stringify(conversation));
    return true;
  } catch {
    return false;
  }
}

/** Forget a conversation. */
export function forget(conversation) {
  localStorage.removeItem(PREFIX + conversation.id);
}

/** What a conversation is called: its first words. */
export function titleOf(conversation, untitled) {
  const first = conversation.messages.find((message) => message.role === "user");
  return first?.content.trim().slice(0, 40) || untitled;
}

/** A conversation as a file of Markdown. */
export function asMarkdown(conversation, names) {
  const system = conversation.system ? [{ role: "system", content: conversation.system }] : [];
  const parts = [...system, ...conversation.messages];
  return parts.map((part) => `## ${part.model ?? names[part.role]}\n\n${part.content}\n`).join("\n");
}
