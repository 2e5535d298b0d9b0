/** One message of a conversation. */
export interface ChatMessage {
  /** Who says it, such as `system`, `user` or `assistant`: what the template knows. */
  readonly role: string;
  readonly content: string;
}

/** Turns tokens into text one by one, as they are generated. */
export interface TextStream {
  /** Takes a token; gives the text that is certain now, which holds whole characters only. */
  push(id: number): string;
  /** Gives what is left, where the tokens end within a character: U+FFFD for the part of it. */
  end(): string;
}

/** What a model's tokens mean as text. */
export interface TextCodec {
  /** What it was made of, for people: `tokenizer.json` or `bytes`. */
  readonly source: string;
  /** The tokens of a text, with those that the tokenizer sets around a whole one. */
  encode(text: string): number[];
  /** The text of tokens; special tokens are left out. */
  decode(ids: readonly number[]): string;
  /** A stream behind `prompt`, whose last tokens may decide about a space. None unless given. */
  stream(prompt?: readonly number[]): TextStream;
  /**
   * The tokens of a conversation, up to where the model is to answer; `undefined` where the folder
   * has no chat template.
   * @throws ConfigError for messages that the template refuses
   */
  chat(messages: readonly ChatMessage[]): number[] | undefined;
  /** Tokens that end an answer; none where the folder names none. */
  readonly stop: readonly number[];
}
