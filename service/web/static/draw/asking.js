// One model, asked about pictures that follow each other faster than it may answer.

import { ask } from "../api.js";

/** Where a model is asked. */
export function pathOf(reference) {
  return `/v1/models/${encodeURIComponent(reference)}/predict?explain=true`;
}

/** Asks one model, one picture at a time. */
export class Asker {
  #reference;
  #answered;
  #refused;
  #running = null;
  #next = null;

  /**
   * @param {string} reference an alias or id.
   * @param {(answer: object, milliseconds: number) => void} answered
   * @param {(error: Error) => void} refused
   */
  constructor(reference, answered, refused) {
    this.#reference = reference;
    this.#answered = answered;
    this.#refused = refused;
  }

  get isBusy() {
    return this.#running !== null;
  }

  /**
   * Ask about a picture. One that is not finished waits for the answer before it, and only the latest of those that
   * wait is asked about; a finished one does not wait: the answer that is under way comes to nothing.
   */
  ask(picture, isFinished) {
    if (this.#running && !isFinished) {
      this.#next = picture;
      return;
    }
    this.stop();
    this.#send(picture);
  }

  /** Let whatever was asked come to nothing. */
  stop() {
    this.#running?.abort();
    this.#running = this.#next = null;
  }

  async #send(picture) {
    const running = new AbortController();
    this.#running = running;
    const began = performance.now();
    let tell;
    try {
      const answer = await ask("POST", pathOf(this.#reference), picture, { signal: running.signal });
      const took = performance.now() - began;
      tell = () => this.#answered(answer, took);
    } catch (error) {
      tell = () => this.#refused(error);
    }
    if (this.#running !== running) return;
    const next = this.#next;
    this.#running = this.#next = null;
    if (next) this.#send(next);
    tell();
  }
}
