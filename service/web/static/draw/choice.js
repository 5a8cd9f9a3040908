// Which models are asked: one by a select, several by a list; the page's address holds the choice.

export class ModelChoice {
  #select = document.getElementById("model");
  #menu = document.getElementById("compare");
  #boxes = [...this.#menu.querySelectorAll("input")];
  #most;
  #changed;

  /**
   * @param {string[]} references those that are asked at first.
   * @param {number} most how many may be asked.
   * @param {() => void} changed
   */
  constructor(references, most, changed) {
    this.references = references;
    this.#most = most;
    this.#changed = changed;
    this.#select.addEventListener("change", () => this.#lead(this.#select.value));
    this.#menu.addEventListener("change", ({ target }) => this.#toggle(target.value, target.checked));
    this.#menu.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.#menu.open) return;
      event.preventDefault();
      this.#menu.open = false;
      this.#menu.querySelector("summary").focus();
    });
    document.addEventListener("click", (event) => {
      if (!this.#menu.contains(event.target)) this.#menu.open = false;
    });
    this.#show();
  }

  /** What is known of a model before it is asked. */
  describe(reference) {
    const words = this.#boxes.find((box) => box.value === reference).nextElementSibling;
    return { label: words.firstElementChild.textContent, about: words.lastElementChild.textContent };
  }

  #lead(reference) {
    this.#set([reference, ...this.references.slice(1).filter((other) => other !== reference)]);
  }

  #toggle(reference, isAsked) {
    const others = this.references.filter((other) => other !== reference);
    this.#set(isAsked ? [...others, reference] : others);
  }

  #set(references) {
    this.references = references;
    this.#show();
    const query = new URLSearchParams(references.map((reference) => ["model", reference]));
    history.replaceState(null, "", `/draw?${query}`);
    this.#changed();
  }

  #show() {
    const { length } = this.references;
    this.#select.value = this.references[0];
    for (const box of this.#boxes) {
      box.checked = this.references.includes(box.value);
      // One is asked at least.
      box.disabled = box.checked ? length === 1 : length >= this.#most;
    }
    this.#menu.querySelector("summary").textContent = length > 1 ? `Compare models (${length})` : "Compare models";
  }
}
