// Short messages in the corner: what was refused stays until it is closed, what went well goes by itself.

const STAYS_SECONDS = 5;

export function tell(text, { isError = false } = {}) {
  const message = document.createElement("div");
  message.className = isError ? "message error" : "message";
  const words = document.createElement("span");
  words.textContent = text;
  const close = document.createElement("button");
  close.type = "button";
  close.className = "button small";
  close.textContent = "Close";
  close.addEventListener("click", () => message.remove());
  message.append(words, close);
  document.getElementById("messages").append(message);
  if (!isError) setTimeout(() => message.remove(), STAYS_SECONDS * 1000);
}
