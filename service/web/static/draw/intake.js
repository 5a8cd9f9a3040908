// Pictures from elsewhere: chosen, dropped or pasted. Of several the first is taken.

/**
 * @param {{button: HTMLElement, input: HTMLInputElement, stage: HTMLElement}} parts
 * @param {(file: File) => void} taken
 */
export function takePictures({ button, input, stage }, taken) {
  button.addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const [file] = input.files;
    // So that the same file can be chosen again.
    input.value = "";
    if (file) taken(file);
  });

  const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
  // Everywhere: a browser leaves the page for a file that is dropped beside the stage.
  document.addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    stage.classList.add("over");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) stage.classList.remove("over");
  });
  document.addEventListener("drop", (event) => {
    stage.classList.remove("over");
    if (!hasFiles(event)) return;
    event.preventDefault();
    const [file] = event.dataTransfer.files;
    if (file) taken(file);
  });

  document.addEventListener("paste", (event) => {
    const [file] = event.clipboardData?.files ?? [];
    if (!file) return;
    event.preventDefault();
    taken(file);
  });
}
