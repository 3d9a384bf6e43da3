// A question to the model, and its answer piece by piece, as OpenAI's API streams it.
import { call } from "/call.js";

function contentOf(message) {
  if (!message.pictures?.length) return message.content;
  const pictures = message.pictures.map((url) => ({ type: "image_url", image_url: { url } }));
  return [{ type: "text", text: message.content }, ...pictures];
}

/** What is posted for a conversation with a model; null: with the only one. */
export function requestOf(conversation, model) {
  const system = conversation.system ? [{ role: "system", content: conversation.system }] : [];
  const said = conversation.messages.map((message) => ({
    role: message.role,
    content: contentOf(message),
  }));
  return {
    ...(model !== null && { model }),
    messages: [...system, ...said],
    stream: true,
    stream_options: { include_usage: true },
  };
}

/** The error of an answer that is none. */
async function refusal(response) {
  const told = await response.json().catch(() => ({}));
  return Object.assign(new Error(told.error?.message ?? `status ${response.status}`), {
    code: told.error?.code,
  });
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    const lines = (rest + part.value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      if (line.startsWith("data: ") && line !== "data: [DONE]") yield JSON.parse(line.slice(6));
    }
  }
}

/** The chunks of the answer. Throws what `fetch` throws, and errors with a code. */
export async function* answerTo(conversation, model, signal) {
  const response = await call("/v1/chat/completions", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(requestOf(conversation, model)),
    signal,
  });
  if (!response.ok) throw await refusal(response);
  for await (const event of events(response.body)) {
    if (event.error) throw Object.assign(new Error(event.error.message), { code: event.error.code });
    yield event;
  }
}
