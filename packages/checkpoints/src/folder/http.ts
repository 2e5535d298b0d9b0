import {
  ConfigError,
  FormatError,
  MoietyError,
  UnsupportedError,
  UseAfterDisposeError,
} from "@moiety/core";
import type { FileFolder, OpenFile } from "./folder.ts";

/** What of an `AbortSignal` is used, so that no DOM types are needed. */
export interface AbortLike {
  /** Whether it has been aborted. */
  readonly aborted: boolean;
  /** Why. */
  readonly reason: unknown;
}

/** What of `Headers` is used. */
export interface HeadersLike {
  /** The value of a header, `null` where there is none. */
  get(name: string): string | null;
}

/** What of a response's body is used. */
export interface BodyLike {
  /** Lets go of what has not come yet. */
  cancel(): Promise<void>;
}

/** What of a `Response` is used. */
export interface ResponseLike {
  /** The code, such as 206. */
  readonly status: number;
  /** The code in words. */
  readonly statusText: string;
  /** Its headers. */
  readonly headers: HeadersLike;
  /** Its body, if any. */
  readonly body: BodyLike | null;
  /** The whole body. */
  arrayBuffer(): Promise<ArrayBuffer>;
}

/** What a request is made with. */
export interface RequestLike {
  /** Its headers. */
  readonly headers: Readonly<Record<string, string>>;
  /** Ends it. */
  readonly signal?: AbortLike | undefined;
}

/** A host that fetches: `globalThis` is one. */
export interface Fetcher {
  /** Sends a request; resolves when the answer's headers are there. */
  fetch(url: string, request: RequestLike): Promise<ResponseLike>;
}

/** How files are fetched. */
export interface HttpOptions {
  /** Takes the place of the global `fetch`, such as one that adds credentials. */
  readonly fetch?: Fetcher["fetch"] | undefined;
  /** Headers of every request. */
  readonly headers?: Readonly<Record<string, string>> | undefined;
  /** Ends all requests; what is read then rejects with the signal's reason. */
  readonly signal?: AbortLike | undefined;
  /** How often a request is repeated that failed on its way or at the server. 3 unless given. */
  readonly retries?: number | undefined;
}

/** Bytes from the beginning that come with the first answer: headers are mostly within. */
const FIRST_BYTES = 65_536;
const RETRIES = 3;
/** Milliseconds before the first repetition; each further one waits twice as long. */
const FIRST_PAUSE = 200;
/** Answers that another try may change. */
const PASSING: readonly number[] = [408, 425, 429, 500, 502, 503, 504];
const MISSING: readonly number[] = [404, 410];

/**
 * A folder on a server that answers requests for ranges. Files are fetched in pieces, when asked for.
 *
 * Opening and reading throw `ConfigError` for an address that cannot be read, `UnsupportedError` for a
 * server without ranges, and `FormatError` where a file changes while it is open.
 */
export function httpFolder(url: string, options: HttpOptions = {}): FileFolder {
  const base = url.endsWith("/") ? url : `${url}/`;
  const nameOf = (file: string): string => base + encodeURIComponent(file);
  return { name: url, nameOf, open: (file) => openUrl(nameOf(file), options) };
}

/** A file on a server, as {@link httpFolder} reads it. */
export async function httpSource(url: string, options: HttpOptions = {}): Promise<OpenFile> {
  const file = await openUrl(url, options);
  if (file !== undefined) return file;
  throw new ConfigError(`cannot read ${url}: it does not exist; check the address`, "url", url);
}

async function openUrl(url: string, options: HttpOptions): Promise<OpenFile | undefined> {
  const answer = await request(url, options, { from: 0, to: FIRST_BYTES - 1 });
  if (answer === undefined) return undefined;
  const { bytes: first, tag } = answer;
  const size = sizeOf(answer, url);
  let isClosed = false;
  return {
    size,
    name: url,
    async read(offset, length) {
      if (isClosed) {
        throw new UseAfterDisposeError(`${url} was closed; read what you need before closing it`);
      }
      if (offset + length <= first.length) return first.subarray(offset, offset + length);
      // What is asked for beyond the end is not there: the caller sees that it got less.
      const to = Math.min(offset + length, size) - 1;
      if (to < offset) return new Uint8Array();
      const found = await request(url, options, { from: offset, to });
      assertSame(found, { range: `bytes ${offset}-${to}/${size}`, tag }, url, offset);
      return found.bytes;
    },
    async close() {
      isClosed = true;
    },
  };
}

/** The first byte and the last. */
interface ByteRange {
  readonly from: number;
  readonly to: number;
}

/** What the server says to a request for a range. */
interface Answer {
  /** The header `Content-Range`, empty where there is none. */
  readonly range: string;
  /** What names this state of the file, where the server has such names. */
  readonly tag: string | null;
  readonly bytes: Uint8Array;
}

/** Asks for a range, and again where it may pass; `undefined` where there is no such file. */
async function request(
  url: string,
  { fetch = globalFetch(), headers, signal, retries = RETRIES }: HttpOptions,
  { from, to }: ByteRange,
): Promise<Answer | undefined> {
  const init = { headers: { ...headers, Range: `bytes=${from}-${to}` }, ...(signal && { signal }) };
  for (let attempt = 0; ; attempt++) {
    const isLast = attempt >= retries;
    try {
      const response = await fetch(url, init);
      if (isLast || !PASSING.includes(response.status)) return await answerOf(response, url);
      await response.body?.cancel();
    } catch (error) {
      if (isLast || signal?.aborted || error instanceof MoietyError) throw failed(url, error);
    }
    await pause(FIRST_PAUSE * 2 ** attempt);
    if (signal?.aborted) throw signal.reason;
  }
}

/** The answer, where it is a range, or says that the file is empty or not there. */
async function answerOf(response: ResponseLike, url: string): Promise<Answer | undefined> {
  const { status, statusText, headers } = response;
  if (status === 206 || status === 416) {
    const bytes = new Uint8Array(await response.arrayBuffer());
    const range = headers.get("content-range") ?? "";
    return { range, tag: headers.get("etag"), bytes: status === 206 ? bytes : new Uint8Array() };
  }
  await response.body?.cancel();
  if (MISSING.includes(status)) return undefined;
  if (status === 200) {
    throw new UnsupportedError(
      `${url}: the server sends whole files only; use one that answers requests for ranges`,
      "range requests",
    );
  }
  const answer = `${status} ${statusText}`.trim();
  throw new ConfigError(`cannot read ${url}: the server says ${answer}`, "url", url);
}

/** What a request fails with that got no answer. An abortion stays what it is. */
function failed(url: string, cause: unknown): unknown {
  if (!(cause instanceof TypeError)) return cause;
  // What fetch says itself ("fetch failed") tells nothing; its cause does.
  const { message } = cause.cause instanceof Error ? cause.cause : cause;
  return new ConfigError(`cannot read ${url}: ${message}; check the address`, "url", url, {
    cause,
  });
}

/** The file's length, which the answer to a request for its beginning tells. */
function sizeOf({ range, bytes }: Answer, url: string): number {
  const size = Number(/\/(\d+)$/.exec(range)?.[1] ?? Number.NaN);
  const wanted = size === 0 ? "bytes */0" : `bytes 0-${Math.min(size, FIRST_BYTES) - 1}/${size}`;
  if (range === wanted && bytes.length === Math.min(size, FIRST_BYTES)) return size;
  throw new FormatError(
    `${url}: asked for the first ${FIRST_BYTES} bytes, the server sends ${bytes.length} and the range ` +
      `"${range}"; it does not answer ranges correctly, or does not expose Content-Range to pages`,
    bytes.length,
  );
}

/** Throws where an answer is not of the file that was opened, or not the range that was asked for. */
function assertSame(
  answer: Answer | undefined,
  wanted: Pick<Answer, "range" | "tag">,
  url: string,
  offset: number,
): asserts answer is Answer {
  if (answer !== undefined && answer.range === wanted.range && answer.tag === wanted.tag) return;
  throw new FormatError(
    `${url}: asked for ${wanted.range} and got "${answer?.range ?? "no such file"}"; ` +
      "it changed while it was open, or the server does not answer ranges correctly",
    offset,
  );
}

function globalFetch(): Fetcher["fetch"] {
  const fetcher = globalThis as unknown as Partial<Fetcher>;
  if (fetcher.fetch !== undefined) return fetcher.fetch.bind(globalThis);
  throw new UnsupportedError("there is no fetch here; give one in the options", "fetch");
}

function pause(ms: number): Promise<void> {
  const { setTimeout } = globalThis as unknown as {
    setTimeout(run: () => void, ms: number): unknown;
  };
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
