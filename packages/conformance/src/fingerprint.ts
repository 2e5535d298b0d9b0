/** A running 64-bit digest of text and bytes, for cache keys and for comparing runs. Not secure. */
export class Fingerprint {
  #first = 0x811c9dc5;
  #second = 0x9e3779b9;

  /** Adds text. */
  text(text: string): this {
    for (let index = 0; index < text.length; index++) this.#add(text.charCodeAt(index));
    this.#add(text.length);
    return this;
  }

  /** Adds bytes. */
  bytes(bytes: Uint8Array): this {
    const words = bytes.byteLength >>> 2;
    const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
    const view = new Uint32Array(aligned.buffer, aligned.byteOffset, words);
    for (let index = 0; index < words; index++) this.#add(view[index] ?? 0);
    for (let index = words * 4; index < bytes.byteLength; index++) this.#add(bytes[index] ?? 0);
    this.#add(bytes.byteLength);
    return this;
  }

  /** Sixteen hexadecimal digits of everything added so far. */
  digest(): string {
    const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, "0");
    return hex(this.#first) + hex(this.#second);
  }

  #add(word: number): void {
    this.#first = Math.imul(this.#first ^ word, 0x01000193);
    this.#first ^= this.#first >>> 15;
    this.#second = Math.imul(this.#second + word, 0x85ebca6b);
    this.#second ^= this.#second >>> 13;
  }
}
