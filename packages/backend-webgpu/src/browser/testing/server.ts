import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo } from "node:net";

/** An empty page and one script. */
export interface PageServer {
  /** Address of the page, with a slash at its end; the script is `page.js` beside it. */
  readonly address: string;
  close(): Promise<void>;
}

/** Headers that make a page cross-origin isolated. */
const ISOLATION = {
  "cross-origin-opener-policy": "same-origin",
  "cross-origin-embedder-policy": "require-corp",
};

/** Serves to this machine alone, with the headers that make the page cross-origin isolated or without. */
export async function servePage(script: string, isolated: boolean): Promise<PageServer> {
  const files = new Map([
    ["/", { type: "text/html", text: "<!doctype html><title>test</title>" }],
    ["/page.js", { type: "text/javascript", text: script }],
    ["/favicon.ico", { type: "image/x-icon", text: "" }],
  ]);
  const server = createServer((request, response) => {
    const file = files.get(request.url ?? "");
    response.writeHead(file === undefined ? 404 : 200, {
      "content-type": `${file?.type ?? "text/plain"}; charset=utf-8`,
      ...(isolated ? ISOLATION : {}),
    });
    response.end(file?.text ?? "there is no such file");
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    address: `http://127.0.0.1:${port}/`,
    async close() {
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}
