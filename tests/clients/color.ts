// A TypeScript client, typed by what the service says of itself: `node color.js ADDRESS IN OUT`.
import { readFile, writeFile } from "node:fs/promises";
import createClient from "openapi-fetch";
import type { paths } from "./api.js";

const [address, input, output] = process.argv.slice(2) as [string, string, string];
const client = createClient<paths>({ baseUrl: address });
const photograph = new Blob([await readFile(input)]);
// The types call bytes a string, as JSON Schema does; `bodySerializer` sends what they are.
const body = photograph as unknown as string;

const answer = await client.POST("/colorize", {
  params: { query: { vividness: 0.8, format: "png", hints: "0.5,0.5,#c03020" } },
  headers: { "Content-Type": "application/octet-stream" },
  body,
  bodySerializer: (bytes: unknown) => bytes as Blob,
  parseAs: "arrayBuffer",
});
if (answer.error) throw new Error(answer.error.title);
await writeFile(output, Buffer.from(answer.data));

const refused = await client.POST("/colorize", {
  params: { query: { hints: "0.5,0.5,#c03020;2,0,fff" } },
  body,
  bodySerializer: (bytes: unknown) => bytes as Blob,
});
const health = await client.GET("/health");
console.log(JSON.stringify({ problem: refused.error?.type, detail: refused.error?.detail, status: health.data?.status }));
