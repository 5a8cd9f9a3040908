// What a model says: its digit, or why none, and how probable it takes each of the ten.

const REASONS = {
  blank: () => "No ink was found in the picture.",
  uncertain: ({ probabilities }) => `Uncertain: it is most like ${withArticle(probabilities.indexOf(Math.max(...probabilities)))}.`,
};

export function percent(share) {
  return `${(100 * share).toFixed(1)} %`;
}

function withArticle(digit) {
  return `${digit === 8 ? "an" : "a"} ${digit}`;
}

// Rounding would make a certainty of what is none.
function sure(confidence) {
  return confidence >= 0.9995 ? "over 99.9 % sure" : `${percent(confidence)} sure`;
}

/** The card of one model. */
export class Verdict {
  #part;
  #rows;
  #label;

  /**
   * @param {HTMLTemplateElement} template
   * @param {{label: string, about: string}} model
   */
  constructor(template, { label, about }) {
    this.element = template.content.cloneNode(true).firstElementChild;
    this.#part = (name) => this.element.querySelector(`.${name}`);
    this.#rows = [...this.element.querySelectorAll("tr")];
    this.#label = label;
    this.element.setAttribute("aria-label", `What ${label} says`);
    this.#part("who").textContent = label;
    this.#part("about").textContent = about;
    this.rest();
  }

  /** The digit that was seen; null for none. Undefined as long as there is no answer. */
  digit;

  /** What was said, in one line. */
  summary = "";

  rest(why = "Nothing drawn yet") {
    this.digit = undefined;
    this.#say("–", why, "");
    this.#fill(null);
    this.#part("took").textContent = "";
    this.summary = "";
  }

  show({ model, predictions: [prediction] }, milliseconds) {
    const { digit, reason, confidence } = prediction;
    this.digit = digit;
    if (digit === null) this.#say("?", "Not a digit", REASONS[reason](prediction));
    else this.#say(String(digit), sure(confidence), "");
    this.#fill(prediction.probabilities);
    const precision = model.variant === "fp32" ? "" : ` in ${model.variant}`;
    this.#part("took").textContent = `model ${model.id}${precision} · ${Math.max(1, Math.round(milliseconds))} ms round trip`;
    this.summary = `${this.#label}: ${digit === null ? `not a digit. ${REASONS[reason](prediction)}` : `${digit}, ${sure(confidence)}.`}`;
  }

  refuse(message) {
    this.rest();
    this.#say("!", "No answer", message);
    this.element.classList.add("refused");
  }

  #say(digit, claim, remark) {
    this.element.classList.remove("refused");
    this.element.classList.toggle("waiting", digit === "–");
    this.element.classList.toggle("none", digit === "?");
    this.#part("digit").textContent = digit;
    this.#part("claim").textContent = claim;
    this.#part("remark").textContent = remark;
  }

  #fill(probabilities) {
    const most = probabilities && Math.max(...probabilities);
    for (const [digit, row] of this.#rows.entries()) {
      const share = probabilities?.[digit] ?? 0;
      row.classList.toggle("most", share > 0 && share === most);
      row.querySelector(".bar").style.width = `${100 * share}%`;
      row.lastElementChild.textContent = probabilities ? percent(share) : "–";
    }
  }
}

/** Whether several models agree, in words. */
export function agreement(verdicts) {
  const digits = verdicts.map((verdict) => verdict.digit);
  if (digits.length < 2 || digits.includes(undefined)) return "";
  if (new Set(digits).size > 1) return "The models disagree.";
  return digits[0] === null ? "None of the models sees a digit." : `All ${digits.length} models see ${withArticle(digits[0])}.`;
}
