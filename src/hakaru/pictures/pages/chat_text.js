// The text of an answer as elements. The text is a stranger's: it becomes text nodes, never HTML. Known
// are fences of code, headings, bold words and `code`; the rest stands as it was written.

const INLINE = /(\*\*[^*\n]+\*\*|`[^`\n]+`)/;

function inline(line) {
  return line.split(INLINE).map((piece) => {
    const bold = piece.startsWith("**") && piece.length > 4;
    const code = piece.startsWith("`") && piece.length > 2;
    if (!bold && !code) return piece;
    const element = document.createElement(bold ? "strong" : "code");
    element.textContent = bold ? piece.slice(2, -2) : piece.slice(1, -1);
    return element;
  });
}

function paragraph(lines) {
  const element = document.createElement("p");
  lines.forEach((line, i) => {
    if (i) element.append("\n");
    const heading = /^#{1,6} +(.*)/.exec(line);
    if (heading) {
      const strong = document.createElement("strong");
      strong.append(...inline(heading[1]));
      element.append(strong);
    } else element.append(...inline(line));
  });
  return element;
}

/** Elements for a text; `codeBlock(text)` makes that of a fence. */
export function elementsOf(text, codeBlock) {
  const elements = [];
  let lines = [];
  let fence = null; // the lines of an open fence
  const end = () => {
    const kept = lines.join("\n").trim();
    if (kept) elements.push(paragraph(kept.split("\n")));
    lines = [];
  };
  for (const line of text.split("\n")) {
    if (/^\s*```/.test(line)) {
      if (fence) elements.push(codeBlock(fence.join("\n")));
      else end();
      fence = fence ? null : [];
    } else if (fence) fence.push(line);
    else if (line.trim()) lines.push(line);
    else end();
  }
  if (fence) elements.push(codeBlock(fence.join("\n")));
  else end();
  return elements;
}
