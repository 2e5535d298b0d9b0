import { type RequestListener, createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { ConfigError, FormatError, UnsupportedError, UseAfterDisposeError } from "@moiety/core";
import { afterEach, describe, expect, it } from "vitest";
import { jsonDocument } from "../json/document.ts";
import { formatJsonDocument } from "../json/format.ts";
import { encodeSafetensors } from "../safetensors/write.ts";
import { fillBytes, readBytes } from "../source.ts";
import { openFolder } from "./checkpoint.ts";
import { httpFolder, httpSource } from "./http.ts";

const closing: (() => void)[] = [];
afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** Starts a server; its address. */
async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, "127.0.0.1");
  closing.push(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise((resolve) => server.once("listening", resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/models/a%20b`;
}

interface Served {
  readonly files: Record<string, Uint8Array>;
  /** Requests that came, as `file bytes=from-to`. */
  readonly requests: string[];
  tag: string | undefined;
}

/** Answers requests for ranges as servers of static files do. */
function ranges(state: Served): RequestListener {
  const { files, requests } = state;
  return (request, response) => {
    const file = decodeURIComponent(request.url?.split("/").at(-1) ?? "");
    requests.push(`${file} ${request.headers.range}`);
    const bytes = files[file];
    if (bytes === undefined) return void response.writeHead(404).end();
    const [, first, last] = /^bytes=(\d+)-(\d+)$/.exec(request.headers.range ?? "") ?? [];
    const [from, to] = [Number(first), Math.min(Number(last), bytes.length - 1)];
    const tag = state.tag === undefined ? {} : { ETag: state.tag };
    if (from > to) {
      return void response.writeHead(416, { "Content-Range": `bytes */${bytes.length}` }).end();
    }
    const range = `bytes ${from}-${to}/${bytes.length}`;
    response.writeHead(206, { "Content-Range": range, ...tag }).end(bytes.subarray(from, to + 1));
  };
}

function served(files: Record<string, Uint8Array>): Served {
  return { files, requests: [], tag: '"1"' };
}

const large = Uint8Array.from({ length: 200_000 }, (_, index) => index % 251);

describe("httpFolder", () => {
  it("opens a model of which only what is read is fetched", async () => {
    const values = Uint8Array.from({ length: 400_000 }, (_, index) => index % 7);
    const entry = { name: "w", dtype: "U8", shape: [1000, 400], bytes: () => values } as const;
    const config = jsonDocument({ model_type: "olmoe" });
    const state = served({
      "config.json": new TextEncoder().encode(formatJsonDocument(config)),
      "model.safetensors": await encodeSafetensors([entry]),
    });
    const url = await serve(ranges(state));
    const checkpoint = await openFolder(httpFolder(url));
    expect(checkpoint.folder).toBe(url);
    expect(checkpoint.config.value).toEqual(config.value);
    expect(checkpoint.generationConfig).toBeUndefined();
    state.requests.length = 0;
    const rows = await checkpoint.readRows("w", 500, 502);
    expect([...rows.bytes]).toEqual([...values.subarray(200_000, 200_800)]);
    expect(state.requests).toHaveLength(1);
    await checkpoint.close();
    await expect(checkpoint.read("w")).rejects.toThrow(UseAfterDisposeError);
  });
});

describe("httpSource", () => {
  it("reads ranges, those near the beginning without a request of their own", async () => {
    const state = served({ "x y": large });
    const source = await httpSource(`${await serve(ranges(state))}/x%20y`);
    expect(source.size).toBe(200_000);
    expect(await readBytes(source, 10, 5)).toEqual(large.subarray(10, 15));
    const target = new Uint8Array(70_000);
    await fillBytes(source, 130_000, target);
    expect(target).toEqual(large.subarray(130_000));
    expect(state.requests).toEqual(["x y bytes=0-65535", "x y bytes=130000-199999"]);
    await expect(readBytes(source, 199_999, 2)).rejects.toThrow(FormatError);
    await expect(readBytes(source, 200_000, 1)).rejects.toThrow(FormatError);
  });

  it("reads an empty file", async () => {
    const state = served({ empty: new Uint8Array() });
    const source = await httpSource(`${await serve(ranges(state))}/empty`);
    expect(source.size).toBe(0);
    expect(await readBytes(source, 0, 0)).toEqual(new Uint8Array());
  });

  it("sends headers, and takes another fetch", async () => {
    let seen: string | undefined;
    const state = served({ f: large });
    const answer = ranges(state);
    const url = await serve((request, response) => {
      seen = request.headers.authorization;
      answer(request, response);
    });
    const calls: string[] = [];
    await httpSource(`${url}/f`, {
      headers: { authorization: "Bearer x" },
      fetch: (address, init) => {
        calls.push(address);
        return fetch(address, init as RequestInit);
      },
    });
    expect(seen).toBe("Bearer x");
    expect(calls).toEqual([`${url}/f`]);
  });

  it("asks again where a server is busy or hangs up in the middle", async () => {
    const state = served({ f: large });
    const answer = ranges(state);
    let count = 0;
    const url = await serve((request, response) => {
      count++;
      if (count === 1) response.writeHead(503).end();
      else if (count === 3) {
        response.writeHead(206, { "Content-Length": 50 });
        response.write("half");
        setTimeout(() => response.destroy(), 20);
      } else answer(request, response);
    });
    const source = await httpSource(`${url}/f`);
    expect(await readBytes(source, 100_000, 50)).toEqual(large.subarray(100_000, 100_050));
    expect(count).toBe(4);
  });

  it("gives up after so many", async () => {
    let count = 0;
    const url = await serve((_, response) => {
      count++;
      response.writeHead(500, "Broken").end();
    });
    const opening = httpSource(`${url}/f`, { retries: 1 });
    await expect(opening).rejects.toThrow(ConfigError);
    await expect(opening).rejects.toThrow(`cannot read ${url}/f: the server says 500 Broken`);
    expect(count).toBe(2);
  });

  it("names what is not there, what is refused, and nobody at the address", async () => {
    const url = await serve((request, response) =>
      response.writeHead(request.url?.endsWith("none") ? 404 : 403).end(),
    );
    await expect(httpSource(`${url}/none`)).rejects.toThrow(`${url}/none: it does not exist`);
    await expect(httpSource(`${url}/f`)).rejects.toThrow("the server says 403 Forbidden");
    expect(await httpFolder(url).open("none")).toBeUndefined();
    const nobody = httpSource("http://127.0.0.1:1/f", { retries: 0 });
    await expect(nobody).rejects.toThrow(ConfigError);
    await expect(nobody).rejects.toThrow(
      /cannot read http:\/\/127.0.0.1:1\/f: .*check the address/,
    );
  });

  it.each([
    ["whole files only", UnsupportedError, 200, {}],
    ["it does not answer ranges correctly", FormatError, 206, {}],
    ["it does not answer ranges correctly", FormatError, 206, { "Content-Range": "bytes 0-1/9" }],
  ])("refuses a server with %s (%o, %i)", async (reason, error, status, headers) => {
    const url = await serve((_, response) => response.writeHead(status, headers).end("123456789"));
    await expect(httpSource(`${url}/f`)).rejects.toThrow(error);
    await expect(httpSource(`${url}/f`)).rejects.toThrow(reason);
  });

  it("sees that a file changed while it was open", async () => {
    const state = served({ f: large });
    const source = await httpSource(`${await serve(ranges(state))}/f`);
    state.tag = '"2"';
    await expect(readBytes(source, 100_000, 5)).rejects.toThrow("it changed while it was open");
    state.tag = '"1"';
    state.files["f"] = large.subarray(0, 150_000);
    await expect(readBytes(source, 100_000, 5)).rejects.toThrow(FormatError);
    delete state.files["f"];
    await expect(readBytes(source, 100_000, 5)).rejects.toThrow('got "no such file"');
  });

  it("ends with its signal, also while it waits to ask again", async () => {
    const state = served({ f: large });
    const answer = ranges(state);
    let isBusy = false;
    const url = await serve((request, response) => {
      if (isBusy) response.writeHead(503).end();
      else answer(request, response);
    });
    const stop = new AbortController();
    const source = await httpSource(`${url}/f`, { signal: stop.signal });
    isBusy = true;
    const reading = readBytes(source, 100_000, 5);
    stop.abort(new Error("enough"));
    await expect(reading).rejects.toThrow("enough");
    await expect(readBytes(source, 100_000, 5)).rejects.toThrow("enough");
  });
});
